"""Pictures kept after they were first made: in the cache folder, or in memory where it cannot be.

An entry of the cache is a folder: ``pixels`` has a slot for each picture, ``sums`` a checksum for
each slot, zero where the slot is empty. Processes share it: whoever makes a picture first writes
its slot and then its checksum, and the others read it; two at once write the same. A slot whose
checksum does not fit (a power failure, a damaged disk) is made anew.
"""

import os
import shutil
import threading
import weakref
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchfolio.data import cache
from torchfolio.data.dataset import Indices
from torchfolio.errors import FolioError, RequestError

SMALL = 64 * 2**20  # bytes: pictures of one size that take no more are kept in memory as well
SHARE = 0.8  # of the cache: what one dataset's pictures may take of it


def memory_budget() -> int:
    """Return a quarter of the machine's memory in bytes, or 2 GiB where that is not known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (AttributeError, ValueError, OSError):
        return 2 * 2**30


class PictureStore:
    """Pictures of known sizes, each made once and then read.

    ``make(index)`` gives one picture (channels, height, width); ``sizes`` (count, 2) are the
    heights and widths that it has. ``key`` names the entry of the cache: the same pictures, made
    the same way. Where the cache cannot be written, or has no room, as many as fit into ``budget``
    bytes are kept in memory. ``same(index)`` says whether a picture still is the one that ``key``
    stands for: where its file was changed meanwhile, it is not kept. Several threads may ask at
    once.
    """

    def __init__(
        self,
        make: Callable[[int], Tensor],
        sizes: NDArray[np.int64],
        channels: int,
        dtype: torch.dtype,
        key: str,
        budget: int | None = None,
        same: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self.make = make
        self.same = same
        self.sizes = sizes
        self.channels = channels
        self.dtype = dtype
        lengths = sizes.astype(np.int64).prod(1) * channels * dtype.itemsize
        self.offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        self.slots = open_slots(key, self.offsets)
        self.kept: dict[int, Tensor] = {}
        self.left = memory_budget() if budget is None else budget
        self._lock = threading.Lock()  # of ``left`` and ``kept``
        uniform = bool(len(sizes)) and bool((sizes == sizes[0]).all())
        self.small = self._empty(len(sizes)) if uniform and self.offsets[-1] <= SMALL else None
        self.ready = np.zeros(len(sizes), bool)  # of ``small``

    def get(self, index: int) -> Tensor:
        """Return one picture (channels, height, width); it must not be changed."""
        if index in self.kept:
            return self.kept[index]
        height, width = self.sizes[index]
        if self.slots is not None:
            pixels = self._empty(1, height, width)
            if self.slots.read(index, pixels):
                return torch.from_numpy(pixels[0])
        picture = self.make(index)
        if tuple(picture.shape) != (self.channels, height, width) or not self.same(index):
            return picture
        if self.slots is None or not self.slots.write(index, picture.numpy()):
            self._keep(index, picture)
        return picture

    def holds(self, index: int) -> bool:
        """Return whether a picture has been made and kept, as far as is known."""
        slots = self.slots
        written = slots is not None and index < len(slots.sums) and bool(slots.sums[index])
        return written or index in self.kept or bool(self.ready[index])

    def missing(self, indices: Indices) -> Indices:
        """Return those of some pictures that this store does not hold yet."""
        return indices[[not self.holds(index) for index in indices.tolist()]]

    def batch(self, indices: Indices) -> Tensor:
        """Return pictures of one size as one batch, owned by the caller."""
        if self.small is not None:
            for index in np.unique(indices[~self.ready[indices]]).tolist():
                self.small[index] = self.get(index).numpy()
                self.ready[index] = True
            pixels = self.small[indices]
        else:
            pixels = self._empty(len(indices))
            for row, index in enumerate(indices.tolist()):
                pixels[row] = self.get(index).numpy()
        return torch.from_numpy(pixels)

    def _empty(
        self, count: int, height: int | None = None, width: int | None = None
    ) -> NDArray[Any]:
        """Return room for pictures (count, channels, height, width)."""
        if height is None or width is None:
            height, width = self.sizes[0]
        kind = np.uint8 if self.dtype == torch.uint8 else np.float32
        return np.empty((count, self.channels, height, width), kind)

    def _keep(self, index: int, picture: Tensor) -> None:
        """Keep a picture in memory while there is room."""
        if self.small is not None:
            return  # it is kept there
        size = picture.numel() * picture.element_size()
        with self._lock:
            if size <= self.left and index not in self.kept:
                self.left -= size
                self.kept[index] = picture


class Slots:
    """The slots of one entry of the cache: as many as had room when it was made."""

    def __init__(self, folder: Path, offsets: NDArray[np.int64]) -> None:
        self.offsets = offsets
        self.pixels = (folder / "pixels").open("r+b", buffering=0)
        weakref.finalize(self, self.pixels.close)
        self.notes = (folder / "sums").open("r+b", buffering=0)
        weakref.finalize(self, self.notes.close)
        self.sums = np.frombuffer(bytearray(self.notes.read()), np.uint64)
        if (folder / "pixels").stat().st_size != offsets[len(self.sums)]:
            raise OSError("an entry of another size")
        self.checked = np.zeros(len(self.sums), bool)
        self._lock = threading.Lock()  # where the system cannot read at a place in one call

    def read(self, index: int, pixels: NDArray[Any]) -> bool:
        """Fill an array with what a slot holds; return whether it holds the picture."""
        if index >= len(self.sums) or not (self.sums[index] or self.filled_since(index)):
            return False
        try:
            whole = read_at(self.pixels, pixels, int(self.offsets[index]), self._lock)
        except OSError:
            whole = False
        if whole and not self.checked[index]:
            self.checked[index] = whole = checksum(pixels) == self.sums[index]
        return whole

    def filled_since(self, index: int) -> bool:
        """Return whether another process has filled a slot since its checksum was read."""
        total = np.zeros(1, np.uint64)
        try:
            if read_at(self.notes, total, 8 * index, self._lock):
                self.sums[index] = total[0]
        except OSError:
            return False
        return bool(self.sums[index])

    def write(self, index: int, pixels: NDArray[Any]) -> bool:
        """Fill a slot; return whether that was possible (the disk may be full)."""
        if index >= len(self.sums):
            return False
        pixels = np.ascontiguousarray(pixels)
        total = np.array([checksum(pixels)], np.uint64)
        try:
            written = write_at(self.pixels, pixels, int(self.offsets[index]), self._lock)
            written = written and write_at(self.notes, total, 8 * index, self._lock)
        except OSError:
            return False
        if written:
            self.sums[index], self.checked[index] = total[0], True
        return written


def checksum(pixels: NDArray[Any]) -> int:
    """Return the checksum of an array's bytes; it is never zero."""
    return zlib.crc32(pixels.data) + 1


def read_at(file: Any, array: NDArray[Any], offset: int, lock: threading.Lock) -> bool:
    """Fill an array from a place in a file; return whether there was enough."""
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [array.data.cast("B")], offset) == array.nbytes
    with lock:
        file.seek(offset)
        return bool(file.readinto(array.data.cast("B")) == array.nbytes)


def write_at(file: Any, array: NDArray[Any], offset: int, lock: threading.Lock) -> bool:
    """Write an array to a place in a file; return whether there was room."""
    if hasattr(os, "pwrite"):
        return os.pwrite(file.fileno(), array.data.cast("B"), offset) == array.nbytes
    with lock:
        file.seek(offset)
        return bool(file.write(array.data.cast("B")) == array.nbytes)


def open_slots(key: str, offsets: NDArray[np.int64]) -> Slots | None:
    """Return the slots of an entry, made where it is missing or damaged.

    ``None`` without room, or without the right to write there.
    """
    folder = cache.cache_folder() / "pictures" / key
    for _ in range(2):
        try:
            if not (folder / cache.SIZE_NOTE).is_file():
                make_entry(folder, offsets)
            os.utime(folder)
            return Slots(folder, offsets)
        except PermissionError:  # an entry, or a cache, of another user
            return None
        except (OSError, ValueError, IndexError):
            cache.remove(folder)  # and once more
        except RequestError:  # a limit that is no size
            raise
        except FolioError:  # no room
            return None
    return None


def make_entry(folder: Path, offsets: NDArray[np.int64]) -> None:
    """Make an entry with empty slots: for all pictures, or for as many as the cache may hold."""
    sizes = offsets + 8 * np.arange(len(offsets))  # of the first so many pictures
    slots = int(np.searchsorted(sizes, SHARE * cache.cache_limit(), side="right")) - 1
    size = int(sizes[slots])
    with cache.held():
        if (folder / cache.SIZE_NOTE).is_file():  # made by another process meanwhile
            return
        cache.make_room(size)
        work = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        (work / "sums").write_bytes(bytes(8 * slots))
        with (work / "pixels").open("wb") as file:
            file.truncate(int(offsets[slots]))  # takes room on the disk as it is filled
        (work / cache.SIZE_NOTE).write_text(str(size), encoding="utf-8")
        try:
            work.rename(folder)
        except OSError:
            shutil.rmtree(work, ignore_errors=True)
            if not (folder / cache.SIZE_NOTE).is_file():  # so it was, without a lock
                raise
