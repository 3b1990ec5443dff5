"""The sections of a classifier's report, from its result. Pictures come from whoever has them."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.evaluation.classification import ClassificationResult
from torchfolio.evaluation.counts import most_confused
from torchfolio.evaluation.intervals import Interval
from torchfolio.evaluation.names import NAMES, SHARES, title
from torchfolio.evaluation.report import (
    Block,
    Figure,
    KeyFigure,
    KeyFigures,
    Section,
    Table,
    Text,
    show,
)


def value_text(interval: Interval, *, share: bool, like: Interval | None = None) -> str:
    """Return a value as text, a share in per cent: as many digits as its interval deserves.

    ``like`` is the interval that decides on the digits, where it is not its own.
    """
    if not interval.defined:
        return "–"
    digits = _digits(like or interval, share)
    return f"{100 * interval.value:.{digits}f}\u202f%" if share else f"{interval.value:.{digits}f}"


def _digits(interval: Interval, share: bool) -> int:
    """Return how many digits after the point an interval deserves."""
    narrow = interval.high - interval.low < 0.02
    return (2 if share else 4) if narrow else (1 if share else 3)


def range_text(interval: Interval, *, share: bool) -> str:
    """Return the ends of an interval as text, or nothing where they are not known."""
    if not isfinite(interval.low):
        return ""
    digits = _digits(interval, share)
    if share:
        return f"{100 * interval.low:.{digits}f} – {100 * interval.high:.{digits}f}\u202f%"
    return f"{interval.low:.{digits}f} – {interval.high:.{digits}f}"


def points(difference: Interval) -> tuple[str, str]:
    """Return a difference of shares in points, and the ends of its interval, if they are known."""
    if not difference.defined:
        return "–", ""
    value, low, high = (100 * each for each in (difference.value, difference.low, difference.high))
    return f"{value:+.2f}", f"{low:+.2f} to {high:+.2f}" if isfinite(low) else ""


def opening(result: ClassificationResult, speed: Mapping[str, Any] | None = None) -> Section:
    """Return the numbers that matter, accuracy first, with the baseline beside it."""
    chosen = ["accuracy", "macro_f1", "log_loss", "roc_auc", "ece"]
    if "top5_accuracy" in result.metrics and len(result.per_class) > 20:
        chosen.insert(1, "top5_accuracy")
    figures = []
    for name in chosen:
        interval, share = result.metrics[name], name in SHARES
        note = ""
        if name in result.baseline:
            note = f"baseline {value_text(result.baseline[name], share=share, like=interval)}"
        texts = value_text(interval, share=share), range_text(interval, share=share)
        figures.append(KeyFigure(NAMES[name], *texts, note))
    figures.append(KeyFigure("Examples", show(result.examples), note=_units(result)))
    if speed:
        figures += speed_figures(speed)
    blocks: list[Block] = [KeyFigures(figures)]
    if result.notes:
        blocks.append(Text("", result.notes))
    return Section("", blocks)


def _units(result: ClassificationResult) -> str:
    return "" if result.units == result.examples else f"in {show(result.units)} independent groups"


def speed_figures(speed: Mapping[str, Any]) -> list[KeyFigure]:
    """Return latency, throughput and size, as ``evaluation.speed.measure_speed`` gives them."""
    return [
        KeyFigure(
            "Time for one",
            f"{speed['latency_ms']:.3g}\u202fms",
            f"quartiles {speed['latency_low_ms']:.3g} – {speed['latency_high_ms']:.3g}\u202fms",
            f"on {speed['device']}",
        ),
        KeyFigure(
            "Throughput",
            f"{show(round(speed['throughput']))} / s",
            note=f"in batches of {speed['throughput_batch']}",
        ),
        KeyFigure(
            "Parameters", show(speed["parameters"]), note=f"{speed['megabytes']:.3g}\u202fMB"
        ),
    ]


def measures(result: ClassificationResult) -> Section:
    """Return every metric with its interval beside the baseline, and the curves."""
    from torchfolio.evaluation import figures

    rows = []
    for name, interval in result.metrics.items():
        share = name in SHARES
        other = result.baseline.get(name)
        texts = value_text(interval, share=share), range_text(interval, share=share)
        beside = value_text(other, share=share, like=interval) if other else ""
        rows.append([NAMES[name], *texts, beside])
    note = (
        f"Intervals: 95 % percentile bootstrap, {show(result.resamples)} resamples of "
        f"{show(result.units)} independent units. Baseline: always the commonest class of the "
        "training data, with the training frequencies as probabilities. Macro figures, ROC AUC and "
        "average precision are means over the classes; log-loss is in nats."
    )
    columns = ["", "value", "95 % interval", "baseline"]
    return Section(
        "Measures",
        [
            Table("", columns, rows, note, ("left", "right", "right", "right")),
            Figure(
                "Calibration",
                figures.reliability_diagram(result.reliability),
                "Of the answers given with a confidence, how many are right. Bars on the diagonal "
                "mean that 80 % is 80 %. Below: how often each confidence is given.",
            ),
        ],
    )


def curves(result: ClassificationResult, classes: Sequence[str]) -> Section:
    """Return the ROC and precision-recall curves."""
    from torchfolio.evaluation import figures

    told = "One class against the rest, with the area under each curve."
    if sum(curve is not None for curve in result.roc) > 6:
        told += " The band holds eight in ten classes; the three of least area are drawn."
    return Section(
        "Curves",
        [
            Figure("ROC", figures.roc_curves(result.roc, classes), told),
            Figure(
                "Precision and recall",
                figures.precision_recall_curves(result.precision_recall, classes),
                told,
            ),
        ],
    )


def class_section(result: ClassificationResult, classes: Sequence[str]) -> Section:
    """Return the confusion matrix, the commonest confusions and every class's figures."""
    from torchfolio.evaluation import figures

    f1 = [row["f1"] for row in result.per_class]
    pairs = most_confused(result.confusion, list(classes), 10)
    rows = [
        [name, cell(row["support"]), *(cell(row[key]) for key in PER_CLASS_COLUMNS)]
        for name, row in zip(classes, result.per_class, strict=True)
    ]
    blocks: list[Block] = [
        Figure(
            "Confusion",
            figures.confusion_matrix(result.confusion, classes),
            "Rows: the true class; columns: the answer. Right answers are blue, wrong ones orange, "
            "the stronger the larger their share of the true class.",
            wide=14 < len(classes) <= 30,
        ),
        Figure(
            "F1 by class",
            figures.class_scores(
                [each for each in f1 if isinstance(each, Interval)], classes, xlabel="F1"
            ),
            "With its 95 % interval.",
        ),
    ]
    if pairs:
        table = [
            [f"{each['true']} → {each['predicted']}", each["count"], f"{100 * each['share']:.1f} %"]
            for each in pairs
        ]
        columns = ["true → answer", "times", "of the true class"]
        blocks.append(Table("Most confused", columns, table))
    columns = ["class", "examples", *PER_CLASS_COLUMNS.values()]
    blocks.append(Table("Each class", columns, rows, "Value and 95 % interval."))
    return Section("Classes", blocks)


PER_CLASS_COLUMNS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC area",
    "average_precision": "average precision",
}


def cell(interval: Interval | int | float) -> str:
    """Return one figure of a class as a cell: its value, and its interval below."""
    if not isinstance(interval, Interval):
        return show(interval)
    if not interval.defined:
        return "–"
    if not isfinite(interval.low):
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f}\n{interval.low:.3f} – {interval.high:.3f}"


def training_section(
    history: Mapping[str, Mapping[str, Sequence[float | None]]], best: int | None = None
) -> Section:
    """Return learning curves: under each metric ("loss", "accuracy") its series by name."""
    from torchfolio.evaluation import figures

    return Section(
        "Training",
        [
            Figure(
                title(metric),
                figures.learning_curve(series, ylabel=metric.replace("_", " "), best=best),
            )
            for metric, series in history.items()
        ],
    )


def network_section(
    speed: Mapping[str, Any] | None = None, filters: NDArray[np.floating] | None = None
) -> Section:
    """Return size and speed, and the filters (out, in, height, width) of the first convolution."""
    blocks: list[Block] = []
    if speed:
        blocks.append(KeyFigures(speed_figures(speed)))
    if filters is not None:
        from torchfolio.evaluation import figures

        blocks.append(
            Figure(
                "First layer",
                figures.first_layer_filters(filters),
                "The filters of the first convolution, on one scale; mid-grey is zero.",
            )
        )
    return Section("Network", blocks)
