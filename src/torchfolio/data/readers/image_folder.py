"""Pictures in a folder for each class."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from torchfolio.data.dataset import Dataset, Problem, Progress, Reader
from torchfolio.data.folders import SPLIT_OF, descend, entries, listing, nfc, stop_on
from torchfolio.data.images import SUFFIXES
from torchfolio.data.readers.pictures import picture_dataset
from torchfolio.data.scan import IGNORED, scan
from torchfolio.errors import DataError


class ImageFolder(Reader):
    """``<root>/<class>/<image>`` or ``<root>/<split>/<class>/<image>``.

    Classes are in alphabetical order (of code points, as in torchvision). Pictures may lie
    deeper inside a class folder. Folders that only wrap others are passed through. Files are
    told by their content. Record: path of the image, index of its class.
    """

    name: ClassVar[str] = "image-folder"
    reads: ClassVar[str] = "a folder of pictures for each class, with or without train/val/test"
    kind: ClassVar[str] = "image-classification"

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        if not path.is_dir():
            return None
        root = descend(path)
        splits = split_folders(root)
        folders = [folder for each in splits.values() for folder in class_folders(each)]
        folders = folders if splits else class_folders(root)
        if not any(_has_picture(folder) for folder in folders):
            return None
        names = sorted({nfc(folder.name) for folder in folders})
        within = f" in {', '.join(splits)}" if splits else ""
        return f"class folders{within}: {listing(names)}"

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        root = descend(path)
        splits = split_folders(root)
        problems: list[Problem] = []
        notes: list[Problem] = []
        files: list[str] = []
        homes: list[tuple[str, str]] = []  # split and class of each file
        for split, top in (splits or {"train": root}).items():
            for folder in class_folders(top):
                held = list(walk(folder, root, problems))
                files += held
                homes += [(split, nfc(folder.name))] * len(held)
                if not held:
                    name = folder.relative_to(root).as_posix()
                    notes.append(Problem(name, "this class folder is empty: left out"))
        found = scan(root, files, self.name, progress)
        ignored = []
        for name, error in zip(files, found.errors, strict=True):
            if error == IGNORED:
                ignored.append(name)
            elif error:
                problems.append(Problem(name, error))
        for name in strays(root, splits, problems):
            if PurePosixPath(name).suffix.lower() in SUFFIXES:
                problems.append(Problem(name, "in no class folder: left out"))
            else:
                ignored.append(name)
        stop_on(problems, on_error, path)
        if ignored:
            text = f"not a picture, ignored ({len(ignored):,}): {listing(ignored)}"
            notes.append(Problem(".", text))
        return picture_dataset(
            reader=self,
            path=path,
            root=root,
            scan=found,
            keep=np.array([not error for error in found.errors], bool),
            class_names=np.array([name for _, name in homes], object),
            split_names=np.array([split for split, _ in homes], object),
            problems=[*problems, *notes],
        )


def split_folders(root: Path) -> dict[str, Path]:
    """Return the folders of train, val and test, or nothing where the data have no such split.

    They are splits only if there are two or more, and they hold folders: a class may be called
    "train".
    """
    found: dict[str, Path] = {}
    for folder in class_folders(root):
        split = SPLIT_OF.get(folder.name.lower())
        if split and split not in found and class_folders(folder):
            found[split] = folder
    return found if len(found) > 1 else {}


def class_folders(folder: Path) -> list[Path]:
    """Return the folders directly below."""
    return [folder / name for name in entries(folder)[0]]


def walk(folder: Path, root: Path, problems: list[Problem] | None = None) -> Iterator[str]:
    """Give every file below a folder by its path below ``root``, in order, without litter.

    Links to folders are not followed. Folders that cannot be listed are added to ``problems``.
    """
    try:
        folders, files = entries(folder)
    except DataError as error:
        if problems is not None:
            name, why = folder.relative_to(root).as_posix(), error.__cause__
            text = getattr(why, "strerror", None) or why
            problems.append(Problem(name, f"cannot be listed: {text}"))
        return
    within = folder.relative_to(root).as_posix()
    start = "" if within == "." else f"{within}/"
    for name in files:
        yield start + name
    for name in folders:
        if not (folder / name).is_symlink():
            yield from walk(folder / name, root, problems)


def strays(root: Path, splits: dict[str, Path], problems: list[Problem]) -> list[str]:
    """Return the files that lie in no class folder, relative to the root."""
    tops = (root, *splits.values())
    files = [(top / name).relative_to(root).as_posix() for top in tops for name in entries(top)[1]]
    if splits:
        beside = [each for each in class_folders(root) if each not in splits.values()]
        files += [each for folder in beside for each in walk(folder, root, problems)]
    return files


def _has_picture(folder: Path) -> bool:
    return any(PurePosixPath(name).suffix.lower() in SUFFIXES for name in walk(folder, folder))
