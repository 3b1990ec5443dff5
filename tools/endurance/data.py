"""Small pictures that can be learnt, in class folders."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(folder: Path, classes: int, each: int, size: int, channels: int) -> Path:
    """Write class folders of noisy bars, the angle of which is the class."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size - 0.5
    for number in range(classes):
        angle = np.pi * number / classes
        bar = 160 * (np.abs(x * np.sin(angle) - y * np.cos(angle)) < 0.12)
        (folder / f"class-{number}").mkdir(parents=True)
        for index in range(each):
            noise = random.integers(0, 96, (size, size, channels))
            picture = (bar[..., None] + noise).astype(np.uint8)
            picture = picture[..., 0] if channels == 1 else picture
            Image.fromarray(picture).save(folder / f"class-{number}" / f"{index:03d}.png")
    return folder
