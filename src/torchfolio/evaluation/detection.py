"""Figures of detection: COCO's average precision, VOC's, and each with an interval.

The values of ``ap``, ``ap50``, ``ap75``, of small, medium and large objects, and of recall are
those of faster-coco-eval, whose numbers are pycocotools'. Intervals are over resampled pictures.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchfolio.evaluation.intervals import Interval, bootstrap, intervals
from torchfolio.evaluation.matching import (
    THRESHOLDS,
    Boxed,
    Detections,
    Matches,
    average_precision,
    match_class,
    match_voc,
    voc_average_precision,
)

# The first twelve statistics of COCO's summary.
COCO = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip
WORK = 2e9  # resamples times detections times thresholds, that intervals may take
MOST, LEAST = 1000, 100  # resamples


@dataclass(frozen=True)
class DetectionResult:
    """The figures of a split: ``metrics`` of the whole, ``by_class`` a list each of classes.

    ``matches`` are those of each class; ``voc`` its average precision, by area and by 11 points.
    """

    metrics: dict[str, Interval]
    baseline: dict[str, Interval]
    by_class: dict[str, list[Interval]]
    matches: list[Matches]
    voc: dict[str, list[float]] = field(default_factory=dict)


def coco_statistics(
    truths: Sequence[Boxed],
    answers: Sequence[Detections],
    sizes: NDArray[np.int64],
    classes: int,
) -> dict[str, float]:
    """Return COCO's twelve statistics; not-a-number for those of which no object is there.

    ``sizes`` (pictures, 2) are heights and widths. Whatever is set aside counts as a crowd does.
    Objects are small, medium or large by their areas, answers by those of their boxes.
    """
    import faster_coco_eval

    silent = io.StringIO()
    images = [
        {"id": place + 1, "height": int(height), "width": int(width)}
        for place, (height, width) in enumerate(sizes)
    ]
    objects = [
        annotation(place, box, int(label)) | {"iscrowd": int(aside), "area": float(area)}
        for place, each in enumerate(truths)
        for box, label, aside, area in zip(
            each.boxes, each.labels, each.aside, each.areas, strict=True
        )
    ]
    truth = {
        "images": images,
        "categories": [{"id": label + 1, "name": str(label)} for label in range(classes)],
        "annotations": [{"id": place} | each for place, each in enumerate(objects, 1)],
    }
    said = [
        annotation(place, box, int(label)) | {"score": float(score)}
        for place, each in enumerate(answers)
        for box, label, score in zip(each.boxes, each.labels, each.scores, strict=True)
    ]
    with contextlib.redirect_stdout(silent):
        known = faster_coco_eval.COCO(truth)
        evaluation = faster_coco_eval.COCOeval_faster(known, known.loadRes(said), "bbox")
        evaluation.run()
    values = [float(value) if value >= 0 else float("nan") for value in evaluation.stats[:12]]
    return dict(zip(COCO, values, strict=True))


def annotation(picture: int, box: NDArray[Any], label: int) -> dict[str, Any]:
    """Return a box as COCO writes it: left, top, width and height."""
    left, top, right, bottom = (float(each) for each in box)
    width, height = right - left, bottom - top
    return {
        "image_id": picture + 1,
        "category_id": label + 1,
        "bbox": [left, top, width, height],
        "area": width * height,
    }


def evaluate(
    truths: Sequence[Boxed],
    answers: Sequence[Detections],
    sizes: NDArray[np.int64],
    classes: int,
    *,
    baseline: Sequence[Detections] | None = None,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> DetectionResult:
    """Return the figures of pictures with their intervals, and those of a ``baseline`` beside."""
    metrics, by_class, matches = measured(truths, answers, sizes, classes, groups, seed)
    trivial = {}
    if baseline is not None:
        trivial = measured(truths, baseline, sizes, classes, groups, seed)[0]
    of_voc = [
        match_class(truths, answers, label, THRESHOLDS[:1], rule=match_voc)
        for label in range(classes)
    ]
    voc = {
        "area": [voc_average_precision(each) for each in of_voc],
        "points": [voc_average_precision(each, points=True) for each in of_voc],
    }
    return DetectionResult(metrics, trivial, by_class, matches, voc)


def measured(
    truths: Sequence[Boxed],
    answers: Sequence[Detections],
    sizes: NDArray[np.int64],
    classes: int,
    groups: ArrayLike | None,
    seed: int,
) -> tuple[dict[str, Interval], dict[str, list[Interval]], list[Matches]]:
    """Return the figures of the whole and of each class, and the matches that they rest on."""
    matches = [match_class(truths, answers, label) for label in range(classes)]
    values = coco_statistics(truths, answers, sizes, classes)

    def statistics(weights: NDArray[Any]) -> dict[str, NDArray[Any]]:
        each = np.stack([average_precision(one, weights.astype(np.float64)) for one in matches], 1)
        known = np.isfinite(each)
        with np.errstate(invalid="ignore"):
            mean = np.where(known, each, 0).sum(1) / known.sum(1)
        return {
            "ap": mean.mean(1),
            "ap50": mean[:, 0],
            "ap75": mean[:, 5],
            "ap by class": each.mean(2),
            "ap50 by class": each[..., 0],
        }

    own = {name: row[0] for name, row in statistics(np.ones((1, len(truths)))).items()}
    work = sum(len(each.scores) for each in matches) * len(THRESHOLDS)
    resamples = int(np.clip(WORK / max(1, work), LEAST, MOST))
    samples = bootstrap(statistics, len(truths), groups=groups, seed=seed, resamples=resamples)
    metrics = {
        name: intervals(value, samples[name])[0] if name in samples else bare(value)
        for name, value in values.items()
    }
    by_class = {
        name: intervals(own[f"{name} by class"], samples[f"{name} by class"])
        for name in ("ap", "ap50")
    }
    return metrics, by_class, matches


def bare(value: float) -> Interval:
    """Return a value without an interval."""
    return Interval(value, float("nan"), float("nan"))
