"""Masks as pictures: colours of classes, overlays, files."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchfolio.data.masks import IGNORE

SIDE = 480  # pixels of the longer side of an overlay, at most
STRENGTH = 0.55  # of the colour over the picture
GREY = (128, 128, 128)

Pixels = NDArray[np.uint8]


def colours(count: int) -> NDArray[np.uint8]:
    """Return a colour for each class, the first black: the map of PASCAL VOC.

    Bits of the index go to red, green and blue in turn, the lowest to their highest bits.
    """
    table = np.zeros((count, 3), np.uint8)
    for index in range(count):
        left = index
        for bit in range(7, -1, -1):
            for channel in range(3):
                table[index, channel] |= (left >> channel & 1) << bit
            left >>= 3
    return table


def palette_mask(classes: Pixels) -> bytes:
    """Return classes (height, width) as a PNG whose palette has their colours."""
    image = Image.fromarray(classes, "P")
    image.putpalette(colours(256).tobytes())
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def tinted(picture: Pixels, classes: Pixels) -> Pixels:
    """Return a picture (height, width, 3) in which all but the first class is coloured."""
    table = np.vstack([colours(256)[:IGNORE], GREY]).astype(np.float32)
    mixed = picture * (1 - STRENGTH) + table[classes] * STRENGTH
    return np.where((classes > 0)[..., None], mixed, picture).round().astype(np.uint8)


def overlay(picture: Pixels, truth: Pixels, answer: Pixels) -> Pixels:
    """Return the picture twice, side by side: with the truth and with the answer."""
    height, width = picture.shape[:2]
    factor = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
    sides = [
        tinted(small, np.asarray(Image.fromarray(each).resize(size, Image.Resampling.NEAREST)))
        for each in (truth, answer)
    ]
    gap = np.full((size[1], 4, 3), 255, np.uint8)
    return np.concatenate([sides[0], gap, sides[1]], 1)


def describe(classes: list[str], mask: Any, probability: Any) -> dict[str, Any]:
    """Return what a row says of one mask: the classes but the first, the largest share first."""
    counts = np.bincount(mask.reshape(-1), minlength=len(classes))
    shares = counts / mask.size
    order = [each for each in np.argsort(-counts, kind="stable").tolist() if each and counts[each]]
    text = ", ".join(f"{classes[each]} {shares[each]:.1%}" for each in order)
    return {
        "prediction": text or f"{classes[0]} only",
        "probability": float(probability.mean() / 255),
        "shares": {name: float(share) for name, share in zip(classes, shares, strict=True)},
    }
