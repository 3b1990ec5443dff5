"""What a network says of the tiles of a picture, and of the picture at another size."""

from typing import Any

import torch
from torch import Tensor, nn

from torchfolio.tasks.segmentation.tiling import Tile, mirrored


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
    where = [torch.from_numpy(each).to(images.device) for each in (rows, columns)]
    seen = images[..., where[0], :][..., where[1]]
    return network(seen).float()[..., : end - first, : stop - start]


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
