"""Which of a picture's candidates are kept: numpy alone, so that an exported file can."""

import numpy as np
from numpy.typing import NDArray

from torchfolio.evaluation.matching import Detections, overlaps

MOST = 100  # boxes of a picture that are kept, as COCO counts
BEFORE = 3000  # candidates of a picture that are compared with each other, at most
SMALLEST = 0.01  # pixels: the side of a box, at least (torchvision's)
USUAL = 0.25  # the least score of an answer where no validation data chose one
NEAR = 1e-3  # of a square's side: what two boxes may be apart and still be one answer


def found_in(
    candidates: NDArray[np.float32],
    least_score: float,
    most_overlap: float,
    pixel: float,
    most: int = MOST,
) -> Detections:
    """Return the best of a picture's candidates, the likeliest first.

    ``candidates`` (boxes, 4 + classes) are left, top, right, bottom, and the score of each class;
    ``pixel`` is how long a pixel is in the unit of the boxes. Of two of one class that overlap by
    more than ``most_overlap`` the likelier is kept (non-maximum suppression).
    """
    boxes, scores = candidates[:, :4], candidates[:, 4:]
    place, label = np.nonzero(scores > least_score)
    value = scores[place, label]
    order = np.argsort(-value, kind="stable")[:BEFORE]
    place, label, value = place[order], label[order], value[order]
    chosen = boxes[place]
    large = (chosen[:, 2:] - chosen[:, :2] >= SMALLEST * pixel).all(1)
    chosen, label, value = chosen[large], label[large], value[large]
    keep = np.zeros(len(chosen), bool)
    for each in np.unique(label):
        own = np.flatnonzero(label == each)
        keep[own[distinct(chosen[own], most_overlap)]] = True
    rows = np.flatnonzero(keep)[:most]
    return Detections(chosen[rows], value[rows], label[rows].astype(np.int64))


def distinct(boxes: NDArray[np.float32], most_overlap: float) -> list[int]:
    """Return the boxes, the likeliest first, that overlap none before them that was kept."""
    found: list[int] = []
    left = np.arange(len(boxes))
    while len(left):
        first, left = int(left[0]), left[1:]
        found.append(first)
        shared = overlaps(boxes[first : first + 1], boxes[left], np.zeros(len(left), bool))[0]
        left = left[shared <= most_overlap]
    return found


def same(one: Detections, other: Detections, least: float) -> bool:
    """Return whether two say the same from a score on, in boxes that are shares of a square."""
    mine, theirs = (each.chosen(each.scores >= least) for each in (one, other))
    return np.array_equal(mine.labels, theirs.labels) and bool(
        (np.abs(mine.boxes - theirs.boxes) <= NEAR).all()
    )
