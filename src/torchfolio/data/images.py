"""Pictures as arrays: the one function that decodes, and what it knows of formats."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from torchfolio.data.bands import (
    ARRAY,
    COLOURS,
    TIFF,
    as_colours,
    is_deep,
    read_array,
    read_tiff,
    require_channels,
    scaled,
)
from torchfolio.errors import DataError

Pixels = NDArray[Any]

# Formats that are told by their first bytes. The others that Pillow knows are vectors, video,
# or so loosely marked that a text file may pass for one.
FORMATS = (
    "JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "ICO", "JPEG2000", "AVIF", "SGI",
    "SUN", "DDS", "QOI", "ICNS",
)  # fmt: skip

# Formats without a clear mark at the start, tried only under their own suffix.
FORMATS_BY_SUFFIX = {".tga": "TGA", ".pcx": "PCX"}

# A file of such a name is meant as a picture: if it does not open, that is worth telling.
SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp", ".tif",
    ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".ico", ".jp2", ".j2k", ".avif", ".tga", ".pcx",
    ".sgi", ".qoi", ".dds", ".heic", ".heif", ".psd",
))  # fmt: skip

# The largest picture that is read, in pixels (about 0.5 GiB in RGB): what Pillow refuses too.
MAX_PIXELS = 178_956_970

# What Pillow raises where the notes beside the pixels (EXIF, XMP) are damaged.
DAMAGED_NOTES = (
    SyntaxError, ValueError, KeyError, TypeError, OSError, EOFError, ArithmeticError,
)  # fmt: skip

ALL, COLOUR = 0, 3  # channels that are wanted of a file: as many as there are, or these
EXTRA_SAMPLES = 338  # TIFF's tag of what bands beyond colours are: 0 is unspecified
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the first bytes, of BigTIFF too

GREY_MODES = frozenset(("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"))
DEEP_MODES = frozenset(("I", "F", "I;16", "I;16L", "I;16B", "I;16N"))


class NotAnImageError(DataError):
    """The bytes are of no picture format that is read."""


def decode(source: Path | bytes, channels: int | None = None, depth: int = 8) -> Pixels:
    """Read a picture upright, over white, as an array of shape (height, width, channels).

    ``channels`` is 1 or 3; ``None`` follows the file. ``depth`` 8 gives uint8, ``depth`` 16
    gives float32 in [0, 1]. Arrays (.npy) and TIFF files of several bands have any number of
    channels (:mod:`torchfolio.data.bands`), of which 3 are the first three. The rules:

    - Orientation from EXIF or XMP is applied. Of an animation or several pages, the first.
    - Transparency (alpha, a palette's, a transparent colour) lies over white.
    - 16-bit grey is scaled by 1 / 257, never clipped. 16-bit colour is read as 8 bits (Pillow).
    - Floating point is taken as it is if it lies in [0, 1], otherwise scaled by its own range,
      as are 32-bit integers outside 0 .. 65535; NaN counts as the smallest value.
    - CMYK, YCbCr and LAB become RGB; colour becomes grey by ITU-R 601 (0.299, 0.587, 0.114).
    - A file that ends early is an error, as is a picture of more than ``MAX_PIXELS``.

    Raises :class:`NotAnImageError` where no format fits, and ``DataError`` for a damaged file.
    """
    path = source if isinstance(source, Path) else None
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
        suffix = path.suffix.lower() if path is not None else ""
        bands = of_bands(data, suffix, channels)
        if bands is not None:
            return _chosen(bands, channels, depth)
        with opened_image(data, suffix) as image:
            return _array(upright(image), channels, depth)
    except DataError as error:
        raise type(error)(f"{path or 'the picture'}: {error}.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error


def examine(data: bytes, suffix: str = "", *, bands: bool = True) -> tuple[int, int, int, bool]:
    """Read a file's bytes fully and return height, width, channels and whether it is deep.

    Errors are as of :func:`decode`, without the path. A JPEG is read to its end, but only an
    eighth of its detail is worked out, which takes half the time. Without ``bands`` those of a TIFF
    file beyond its colours are left out.
    """
    found = of_bands(data, suffix, ALL if bands else COLOUR)
    if found is not None:
        return *found.shape, is_deep(found)
    with opened_image(data, suffix) as image:
        if image.format != "JPEG":
            turned = upright(image)
            deep = turned.mode in DEEP_MODES
            return turned.height, turned.width, natural_channels(turned), deep
        width, height = image.size
        channels = natural_channels(image)
        image.draft("L", (max(1, width // 8), max(1, height // 8)))
        image.load()
        return (
            (width, height, channels, False) if _lies(image) else (height, width, channels, False)
        )


def of_bands(data: bytes, suffix: str, channels: int | None) -> NDArray[Any] | None:
    """Return a picture of any number of channels, as its values are; ``None`` for another.

    A TIFF file of colours and bands that are no transparency is another, which Pillow reads, where
    grey or colour are wanted, and where nothing is (``None``) and tifffile is missing.
    """
    if suffix == ARRAY and data:
        return read_array(data)
    if suffix not in TIFF or not data.startswith(TIFF_MARKS):
        return None
    try:
        with _quiet(), _open(data, suffix) as image:
            extra = image.tag_v2.get(EXTRA_SAMPLES, ()) if isinstance(image, TiffImageFile) else ()
    except NotAnImageError:
        return read_tiff(data)  # more bands than Pillow knows
    except (*DAMAGED_NOTES, Image.DecompressionBombError):
        return None  # whoever reads the picture on meets the same, and names it
    if image.mode != "RGB" or set(extra) != {0} or channels in COLOURS:
        return None
    return None if channels is None and find_spec("tifffile") is None else read_tiff(data)


def _chosen(bands: NDArray[Any], channels: int | None, depth: int) -> Pixels:
    """Return the values of bands, and as many of them as are wanted."""
    count = bands.shape[2]
    if channels is None or channels == count:
        return scaled(bands, depth)
    require_channels(count, channels)
    bands = bands[..., : as_colours(count)]
    if channels == 3 or bands.shape[2] == 1:
        return _repeat(scaled(bands, depth), channels)
    mixed = scaled(bands, 16) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(mixed * 255).astype(np.uint8)[..., None] if depth == 8 else mixed[..., None]


@contextmanager
def opened_image(data: bytes, suffix: str) -> Iterator[Image.Image]:
    """Give a file's picture, its pixels not yet read; say what is wrong with it, then or later."""
    if not data:
        raise DataError("empty file (0 bytes)")
    try:
        with _quiet(), _open(data, suffix) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(f"{width} x {height} pixels; up to {MAX_PIXELS:,} are read")
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"too many pixels; up to {MAX_PIXELS:,} are read") from error
    except MemoryError as error:
        raise DataError("not enough memory to decode it") from error
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        reason = str(error).strip() or type(error).__name__
        raise DataError(f"damaged or cut off ({reason})") from error


def _open(data: bytes, suffix: str) -> Image.Image:
    formats = [*_formats(), *filter(None, [FORMATS_BY_SUFFIX.get(suffix)])]
    try:
        return Image.open(BytesIO(data), formats=formats)
    except UnidentifiedImageError as error:
        raise NotAnImageError("not a picture of a format that is read") from error


@cache
def _formats() -> list[str]:
    """Return the formats that this build of Pillow reads."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def upright(image: Image.Image) -> Image.Image:
    """Decode the first frame fully, and turn it as its orientation says."""
    image.load()
    if _orientation(image) == 1:
        return image  # Pillow would copy it: a fifth of the time of decoding
    try:
        return ImageOps.exif_transpose(image)
    except DAMAGED_NOTES:
        return image  # the pixels are whole: only the notes beside them are damaged


def _lies(image: Image.Image) -> bool:
    """Return whether the orientation turns a picture by a quarter."""
    return _orientation(image) in (5, 6, 7, 8)


def _orientation(image: Image.Image) -> Any:
    """Return the orientation that the notes beside the pixels give, 1 where they give none."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except DAMAGED_NOTES:
        return 1


def _array(image: Image.Image, channels: int | None, depth: int) -> Pixels:
    if channels is None:
        channels = natural_channels(image)
    require_channels(natural_channels(image), channels)
    if image.mode in DEEP_MODES:
        values = _deep(image)  # (height, width), in [0, 1]
        if depth == 8:
            return _repeat(np.rint(values * 255).astype(np.uint8)[..., None], channels)
        return _repeat(values.astype(np.float32)[..., None], channels)
    image = _opaque(image)
    mode = "L" if channels == 1 else "RGB"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if depth == 8:
        return pixels.copy()
    return pixels.astype(np.float32) / np.float32(255)


def natural_channels(image: Image.Image) -> int:
    """Return 1 for grey modes and palettes of greys only, 3 for all else."""
    if image.mode == "P":
        colours = image.getpalette() or []
        return 1 if colours[0::3] == colours[1::3] == colours[2::3] else 3
    return 1 if image.mode in GREY_MODES else 3


def _deep(image: Image.Image) -> NDArray[np.float64]:
    """Return a deep grey picture in [0, 1]. Shape: (height, width)."""
    values = np.asarray(image).astype(np.float64)
    transparent = image.info.get("transparency")
    if image.mode == "F":
        low, high = _range(values)
        if low >= 0 and high <= 1:
            return np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    else:
        low, high = float(values.min()), float(values.max())
        if low >= 0 and high <= 65535:
            scaled = values / 65535
            if isinstance(transparent, int):
                scaled[values == transparent] = 1.0  # over white
            return scaled
    span = high - low if high > low else 1.0
    return np.clip((np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / span, 0, 1)


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _opaque(image: Image.Image) -> Image.Image:
    """Lay a picture that has transparency over white."""
    if not image.has_transparency_data:
        return image
    grey = image.mode in ("1", "L", "LA", "La")
    layered = image.convert("LA" if grey else "RGBA")
    white = Image.new(layered.mode, layered.size, (255, 255) if grey else (255, 255, 255, 255))
    if grey:
        values, alpha = (np.asarray(layered)[..., band].astype(np.uint32) for band in (0, 1))
        mixed = (values * alpha + 255 * (255 - alpha) + 127) // 255
        return Image.fromarray(mixed.astype(np.uint8), "L")
    return Image.alpha_composite(white, layered).convert("RGB")


def _repeat(pixels: Pixels, channels: int) -> Pixels:
    return np.repeat(pixels, channels, axis=2) if channels != pixels.shape[2] else pixels


_lock = threading.Lock()
_inside = 0
_saved: Any = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's warnings about notes beside the pixels, from many threads at once.

    The filters of ``warnings`` belong to the process: the first thread to come in sets them,
    the last one to leave puts them back.
    """
    global _inside, _saved
    with _lock:
        _inside += 1
        if _inside == 1:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _saved.__exit__(None, None, None)
