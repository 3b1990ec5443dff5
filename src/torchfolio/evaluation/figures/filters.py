"""The filters of a convolution, as the small pictures that they answer to."""

import numpy as np
from numpy.typing import NDArray

from torchfolio.evaluation.figures.canvas import drawing

WIDTH = 440.0
MOST = 64  # filters shown
PIXELS = 16 * 1024  # weights shown in all: what keeps a figure small


def first_layer_filters(weights: NDArray[np.floating]) -> str:
    """Draw the filters of the first convolution from its weights (out, in, height, width).

    Three input channels are shown as colours, any other number by their mean. All filters share
    one scale, on which mid-grey is zero; up to 64 are shown.
    """
    filters = np.asarray(weights, np.float64)
    out, channels, height, width = filters.shape
    shown = max(1, min(out, MOST, PIXELS // (height * width)))
    pictures = filters[:shown] if channels == 3 else filters[:shown].mean(1, keepdims=True)
    largest = np.abs(pictures).max() or 1.0
    levels = np.round(127.5 + 127.5 * pictures / largest).astype(np.uint8)
    levels = np.broadcast_to(levels.transpose(0, 2, 3, 1), (shown, height, width, 3))
    columns = next((number for number in (8, 10, 6) if shown % number == 0), min(8, shown))
    rows = -(-shown // columns)
    gap = max(1, round(height / 8))
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4), np.uint8)
    for index, picture in enumerate(levels):
        top, left = (height + gap) * (index // columns), (width + gap) * (index % columns)
        sheet[top : top + height, left : left + width, :3] = picture
        sheet[top : top + height, left : left + width, 3] = 255
    scale = min(WIDTH / sheet.shape[1], 48 / width)
    size = (sheet.shape[1] * scale, sheet.shape[0] * scale)
    with drawing(f"{shown} of {out} filters of {height} by {width} weights", *size) as canvas:
        axes = canvas.axes(0, 0, *size)
        axes.imshow(sheet, interpolation="none", aspect="auto")
        axes.set_axis_off()
    return canvas.svg
