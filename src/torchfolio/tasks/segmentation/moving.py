"""Moving the pixels of a picture and of its labels alike: cut out, scaled, turned, bent.

Labels (kinds, height, width), uint8, are the classes of pixels, and what else belongs to them; they
take the nearest pixel where the picture is interpolated. What comes from beyond is mirrored.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from torchfolio.tasks.segmentation.tiling import mirrored

GRID, SIGMA = 3, 10.0  # pixels (Ronneberger et al., 2015, Section 3.1)


def nearest(labels: Tensor, height: int, width: int) -> Tensor:
    """Return labels at another size: of each new pixel what lies at its centre."""
    if tuple(labels.shape[-2:]) == (height, width):
        return labels
    return F.interpolate(labels[None], size=(height, width), mode="nearest-exact")[0]


def windowed(picture: Tensor, top: int, left: int, window: int, fill: int | None) -> Tensor:
    """Cut a window out of (channels, height, width); beyond it is mirrored, or filled."""
    cut = picture[:, top : top + window, left : left + window]
    down, across = window - cut.shape[1], window - cut.shape[2]
    if not (down or across):
        return cut
    before = (across // 2, across - across // 2, down // 2, down - down // 2)
    if fill is not None:
        return F.pad(cut, before, value=fill)
    rows = mirrored(-(down // 2), window, cut.shape[1])
    columns = mirrored(-(across // 2), window, cut.shape[2])
    return cut[:, rows][:, :, columns]


def displacements(side: int, numbers: Sequence[float] | NDArray[np.float64]) -> Tensor:
    """Return smooth moves (2, side, side), down and across, in pixels: bicubic on a coarse grid.

    ``numbers``: 18 uniform ones, two for each of the 3x3 normal displacements with a standard
    deviation of 10 pixels (Ronneberger et al., 2015, Section 3.1).
    """
    drawn = torch.from_numpy(np.asarray(numbers, np.float64)).clamp(1e-6, 1 - 1e-6)
    coarse = (torch.special.ndtri(drawn) * SIGMA).view(1, 2, GRID, GRID).float()
    return F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)[0]


def moved(
    image: Tensor, labels: Tensor, degrees: float = 0.0, moves: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Turn a square picture and its labels to the left around their middle, and bend them.

    ``moves`` (2, side, side) say how far below and right of it each pixel lies that is shown.
    """
    side = image.shape[-1]
    middle = (side - 1) / 2
    line = torch.arange(side, dtype=torch.float32) - middle
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    rows = cosine * line[:, None] + sine * line[None, :]
    columns = cosine * line[None, :] - sine * line[:, None]
    if moves is not None:
        rows, columns = rows + moves[0], columns + moves[1]
    grid = torch.stack([columns, rows], -1)[None] / max(middle, 0.5)  # -1 and 1 are the outer ones
    how: dict[str, Any] = {"grid": grid, "padding_mode": "reflection", "align_corners": True}
    found = F.grid_sample(image[None].float(), mode="bilinear", **how)[0]
    if image.dtype == torch.uint8:
        found = found.round().clamp(0, 255).to(torch.uint8)
    shown = F.grid_sample(labels[None].float(), mode="nearest", **how)[0]
    return found, shown.to(labels.dtype)
