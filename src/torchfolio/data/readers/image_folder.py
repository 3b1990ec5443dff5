"""Pictures in a folder for each class."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from torchfolio.data.dataset import Dataset, Problem, Progress, Reader
from torchfolio.data.folders import SPLIT_OF, children, descend, is_litter, listing, nfc, stop_on
from torchfolio.data.images import SUFFIXES
from torchfolio.data.readers.pictures import picture_dataset
from torchfolio.data.scan import IGNORED, scan


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
        files: list[str] = []
        splits_of: list[str] = []
        classes_of: list[str] = []
        empty: list[Problem] = []
        for split, top in (splits or {"train": root}).items():
            for folder in class_folders(top):
                held = [each.relative_to(root).as_posix() for each in walk(folder)]
                files += held
                splits_of += [split] * len(held)
                classes_of += [nfc(folder.name)] * len(held)
                if not held:
                    empty.append(Problem(folder.relative_to(root).as_posix(), "an empty folder"))
        found = scan(root, files, self.name, progress)
        strays = _strays(root, splits)
        ignored = [
            name for name, error in zip(files, found.errors, strict=True) if error == IGNORED
        ]
        loose = [name for name in strays if Path(name).suffix.lower() in SUFFIXES]
        ignored += [name for name in strays if name not in loose]
        notes = [Problem(name, "a picture in no class folder, left out") for name in loose]
        problems = [
            Problem(name, error)
            for name, error in zip(files, found.errors, strict=True)
            if error and error != IGNORED
        ]
        stop_on([*problems, *notes], on_error, path)
        notes += empty
        if ignored:
            notes.append(
                Problem(
                    ".", f"{len(ignored):,} files that are no pictures, ignored: {listing(ignored)}"
                )
            )
        good = np.array([not error for error in found.errors], bool)
        return picture_dataset(
            reader=self,
            path=path,
            root=root,
            scan=found,
            keep=good,
            class_names=np.array(classes_of, object),
            split_names=np.array(splits_of, object),
            problems=[*problems, *notes],
        )


def split_folders(root: Path) -> dict[str, Path]:
    """Return the folders of train, val and test, or nothing where the data have no such split.

    They are splits only if there is one for training and another, and both hold folders: a
    class may be called "train".
    """
    found: dict[str, Path] = {}
    for folder in children(root):
        split = SPLIT_OF.get(folder.name.lower())
        if split and split not in found and folder.is_dir() and class_folders(folder):
            found[split] = folder
    return found if "train" in found and len(found) > 1 else {}


def class_folders(folder: Path) -> list[Path]:
    """Return the folders directly below."""
    return [each for each in children(folder) if each.is_dir()]


def walk(folder: Path) -> Iterator[Path]:
    """Give every file below a folder, in order of names, without litter; links are not followed."""
    for top, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_litter(name))
        for name in sorted(files):
            if not is_litter(name):
                yield Path(top) / name


def _has_picture(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in walk(folder))


def _strays(root: Path, splits: dict[str, Path]) -> list[str]:
    """Return the files that lie in no class folder, relative to the root."""
    tops = [root, *splits.values()]
    files = [each for top in tops for each in children(top) if not each.is_dir()]
    if splits:
        beside = [each for each in class_folders(root) if each not in splits.values()]
        files += [each for folder in beside for each in walk(folder)]
    return [each.relative_to(root).as_posix() for each in files]
