"""What readers share about folders: names to overlook, wrappers, and names of splits."""

import unicodedata
from pathlib import Path

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


def children(folder: Path) -> list[Path]:
    """Return what a folder holds, without litter, in order of names."""
    try:
        found = [each for each in folder.iterdir() if not is_litter(each.name)]
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror or error}.") from error
    return sorted(found, key=lambda each: each.name)


def descend(folder: Path) -> Path:
    """Return the folder inside wrappers: while a folder holds one folder and no file, go in.

    A folder named as a split or as the only class is no wrapper: going in stops where the
    folders below hold no folders themselves.
    """
    while True:
        held = children(folder)
        if len(held) != 1 or not held[0].is_dir():
            return folder
        if not any(each.is_dir() for each in children(held[0])):
            return folder
        folder = held[0]


def nfc(name: str) -> str:
    """Return a name in Unicode's composed form (macOS stores names decomposed)."""
    return unicodedata.normalize("NFC", name)


def listing(names: list[str], shown: int = SHOWN) -> str:
    """Return the first few names and how many more there are."""
    text = ", ".join(names[:shown])
    return f"{text} and {len(names) - shown:,} more" if len(names) > shown else text


def stop_on(problems: list[Problem], on_error: str, path: Path) -> None:
    """Raise where problems were found and ``on_error`` is "stop"."""
    if problems and on_error == "stop":
        lines = "\n".join(f"  {each.path}: {each.problem}" for each in problems[:SHOWN])
        more = f"\n  and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
        raise DataError(
            f"{path} has {len(problems):,} bad files:\n{lines}{more}\n"
            "Mend or remove them, or leave them out with --on-error skip."
        )
