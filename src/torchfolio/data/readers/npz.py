"""NumPy archives of pictures and labels."""

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Problem, Progress, Reader
from torchfolio.data.folders import SPLITS, files_ending, innermost
from torchfolio.data.images import Pixels
from torchfolio.data.readers.pictures import array_dataset
from torchfolio.errors import DataError

PICTURES = ("x", "images", "image", "imgs", "data", "pictures")
LABELS = ("y", "labels", "label", "targets", "target")
CLASSES = ("classes", "class_names", "label_names")

Keys = dict[str, tuple[str, str]]  # the names of pictures and labels of each split


class Npz(Reader):
    """``x_train``, ``y_train``, ``x_test``, ``y_test`` in one ``.npz``, or ``images``, ``labels``.

    Pictures are (count, height, width), with channels first or last, or rows of a square
    picture. Whole numbers from 0 to 255 are 8-bit pictures; others keep their range:
    0 to 65535, floats in [0, 1] or [0, 255], anything else from its smallest to its largest
    value. Labels are numbers or text, or one column a class. Record: a picture and its label.
    """

    name: ClassVar[str] = "npz"
    reads: ClassVar[str] = "a NumPy archive (.npz) with x_train, y_train or images, labels"
    kind: ClassVar[str] = "image-classification"

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        file = find_file(path)
        keys = find_keys(_member_names(file)) if file else {}
        return f"a NumPy archive with {', '.join(keys)}" if keys else None

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        file = find_file(path)
        if file is None:
            raise DataError(f"{path} holds no .npz file, or several: {self.reads} was expected.")
        names = _member_names(file)
        keys = find_keys(names)
        if not keys:
            raise DataError(
                f"{file} holds {', '.join(sorted(names)) or 'nothing'}; {self.reads} was expected."
            )
        arrays = _load(file, {key for pair in keys.values() for key in pair})
        arrays = {
            key: as_rows(values, f"{file} [{key}]") if key in _pictures(keys) else values
            for key, values in arrays.items()
        }
        labels = {
            split: as_labels(arrays[key], f"{file} [{key}]") for split, (_, key) in keys.items()
        }
        for split, (pictures, key) in keys.items():
            if len(arrays[pictures]) != len(labels[split]):
                raise DataError(
                    f"{file}: {pictures} holds {len(arrays[pictures]):,} pictures, {key} "
                    f"{len(labels[split]):,} labels."
                )
        values = np.unique(np.concatenate(list(labels.values())))
        pixels, problems = _to_pixels(
            file, {split: arrays[pair[0]] for split, pair in keys.items()}, keys
        )
        parts = {}
        for split, (array, good) in pixels.items():
            source = f"{file.name}[{keys[split][0]}]"
            parts[split] = (
                array[good],
                np.searchsorted(values, labels[split][good]),
                [(source, int(good.sum()))],
            )
        if problems and on_error == "stop":
            raise DataError(f"{file}: {problems[0].path}: {problems[0].problem}.")
        return array_dataset(
            reader=self,
            path=path,
            parts=parts,
            classes=_class_names(file, names, values),
            problems=problems,
        )


def find_file(path: Path) -> Path | None:
    """Return the archive at a path: the file itself, or the only one in a folder."""
    if path.is_file():
        return path if path.suffix.lower() == ".npz" else None
    files = files_ending(innermost(path), ".npz")
    return files[0] if len(files) == 1 else None


def _member_names(file: Path) -> list[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{file} is damaged or no .npz file ({error}). Fetch it again.") from error


def find_keys(names: Iterable[str]) -> Keys:
    """Return the names of pictures and labels of each split."""
    known = {name.lower(): name for name in names}

    def first(forms: Iterable[str]) -> str | None:
        return next((known[form] for form in forms if form in known), None)

    def with_split(words: Iterable[str], splits: Iterable[str]) -> str | None:
        return first(
            form
            for word in words
            for split in splits
            for form in (f"{word}_{split}", f"{split}_{word}", f"{word}{split}", f"{split}{word}")
        )

    found: Keys = {}
    for split, words in SPLITS.items():
        pictures, labels = with_split(PICTURES, words), with_split(LABELS, words)
        if pictures and labels:
            found[split] = (pictures, labels)
    if not found:
        pictures, labels = first(PICTURES), first(LABELS)
        if pictures and labels:
            found["train"] = (pictures, labels)
    return found


def _pictures(keys: Keys) -> set[str]:
    return {pair[0] for pair in keys.values()}


def _load(file: Path, keys: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Load arrays; an archive of objects is refused, since reading it would execute a pickle."""
    arrays = {}
    try:
        with np.load(file, allow_pickle=False) as archive:
            for key in keys:
                arrays[key] = archive[key]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{file} is damaged or holds objects ({error}); numbers are read."
        ) from error
    except MemoryError as error:
        raise DataError(f"{file} does not fit into memory.") from error
    return arrays


def as_rows(array: NDArray[Any], where: str) -> NDArray[Any]:
    """Return pictures as (count, height, width, channels), channels 1, 3 or 4."""
    if 0 in array.shape[1:]:
        raise DataError(f"{where} has the shape {array.shape}: pictures of no pixel. Save it anew.")
    if array.ndim == 2:  # rows of a square picture, grey or with three planes
        for planes in (1, 3):
            side = round((array.shape[1] / planes) ** 0.5)
            if side * side * planes == array.shape[1]:
                return array.reshape(-1, planes, side, side).transpose(0, 2, 3, 1)
    if array.ndim == 3:
        return array[..., None]
    if array.ndim == 4 and array.shape[3] in (1, 3, 4):
        return array
    if array.ndim == 4 and array.shape[1] in (1, 3, 4):
        return array.transpose(0, 2, 3, 1)
    raise DataError(
        f"{where} has the shape {array.shape}; (count, height, width), with 1, 3 or 4 channels "
        "first or last, was expected."
    )


def as_labels(array: NDArray[Any], where: str) -> NDArray[Any]:
    """Return labels as (count,), from numbers, text, a column, or one column a class."""
    if array.ndim not in (1, 2) or 0 in array.shape[1:]:
        raise DataError(f"{where} has the shape {array.shape}; one label a picture was expected.")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind == "f":
        wrong = ~np.isfinite(array)
        if array.ndim == 1:
            wrong |= array != np.floor(array)
        if wrong.any():
            row, *_ = place = tuple(np.argwhere(wrong)[0])
            raise DataError(
                f"{where}: row {row} is {array[place]}; classes were expected, as whole numbers or "
                "text, not measurements. Correct it, or remove the row."
            )
    if array.ndim == 2:
        array = array.argmax(1)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    return array.astype(np.int64) if array.dtype.kind in "biuf" else array.astype(str)


def _to_pixels(
    file: Path, arrays: dict[str, NDArray[Any]], keys: Keys
) -> tuple[dict[str, tuple[Pixels, NDArray[np.bool_]]], list[Problem]]:
    """Return uint8, or float32 in [0, 1], by one scale for all splits; and what is not finite."""
    good, problems = {}, []
    for split, array in arrays.items():
        finite = np.ones(len(array), bool)
        if array.dtype.kind == "f":
            finite = np.isfinite(array).all(axis=(1, 2, 3))
        elif array.dtype.kind not in "biu":
            raise DataError(
                f"{file} [{keys[split][0]}] holds {array.dtype}; numbers were expected."
            )
        good[split] = finite
        problems += [
            Problem(f"{keys[split][0]}[{row}]", "values that are not finite, left out")
            for row in np.flatnonzero(~finite)
        ]
    held = [array[good[split]] for split, array in arrays.items() if good[split].any()]
    if not held:
        raise DataError(f"{file} holds no picture whose values are all finite numbers.")
    low, high = min(float(each.min()) for each in held), max(float(each.max()) for each in held)
    whole = all(each.dtype.kind in "biu" or (each == np.floor(each)).all() for each in held)
    shapes = {each.shape[1:] for each in held}
    if len(shapes) > 1:
        raise DataError(
            f"{file}: the splits differ in the size of their pictures: {sorted(shapes)}."
        )
    scaled = {}
    for split, array in arrays.items():
        if whole and low >= 0 and 1 < high <= 255:
            pixels: Pixels = array.astype(np.uint8) if good[split].all() else _finite(array)
        elif array.dtype == bool:
            pixels = array.astype(np.uint8) * 255
        else:
            bottom, top = _scale(low, high)
            pixels = ((array - bottom) / (top - bottom)).astype(np.float32)
        scaled[split] = (_over_white(pixels), good[split])
    return scaled, problems


def _finite(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.nan_to_num(array, nan=0, posinf=0, neginf=0).astype(np.uint8)


def _scale(low: float, high: float) -> tuple[float, float]:
    """Return black and white of pictures whose values go from ``low`` to ``high``."""
    if low >= 0:
        for top in (1.0, 255.0, 65535.0):
            if high <= top:
                return 0.0, top
    return low, high if high > low else low + 1


def _over_white(pixels: Pixels) -> Pixels:
    """Lay pictures with an alpha channel over white."""
    if pixels.shape[3] != 4:
        return np.ascontiguousarray(pixels)
    white = 255.0 if pixels.dtype == np.uint8 else 1.0
    share = pixels[..., 3:].astype(np.float32) / white
    mixed = pixels[..., :3] * share + white * (1 - share)
    return np.rint(mixed).astype(np.uint8) if pixels.dtype == np.uint8 else mixed


def _class_names(file: Path, names: Iterable[str], values: NDArray[Any]) -> list[str]:
    """Return the names of the labels that occur."""
    key = next((name for name in names if name.lower() in CLASSES), None)
    if key is not None and values.dtype.kind == "i":
        texts = as_labels(_load(file, [key])[key], f"{file} [{key}]")
        if texts.dtype.kind == "U" and values.min() >= 0 and values.max() < len(texts):
            return [str(texts[value]) for value in values]
    return [str(value) for value in values]
