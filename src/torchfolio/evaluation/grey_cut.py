"""The plainest segmentation, beside which networks are judged: a cut at one grey value."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.evaluation.segmentation import ClassCounts, mean

LEVELS = 256


@dataclass(frozen=True)
class GreyCut:
    """Pixels from ``level`` on are of the second class where ``above``, else of the first."""

    level: int
    above: bool

    def answer(self, grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the class of each pixel."""
        return ((grey >= self.level) == self.above).astype(np.uint8)

    def told(self) -> str:
        """Return the rule in words."""
        if self.level in (0, LEVELS):
            every = (self.level == 0) == self.above
            return f"no grey value parts them better than {'every' if every else 'no'} pixel"
        return f"grey from {self.level} on" if self.above else f"grey below {self.level}"


def best_cut(counts: NDArray[np.int64]) -> GreyCut:
    """Return the cut of the best mean IoU for pixels counted by class and grey value: (2, 256)."""
    total = counts.sum(1)
    below = np.concatenate([np.zeros((2, 1), np.int64), counts.cumsum(1)], 1)  # (2, 257)
    over = total[:, None] - below
    found = []
    for first, second in ((below, over), (over, below)):  # what each class is said to be
        matrix = np.stack([first.T, second.T], -1)  # (257, truth, answer)
        found.append(np.nan_to_num(mean(ClassCounts.of(matrix).iou())))
    above, level = np.unravel_index(np.argmax(found), (2, LEVELS + 1))
    return GreyCut(int(level), bool(above == 0))


def grey(records: Any, index: int) -> NDArray[np.uint8]:
    """Return a picture's grey values (height, width): the mean of its channels at 8 bits."""
    pixels = records.pixels(index, 8)
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels * 255)
    return np.rint(pixels.mean(-1)).astype(np.uint8)
