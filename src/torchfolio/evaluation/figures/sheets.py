"""Pictures in named rows and columns."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from torchfolio.evaluation.figures.canvas import TEXT, drawing, shorten, width_of
from torchfolio.evaluation.theme import MUTED

WIDTH = 440.0
LINE = 14.0  # pixels of a line of words
WIDEST = 64.0  # pixels of one picture
PIXELS = 140_000  # of all pictures together, which keeps a figure small: 16 by 11 of 28 x 28


def picture_sheet(pictures: NDArray[np.uint8], rows: Sequence[str], columns: Sequence[str]) -> str:
    """Draw pictures (rows, columns, height, width, 1 or 3) in a grid, with the names of both.

    Names of columns may have several lines. Large pictures are shrunk: all together have no more
    than 140,000 pixels.
    """
    pictures = shrunk(pictures)
    count, across, height, width = pictures.shape[:4]
    gap = max(1, round(height / 14))
    sheet = np.zeros((count * (height + gap) - gap, across * (width + gap) - gap, 4), np.uint8)
    for row, several in enumerate(pictures):
        for column, picture in enumerate(several):
            top, left = row * (height + gap), column * (width + gap)
            sheet[top : top + height, left : left + width, :3] = picture  # grey in all three
            sheet[top : top + height, left : left + width, 3] = 255
    margin = max(width_of(name) for name in rows) + 8
    lines = max(name.count("\n") + 1 if name else 0 for name in columns)
    head = lines * LINE + 4 * bool(lines)
    scale = min((WIDTH - margin) / sheet.shape[1], WIDEST / width)
    wide, tall = scale * sheet.shape[1], scale * sheet.shape[0]
    label = f"{count} by {across} pictures; rows: {', '.join(rows)}"
    with drawing(label, margin + wide, head + tall) as canvas:
        axes = canvas.axes(margin, head, wide, tall)
        axes.imshow(sheet, interpolation="none", aspect="auto")
        axes.set_axis_off()
        for row, name in enumerate(rows):
            y = head + scale * (row * (height + gap) + height / 2)
            canvas.text(margin - 8, y, name, ha="right", color=MUTED)
        for column, name in enumerate(columns):
            x = margin + scale * (column * (width + gap) + width / 2)
            for number, line in enumerate(name.split("\n") if name else []):
                words = shorten(line, max(scale * width, TEXT))
                canvas.text(x, (number + 0.5) * LINE, words, ha="center", color=MUTED)
    return canvas.svg


def shrunk(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pictures small enough to have ``PIXELS`` together."""
    from PIL import Image

    rows, columns, height, width, channels = pictures.shape
    share = (PIXELS / (rows * columns * height * width)) ** 0.5
    if share >= 1:
        return pictures
    size = max(1, int(width * share)), max(1, int(height * share))
    flat = pictures.reshape(-1, height, width, channels)
    small = [
        np.asarray(Image.fromarray(each.squeeze(2) if channels == 1 else each).resize(size))
        for each in flat
    ]
    return np.stack(small).reshape(rows, columns, size[1], size[0], channels)
