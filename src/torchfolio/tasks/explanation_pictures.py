"""The picture of an explanation: a picture, the same with heat over it, the scale, the words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.checkpoint import replacing
from torchfolio.evaluation.explain.heat import Heat, between, overlay
from torchfolio.tasks.lettering import shortened

SHORTEST, LONGEST = 320, 2048  # pixels of the longer side; in between a picture keeps its size
NARROWEST = 480  # pixels of the whole
GAP = 8  # pixels between the two pictures
FADED = 0.7  # how far what the network does not see is faded to white
INK, MUTED = "#24211d", "#6a645a"

Pixels = NDArray[np.uint8]  # (height, width, 3)
Box = tuple[float, float, float, float]  # top, left, height, width


@dataclass(frozen=True)
class Explained:
    """A picture, its heat, where the heat lies in it (``source_box``), and the words below.

    The first of the ``lines`` is large.
    """

    picture: Pixels
    heat: Heat
    box: Box
    lines: Sequence[str]


def draw_explanation(explained: Explained, path: Path) -> None:
    """Write an explanation as PNG.

    Pictures under 320 pixels are enlarged by a whole number, those above 2,048 shrunk.
    """
    from PIL import Image

    plain = sized(explained.picture)
    hot, whole = heated(plain, explained)
    both = pair(plain, hot)
    lines = [*explained.lines, *([] if whole else ["Pale: cut off before the network."])]
    words = captions(lines, explained.heat, max(NARROWEST, both.width))
    sheet = Image.new("RGB", (words.width, both.height + words.height), "white")
    sheet.paste(both, ((words.width - both.width) // 2, 0))
    sheet.paste(words, (0, both.height))
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG")


def sized(picture: Pixels) -> Pixels:
    """Return a picture whose longer side has 320 to 2,048 pixels."""
    from PIL import Image

    height, width = picture.shape[:2]
    longest = max(height, width)
    if longest < SHORTEST:
        times = -(-SHORTEST // longest)
        return picture.repeat(times, 0).repeat(times, 1)
    if longest <= LONGEST:
        return picture
    size = [max(1, round(side * LONGEST / longest)) for side in (width, height)]
    return np.asarray(Image.fromarray(picture).resize((size[0], size[1]), Image.Resampling.LANCZOS))


def heated(plain: Pixels, explained: Explained) -> tuple[Pixels, bool]:
    """Return a picture with the heat over it, and whether the network saw all of it."""
    height, width = plain.shape[:2]
    down, across = height / explained.picture.shape[0], width / explained.picture.shape[1]
    top, left, tall, wide = explained.box
    values = explained.heat.values
    rows = cells(height, top * down, tall * down, values.shape[0])
    columns = cells(width, left * across, wide * across, values.shape[1])
    heat = between(values.shape[0], rows) @ values @ between(values.shape[1], columns).T
    seen = np.outer(inside(rows, values.shape[0]), inside(columns, values.shape[1]))
    hot = overlay(plain, np.where(seen, heat, 0))
    hot[~seen] = np.round((1 - FADED) * hot[~seen] + FADED * 255).astype(np.uint8)
    return hot, bool(seen.all())


def cells(pixels: int, start: float, length: float, count: int) -> NDArray[np.floating]:
    """Return where each pixel lies among so many cells that begin at ``start``, in cells."""
    return (np.arange(pixels) + 0.5 - start) / length * count - 0.5


def inside(places: NDArray[np.floating], count: int) -> NDArray[np.bool_]:
    """Return which places, in cells, lie in one of so many cells."""
    return (places >= -0.5) & (places <= count - 0.5)


def pair(first: Pixels, second: Pixels) -> Any:
    """Return two pictures of one size side by side, or wide ones one above the other."""
    from PIL import Image

    height, width = first.shape[:2]
    beside = width <= 1.2 * height
    place = (width + GAP, 0) if beside else (0, height + GAP)
    both = Image.new("RGB", (width + place[0], height + place[1]), "white")
    both.paste(Image.fromarray(first), (0, 0))
    both.paste(Image.fromarray(second), place)
    return both


def captions(lines: Sequence[str], heat: Heat, width: int) -> Any:
    """Return the lines and the scale of the heat as a picture of a width."""
    from PIL import Image, ImageDraw

    size = min(40, max(16, width // 44))  # of the letters, in pixels
    sizes = [round(1.4 * size), *[size] * (len(lines) - 1)]
    height = size + sum(round(1.5 * each) for each in sizes) + 2 * size
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    left, y = size // 2, size // 2
    for line, letters in zip(lines, sizes, strict=True):
        text, font = shortened(line, width - size, letters)
        draw.text((left, y), text, fill=INK if letters > size else MUTED, font=font)
        y += round(1.5 * letters)
    y += size // 3
    low, font = shortened(heat.low, width / 3, size)
    high, _ = shortened(heat.high, width / 2, size)
    before = left + round(font.getlength(low)) + size // 2
    room = width - size - before - round(font.getlength(high))
    strip = scale_of_heat(max(size, min(12 * size, room)), size)
    draw.text((left, y), low, fill=MUTED, font=font)
    sheet.paste(Image.fromarray(strip), (before, y + size // 5))
    draw.text((before + strip.shape[1] + size // 2, y), high, fill=MUTED, font=font)
    return sheet


def scale_of_heat(width: int, height: int) -> Pixels:
    """Return the colours of heat from 0 to 1, left to right, over light grey."""
    steps = np.broadcast_to(np.linspace(0, 1, width), (height, width))
    return overlay(np.full((height, width), 200, np.uint8), steps)
