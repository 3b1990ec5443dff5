"""Masks: what their files hold, value by value. What that means is told by ``mask_rules``."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchfolio.data.bands import ARRAY, read_array
from torchfolio.data.images import opened_image, upright
from torchfolio.errors import DataError

IGNORE = 255  # the class of pixels that count neither in losses nor in figures
STEP = 32  # colours in masks with loss are counted in cells of this side
CALM = 12  # levels between neighbours, up to which a pixel with loss is not at an edge
SAMPLE = 4096  # pixels of a mask with loss that are looked at
MOST_COLOURS = 64
COLOUR = 1 << 24  # added to a colour, so that it is no grey value
BACKGROUND, FOREGROUND = "background", "foreground"

Raw = NDArray[np.int32]
Kind = Literal["grey", "colour"]


@dataclass(frozen=True)
class MaskFacts:
    """What one file of a mask holds, and how often.

    ``values`` are grey values or indices, or colours: red * 65536 + green * 256 + blue. ``palette``
    has the colours that the file gives to indices, none where it has no palette.
    """

    height: int
    width: int
    kind: Kind
    lossy: bool
    values: Mapping[int, int]
    palette: Mapping[int, int] = field(default_factory=dict)

    def as_kind(self, wanted: Kind) -> dict[int, int]:
        """Return the values as ones of a kind, as :func:`read_mask` gives them when asked."""
        found: Counter[int] = Counter()
        for value, number in self.values.items():
            if wanted == "colour" and value in self.palette:
                found[self.palette[value]] += number
            else:
                found[changed(value, self.kind, wanted)] += number
        return dict(found)


@dataclass(frozen=True)
class RawMask:
    """The values of a mask's file (height, width), of which kind they are, and if lossy.

    ``palette`` has the colours of indices where the file has a palette.
    """

    values: Raw
    kind: Kind
    lossy: bool = False
    palette: Mapping[int, int] = field(default_factory=dict)


def read_mask(data: bytes, suffix: str = "", kind: Kind | None = None) -> RawMask:
    """Return what a mask's file holds.

    One bit becomes 0 and 255. A palette gives its indices, and its colours where these are asked
    for. Colours that are all grey are grey values. Of a picture of one colour that is transparent
    in places, the transparency is the mask. ``kind`` asks for grey values or colours whatever the
    file holds. Raises ``DataError``.
    """
    if suffix == ARRAY:
        return as_kind(array_mask(read_array(data)), kind)
    with opened_image(data, suffix) as opened:
        lossy = opened.format == "JPEG"
        image = upright(opened)
        mode = image.mode
        if mode == "1":
            return as_kind(np.asarray(image).astype(np.int32) * 255, kind, lossy)
        if mode == "P":
            return with_palette(image, kind)
        if mode in ("L", "I") or mode.startswith("I;16"):
            return as_kind(np.asarray(image).astype(np.int32), kind, lossy)
        pixels = np.asarray(image.convert("RGBA"))
    alpha, colours = pixels[..., 3], pixels[..., :3]
    if (colours == colours[:1, :1]).all() and (alpha != alpha[0, 0]).any():
        return as_kind(alpha.astype(np.int32), kind, lossy)
    red, green, blue = (colours[..., place].astype(np.int32) for place in range(3))
    if kind == "grey" or (kind is None and (red == green).all() and (green == blue).all()):
        return RawMask((299 * red + 587 * green + 114 * blue + 500) // 1000, "grey", lossy)
    return RawMask((red << 16) + (green << 8) + blue, "colour", lossy)


def with_palette(image: Image.Image, kind: Kind | None) -> RawMask:
    """Return the indices of a picture with a palette, or their colours where these are wanted."""
    indices = np.asarray(image).astype(np.int32)
    told = np.array(image.getpalette() or [], np.int32).reshape(-1, 3)
    colours = np.zeros(256, np.int32)
    colours[: len(told)] = told @ np.array([1 << 16, 1 << 8, 1], np.int32)
    if kind == "colour":
        return RawMask(colours[indices], "colour")
    return RawMask(indices, "grey", palette=dict(enumerate(colours.tolist())))


def array_mask(values: NDArray[Any]) -> Raw:
    """Return the values of a mask in an array: whole numbers, one channel."""
    whole = values.astype(np.int32)
    if values.shape[2] != 1 or (whole != values).any():
        shape = "x".join(map(str, values.shape))
        raise DataError(
            f"an array {shape} of {values.dtype} is no mask: one channel of whole numbers is one"
        )
    return whole[..., 0]


def as_kind(values: Raw, kind: Kind | None, lossy: bool = False) -> RawMask:
    """Return grey values, as colours where these are asked for."""
    return RawMask(values * 0x010101 if kind == "colour" else values, kind or "grey", lossy)


def examine_mask(data: bytes, suffix: str) -> MaskFacts:
    """Return what a file holds; raise ``DataError`` for one that cannot be read."""
    return examine_values(read_mask(data, suffix))


def examine_values(mask: RawMask) -> MaskFacts:
    """Return what the values of a mask are; raise ``DataError`` for those of a photograph."""
    values, kind, lossy = mask.values, mask.kind, mask.lossy
    height, width = values.shape
    if kind == "colour" and not lossy:
        require_few_colours(values)
    some = values.reshape(-1)
    if lossy:
        some = calm(values, kind)
        some = some[:: -(-some.size // SAMPLE)]
    found, counts = np.unique(some, return_counts=True)
    table = dict(zip(found.tolist(), counts.tolist(), strict=True))
    palette = {value: mask.palette[value] for value in table if value in mask.palette}
    return MaskFacts(height, width, kind, lossy, table, palette)


def require_few_colours(values: Raw) -> None:
    """Raise for a picture whose colours are no classes, before all of them are counted."""
    some = np.unique(values.reshape(-1)[:: max(1, values.size // 2**16)])
    if len(some) > 16 * MOST_COLOURS:
        raise DataError(
            f"holds more than {16 * MOST_COLOURS:,} colours, so it is no mask of classes"
        )


def calm(values: Raw, kind: Kind) -> Raw:
    """Return the values that differ little from those around: at the edges loss mixes classes."""
    levels = channels(values.reshape(-1)).T if kind == "colour" else values[None]
    quiet = np.ones(values.shape, bool)
    for level in levels.reshape(-1, *values.shape):
        for axis in (0, 1):
            step = np.abs(np.diff(level, axis=axis)) <= CALM
            before, after = [slice(None)] * 2, [slice(None)] * 2
            before[axis], after[axis] = slice(None, -1), slice(1, None)
            quiet[tuple(before)] &= step
            quiet[tuple(after)] &= step
    return values[quiet] if quiet.any() else values.reshape(-1)


def changed(value: int, kind: Kind, wanted: Kind) -> int:
    """Return a value of one kind as one of another."""
    if kind == wanted:
        return value
    if wanted == "colour":
        return value * 0x010101
    red, green, blue = value >> 16, value >> 8 & 255, value & 255
    return (299 * red + 587 * green + 114 * blue + 500) // 1000


def shown(value: int, kind: Kind) -> str:
    """Return a value as text: a colour as #rrggbb."""
    return f"#{value:06x}" if kind == "colour" else str(value)


def channels(colours: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return red, green and blue of colours. Shape: (count,) -> (count, 3)."""
    wide = colours.astype(np.int64)
    return np.stack([wide >> 16, wide >> 8 & 255, wide & 255], 1)
