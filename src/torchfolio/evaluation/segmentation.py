"""Figures of segmentation: of the whole data set, and of each picture.

All of them come from three counts for each class: pixels that are of it and were said to be, pixels
that were wrongly said to be, and pixels that were missed. Pixels that are ignored are in none.

    IoU  = hits / (hits + false + missed)
    Dice = 2 hits / (2 hits + false + missed)

Means are over classes that occur in truth or in the answers (so that a class that no picture has
and no answer names does not count); of a single picture likewise, and where neither the truth nor
the answer has any pixel of a class but background, the picture's Dice is 1: the empty mask was
found. A picture of which no pixel counts is in no figure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchfolio.evaluation.intervals import Interval, bootstrap, intervals
from torchfolio.evaluation.objects import object_figures

METRICS = (
    *("mean_iou", "mean_dice", "pixel_accuracy", "mean_precision", "mean_recall", "iou", "dice"),
    *("picture_dice", "object_recall", "false_alarms", "area_error", "rand_error"),
)
Counts = NDArray[np.int64]  # (..., classes, classes): truth down, answer across


def confusion(truth: NDArray[np.uint8], answer: NDArray[np.uint8], classes: int) -> Counts:
    """Return how many pixels of each class were said to be of each. Shape: (classes, classes).

    Pixels whose truth is no class (255) are left out.
    """
    counted = truth < classes
    cells = truth[counted].astype(np.int64) * classes + answer[counted]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class ClassCounts:
    """Hits, false and missed pixels of each class; arrays (..., classes)."""

    hits: NDArray[Any]
    false: NDArray[Any]
    missed: NDArray[Any]

    @classmethod
    def of(cls, confusions: NDArray[Any]) -> "ClassCounts":
        """Return the counts of confusion matrices (..., classes, classes)."""
        hits = np.diagonal(confusions, axis1=-2, axis2=-1)
        return cls(hits, confusions.sum(-2) - hits, confusions.sum(-1) - hits)

    def iou(self) -> NDArray[np.float64]:
        """Return the intersection over union of each class; not-a-number where there is none."""
        return share(self.hits, self.hits + self.false + self.missed)

    def dice(self) -> NDArray[np.float64]:
        """Return the Dice coefficient (F1) of each class; not-a-number where there is none."""
        return share(2 * self.hits, 2 * self.hits + self.false + self.missed)

    def precision(self) -> NDArray[np.float64]:
        """Return the share of the pixels said to be of a class that are."""
        return share(self.hits, self.hits + self.false)

    def recall(self) -> NDArray[np.float64]:
        """Return the share of the pixels of a class that were found."""
        return share(self.hits, self.hits + self.missed)


def share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Return part / whole; not-a-number where the whole is zero."""
    found = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=found, where=np.asarray(whole) > 0)
    return found


def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the last axis of what is a number; not-a-number where nothing is."""
    known = np.isfinite(values)
    return share(np.where(known, values, 0).sum(-1), known.sum(-1))


def figures(confusions: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Return the figures of the whole that confusion matrices (..., classes, classes) sum up."""
    counts = ClassCounts.of(confusions)
    total = confusions.sum((-2, -1))
    found = {
        "mean_iou": mean(counts.iou()),
        "mean_dice": mean(counts.dice()),
        "pixel_accuracy": share(counts.hits.sum(-1), total),
        "mean_precision": mean(counts.precision()),
        "mean_recall": mean(counts.recall()),
    }
    if confusions.shape[-1] == 2:  # background is not what is looked for
        found |= {"iou": counts.iou()[..., 1], "dice": counts.dice()[..., 1]}
    return found


def picture_dice(confusions: Counts) -> NDArray[np.float64]:
    """Return the mean Dice over classes but the first, of each picture (pictures,).

    1 where neither truth nor answer has any of them; not-a-number where no pixel counts.
    """
    dice = mean(ClassCounts.of(confusions).dice()[:, 1:])
    return np.where(judged(confusions), np.where(np.isfinite(dice), dice, 1.0), np.nan)


def judged(confusions: Counts) -> NDArray[np.bool_]:
    """Return of which pictures any pixel counts (pictures,)."""
    found: NDArray[np.bool_] = confusions.sum((1, 2)) > 0
    return found


@dataclass(frozen=True)
class SegmentationResult:
    """The figures of a split: of the whole, by class and by picture.

    ``confusions`` (pictures, classes, classes); ``metrics`` and ``baseline`` with intervals over
    pictures, or over groups of them; ``by_class`` a figure for each class.
    """

    confusions: Counts
    metrics: dict[str, Interval]
    baseline: dict[str, Interval]
    by_class: dict[str, list[Interval]]
    pictures: NDArray[np.float64]  # Dice of each, not-a-number where no pixel counts
    objects: NDArray[np.int64] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {
            "metrics": {name: each.as_json() for name, each in self.metrics.items()},
            "baseline": {name: each.as_json() for name, each in self.baseline.items()},
            "by_class": {
                name: [each.as_json() for each in values] for name, values in self.by_class.items()
            },
            "confusion": self.confusions.sum(0).tolist(),
        }


def evaluate(
    confusions: Counts,
    pixels_in_training: ArrayLike,
    *,
    objects: NDArray[np.int64] | None = None,
    of_pictures: Mapping[str, NDArray[np.float64]] | None = None,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> SegmentationResult:
    """Return the figures of pictures with intervals, and those of the commonest class everywhere.

    ``pixels_in_training`` (classes,) says which class that is; ``objects`` (pictures, classes - 1,
    5) are the counts of :func:`torchfolio.evaluation.objects.picture_objects`, where the first
    class is background. ``of_pictures`` are further figures of each picture, which are averaged.
    """
    most = int(np.argmax(pixels_in_training))
    trivial = np.zeros_like(confusions)
    trivial[..., most] = confusions.sum(-1)
    metrics, by_class = with_intervals(confusions, objects, of_pictures or {}, groups, seed)
    baseline, _ = with_intervals(trivial, None, {}, groups, seed)
    return SegmentationResult(
        confusions, metrics, baseline, by_class, picture_dice(confusions), objects
    )


def with_intervals(
    confusions: Counts,
    objects: NDArray[np.int64] | None,
    of_pictures: Mapping[str, NDArray[np.float64]],
    groups: ArrayLike | None,
    seed: int,
) -> tuple[dict[str, Interval], dict[str, list[Interval]]]:
    """Return the figures of the whole and by class, resampled over pictures or their groups."""
    number, classes = confusions.shape[:2]
    flat = confusions.reshape(number, -1).astype(np.float64)
    known = judged(confusions)
    means = {"picture_dice": picture_dice(confusions), **of_pictures}
    means = {name: np.where(known, each, 0) for name, each in means.items()}

    def statistics(weights: NDArray[Any]) -> dict[str, NDArray[Any]]:
        weights = weights.astype(np.float64) * known
        summed = (weights @ flat).reshape(-1, classes, classes)
        counts = ClassCounts.of(summed)
        by_class = {"iou": counts.iou(), "dice": counts.dice()}
        by_class |= {"precision": counts.precision(), "recall": counts.recall()}
        found = figures(summed)
        found |= {name: share(weights @ each, weights.sum(1)) for name, each in means.items()}
        if objects is not None:
            of_objects = object_figures(objects, weights)
            background = np.full((len(weights), 1), np.nan)
            by_class |= {k: np.hstack([background, each]) for k, each in of_objects.items()}
            if classes == 2:
                found |= {k: each[:, 0] for k, each in of_objects.items()}
        return found | {f"{name} by class": each for name, each in by_class.items()}

    values = {name: each[0] for name, each in statistics(np.ones((1, number))).items()}
    samples = bootstrap(statistics, number, groups=groups, seed=seed)
    metrics: dict[str, Interval] = {}
    by_class: dict[str, list[Interval]] = {}
    for name, value in values.items():
        found = intervals(value, samples[name])
        if name.endswith(" by class"):
            by_class[name.removesuffix(" by class")] = found
        else:
            metrics[name] = found[0]
    return metrics, by_class
