"""Folders of runs that are named by their number: ``runs/<network>-<data>-<n>``."""

from pathlib import Path

from torchfolio.errors import FolioError
from torchfolio.training.folder import RunFolder
from torchfolio.training.start import Start


def new_run(start: Start) -> RunFolder:
    """Make a run in the first free ``runs/<network>-<data>-<n>``."""
    return RunFolder.create(free_folder(start))


def free_folder(start: Start) -> Path:
    """Make the first free ``runs/<network>-<data>-<n>``."""
    return numbered_folder(f"{start.card.name}-{start.dataset.name}")


def numbered_folder(name: str) -> Path:
    """Make the first free ``runs/<name>-<n>``."""
    for number in range(1, 100_000):
        path = Path("runs") / f"{name}-{number}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:  # perhaps just made, by a training that started with this one
            continue
        except OSError as error:
            raise FolioError(f"{path} cannot be made: {error.strerror}. Choose --out.") from error
        return path
    raise FolioError("runs/ holds 100,000 runs of this name. Choose --out.")
