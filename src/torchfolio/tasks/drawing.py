"""The pictures of answers: one folder for all of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torchfolio.errors import FolioError, RequestError


class Draws(Protocol):
    """What draws an answer: a task, or the answers of an exported file."""

    def picture(self, row: dict[str, Any], target: Path) -> Path | None: ...


class Gathering(Protocol):
    """A file beside the pictures that tells of all of them."""

    def write(self) -> None:
        """Write what has been gathered."""


@runtime_checkable
class Gathered(Protocol):
    """A row that may also be told in one file with those of the other pictures."""

    def gather(self, folder: Path, file: Any) -> Gathering | None:
        """Add the row to that file, which is ``None`` at first; return it, or ``None``."""


def drawn(task: Draws, rows: Iterator[dict[str, Any]], folder: Path) -> Iterator[dict[str, Any]]:
    """Write the picture of each answer into a folder; the row says where it is.

    The folder is made, or it is said that it cannot be, before the first answer. A file that tells
    of all pictures is complete at the end, also where that is early.
    """
    make_folder(folder, "--pictures")
    file: Gathering | None = None
    try:
        for row in rows:
            if row["error"] is None:
                written = task.picture(row, folder)
                row["picture"] = str(written) if written else None
                if written and isinstance(row, Gathered):
                    file = row.gather(folder, file)
            yield row
    finally:
        if file is not None:
            file.write()


def require_pictures(options: Any, folder: Any) -> None:
    """Raise where files are wanted that lie beside the pictures, and no folder is named."""
    if getattr(options, "forms", "") and folder is None:
        raise RequestError(
            f"forms is {options.forms}: such files lie beside the drawn pictures, and no folder is "
            "named. Add --pictures FOLDER."
        )


def make_folder(folder: Path, flag: str) -> None:
    """Make a folder for pictures, which ``flag`` names, or say why it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror or str(error)
        raise FolioError(
            f"The folder {folder} for pictures cannot be made: {reason}. Choose another {flag}."
        ) from error
