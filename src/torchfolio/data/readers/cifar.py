"""CIFAR-10 and CIFAR-100, in their binary and their Python form."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Indices, Problem, Progress, Reader
from torchfolio.data.folders import entries, innermost
from torchfolio.data.readers.array_pickle import load_arrays
from torchfolio.data.readers.pictures import array_dataset
from torchfolio.data.text_table import read_text
from torchfolio.errors import DataError, RequestError
from torchfolio.options import option

PICTURE = 3 * 32 * 32  # bytes: a plane of 1,024 for each of red, green and blue

# files of each split; CIFAR-100 has a coarse and a fine label in front of each picture
TEN = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
HUNDRED = {"train": ["train"], "test": ["test"]}


@dataclass(frozen=True)
class CifarOptions:
    """Settings of the CIFAR files."""

    labels: Literal["fine", "coarse"] = option("fine", "Of CIFAR-100: 100 classes or 20.")


class Cifar(Reader):
    """``data_batch_N(.bin)`` and ``test_batch(.bin)``, or ``train(.bin)`` and ``test(.bin)``.

    Class names are those of ``batches.meta(.txt)``, ``meta``, or ``fine_label_names.txt``.
    Record: a picture of an array, and its label.
    """

    name: ClassVar[str] = "cifar"
    reads: ClassVar[str] = "CIFAR-10 or CIFAR-100 files, binary or Python"
    kind: ClassVar[str] = "image-classification"
    Options: ClassVar[type] = CifarOptions

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        form = _find(path)
        if form is None:
            return None
        classes = 10 if form.layout is TEN else 100
        return f"CIFAR-{classes} files ({'binary' if form.binary else 'Python'})"

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        form = _find(path)
        if form is None:
            raise DataError(
                f"{path} holds no CIFAR files: data_batch_1 or test_batch were expected."
            )
        if form.layout is TEN and self.options.labels == "coarse":
            raise RequestError("--labels coarse is for CIFAR-100; these are CIFAR-10 files.")
        load = _read_binary if form.binary else _read_python
        names = form.class_names(self.options.labels)
        parts = {}
        problems = []
        for split, files in form.files().items():
            loaded = []
            for file in files:
                pictures, labels = load(file, form.layout is TEN, self.options.labels)
                _check_labels(file, labels, names)
                loaded.append((pictures, labels, (file.name, len(labels))))
            parts[split] = (
                np.concatenate([part[0] for part in loaded]),
                np.concatenate([part[1] for part in loaded]),
                [part[2] for part in loaded],
            )
        missing = form.missing()
        if missing:
            problems.append(Problem(".", f"files of the set are missing: {', '.join(missing)}"))
        if not names:
            top = max(int(part[1].max()) for part in parts.values())
            names = [str(label) for label in range(top + 1)]
        return array_dataset(reader=self, path=path, parts=parts, classes=names, problems=problems)


@dataclass(frozen=True)
class _Form:
    """A folder of CIFAR files: which of the four forms it has."""

    folder: Path
    layout: Mapping[str, list[str]]
    binary: bool
    only: Path | None = None

    def files(self) -> dict[str, list[Path]]:
        """Return the files of each split that are there."""
        if self.only is not None:
            return {"train": [self.only]}
        suffix = ".bin" if self.binary else ""
        found = {
            split: [file for name in names if (file := self.folder / (name + suffix)).is_file()]
            for split, names in self.layout.items()
        }
        return {split: files for split, files in found.items() if files}

    def missing(self) -> list[str]:
        """Return the names of the files that are not there."""
        if self.only is not None:
            return []
        suffix = ".bin" if self.binary else ""
        names = [name + suffix for files in self.layout.values() for name in files]
        return [name for name in names if not (self.folder / name).is_file()]

    def class_names(self, labels: str) -> list[str]:
        """Return the names of the classes, or nothing where no file gives them."""
        if self.binary:
            name = "batches.meta.txt" if self.layout is TEN else f"{labels}_label_names.txt"
            file = self.folder / name
            if not file.is_file():
                return []
            lines = read_text(file).splitlines()
            return [line.strip() for line in lines if line.strip()]
        file = self.folder / ("batches.meta" if self.layout is TEN else "meta")
        if not file.is_file():
            return []
        key = "label_names" if self.layout is TEN else f"{labels}_label_names"
        names = load_arrays(file).get(key)
        if not isinstance(names, list):
            raise DataError(f"{file} has no list {key!r} of class names.")
        return [str(name) for name in names]


def _find(path: Path) -> _Form | None:
    """Return the form of the files at a path, by names and sizes alone."""
    if path.is_file():
        layouts = {
            name: each for each in (TEN, HUNDRED) for files in each.values() for name in files
        }
        stem = path.name.removesuffix(".bin")
        if stem in layouts and (path.suffix == ".bin" or layouts[stem] is TEN):
            return _Form(path.parent, layouts[stem], path.suffix == ".bin", path)
        return None
    if not path.is_dir():
        return None
    folder = innermost(path)
    held = set(entries(folder)[1])
    for binary, suffix in ((True, ".bin"), (False, "")):
        if any(name + suffix in held for files in TEN.values() for name in files):
            return _Form(folder, TEN, binary)
        notes = "fine_label_names.txt" if binary else "meta"
        if notes in held and held & {"train" + suffix, "test" + suffix}:
            return _Form(folder, HUNDRED, binary)
    return None


def _read_binary(file: Path, ten: bool, labels: str) -> tuple[NDArray[np.uint8], Indices]:
    """Read rows of labels and planar pictures: (count, 32, 32, 3) and (count,)."""
    width = PICTURE + (1 if ten else 2)
    try:
        content = np.fromfile(file, np.uint8)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from error
    if not len(content) or len(content) % width:
        raise DataError(
            f"{file} has {len(content):,} bytes; a multiple of {width:,} was expected "
            f"({width - PICTURE} for the label, {PICTURE:,} for the picture). Fetch it again."
        )
    rows = content.reshape(-1, width)
    column = 0 if ten or labels == "coarse" else 1
    return _upright(rows[:, -PICTURE:]), rows[:, column].astype(np.int64)


def _read_python(file: Path, ten: bool, labels: str) -> tuple[NDArray[np.uint8], Indices]:
    """Read a pickled dictionary of arrays and lists, executing nothing of it."""
    content = load_arrays(file)
    key = "labels" if ten else f"{labels}_labels"
    data, numbers = content.get("data"), content.get(key, [])
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.ndim != 2
        or data.shape[1] != PICTURE
    ):
        raise DataError(f"{file}: 'data' should be an array of {PICTURE:,} bytes a row.")
    whole = isinstance(numbers, list) and all(type(each) is int for each in numbers)
    if not whole or len(numbers) != len(data):
        raise DataError(f"{file}: {key!r} should be a list of {len(data):,} whole numbers.")
    return _upright(data), np.array(numbers, np.int64)


def _upright(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn planar rows into (count, 32, 32, 3)."""
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def _check_labels(file: Path, labels: Indices, names: list[str]) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= (len(names) or 256)))
    if len(wrong):
        raise DataError(
            f"{file}: picture {wrong[0]} has the label {labels[wrong[0]]}; there are "
            f"{len(names)} classes. The file is damaged or of another set."
        )
