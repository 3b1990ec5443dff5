"""Pictures of any size in overlapping tiles (Ronneberger et al., 2015, Figure 2).

A tile sees ``margin`` pixels more on each side than it answers for, and begins at a multiple of the
network's step, so that its answer is that of the whole picture. Where a network's scores lack a
border, the picture is mirrored beyond its edges.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

CORE = 512  # pixels of a side that a tile answers for
MARGIN = 128  # pixels that it sees beyond, where the network does not say how far it looks


@dataclass(frozen=True)
class Tile:
    """Rows and columns that a tile sees and, within, those that it answers for: [first, end)."""

    seen: tuple[int, int, int, int]  # top, bottom, left, right
    core: tuple[int, int, int, int]


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


def scores(network: nn.Module, images: Tensor, tile: Tile) -> Tensor:
    """Return the scores of a tile's core (batch, classes, rows, columns), float32.

    ``images`` (batch, channels, height, width) are whole pictures as the network takes them.
    """
    top, bottom, left, right = tile.seen
    first, end, start, stop = tile.core
    lost = int(getattr(network, "margin", 0))
    if lost:
        return without_border(network, images, tile, lost)
    found = network(images[..., top:bottom, left:right]).float()
    return found[..., first - top : end - top, start - left : stop - left]


def without_border(network: Any, images: Tensor, tile: Tile, lost: int) -> Tensor:
    """Return the scores of a core by a network whose scores lack so many pixels on each side."""
    first, end, start, stop = tile.core
    rows = mirrored(first - lost, network.input_side(end - first + 2 * lost), images.shape[-2])
    columns = mirrored(start - lost, network.input_side(stop - start + 2 * lost), images.shape[-1])
    seen = images[..., rows.to(images.device), :][..., columns.to(images.device)]
    return network(seen).float()[..., : end - first, : stop - start]


def mirrored(first: int, count: int, side: int) -> Tensor:
    """Return the places of a side that ``count`` places from ``first`` on show, mirrored beyond."""
    places = torch.arange(first, first + count)
    if side == 1:
        return torch.zeros_like(places)
    period = 2 * (side - 1)
    places = places.remainder(period)
    return torch.where(places < side, places, period - places)


def resampled(
    scores: Tensor, at: tuple[int, int], size: tuple[int, int], whole: tuple[int, int], box: Any
) -> Tensor:
    """Return scores at the pixels of a larger or smaller picture, bilinearly.

    ``scores`` (..., rows, columns) begin at ``at`` of maps of ``size``; ``whole`` is the size of
    the picture and ``box`` (top, bottom, left, right) what is wanted of it. The same as
    ``F.interpolate`` of the whole (corners not aligned).
    """
    top, bottom, left, right = box
    rows = sampled(scores, -2, top, bottom, size[0] / whole[0], size[0], at[0])
    return sampled(rows, -1, left, right, size[1] / whole[1], size[1], at[1])


def sampled(
    values: Tensor, axis: int, first: int, end: int, ratio: float, side: int, offset: int
) -> Tensor:
    """Return values at the places [first, end) along an axis, where each is ``ratio`` old ones."""
    places = ((torch.arange(first, end, dtype=torch.float64) + 0.5) * ratio - 0.5).clamp(
        0, side - 1
    )
    low = places.floor().long()
    share = (places - low).to(values.dtype)
    high = (low + 1).clamp_max(side - 1)
    shape = [1] * values.ndim
    shape[axis] = -1
    last = values.shape[axis] - 1
    below = values.index_select(axis, (low - offset).clamp(0, last).to(values.device))
    above = values.index_select(axis, (high - offset).clamp(0, last).to(values.device))
    return torch.lerp(below, above, share.view(shape).to(values.device))
