"""The sections of a report on detection, from its result."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from torchfolio.evaluation.classification_report import range_text, value_text
from torchfolio.evaluation.detection import DetectionResult
from torchfolio.evaluation.matching import Boxed, Detections, Matches, match, overlaps
from torchfolio.evaluation.names import NAMES
from torchfolio.evaluation.ranking import Curve
from torchfolio.evaluation.report import (
    Figure,
    KeyFigure,
    KeyFigures,
    Section,
    Table,
    Text,
    show,
)

OPENING = ("ap", "ap50", "ap75", "ar100")
SIZES = ("ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar_small", "ar_medium", "ar_large")
UNKNOWN = 0.25  # the threshold where no score is better than another
HALF = 0.5  # of overlap: from which on an object is found, where one threshold is meant


def opening(result: DetectionResult, pictures: int, objects: int) -> Section:
    """Return the numbers that matter, with the baseline beside them."""
    figures = []
    for name in OPENING:
        interval, note = result.metrics[name], ""
        if name in result.baseline and result.baseline[name].defined:
            note = f"baseline {value_text(result.baseline[name], share=True, like=interval)}"
        texts = value_text(interval, share=True), range_text(interval, share=True)
        figures.append(KeyFigure(NAMES[name], *texts, note))
    figures += [KeyFigure("Pictures", show(pictures)), KeyFigure("Objects", show(objects))]
    notes = [
        "AP is COCO's: the mean of precision at 101 recalls, over overlaps of 0.5, 0.55 ... 0.95 "
        "and over classes; AP50 and AP75 are of one overlap. AR100 is the mean of the highest "
        "recalls with 100 boxes a picture. Baseline: in every picture the median training box of "
        "each class in the middle."
    ]
    return Section("", [KeyFigures(figures), Text("", notes)])


def class_section(
    result: DetectionResult, classes: Sequence[str], counts: NDArray[np.int64]
) -> Section:
    """Return the average precision of each class, and its curve of precision and recall."""
    from torchfolio.evaluation import figures

    rows = []
    for place, name in enumerate(classes):
        ap, ap50 = result.by_class["ap"][place], result.by_class["ap50"][place]
        others = [result.voc[key][place] for key in ("area", "points")]
        rows.append(
            [
                *(name, show(int(counts[place])), value_text(ap, share=True)),
                *(range_text(ap, share=True), value_text(ap50, share=True)),
                *(f"{100 * each:.1f}\u202f%" if np.isfinite(each) else "–" for each in others),
            ]
        )
    heads = ["class", "objects", "AP", "95 % interval", "AP50", "VOC", "VOC 2007"]
    note = (
        "VOC: area under the curve at an overlap of 0.5; VOC 2007: mean of the best precision at "
        "11 recalls. Intervals are resampled over pictures."
    )
    drawn = figures.precision_recall_curves(
        [curve_of(each) for each in result.matches], classes, what="detected classes"
    )
    caption = "At an overlap of 0.5, with the area under each curve."
    sizes = [
        [NAMES[name], value_text(result.metrics[name], share=True)]
        for name in SIZES
        if result.metrics[name].defined
    ]
    return Section(
        "Classes",
        [
            Table("", heads, rows, note),
            Figure("Precision and recall", drawn, caption),
            Table("By size, and by boxes a picture", ["", "value"], sizes, SIZE_NOTE),
        ],
    )


SIZE_NOTE = "Small: below 32 x 32 pixels; large: above 96 x 96 (COCO)."


def curve_of(matches: Matches) -> Curve | None:
    """Return the curve of precision against recall at the first overlap; none without objects."""
    amount = int(matches.objects.sum())
    if not amount:
        return None
    counted = matches.counted[0]
    right = np.cumsum(matches.right[0][counted]).astype(np.float64)
    wrong = np.cumsum(~matches.right[0][counted]).astype(np.float64)
    recall, precision = right / amount, right / np.maximum(right + wrong, 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    area = float((np.diff(recall, prepend=0.0) * best).sum())
    return Curve(np.append(0.0, recall), np.append(best[:1] if len(best) else 0.0, best), area)


def confusion(
    truths: Sequence[Boxed],
    answers: Sequence[Detections],
    classes: int,
    least: float,
) -> NDArray[np.int64]:
    """Return what objects were taken for: (classes + 1, classes + 1), the last is nothing.

    Of detections from a score on, each takes the object that it overlaps most, whatever its class;
    what is left over of either is nothing.
    """
    found = np.zeros((classes + 1, classes + 1), np.int64)
    for truth, answer in zip(truths, answers, strict=True):
        said = answer.chosen(answer.scores >= least)
        shared = overlaps(said.boxes, truth.boxes, truth.crowd)
        taken = match(shared, truth.aside, np.array([HALF]))[0]
        for label, place in zip(said.labels.tolist(), taken.tolist(), strict=True):
            if place < 0:
                found[classes, label] += 1
            elif not truth.aside[place]:
                found[truth.labels[place], label] += 1
        missed = np.setdiff1d(np.flatnonzero(~truth.aside), taken)
        np.add.at(found[:, classes], truth.labels[missed], 1)
    return found


def confusion_section(counts: NDArray[np.int64], classes: Sequence[str], least: float) -> Section:
    """Return what objects were taken for, at a score."""
    from torchfolio.evaluation import figures

    names = [*classes, "nothing"]
    drawn = figures.confusion_matrix(counts, names)
    caption = (
        f"Boxes with a score from {least:.2f} on, matched from an overlap of 0.5 on. The last row "
        "are false alarms, the last column missed objects."
    )
    return Section("Taken for", [Figure("", drawn, caption, wide=len(names) > 12)])


def mean_f1(matches: Sequence[Matches], least: float) -> float:
    """Return the mean F1 over classes of detections from a score on, at an overlap of 0.5."""
    known = [each for each in matches if each.objects.sum()]
    total = 0.0
    for each in known:
        taken = each.counted[0] & (each.scores >= least)
        total += 2 * (each.right[0] & taken).sum() / (taken.sum() + each.objects.sum())
    return float(total / max(1, len(known)))


def best_threshold(matches: Sequence[Matches]) -> tuple[float, float]:
    """Return the score from which on the mean F1 over classes is best, and that F1.

    At an overlap of 0.5. Of several scores that are as good, the lowest.
    """
    every = np.unique(np.concatenate([np.zeros(1, np.float32), *(each.scores for each in matches)]))
    if len(every) > 1000:
        every = np.quantile(every, np.linspace(0, 1, 1000), method="nearest")
    total = np.zeros(len(every))
    known = [each for each in matches if each.objects.sum()]
    for each in known:
        counted = each.counted[0]
        scores = each.scores[counted][::-1]  # rising
        right = np.append(np.cumsum(each.right[0][counted]), 0)
        number = len(scores) - np.searchsorted(scores, every, side="left")  # from each score on
        hits = np.where(number > 0, right[number - 1], 0)
        total += 2 * hits / (number + each.objects.sum())
    if not known or not total.max() > 0:
        return UNKNOWN, 0.0
    best = int(total.argmax())
    return float(every[best]), float(total[best] / len(known))
