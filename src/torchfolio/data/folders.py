"""What readers share about folders: names to overlook, wrappers, and names of splits."""

import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Problem
from torchfolio.errors import DataError

# Left by systems and file managers; ignored without a word, as are all names with a dot in front.
LITTER = frozenset(("thumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "@eadir"))

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "validate", "dev"),
    "test": ("test", "testing"),
}
SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}

SHOWN = 5  # examples that a message lists before it counts the rest


def is_litter(name: str) -> bool:
    """Return whether a file or folder is left by the system rather than meant."""
    return name.startswith(".") or name.lower() in LITTER


def contents(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and the files directly in a folder, without litter, in order of names."""
    folders, files = entries(folder)
    return [folder / name for name in folders], [folder / name for name in files]


@contextmanager
def listed_once() -> Iterator[None]:
    """List each folder once within: readers ask for the same ones until one recognises the data."""
    token = _listed.set({})
    try:
        yield
    finally:
        _listed.reset(token)


_listed: ContextVar[dict[Path, tuple[list[str], list[str]]] | None] = ContextVar(
    "listed", default=None
)


def entries(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of :func:`contents`: of 200,000 files, paths would take seconds to make."""
    known = _listed.get()
    if known is None:
        return listing_of(folder)
    if folder not in known:
        known[folder] = listing_of(folder)
    folders, files = known[folder]
    return [*folders], [*files]


def listing_of(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the folders and of the files in a folder as they are now."""
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_litter(entry.name):
                    (folders if entry.is_dir() else files).append(entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror or error}.") from error
    return sorted(folders), sorted(files)


def split_in(path: str) -> str:
    """Return the split that a folder of a path names; "" where none does.

    A folder's name may go on with a number: train2017.
    """
    for each in PurePosixPath(path).parts[:-1]:
        split = SPLIT_OF.get(each.lower().rstrip("0123456789"))
        if split is not None:
            return split
    return ""


def files_ending(folder: Path, suffixes: str | tuple[str, ...]) -> list[Path]:
    """Return the files directly in a folder whose names end so, whatever the case."""
    return [folder / name for name in entries(folder)[1] if name.lower().endswith(suffixes)]


def descend(folder: Path) -> Path:
    """Return the folder inside wrappers: while a folder holds one folder and no file, go in.

    The only folder of a class is no wrapper: going in stops where the next folder holds none.
    """
    while True:
        folders, files = entries(folder)
        if len(folders) != 1 or files or not entries(folder / folders[0])[0]:
            return folder
        folder = folder / folders[0]


def innermost(folder: Path) -> Path:
    """Return the folder of files inside wrappers: while a folder holds one folder only, go in."""
    while True:
        folders, files = entries(folder)
        if len(folders) != 1 or files:
            return folder
        folder = folder / folders[0]


def nfc(name: str) -> str:
    """Return a name in Unicode's composed form (macOS stores names decomposed).

    Bytes of a file's name that are no UTF-8 become escapes, so that every program can show it.
    """
    return unicodedata.normalize("NFC", name.encode("utf-8", "backslashreplace").decode("utf-8"))


def counted(number: int, what: str) -> str:
    """Return a number with its word: "1 file", "2,000 files"."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def given_splits(splits: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Return the records of each split; a single split is no split, and "" is in none."""
    names = np.array(splits, object)
    found = {name: np.flatnonzero(names == name) for name in SPLITS if (names == name).any()}
    if len(found) > 1:
        return found
    return {"train": next(iter(found.values()), np.arange(len(names)))}


def listing(names: list[str], shown: int = SHOWN) -> str:
    """Return the first few names and how many more there are."""
    text = ", ".join(names[:shown])
    return f"{text} and {len(names) - shown:,} more" if len(names) > shown else text


def told(problems: list[Problem]) -> str:
    """Return the first few problems, one a line, and how many more there are."""
    lines = [f"  {each.path}: {each.problem}" for each in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  and {len(problems) - SHOWN:,} more")
    return "\n".join(lines)


def stop_on(problems: list[Problem], on_error: str, path: Path) -> None:
    """Raise where problems were found and ``on_error`` is "stop"."""
    if problems and on_error == "stop":
        raise DataError(
            f"{path} has {counted(len(problems), 'bad file')}:\n{told(problems)}\n"
            "Mend or remove them, or leave them out with --on-error skip."
        )


def require_some(
    found: Collection[Any], what: str, path: Path, problems: list[Problem], on_error: str
) -> None:
    """Raise where nothing is left, or there are problems that should stop the reading.

    ``what`` is "no picture that can be read: such folders were expected".
    """
    stop_on(problems, on_error, path)
    if not found:
        raise DataError(f"{path} has {what}.\n{told(problems)}")
