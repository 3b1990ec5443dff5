"""Pictures at the size and with the channels that a network takes, by numpy alone.

An exported file answers without torch, and must see the very pixels that the network was trained
on. So 8-bit pictures are resampled here as torch does it, bit for bit: along the rows, then along
the columns, each value a sum of 8-bit values times whole weights of at most 15 bits (PyTorch,
aten/src/ATen/native/cpu/UpSampleKernel.cpp, "Weights computation for uint8_t and multiplication
trick"). Of deeper pictures, float32, the last bits may differ: torch's kernel rounds a product and
the sum that it goes into once, numpy each. Pictures are (height, width, channels).
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.bands import MOST, as_colours, require_channels
from torchfolio.data.images import Pixels, decode
from torchfolio.errors import DataError

WAYS = ("pad", "crop", "squash", "whole")
BITS = 15  # of a whole weight, at most
TOGETHER = 8  # places that are computed as one matrix product
Ways = list[tuple[slice, slice, NDArray[Any]]]  # places, what they read, and weights
ALONE = 2**18  # multiply-adds of a product that numpy's BLAS leaves to the thread that asks


def opened(source: Path | NDArray[Any], depth: int) -> Pixels:
    """Return the pixels of a file or an array as they are; raise ``DataError`` for what is none."""
    return decode(source, None, depth) if isinstance(source, Path) else checked(source)


def fitted(pixels: Pixels, takes: Mapping[str, Any]) -> Pixels:
    """Return pixels as a network takes them. Shape: (channels, size, size).

    ``takes`` holds "size", "channels", "depth" (8: uint8; 16: float32 in [0, 1]), "resize" and
    "fill".
    """
    pixels = with_channels(at_depth(pixels, takes["depth"]), takes["channels"])
    found = fit(pixels, takes["size"], takes["resize"], takes["fill"])
    return np.ascontiguousarray(np.moveaxis(found, -1, 0))


def checked(array: NDArray[Any]) -> Pixels:
    """Return an array as (height, width, channels), or say why it is no picture."""
    pixels = array[..., None] if array.ndim == 2 else array
    shape = pixels.ndim == 3 and 0 < pixels.shape[2] <= MOST and pixels.size > 0
    if not shape or pixels.dtype not in (np.uint8, np.float32, np.float64):
        raise DataError(
            f"An array of shape {array.shape} and type {array.dtype} is no picture: expected "
            "(height, width) or (height, width, channels), uint8 from 0 to 255 or floats from 0 "
            "to 1."
        )
    if pixels.dtype == np.uint8:
        return pixels
    if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
        raise DataError("An array of floats has values that are not from 0 to 1.")
    return pixels.astype(np.float32)


def at_depth(pixels: Pixels, depth: int) -> Pixels:
    """Return uint8 pixels, or float32 in [0, 1] at a depth of 16."""
    if depth == 8:
        return pixels if pixels.dtype == np.uint8 else np.rint(pixels * 255).astype(np.uint8)
    return pixels.astype(np.float32) / np.float32(255) if pixels.dtype == np.uint8 else pixels


def with_channels(pixels: Pixels, channels: int) -> Pixels:
    """Return pixels (height, width, channels) with 1 channel (grey), 3, or their own."""
    if pixels.shape[-1] == channels:
        return pixels
    require_channels(pixels.shape[-1], channels)
    pixels = pixels[..., : as_colours(pixels.shape[-1])]
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, -1)
    # ITU-R BT.601, as Pillow's: 0.299, 0.587, 0.114
    red, green, blue = np.split(pixels.astype(np.float32), 3, -1)
    grey = green + 0.299 * (red - green) + 0.114 * (blue - green)  # exact where all are equal
    return np.rint(grey).astype(np.uint8) if pixels.dtype == np.uint8 else grey


def fit(pixels: Pixels, size: int, how: str, fill: float) -> Pixels:
    """Return a picture as ``size`` x ``size``; ``how`` is as in :func:`placement`."""
    cut, resized = placement(pixels.shape[0], pixels.shape[1], size, how)
    found = resize(middle(pixels, *cut), *resized, most=size)
    height, width = found.shape[:2]
    if height == width == size:
        return found
    top, left = (size - height) // 2, (size - width) // 2
    sheet = np.full((size, size, found.shape[2]), fill, found.dtype)
    sheet[top : top + height, left : left + width] = found
    return sheet


def placement(
    height: int, width: int, size: int, how: str
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return what is cut out of the middle of a picture, and the size that it is then given.

    What then exceeds ``size`` is cut off, and what lacks is filled, evenly on both sides. ``how``:
    "pad" leaves pictures up to ``size`` as they are; "crop" resizes the shorter side to 8/7 of
    ``size`` (256 for 224: Krizhevsky et al., 2012, Section 2); "squash" resizes both sides; "whole"
    resizes the longer side, as "pad" does with larger pictures.
    """
    if how == "pad" and max(height, width) <= size:
        return (height, width), (height, width)
    if how == "squash" or height == width == size:
        return (height, width), (size, size)
    if how in ("whole", "pad"):
        scale = size / max(height, width)
        return (height, width), (max(1, round(height * scale)), max(1, round(width * scale)))
    side = round(size * 8 / 7)
    return sizes_of_shorter(height, width, side, side)


def sizes_of_shorter(
    height: int, width: int, shorter: int, longest: int | None = None
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return what is cut out of a picture whose shorter side is resized, and the size it is given.

    What exceeds ``longest`` afterwards is cut off evenly before.
    """
    short, long = sorted((height, width))
    scale = shorter / short
    if longest is not None and long * scale > longest:
        keep = -(-longest * short // shorter)  # in whole numbers: a fraction might round up
        height, width = min(height, keep), min(width, keep)
    size = max(shorter, round(height * scale)), max(shorter, round(width * scale))
    return (height, width), size


def middle(pixels: Pixels, height: int, width: int) -> Pixels:
    """Cut the middle out of a picture; a side that is no larger stays."""
    top, left = (max(0, each) // 2 for each in (pixels.shape[0] - height, pixels.shape[1] - width))
    return pixels[top : top + height, left : left + width]


def resize(pixels: Pixels, height: int, width: int, most: int | None = None) -> Pixels:
    """Resize bilinearly with antialiasing; the type, uint8 or float32, is kept.

    Of the result only the middle is computed, ``most`` rows and columns of it, where that is given.
    """
    deep = pixels.dtype != np.uint8
    rows, columns = (central(side, most) for side in (height, width))
    down: Ways = []
    if pixels.shape[0] == height:
        pixels = pixels[slice(*rows)]
    else:
        read, down = products(pixels.shape[0], height, 1, deep, *rows)
        pixels = pixels[read]
    if pixels.shape[1] == width:
        pixels = pixels[:, slice(*columns)]
    else:
        read, along = products(pixels.shape[1], width, pixels.shape[2], deep, *columns)
        pixels = resampled_rows(pixels[:, read], columns[1] - columns[0], along)
    return resampled_columns(pixels, rows[1] - rows[0], down) if down else pixels


def central(side: int, most: int | None) -> tuple[int, int]:
    """Return the beginning and the end of the middle of a side."""
    if most is None or most >= side:
        return 0, side
    return (side - most) // 2, (side - most) // 2 + most


def resampled_rows(pixels: Pixels, wanted: int, ways: Ways) -> Pixels:
    """Resample along the rows. Shape: (height, size, channels) -> (height, wanted, channels)."""
    height, size, channels = pixels.shape
    lines = pixels.reshape(height, size * channels)
    result = np.empty((height, wanted * channels), pixels.dtype)
    for places, read, weights in ways:
        for part in parts(height, weights.size):
            values = lines[part, read].astype(weights.dtype)
            result[part, places] = rounded(values @ weights.T, pixels.dtype)
    return result.reshape(height, wanted, channels)


def resampled_columns(pixels: Pixels, wanted: int, ways: Ways) -> Pixels:
    """Resample along the columns. Shape: (size, width, channels) -> (wanted, width, channels)."""
    size, width, channels = pixels.shape
    lines = pixels.reshape(size, width * channels)
    result = np.empty((wanted, width * channels), pixels.dtype)
    for places, read, weights in ways:
        values = lines[read].astype(weights.dtype)
        for part in parts(width * channels, weights.size):
            result[places, part] = rounded(weights @ values[:, part], pixels.dtype)
    return result.reshape(wanted, width, channels)


def rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values from which uint8 takes the nearest whole number; others as they are."""
    return values + 0.5 if dtype == np.uint8 else values


def parts(count: int, size: int) -> list[slice]:
    """Cut an axis so that its products with a matrix of so many values are small enough."""
    step = max(1, ALONE // size)
    return [slice(start, start + step) for start in range(0, count, step)]


@lru_cache(maxsize=256)
def products(
    size: int, wanted: int, channels: int, deep: bool, start: int, stop: int
) -> tuple[slice, Ways]:
    """Return how an axis is resampled: what is read of it, and how it becomes new places.

    The ways are new places, the old ones that they read, and the weights. Of the ``wanted`` new
    places they are those from ``start`` to ``stop``, and old ones count from the first that is
    read. Neighbours read much the same, so a few of them together are a matrix product. It gives
    exactly what whole numbers would: up to 16 bits behind the point and 8 before it are the 24 of
    float32; where there are more, it is in float64. Each place has ``channels`` values in a row.
    """
    first, weights, bits = weights_of(size, wanted, deep)
    first, weights = first[start:stop], weights[start:stop]
    lowest, highest = int(first.min()), min(size, int(first.max()) + weights.shape[1])
    kind = np.float32 if deep or bits <= 16 else np.float64
    found = []
    for begun in range(0, stop - start, TOGETHER):
        places = slice(begun, min(begun + TOGETHER, stop - start))
        reads = first[places, None] + np.arange(weights.shape[1])
        begin, end = int(reads.min()), int(reads.max()) + 1
        matrix = np.zeros((len(reads), end - begin), kind)
        np.put_along_axis(matrix, reads - begin, weights[places] * kind(2.0**-bits), 1)
        end = min(end, size)  # beyond it weights are zero
        matrix = np.kron(matrix[:, : end - begin], np.eye(channels, dtype=kind))
        read = slice(begin - lowest, end - lowest)
        found.append((times(places, channels), times(read, channels), matrix))
    return slice(lowest, highest), found


def times(places: slice, channels: int) -> slice:
    """Return where the values of places are, ``channels`` each."""
    return slice(places.start * channels, places.stop * channels)


def weights_of(size: int, wanted: int, deep: bool) -> tuple[NDArray[np.int64], NDArray[Any], int]:
    """Return what each new place along an axis reads: its first old place, and weights from there.

    Shapes: (wanted,) and (wanted, most). The weights form a triangle that reaches over one new
    place to each side, or one old place where the picture grows. They are float32 for ``deep``
    pictures, else whole numbers, in units of 2 ** -bits; ``bits`` comes third. What torch computes
    in double or in single precision is computed so here.
    """
    kind: Any = np.float32 if deep else np.float64
    scale = kind(size) / kind(wanted)
    reach = max(scale, kind(1))
    centre = (float(scale) * (np.arange(wanted) + 0.5)).astype(kind)
    first = np.maximum(truncated(centre - reach), 0)
    count = np.minimum(truncated(centre + reach), size) - first
    places = np.arange(min(count.max(), 2 * math.ceil(reach) + 1))
    offset = (first[:, None] + places).astype(kind) - centre[:, None]
    inverse = float(kind(1 / float(reach)))
    distance = np.abs(((offset.astype(np.float64) + 0.5) * inverse).astype(kind))
    weights = np.maximum(1 - distance, 0) * (places < count[:, None])
    weights /= np.cumsum(weights, 1)[:, -1:]  # one after another, as torch adds them
    if deep:
        return first, weights, 0
    most = weights.max()
    bits = next((each for each in range(22) if int(0.5 + most * 2 ** (each + 1)) >= 2**BITS), 22)
    return first, (0.5 + weights * 2**bits).astype(np.int32), bits


def truncated(positions: NDArray[Any]) -> NDArray[np.int64]:
    """Return positions plus a half without their fraction."""
    return (positions.astype(np.float64) + 0.5).astype(np.int64)
