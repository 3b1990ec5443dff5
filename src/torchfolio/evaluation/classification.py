"""Every figure of a classifier with its interval, from probabilities and labels.

Names and values are scikit-learn's, and numpy alone computes them. ROC areas and average
precisions are of each class against the rest, their macro means over the classes that have examples
(with two classes: of both). Log-loss clips probabilities at the machine precision of their type,
and ties in the top five go to the later class, both as in scikit-learn.
"""

import math
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchfolio.evaluation import calibration, ranking
from torchfolio.evaluation.calibration import ReliabilityBin
from torchfolio.evaluation.counts import (
    WeightedCounts,
    class_scores,
    confusion_matrix,
    least_sure,
    macro,
    most_confused,
    worst_mistakes,
)
from torchfolio.evaluation.intervals import (
    RESAMPLES,
    Floats,
    Interval,
    Weights,
    bootstrap,
    intervals,
    units_of,
)
from torchfolio.evaluation.measures import (
    checked,
    majority_f1,
    per_example,
    per_example_of_majority,
    quick_metrics,
)
from torchfolio.evaluation.ranking import Curve

__all__ = [
    "ClassificationResult",
    "evaluate",
    "least_sure",
    "most_confused",
    "quick_metrics",
    "worst_mistakes",
]

METRICS = (
    *("accuracy", "top5_accuracy", "macro_precision", "macro_recall", "macro_f1", "weighted_f1"),
    *("log_loss", "roc_auc", "average_precision", "ece"),
)
LISTED = 200  # classes whose confusion matrix is written as rows
PER_CLASS = ("precision", "recall", "f1", "roc_auc", "average_precision")


@dataclass(frozen=True)
class ClassificationResult:
    """The figures of a classifier on one set of examples.

    ``metrics`` and ``baseline`` hold an interval under each name; ``per_class`` the same for each
    class, and its ``support``; ``confusion`` counts (true class, predicted class); ``roc`` and
    ``precision_recall`` have a curve a class, or ``None`` where there is none; ``notes`` say what
    could not be computed, and why.
    """

    metrics: dict[str, Interval]
    baseline: dict[str, Interval]
    per_class: list[dict[str, Interval | int]]
    confusion: NDArray[np.int64]
    roc: list[Curve | None]
    precision_recall: list[Curve | None]
    reliability: list[ReliabilityBin]
    notes: list[str]
    examples: int
    units: int
    resamples: int
    seed: int

    def confusion_as_json(self) -> dict[str, Any]:
        """Return the confusion matrix, or (true, predicted, count) of its cells where it is large.

        Of 10,000 classes it has 100 million cells, most of them empty.
        """
        if len(self.confusion) <= LISTED:
            return {"confusion": self.confusion.tolist()}
        true, predicted = np.nonzero(self.confusion)
        cells = np.stack([true, predicted, self.confusion[true, predicted]], axis=1)
        return {"confusion_cells": cells.tolist()}

    def as_json(self) -> dict[str, Any]:
        """Return all but the curves as plain values; ``None`` for what is not defined."""
        bins = [
            {key: x if isfinite(x) else None for key, x in asdict(each).items()}
            for each in self.reliability
        ]
        return {
            "metrics": {name: each.as_json() for name, each in self.metrics.items()},
            "baseline": {name: each.as_json() for name, each in self.baseline.items()},
            "per_class": [
                {name: x.as_json() if isinstance(x, Interval) else x for name, x in row.items()}
                for row in self.per_class
            ],
            **self.confusion_as_json(),
            "reliability": bins,
            "notes": self.notes,
            "examples": self.examples,
            "units": self.units,
            "resamples": self.resamples,
            "seed": self.seed,
        }


def evaluate(
    probabilities: NDArray[Any],
    labels: NDArray[Any],
    *,
    training_counts: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ClassificationResult:
    """Measure probabilities (examples, classes) against labels (examples,), whole numbers.

    ``training_counts`` (classes,) are the examples of each class in training: from them comes the
    baseline that always answers with the commonest class, and with the training frequencies as
    probabilities. ``groups`` names what hangs together (examples,); by default each example is
    independent. A class without examples has no recall and no areas, and no part in macro means.
    """
    probabilities, labels = checked(probabilities, labels)
    examples, classes = probabilities.shape
    predicted = probabilities.argmax(1)
    confidence = probabilities[np.arange(examples), predicted].astype(np.float64)
    terms: dict[str, NDArray[Any]] = {**per_example(probabilities, labels)}
    confusion = confusion_matrix(labels, predicted, classes)
    roc, precision_recall = ranking.values(probabilities, labels)
    bins = calibration.reliability(confidence, predicted == labels)
    values: dict[str, Any] = {name: each.mean() for name, each in terms.items()}
    values |= class_scores(np.diag(confusion), confusion.sum(1), confusion.sum(0))
    values["ece"] = calibration.calibration_error(bins)
    for name, curves in (("roc_auc", roc), ("average_precision", precision_recall)):
        values[name] = np.array([each.area if each else np.nan for each in curves])

    drawing: dict[str, Any] = {"groups": groups, "resamples": resamples, "seed": seed}
    terms["gaps"] = calibration.gaps(confidence, predicted == labels)
    majority, beside = None, dict[str, Floats]()
    if training_counts is not None:
        majority, beside = per_example_of_majority(training_counts, labels, classes)
        terms |= {f"baseline {name}": each for name, each in beside.items()}
    mean, count = Means(terms), WeightedCounts(labels, predicted, classes)

    def statistics(weights: Weights) -> dict[str, NDArray[Any]]:
        rows, counted = mean(weights), count(weights)
        rows |= class_scores(*counted) | {"ece": np.abs(rows.pop("gaps")).sum(1)}
        if majority is not None:
            rows["baseline macro_f1"] = majority_f1(counted[1], majority)
        return rows

    samples = bootstrap(statistics, examples, **drawing)
    samples |= ranking.resampled(probabilities, labels, **drawing)
    each_class = {name: intervals(values[name], samples[name]) for name in PER_CLASS}
    for name in ranking.AREAS:
        values[name], samples[name] = macro(values[name]), macro(samples[name])
    baseline = {name: each.mean() for name, each in beside.items()}
    if majority is not None:
        baseline["macro_f1"] = majority_f1(confusion.sum(1), majority)
    units = examples if groups is None else units_of(groups)[1]
    return ClassificationResult(
        metrics={
            name: intervals(values[name], samples[name])[0] for name in METRICS if name in values
        },
        baseline={
            name: intervals(baseline[name], samples[f"baseline {name}"])[0]
            for name in METRICS
            if name in baseline
        },
        per_class=[
            {name: each_class[name][index] for name in PER_CLASS}
            | {"support": int(confusion[index].sum())}
            for index in range(classes)
        ],
        confusion=confusion,
        roc=roc,
        precision_recall=precision_recall,
        reliability=bins,
        notes=notes(confusion, units),
        examples=examples,
        units=units,
        resamples=resamples,
        seed=seed,
    )


class Means:
    """Weighted means of several terms at once: arrays (examples,) or (examples, columns)."""

    def __init__(self, terms: dict[str, NDArray[Any]]) -> None:
        self.shapes = {name: each.shape[1:] for name, each in terms.items()}
        self.table = np.column_stack(list(terms.values())).astype(np.float64)

    def __call__(self, weights: Weights) -> dict[str, NDArray[Any]]:
        found = weights.astype(np.float64) @ self.table / weights.sum(1)[:, None]
        widths = [math.prod(shape) for shape in self.shapes.values()]
        parts = np.split(found, np.cumsum(widths)[:-1], axis=1)
        return {
            name: part.reshape(len(weights), *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }


def notes(confusion: NDArray[np.int64], units: int) -> list[str]:
    """Say in words what could not be computed, and where an interval says too little."""
    true, answered = confusion.sum(1), confusion.sum(0)
    absent, ignored = int((true == 0).sum()), int(((true > 0) & (answered == 0)).sum())
    said = []
    if absent:
        said.append(
            f"{absent} of {len(true)} classes {'has' if absent == 1 else 'have'} no example here, "
            "so no recall and no areas; macro means are over the other classes."
        )
    if (true > 0).sum() == 1:
        said.append("All examples are of one class: there is no ROC area.")
    if ignored:
        never = "1 class is" if ignored == 1 else f"{ignored} classes are"
        said.append(f"{never} never the answer, which counts as a precision of 0.")
    if units == 1:
        said.append("There is one independent unit: nothing can be said about intervals.")
    elif np.trace(confusion) == confusion.sum():
        limit = 0.05 ** (1 / units)
        said.append(
            "Every answer is right, so resampling finds no spread. With 95 % confidence the "
            f"accuracy is at least {limit:.2%} (exact binomial limit for {units} of {units})."
        )
    return said
