"""Boxes moved as their pictures are: fitted, scaled, cut out and mirrored."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.boxes import Boxes, box_areas
from torchfolio.evaluation.matching import Detections
from torchfolio.tasks.detection.suppression import SMALLEST

GREY = 0.5  # of white: what lies around a picture (the authors' letterbox)
LEFT = 0.25  # of a box's area: what must remain of it in a picture that was cut


@dataclass(frozen=True)
class Placed:
    """How a picture of ``height`` and ``width`` lies in a square: sides are scaled, then moved."""

    across: float
    down: float
    left: int
    top: int
    height: int
    width: int

    def move(self, boxes: Boxes) -> Boxes:
        """Return boxes of the picture as they lie in the square."""
        scale = np.array([self.across, self.down] * 2, np.float32)
        return boxes * scale + np.array([self.left, self.top] * 2, np.float32)

    def back(self, boxes: Boxes) -> Boxes:
        """Return boxes of the square as they lie in the picture, cut off at its edges."""
        scale = np.array([self.across, self.down] * 2, np.float32)
        found = (boxes - np.array([self.left, self.top] * 2, np.float32)) / scale
        return np.clip(found, 0, np.array([self.width, self.height] * 2, np.float32))

    def answered(self, said: Detections) -> Detections:
        """Return detections in the square as they lie in the picture.

        Those are left out of which the picture has nothing: they lie in the grey around it.
        """
        boxes = self.back(said.boxes)
        return said.moved(boxes).chosen((boxes[:, 2:] - boxes[:, :2]).min(1) >= SMALLEST)


def mirrored(boxes: Boxes, width: int) -> Boxes:
    """Return boxes of a picture whose columns are mirrored."""
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)


def fitted(height: int, width: int, side: int, room: tuple[int, int] | None = None) -> Placed:
    """Return how a picture lies in the middle of a square, scaled so that its longer side fills it.

    ``room`` (height, width) is what there is around the picture, in the place of the square.
    """
    scale = side / max(height, width)
    across, down = max(1, round(width * scale)), max(1, round(height * scale))
    high, wide = room or (side, side)
    left, top = (wide - across) // 2, (high - down) // 2
    return Placed(across / width, down / height, left, top, height, width)


def within(boxes: Boxes, height: float, width: float) -> tuple[Boxes, NDArray[np.bool_]]:
    """Return boxes cut off at a picture's edges, and which of them keep a quarter of their area."""
    limit = np.array([width, height] * 2, np.float32)
    cut = np.clip(boxes, 0, limit).astype(np.float32)
    before, after = box_areas(boxes), box_areas(cut)
    return cut, (after >= LEFT * before) & (after > 0)


def cluster(sizes: NDArray[np.float64], number: int, seed: int = 0) -> NDArray[np.float64]:
    """Return ``number`` widths and heights that stand for those of boxes, the smallest first.

    k-means with 1 less overlap of shapes as distance (Redmon and Farhadi, 2017, Section 2); the
    first centres are drawn far from each other (Arthur and Vassilvitskii, 2007).
    """
    random = np.random.default_rng(seed)
    distinct = np.unique(sizes, axis=0)
    if len(distinct) <= number:
        spare = distinct[-1:] * np.linspace(1.1, 2, number)[: number - len(distinct), None]
        found = np.concatenate([distinct, spare])
        return found[np.argsort(found.prod(1), kind="stable")]
    centres = sizes[random.integers(len(sizes))][None]
    while len(centres) < number:
        far = (1 - shape_overlap(sizes, centres)).min(1) ** 2
        centres = np.vstack([centres, sizes[random.choice(len(sizes), p=far / far.sum())]])
    for _ in range(300):
        nearest = shape_overlap(sizes, centres).argmax(1)
        moved = np.array(
            [
                np.median(sizes[nearest == each], 0) if (nearest == each).any() else centres[each]
                for each in range(number)
            ]
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres[np.argsort(centres.prod(1), kind="stable")]


def shape_overlap(sizes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the overlap of shapes with one corner in common. Shape: (a, 2), (b, 2) -> (a, b)."""
    both = np.minimum(sizes[:, None], others[None]).prod(2)
    return both / (sizes.prod(1)[:, None] + others.prod(1)[None] - both)
