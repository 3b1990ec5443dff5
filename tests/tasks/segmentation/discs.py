"""Pictures of bright discs on noise, and their masks, as files."""

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
