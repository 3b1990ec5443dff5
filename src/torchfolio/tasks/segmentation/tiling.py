"""How a picture of any size is cut into overlapping tiles (Ronneberger et al., 2015, Figure 2).

A tile sees a ``margin`` of pixels more on each side than it answers for, and begins at a multiple
of the network's step. Where scores look no further, its answer is that of the whole picture, unless
layers depend on the size of what they see: those that enlarge with corners aligned, or to the size
of a picture that is no multiple of their step. At the picture's own edges tiles end, and networks
pad their maps there, as in training; only where scores lack a border is the picture mirrored beyond
its edges (:func:`mirrored`). Runs and exported files, which answer without torch, cut alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CORE = 512  # pixels of a side that a tile answers for
MARGIN = 128  # pixels that it sees beyond, where the network does not say how far it looks
TYPICAL_STEP = 32  # pixels for one of a network's smallest map, where it does not say
EDGE = 2  # scores beyond a core, from which those of a picture of another size are interpolated
VALUES = 2**23  # scores that are looked at at once: 32 MiB

Box = tuple[int, int, int, int]  # top, bottom, left, right


@dataclass(frozen=True)
class Tile:
    """Rows and columns that a tile sees and, within, those that it answers for: [first, end)."""

    seen: Box
    core: Box

    def wider(self, edge: int) -> "Tile":
        """Return the tile with a core that is larger by an edge, as far as it sees."""
        top, bottom, left, right = self.seen
        first, end, start, stop = self.core
        core = (max(first - edge, top), min(end + edge, bottom))
        return Tile(self.seen, (*core, max(start - edge, left), min(stop + edge, right)))

    def enlarged(self, size: tuple[int, int], whole: tuple[int, int]) -> Box:
        """Return where the core of a picture of a ``size`` lies in the picture at another size."""
        first, end, start, stop = self.core
        rows = (-(-first * whole[0] // size[0]), -(-end * whole[0] // size[0]))
        return *rows, -(-start * whole[1] // size[1]), -(-stop * whole[1] // size[1])


def tiles(height: int, width: int, margin: int, step: int) -> Iterator[Tile]:
    """Yield the tiles of a picture; one sees all of a picture that is not much larger than one."""
    rows, columns = spans(height, margin, step), spans(width, margin, step)
    for (top, bottom), (first, end) in rows:
        for (left, right), (start, stop) in columns:
            yield Tile((top, bottom, left, right), (first, end, start, stop))


def spans(side: int, margin: int, step: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return what tiles see of a side, and what they answer for."""
    if side <= CORE + 2 * margin:
        return [((0, side), (0, side))]
    core = max(step, CORE // step * step)
    around = -(-margin // step) * step
    starts = range(0, side, core)
    return [
        (
            (max(0, start - around), min(side, start + core + around)),
            (start, min(side, start + core)),
        )
        for start in starts
    ]


def bands(box: Box, classes: int) -> Iterator[Box]:
    """Cut a box into boxes of a few rows, whose scores are looked at at once."""
    top, bottom, left, right = box
    step = max(1, VALUES // (classes * max(1, right - left)))
    for row in range(top, bottom, step):
        yield row, min(bottom, row + step), left, right


def mirrored(first: int, count: int, side: int) -> NDArray[np.int64]:
    """Return the places of a side that ``count`` places from ``first`` on show, mirrored beyond."""
    places = np.arange(first, first + count)
    if side == 1:
        return np.zeros_like(places)
    places = places % (2 * (side - 1))
    return np.where(places < side, places, 2 * (side - 1) - places)
