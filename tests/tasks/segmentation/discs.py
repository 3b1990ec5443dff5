"""Pictures with their masks, as files: bright discs on noise, and squares that touch."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_discs(
    root: Path, count: int = 12, size: tuple[int, int] = (48, 64), empty: int = 0, seed: int = 0
) -> Path:
    """Write grey pictures with a disc each, and masks of 0 and 255; the last few have no disc."""
    draw = np.random.default_rng(seed)
    rows, columns = np.indices(size)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        radius = draw.integers(6, 12)
        row, column = (
            draw.integers(radius, size[0] - radius),
            draw.integers(radius, size[1] - radius),
        )
        inside = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        inside &= index < count - empty
        pixels = draw.normal(80, 20, size) + 90 * inside
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / "images" / f"{index}.png")
        Image.fromarray(inside.astype(np.uint8) * 255).save(root / "masks" / f"{index}.png")
    return root


def write_touching(root: Path, kind: str) -> Path:
    """Write four pictures of two squares that touch: a number, or a file, for each of them.

    Below them are 80 dots, so that numbers are too many for class indices.
    """
    mask = np.zeros((60, 60), np.uint8)
    mask[8:16, 4:12], mask[8:16, 12:20] = 1, 2
    mask[30:54:6, ::3] = np.arange(3, 83).reshape(4, 20)
    for number, name in enumerate("abcd"):
        place = root if kind == "numbers" else root / f"cell_{name}"
        (place / "images").mkdir(parents=True, exist_ok=True)
        (place / "masks").mkdir(parents=True, exist_ok=True)
        picture = np.full(mask.shape, 90 + number, np.uint8)
        Image.fromarray(picture).save(place / "images" / f"{name}.png")
        if kind == "numbers":
            Image.fromarray(mask).save(place / "masks" / f"{name}.png")
            continue
        for each in (1, 2):
            own = (mask == each).astype(np.uint8) * 255
            Image.fromarray(own).save(place / "masks" / f"{each}.png")
    return root
