"""Pictures of any number of channels: NumPy's arrays, and TIFF files of more bands than colours.

A ``.npy`` file holds (height, width) or (height, width, channels); of a TIFF file with more bands
than red, green, blue and transparency tifffile (an extra) gives them. Segmentation takes all
channels; where grey or colour are wanted, the first three are colour, of two the first is grey.
"""

import logging
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.errors import DataError

ARRAY = ".npy"
TIFF = (".tif", ".tiff")
MOST = 512  # channels of a picture
MOST_PIXELS = 178_956_970  # of all channels together, as of ordinary pictures
COLOURS = (1, 3)  # channels of ordinary pictures


def read_array(data: bytes) -> NDArray[Any]:
    """Return a picture in a .npy file: (height, width, channels), as its values are.

    Raises ``DataError`` for a damaged file, and for an array that is no picture.
    """
    try:
        found: NDArray[Any] = np.load(BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"damaged or no array ({error})") from error
    found = found[..., None] if found.ndim == 2 else found
    numeric = found.dtype.kind in "bui" or found.dtype.kind == "f"
    if found.ndim != 3 or not found.size or not numeric:
        shape = "x".join(map(str, found.shape))
        raise DataError(
            f"an array {shape} of {found.dtype} is no picture: (height, width) or (height, width, "
            "channels) of numbers was expected"
        )
    require_size(found)
    return found


def read_tiff(data: bytes) -> NDArray[Any]:
    """Return the bands of a TIFF file (height, width, channels); raise ``DataError``."""
    try:
        import tifffile
    except ImportError as error:
        raise DataError(
            "a TIFF file of several bands needs tifffile: pip install 'torchfolio[medical]'"
        ) from error
    logger = logging.getLogger("tifffile")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)  # of a damaged file it logs hundreds of lines
    try:
        with tifffile.TiffFile(BytesIO(data)) as opened:
            series = opened.series[0]
            found: NDArray[Any] = series.asarray()
            axes = series.axes
    except Exception as error:  # whatever a damaged file leads it to
        raise DataError(f"damaged or cut off ({str(error) or type(error).__name__})") from error
    if found.ndim == 2:
        return found[..., None]
    bands = next((axes.index(each) for each in "SCQI" if each in axes), -1)
    if found.ndim != 3 or not {"Y", "X"} <= set(axes) or bands < 0:
        raise DataError(f"bands in the order {axes} are no picture")
    found = np.moveaxis(found, bands, -1)
    require_size(found)
    return found


def require_size(pixels: NDArray[Any]) -> None:
    """Raise for a picture of too many channels or pixels."""
    if pixels.shape[2] > MOST:
        raise DataError(f"{pixels.shape[2]:,} channels; up to {MOST} are read")
    if pixels.size > 3 * MOST_PIXELS:
        raise DataError(f"{pixels.size:,} values; up to {3 * MOST_PIXELS:,} are read")


def scaled(pixels: NDArray[Any], depth: int) -> NDArray[Any]:
    """Return values as uint8 at a depth of 8, as float32 in [0, 1] at one of 16.

    8-bit values are 255ths, 16-bit ones 65,535ths. Floating point is taken as it is where it lies
    in [0, 1]; it, and wider whole numbers, are otherwise scaled by the picture's own range, over
    all its channels; what is no number counts as the smallest value.
    """
    if pixels.dtype == np.uint8 or pixels.dtype == bool:
        whole = pixels.astype(np.uint8) * np.uint8(255 if pixels.dtype == bool else 1)
        return whole if depth == 8 else whole.astype(np.float32) / np.float32(255)
    values = pixels.astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if pixels.dtype == np.uint16 or (pixels.dtype.kind in "ui" and low >= 0 and high <= 65535):
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    span = high - low if high > low else 1.0
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    values = np.clip((values - low) / span, 0, 1)
    return np.rint(values * 255).astype(np.uint8) if depth == 8 else values.astype(np.float32)


def is_deep(pixels: NDArray[Any]) -> bool:
    """Return whether values have more than 8 bits."""
    return pixels.dtype != np.uint8 and pixels.dtype != bool


def require_channels(found: int, wanted: int) -> None:
    """Raise where channels cannot become so many: whatever there is becomes grey or colour."""
    if found != wanted and wanted not in COLOURS:
        raise DataError(f"has {found} channels; {wanted} are expected")


def as_colours(channels: int) -> int:
    """Return how many of the first channels are seen as grey or colour: 1 or 3."""
    return 3 if channels >= 3 else 1


def to_look_at(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a picture of any channels as one of three: the first three, or the first as grey."""
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels * 255).astype(np.uint8)
    shown = pixels[..., : as_colours(pixels.shape[2])]
    return shown if shown.shape[2] == 3 else np.repeat(shown, 3, 2)
