"""Figures of boxes."""

import numpy as np
from numpy.typing import NDArray

from torchfolio.evaluation.figures.canvas import drawing
from torchfolio.evaluation.theme import MUTED, SERIES

WIDTH, LEFT = 440.0, 52.0

MOST = 3000  # boxes that are drawn, evenly chosen


def box_sizes(sizes: NDArray[np.float64]) -> str:
    """Draw the width and height of boxes (boxes, 2), shares of a side, on logarithms."""
    shown = sizes[np.linspace(0, len(sizes) - 1, min(len(sizes), MOST)).astype(int)]
    shown = shown.clip(1e-3, 1)
    with drawing(f"width and height of {len(sizes)} boxes", WIDTH, 330) as canvas:
        axes = canvas.axes(LEFT, 6, 360, 280)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.plot([1e-3, 1], [1e-3, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        axes.plot(shown[:, 0], shown[:, 1], color=SERIES[0], linestyle="none", marker="o",
                  markersize=2.5, alpha=0.5, markeredgewidth=0)  # fmt: skip
        low = max(1e-3, float(shown.min(initial=1.0)) / 1.5)
        axes.set(xlim=(low, 1.1), ylim=(low, 1.1), xlabel="width", ylabel="height")
        ticks = [each for each in (0.001, 0.01, 0.03, 0.1, 0.3, 1) if each >= low]
        axes.set_xticks(ticks, [f"{each:g}" for each in ticks])
        axes.set_yticks(ticks, [f"{each:g}" for each in ticks])
        axes.minorticks_off()
        axes.grid()
    return canvas.svg
