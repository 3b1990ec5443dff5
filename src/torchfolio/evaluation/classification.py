"""Every figure of a classifier with its interval, from probabilities and labels.

Names and values are scikit-learn's; torchmetrics counts the confusion matrix and traces the
curves. ROC areas and average precisions are of each class against the rest, their macro means
over the classes that have examples (with two classes: of both). Log-loss clips probabilities at
the machine precision of their type, and ties in the top five go to the later class, both as in
scikit-learn.
"""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchfolio.evaluation import calibration, ranking
from torchfolio.evaluation.calibration import ReliabilityBin
from torchfolio.evaluation.counts import (
    ColumnSums,
    WeightedCounts,
    class_scores,
    least_sure,
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
            "confusion": self.confusion.tolist(),
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
    terms = per_example(probabilities, labels)
    confusion = count_confusion(labels, predicted, classes)
    roc, precision_recall = ranking.values(probabilities, labels)
    bins = calibration.reliability(confidence, predicted == labels)
    values: dict[str, Any] = {name: each.mean() for name, each in terms.items()}
    values |= class_scores(np.diag(confusion), confusion.sum(1), confusion.sum(0))
    values["ece"] = calibration.calibration_error(bins)
    for name, curves in (("roc_auc", roc), ("average_precision", precision_recall)):
        values[name] = np.array([each.area if each else np.nan for each in curves])

    drawing: dict[str, Any] = {"groups": groups, "resamples": resamples, "seed": seed}
    gaps = calibration.gaps(confidence, predicted == labels)
    count = WeightedCounts(labels, predicted, classes)

    def statistics(weights: Weights) -> dict[str, NDArray[Any]]:
        gap = means(weights, gaps)
        rows = {name: means(weights, each) for name, each in terms.items()}
        return rows | class_scores(*count(weights)) | {"ece": np.abs(gap).sum(1)}

    samples = bootstrap(statistics, examples, **drawing)
    samples |= ranking.resampled(probabilities, labels, **drawing)
    each_class = {name: intervals(values[name], samples[name]) for name in PER_CLASS}
    for name in ranking.AREAS:
        values[name], samples[name] = macro(values[name]), macro(samples[name])
    baseline = {}
    if training_counts is not None:
        baseline = evaluate_majority(training_counts, labels, classes, **drawing)
    units = examples if groups is None else units_of(groups)[1]
    return ClassificationResult(
        metrics={
            name: intervals(values[name], samples[name])[0] for name in METRICS if name in values
        },
        baseline=baseline,
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


def evaluate_majority(
    training_counts: ArrayLike, labels: NDArray[np.int64], classes: int, **drawing: Any
) -> dict[str, Interval]:
    """Return accuracy, macro_f1 and log_loss of always answering with the commonest class."""
    majority, terms = per_example_of_majority(training_counts, labels, classes)
    true = ColumnSums(labels, classes)

    def statistics(weights: Weights) -> dict[str, NDArray[Any]]:
        rows = {name: means(weights, each) for name, each in terms.items()}
        return {**rows, "macro_f1": majority_f1(true(weights), majority)}

    once = statistics(np.ones((1, len(labels)), np.float32))
    samples = bootstrap(statistics, len(labels), **drawing)
    return {name: intervals(once[name], samples[name])[0] for name in METRICS if name in once}


def means(weights: Weights, terms: NDArray[Any]) -> Floats:
    """Return weighted means (resamples, ...) of terms (examples, ...)."""
    total = weights.sum(1).reshape(-1, *[1] * (terms.ndim - 1))
    return np.asarray(weights @ terms / total, np.float64)


def macro(table: Floats) -> Floats:
    """Return the mean over the classes (the last axis) that have a value."""
    known = np.isfinite(table)
    with np.errstate(invalid="ignore"):
        return np.where(known, table, 0).sum(-1) / known.sum(-1)


def count_confusion(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Count examples (classes, classes): rows are the true class, columns the predicted one."""
    import torch
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    if classes == 1:  # torchmetrics asks for two
        return np.array([[len(labels)]], np.int64)
    pair = (torch.from_numpy(predicted), torch.from_numpy(labels))
    return multiclass_confusion_matrix(*pair, num_classes=classes).numpy()


def notes(confusion: NDArray[np.int64], units: int) -> list[str]:
    """Say in words what could not be computed, and where an interval says too little."""
    true, answered = confusion.sum(1), confusion.sum(0)
    absent, ignored = int((true == 0).sum()), int(((true > 0) & (answered == 0)).sum())
    said = []
    if absent:
        said.append(
            f"{absent} of {len(true)} classes have no example here: they have no recall and no "
            "areas, and macro means are over the other classes."
        )
    if (true > 0).sum() == 1:
        said.append("All examples are of one class: there is no ROC area.")
    if ignored:
        said.append(f"{ignored} classes are never the answer: their precision counts as 0.")
    if units == 1:
        said.append("There is one independent unit: nothing can be said about intervals.")
    elif np.trace(confusion) == confusion.sum():
        limit = 0.05 ** (1 / units)
        said.append(
            "Every answer is right, so resampling finds no spread. With 95 % confidence the "
            f"accuracy is at least {limit:.2%} (exact binomial limit for {units} of {units})."
        )
    return said
