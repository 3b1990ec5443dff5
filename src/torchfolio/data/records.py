"""The records of pictures: in files, or in one array."""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Indices, Records
from torchfolio.data.images import Pixels, decode

ALL = slice(None)


class ImageFiles:
    """Pictures in files below one folder, decoded when they are asked for."""

    array: None = None
    in_memory = False

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        digests: NDArray[np.uint64],
        sizes: NDArray[np.int64],
        channels: NDArray[np.int64],
        deep: NDArray[np.bool_],
    ) -> None:
        self.root = root
        self.names = list(names)  # relative to the root, with "/"
        self.sizes = sizes  # (count, 2): height and width
        self._digests = digests
        self._channels = channels  # (count,): 1 if grey by the file's format, 3 if colour, or more
        self._deep = deep  # (count,): more than 8 bits a value
        read_as = self.facts()
        self.channels, self.depth = read_as["channels"], read_as["depth"]

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return self.names[index]

    def path(self, index: int) -> Path:
        """Return where the file is."""
        return self.root / self.names[index]

    def facts(self, indices: Indices | slice = ALL) -> dict[str, Any]:
        """Return the facts of some pictures, or of all.

        One channel if all are grey by their format, three otherwise; a grey picture that is
        stored as RGB counts as colour. More than 8 bits if most pictures have them.
        """
        depth = 16 if self._deep[indices].mean() > 0.5 else 8
        return size_facts(self.sizes[indices], int(self._channels[indices].max()), depth)

    def pixels(self, index: int, depth: int | None = None) -> Pixels:
        """Return one picture, (height, width, channels), uint8, or float32 at depth 16.

        ``depth`` is that of most of the pictures unless given.
        """
        return decode(self.path(index), self.channels, depth or self.depth)

    def digests(self) -> NDArray[np.uint64]:
        return self._digests

    def unchanged(self, index: int) -> bool:
        """Return whether a file still holds what it held when the data were read."""
        return digest(self.path(index).read_bytes()) == int(self._digests[index])


class ImageArray:
    """Pictures of one size in memory; ``array`` (count, height, width, channels).

    ``array`` is uint8, or float32 in [0, 1] for data of more than 8 bits. ``sources`` names
    the files they came from, each with its number of pictures, in order.
    """

    in_memory = True

    def __init__(self, array: Pixels, sources: Sequence[tuple[str, int]]) -> None:
        self._array = array
        self.sources = [name for name, _ in sources]
        self.starts = [0, *np.cumsum([count for _, count in sources]).tolist()]

    def __len__(self) -> int:
        return len(self._array)

    @property
    def array(self) -> NDArray[np.uint8] | None:
        """All pictures as uint8, or ``None`` where they are deeper than 8 bits."""
        return self._array if self._array.dtype == np.uint8 else None

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each picture. Shape: (count, 2)."""
        return np.broadcast_to(np.array(self._array.shape[1:3], np.int64), (len(self), 2))

    def facts(self, indices: Indices | slice = ALL) -> dict[str, Any]:
        """Return the facts of some pictures, which are those of all."""
        del indices
        size = np.array([self._array.shape[1:3]])
        return size_facts(size, self._array.shape[3], 8 if self.array is not None else 16)

    def name(self, index: int) -> str:
        source = bisect_right(self.starts, index) - 1
        return f"{self.sources[source]}[{index - self.starts[source]}]"

    def pixels(self, index: int, depth: int | None = None) -> Pixels:
        """Return one picture, (height, width, channels), uint8 or float32 as the array is."""
        del depth
        return self._array[index]

    def batch(self, indices: Indices) -> Pixels:
        """Return a copy of several pictures, (count, height, width, channels)."""
        return self._array[indices]

    def digests(self) -> NDArray[np.uint64]:
        return self._digests

    @cached_property
    def _digests(self) -> NDArray[np.uint64]:
        rows = np.ascontiguousarray(self._array).reshape(len(self), -1)
        return np.fromiter((digest(row.data) for row in rows), np.uint64, len(rows))


def digest(content: Any) -> int:
    """Return 64 bits of BLAKE2b of some bytes."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def fingerprint(*parts: Any) -> str:
    """Return one digest, as 32 hexadecimal digits, of arrays and texts."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            data = np.ascontiguousarray(part)
            content = data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
        else:
            content = str(part).encode("utf-8", "surrogateescape")
        state.update(len(content).to_bytes(8, "little"))
        state.update(content)
    return state.hexdigest()


def contents_digest(records: Records, indices: Indices) -> str:
    """Return one digest of the contents of some examples, in the order of their names."""
    names = [records.name(index) for index in indices.tolist()]
    order = sorted(range(len(names)), key=names.__getitem__)
    return fingerprint(records.digests()[indices[order]])


def size_facts(sizes: NDArray[Any], channels: int, depth: int) -> dict[str, Any]:
    """Return the facts of pictures. ``sizes`` is (count, 2): height and width."""
    low, high = sizes.min(0), sizes.max(0)
    return {
        "channels": channels,
        "depth": depth,
        "size_min": [int(each) for each in low],
        "size_median": [int(each) for each in np.median(sizes, axis=0)],
        "size_max": [int(each) for each in high],
        "uniform": bool((low == high).all()),
    }
