"""IDX files: MNIST and its relatives."""

import gzip
import re
import struct
import zlib
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Indices, Progress, Reader
from torchfolio.data.folders import entries, innermost
from torchfolio.data.images import Pixels
from torchfolio.data.readers.pictures import array_dataset
from torchfolio.data.text_table import read_text
from torchfolio.errors import DataError

PATTERN = re.compile(
    r"(?P<set>.*?)(?P<what>images?|labels?)[-_.]idx\d-ubyte(\.gz)?$", re.IGNORECASE
)
UNSIGNED_BYTE = 0x08  # the third byte of an IDX file: the type of its values
CHUNK = 2**24


class Pair(NamedTuple):
    """The pictures of one split and their labels."""

    images: Path
    labels: Path


class Idx(Reader):
    """``train-images-idx3-ubyte`` beside ``train-labels-idx1-ubyte``, and ``t10k`` or ``test``.

    Gzipped or not. Classes are the labels in order, or the lines of ``classes.txt`` beside.
    Record: a picture of an array, and its label.
    """

    name: ClassVar[str] = "idx"
    reads: ClassVar[str] = "IDX files named as MNIST's (train-images-idx3-ubyte, also .gz)"
    kind: ClassVar[str] = "image-classification"

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        pairs = find_pairs(path)
        if not pairs:
            return None
        return "IDX files: " + ", ".join(pair.images.name for pair in pairs.values())

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        pairs = find_pairs(path)
        if not pairs:
            raise DataError(f"{path} holds no IDX pair: {self.reads} were expected.")
        arrays = {split: read_pair(pair) for split, pair in pairs.items()}
        shapes = {array.shape[1:] for array, _ in arrays.values()}
        if len(shapes) > 1:
            raise DataError(
                f"{path}: the splits differ in the size of their pictures ({shapes}). Give the "
                "file of one of them."
            )
        values = np.unique(np.concatenate([labels for _, labels in arrays.values()]))
        folder = innermost(path) if path.is_dir() else path.parent
        classes = class_names(folder, values)
        parts = {
            split: (
                array,
                np.searchsorted(values, labels),
                [(pairs[split].images.name, len(array))],
            )
            for split, (array, labels) in arrays.items()
        }
        return array_dataset(reader=self, path=path, parts=parts, classes=classes)


def find_pairs(path: Path) -> dict[str, Pair]:
    """Return the pair of each split, by names alone."""
    if path.is_file():
        match = PATTERN.match(path.name)
        if not match:
            return {}
        for what in _groups(path.parent, match["set"]).values():
            if "i" in what and "l" in what and path in what.values():
                return {"train": Pair(what["i"], what["l"])}
        raise DataError(
            f"{path} has no partner: its {'labels' if match['what'][0] in 'iI' else 'images'} "
            "were expected in the same folder, under the same name."
        )
    if not path.is_dir():
        return {}
    found: dict[str, Pair] = {}
    for name, what in _groups(innermost(path), None).items():
        if "i" not in what or "l" not in what:
            continue
        split = "test" if re.search(r"t10k|test", name) else "val" if "val" in name else "train"
        if split in found:
            raise DataError(
                f"{path} holds more than one IDX set: {found[split].images.name} and "
                f"{what['i'].name}. Give the images file of the one you mean."
            )
        found[split] = Pair(what["i"], what["l"])
    return found


def _groups(folder: Path, only: str | None) -> dict[str, dict[str, Path]]:
    """Return the files by set ("train-") and by what they hold ("i" or "l"), plain before .gz."""
    groups: dict[str, dict[str, Path]] = {}
    for name in entries(folder)[1]:
        match = PATTERN.match(name)
        if match and only in (None, match["set"]):
            files = groups.setdefault(match["set"].lower(), {})
            files.setdefault(match["what"][0].lower(), folder / name)
    return groups


def read_pair(pair: Pair) -> tuple[Pixels, Indices]:
    """Return pictures (count, height, width, channels) as uint8 and labels (count,)."""
    images, labels = read_idx(pair.images, (3, 4)), read_idx(pair.labels, (1,))
    if len(images) != len(labels):
        raise DataError(
            f"{pair.images} holds {len(images):,} pictures, {pair.labels.name} {len(labels):,} "
            "labels: the two files do not belong together."
        )
    images = images[..., None] if images.ndim == 3 else images
    if images.shape[3] not in (1, 3):
        raise DataError(
            f"{pair.images}: pictures have {images.shape[3]} channels; 1 or 3 are read."
        )
    return images, labels.astype(np.int64)


def read_idx(path: Path, dimensions: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped or not, with one of the numbers of dimensions."""
    try:
        with path.open("rb") as probe:
            zipped = probe.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0":
                raise DataError(
                    f"{path} is no IDX file: it begins with {head.hex(' ') or 'nothing'}, where "
                    "00 00 08 and the number of dimensions were expected."
                )
            if head[2] != UNSIGNED_BYTE or head[3] not in dimensions:
                raise DataError(
                    f"{path} is an IDX file of type {head[2]:#04x} with {head[3]} dimensions; "
                    f"unsigned bytes (0x08) with {' or '.join(map(str, dimensions))} were expected."
                )
            sizes = file.read(4 * head[3])
            if len(sizes) < 4 * head[3]:
                raise DataError(f"{path} is cut off within its header.")
            shape = struct.unpack(f">{head[3]}I", sizes)
            count = 1
            for size in shape:
                count *= size
            content = bytearray()
            while len(content) <= count and (
                chunk := file.read(min(CHUNK, count + 1 - len(content)))
            ):
                content += chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is a damaged gzip file ({error}). Fetch it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) != count:
        found = f"{len(content):,}" if len(content) < count else "more"
        raise DataError(
            f"{path}: its header announces {' x '.join(map(str, shape))} = {count:,} bytes, "
            f"and {found} follow. Fetch it again."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def class_names(folder: Path, values: Indices) -> list[str]:
    """Return the names of the labels: lines of ``classes.txt``, or the labels themselves."""
    file = folder / "classes.txt"
    if file.is_file():
        lines = [line.strip() for line in read_text(file).splitlines()]
        names = [line for line in lines if line]
        if int(values.max()) < len(names):
            return [names[int(value)] for value in values]
    return [str(int(value)) for value in values]
