"""Heat: how much each place of a picture counts, and how it is laid over the picture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BATCH = 16  # pictures explained at a time

# From unseen to decisive: transparent indigo, magenta, orange, yellow (lightness rises throughout,
# so that it reads without colour).
COLOURS = np.array([[45, 20, 110], [150, 30, 130], [230, 85, 70], [252, 165, 30], [250, 245, 120]])


@dataclass(frozen=True)
class Heat:
    """How much each place counts: (height, width) in 0..1, as large as the network's input.

    ``low`` and ``high`` say what 0 and 1 stand for.
    """

    values: NDArray[np.float32]
    low: str
    high: str


def between(cells: int, places: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return what each cell counts at places given in cells, linearly: (places, cells).

    Each row sums to one; beyond the outermost cells these count alone.
    """
    inside = np.clip(places.astype(np.float64), 0, cells - 1)
    return np.maximum(0, 1 - np.abs(inside[:, None] - np.arange(cells)))


def tiled(cells: int, pixels: int) -> NDArray[np.float64]:
    """Return what each cell counts at each pixel, where cells tile a picture: (pixels, cells).

    What bilinear interpolation does along one axis.
    """
    return between(cells, (np.arange(pixels) + 0.5) / pixels * cells - 0.5)


def spread(
    maps: NDArray[np.floating], rows: NDArray[np.floating], columns: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Spread maps (batch, rows, columns) over pixels (batch, height, width).

    ``rows`` (height, rows) and ``columns`` (width, columns) are what each cell counts at each
    pixel, as from :func:`tiled`.
    """
    return (rows @ maps @ columns.T).astype(np.float32)


def overlay(picture: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Lay heat (height, width) in 0..1 over a picture (height, width[, 1 or 3]): (..., 3).

    The picture turns grey so that the only colour is that of the heat, which covers up to 75 %.
    """
    picture = picture.reshape(*picture.shape[:2], -1)[..., :3].astype(np.float32)
    red, green, blue = picture[..., 0], picture[..., picture.shape[2] // 2], picture[..., -1]
    grey = 0.299 * red + 0.587 * green + 0.114 * blue  # luma of ITU-R BT.601
    heat = np.clip(heat, 0, 1)
    steps = np.linspace(0, 1, len(COLOURS))
    colour = np.stack([np.interp(heat, steps, COLOURS[:, channel]) for channel in range(3)], 2)
    cover = 0.75 * heat[..., None]
    return np.round((1 - cover) * grey[..., None] + cover * colour).astype(np.uint8)
