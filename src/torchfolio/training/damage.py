"""Files of a run read with care: each error names the file, what is wrong, and what to do."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import Tensor

from torchfolio.checkpoint import read_json, read_tensors
from torchfolio.errors import FolioError
from torchfolio.training.loop import Loop

FORMAT = 1
RESTORE = "Restore it from a copy of the run, or train again."


def read_object(path: Path, keys: Collection[str] = ()) -> dict[str, Any]:
    """Read a JSON object; raise unless it has our format version and these keys."""
    try:
        value = read_json(path)
    except FolioError as error:
        raise FolioError(f"{error} {RESTORE}") from error
    if not isinstance(value, dict):
        raise FolioError(f"{path} is damaged: it holds no JSON object. {RESTORE}")
    if value.get("format_version") != FORMAT:
        raise FolioError(
            f"{path} has format version {value.get('format_version')}; this release reads "
            f"{FORMAT}. Take the release that wrote it. If the file is damaged: {RESTORE}"
        )
    if missing := [key for key in keys if key not in value]:
        raise FolioError(f"{path} is damaged: it lacks {', '.join(missing)}. {RESTORE}")
    return value


def read_tensor_file(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Read tensors and header; the error says whether the file is missing, closed or damaged."""
    try:
        path.open("rb").close()
        return read_tensors(path)
    except OSError as error:
        raise unreadable(path, error) from error
    except FolioError as error:
        raise FolioError(f"{error} {RESTORE}") from error


def load_state(loop: Loop, state: dict[str, Any] | None, folder: Path) -> None:
    """Put the loop where a saved state was, the newest of ``folder``; without one, nowhere else.

    The best weights, which the end needs, must be whole: now is the time to say that they are not.
    """
    if state is None:
        return
    try:
        loop.load_state_dict(state)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise FolioError(
            f"The newest state in {folder} does not belong to this run, or is damaged "
            f"({type(error).__name__}: {reason}). Restore that file, or remove it to go on from "
            "the state before it."
        ) from error
    if loop.progress.best_epoch is not None:
        read_tensor_file(folder.parent / "weights" / "best.safetensors")


def unreadable(path: Path, error: OSError) -> FolioError:
    """Return the error for a file that is missing, or that may not be read."""
    if isinstance(error, FileNotFoundError):
        return FolioError(f"{path} is missing. {RESTORE}")
    return FolioError(
        f"{path} cannot be read: {error.strerror or error}. Give yourself the right to read it."
    )
