"""The slices of volumes with their masks, as records."""

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Indices
from torchfolio.data.images import Pixels
from torchfolio.data.mask_rules import MaskRule
from torchfolio.data.records import ALL, size_facts
from torchfolio.data.scenes import Classes
from torchfolio.data.volumes.files import read_volume
from torchfolio.data.volumes.volume import Axis, Volume, cut, shaded

HELD = 2**30  # bytes of volumes that are kept in memory


@dataclass(frozen=True)
class Pair:
    """A volume and its mask: names relative to the root, and the files that they consist of.

    ``window`` is what becomes black and white, ``spacing`` that of rows and columns of slices.
    """

    name: str
    files: tuple[Path, ...]
    mask: str
    window: tuple[float, float]
    spacing: tuple[float, float]
    shape: tuple[int, int]  # rows and columns of a slice
    count: int  # slices


class Shelf:
    """Volumes that were read, kept in memory as long as there is room. Threads share it."""

    def __init__(self, room: int = HELD) -> None:
        self.room = room
        self.held: OrderedDict[str, NDArray[Any]] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, name: str, read: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return a volume, reading it where it is not held."""
        with self.lock:
            if name in self.held:
                self.held.move_to_end(name)
                return self.held[name]
            found = self.held[name] = read()
            while (
                sum(each.nbytes for each in self.held.values()) > self.room and len(self.held) > 1
            ):
                self.held.popitem(last=False)
            return found


class SliceMasks:
    """The masks of slices: ``read(volume)`` gives that of a whole volume, as values of its file."""

    def __init__(
        self,
        of_slice: NDArray[np.int64],
        axis: Axis,
        rule: MaskRule,
        read: Callable[[int], NDArray[Any]],
        digests: NDArray[np.uint64],
    ) -> None:
        self.of_slice = of_slice  # (slices, 2): the volume, and the place along the axis
        self.axis = axis
        self.rule = rule
        self.read = read
        self.digests = digests
        self.shelf = Shelf()
        self.table: Classes | None = None

    def get(self, index: int) -> Classes:
        """Return the class of every pixel of a slice; raise ``DataError``."""
        volume, place = self.of_slice[index].tolist()
        values = self.shelf.get(str(volume), lambda: self.read(volume))
        found = self.rule.classes_of(cut(values, self.axis, place).astype(np.int32))
        return found if self.table is None else self.table[found]

    def renumbered(self, table: Classes) -> "SliceMasks":
        """Return the same masks with other classes: those of ``table`` (256,)."""
        found = copy.copy(self)
        found.table = table if self.table is None else table[self.table]
        return found


class Slices:
    """Slices of volumes, grey, from 0 to 1 (float32).

    ``factors`` (slices, 2) say how much larger rows and columns would be at the finest spacing of
    all volumes, so that a pixel is equally large in each.
    """

    array: None = None
    in_memory = False
    channels = 1
    depth = 16

    def __init__(
        self,
        pairs: Sequence[Pair],
        axis: Axis,
        of_slice: NDArray[np.int64],
        digests: NDArray[np.uint64],
        masks: SliceMasks,
    ) -> None:
        self.pairs = list(pairs)
        self.axis = axis
        self.of_slice = of_slice
        self.masks = masks
        self._digests = digests
        self.shelf = Shelf()
        shapes = np.array([each.shape for each in pairs], np.int64)
        self.sizes = shapes[of_slice[:, 0]]
        spacings = np.array([each.spacing for each in pairs])
        self.spacing = float(spacings.min())  # millimetres: that of the finest
        self.factors = (spacings / self.spacing)[of_slice[:, 0]]
        self.stamps = {file: stamp(file) for each in pairs for file in each.files}

    def __len__(self) -> int:
        return len(self.of_slice)

    def name(self, index: int) -> str:
        volume, place = self.of_slice[index].tolist()
        return f"{self.pairs[volume].name}[{place}]"

    @property
    def names(self) -> list[str]:
        """The names of all slices."""
        return [self.name(index) for index in range(len(self))]

    def facts(self, indices: Indices | slice = ALL) -> dict[str, Any]:
        """Return the facts of some slices, or of all; sizes at the finest spacing."""
        sizes = np.rint(self.sizes[indices] * self.factors[indices]).astype(np.int64)
        return size_facts(sizes, 1, 16)

    def pixels(self, index: int, depth: int | None = None) -> Pixels:
        """Return one slice, (height, width, 1), float32 from 0 to 1, or uint8 at depth 8."""
        volume, place = self.of_slice[index].tolist()
        pair = self.pairs[volume]
        found = shaded(cut(self.volume(volume), self.axis, place), pair.window)[..., None]
        return np.rint(found * 255).astype(np.uint8) if depth == 8 else found

    def volume(self, number: int) -> NDArray[Any]:
        """Return a whole volume."""
        files = self.pairs[number].files

        def read() -> NDArray[Any]:
            return read_files(files).array

        return self.shelf.get(str(number), read)

    def digests(self) -> NDArray[np.uint64]:
        return self._digests

    def unchanged(self, index: int) -> bool:
        """Return whether the files of a slice are what they were when the data were read."""
        volume = int(self.of_slice[index, 0])
        return all(stamp(file) == self.stamps[file] for file in self.pairs[volume].files)

    def renumbered(self, table: Classes) -> "Slices":
        """Return the same slices with other classes of their masks' pixels."""
        found = copy.copy(self)
        found.masks = self.masks.renumbered(table)
        return found


def read_files(files: Sequence[Path]) -> Volume:
    """Read the volume that files make up: one, or the slices of a DICOM series."""
    return read_volume(files[0]) if len(files) == 1 else read_volume(files[0].parent, files)


def stamp(file: Path) -> tuple[int, int]:
    """Return size and time of change of a file; -1 where it is gone."""
    try:
        found = file.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns
