"""Objects in masks: connected pixels of one class, or those of one number; how many were found."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from torchfolio.connected import objects

Classes = NDArray[np.uint8]
Numbers = NDArray[np.integer[Any]]  # (height, width): of objects, 0 for none
FOUND = 0.5  # of an object's pixels: what an answer must cover for it to count as found


def rand_error(truth: NDArray[np.bool_], answer: NDArray[np.bool_]) -> float:
    """Return how wrongly pixels are put together: 1 less the F-score of pairs of pixels.

    Both (height, width); regions are groups of pixels that touch at a side. Of the pairs of true
    pixels that the answer puts into one region, precision is the share that belongs together, and
    recall the share of such pairs that it does (the adapted Rand error of ISBI 2012, Arganda-
    Carreras et al., 2015, at one threshold). Pixels that the truth has in no region do not count.
    """
    there, _ = objects(truth, corners=False)
    said, number = objects(answer, corners=False)
    if not truth.any():
        return 0.0
    pairs = there[truth].astype(np.int64) * (number + 1) + said[truth]
    keys, together = np.unique(pairs, return_counts=True)
    inside = keys % (number + 1) > 0  # a pixel that the answer has in no region is with no other
    squares = np.square(together[inside].astype(np.float64)).sum()
    regions = np.bincount(said[truth], minlength=number + 1)[1:].astype(np.float64)
    wanted = np.bincount(there[truth])[1:].astype(np.float64)
    total = np.square(regions).sum() + np.square(wanted).sum()
    return float(1 - 2 * squares / total)


class ObjectCounts(NamedTuple):
    """Objects of one class in one picture: how many there are, were found, and were invented.

    ``pixels`` and ``said`` are the sizes of all of them in truth and answer.
    """

    there: int
    found: int
    invented: int
    pixels: int
    said: int


NOTHING = ObjectCounts(0, 0, 0, 0, 0)


def picture_objects(
    truth: Classes, answer: Classes, classes: int, told: Numbers | None = None
) -> list[ObjectCounts]:
    """Compare the objects of each class but the first, which is background.

    All (height, width); pixels whose truth is no class (255) are in no object. ``told`` are the
    numbers of the true objects, where they are known.
    """
    counted = truth < classes
    found = []
    for each in range(1, classes):
        there, said = truth == each, (answer == each) & counted
        anything = there.any() or said.any()
        found.append(count_objects(there, said, told) if anything else NOTHING)
    return found


def object_figures(counts: NDArray[Any], weights: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Return the figures of objects by class: (resamples, classes).

    ``counts`` (pictures, classes, 5) are those of :func:`picture_objects`, ``weights`` (resamples,
    pictures) how often each picture counts. ``object_recall`` is the share of objects that was
    found, ``false_alarms`` the objects invented in a picture, ``area_error`` by what share of its
    pixels the size of a picture's objects is wrong, a mean over the pictures that have any.
    """
    sums = np.einsum("rp,pcf->rcf", weights, counts.astype(np.float64))
    there, pixels = counts[..., 0] > 0, np.maximum(counts[..., 3], 1)
    wrong = np.where(there, np.abs(counts[..., 4] - counts[..., 3]) / pixels, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "object_recall": sums[..., 1] / sums[..., 0],
            "false_alarms": sums[..., 2] / weights.sum(1, keepdims=True),
            "area_error": (weights @ wrong) / (weights @ there.astype(np.float64)),
        }


def count_objects(
    truth: NDArray[np.bool_], answer: NDArray[np.bool_], told: Numbers | None = None
) -> ObjectCounts:
    """Compare the objects of truth and answer, groups of pixels that touch; all (height, width).

    Where ``told`` has a number for each true pixel, true objects are those of equal numbers. An
    object is found where the answer covers at least half of its pixels, and one of the answer is
    invented where it touches no pixel of the truth.
    """
    numbers, there = true_objects(truth, told)
    sizes = np.bincount(numbers.reshape(-1), minlength=there + 1)[1:]
    covered = np.bincount(numbers[answer], minlength=there + 1)[1:]
    said, number = objects(answer)
    touched = np.bincount(said[truth], minlength=number + 1)[1:]
    return ObjectCounts(
        there=there,
        found=int((covered >= FOUND * sizes).sum()),
        invented=int((touched == 0).sum()),
        pixels=int(truth.sum()),
        said=int(answer.sum()),
    )


def true_objects(truth: NDArray[np.bool_], told: Numbers | None) -> tuple[Numbers, int]:
    """Return the number of each true pixel's object, from 1 on, and how many objects there are."""
    if told is None or not told[truth].all():
        return objects(truth)
    kept, places = np.unique(told[truth], return_inverse=True)
    numbers = np.zeros(truth.shape, np.int64)
    numbers[truth] = places + 1
    return numbers, len(kept)
