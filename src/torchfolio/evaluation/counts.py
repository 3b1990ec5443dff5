"""Precision, recall and F1 from counts, for one set of counts or for a row a resample."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.evaluation.intervals import Floats


def class_scores(
    hits: NDArray[Any], true: NDArray[Any], predicted: NDArray[Any]
) -> dict[str, Floats]:
    """Return precision, recall and F1 of each class, and their means, from counts (..., classes).

    ``hits`` counts right answers, ``true`` examples of a class, ``predicted`` answers of a class.
    As in scikit-learn a class that is never predicted has precision 0. A class with neither
    examples nor answers has no scores, one without examples no recall (not-a-number). Macro and
    weighted means go over the classes that have examples (scikit-learn's ``labels=present``), so
    ``macro_recall`` is scikit-learn's balanced accuracy.
    """
    hits, true, predicted = (np.asarray(part, np.float64) for part in (hits, true, predicted))
    present = true > 0
    known = present | (predicted > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(known, hits / np.maximum(predicted, 1), np.nan)
        recall = np.where(present, hits / true, np.nan)
        f1 = np.where(known, 2 * hits / (true + predicted), np.nan)
        classes = present.sum(-1)
        return {
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "macro_precision": np.where(present, precision, 0).sum(-1) / classes,
            "macro_recall": np.where(present, recall, 0).sum(-1) / classes,
            "macro_f1": np.where(present, f1, 0).sum(-1) / classes,
            "weighted_f1": (np.where(present, f1, 0) * true).sum(-1) / true.sum(-1),
        }


def macro(table: Floats) -> Floats:
    """Return the mean over the classes (the last axis) that have a value."""
    known = np.isfinite(table)
    with np.errstate(invalid="ignore"):
        return np.where(known, table, 0).sum(-1) / known.sum(-1)


def confusion_matrix(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Count examples (classes, classes): rows are the true class, columns the predicted one."""
    cells = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64, copy=False)


class ColumnSums:
    """Sum columns that have the same number: (rows, columns) -> (rows, size)."""

    def __init__(self, number: NDArray[np.int64], size: int) -> None:
        self.size = size
        self.order = np.argsort(number, kind="stable")
        self.found, self.starts = np.unique(number[self.order], return_index=True)

    def __call__(self, table: NDArray[Any]) -> Floats:
        sums = np.zeros((len(table), self.size))
        if len(self.found):
            columns = table[:, self.order]
            sums[:, self.found] = np.add.reduceat(columns, self.starts, axis=1, dtype=np.float64)
        return sums


class WeightedCounts:
    """Right answers, examples and answers of each class under weights (resamples, examples)."""

    def __init__(
        self, labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
    ) -> None:
        cells, cell_of = np.unique(labels * classes + predicted, return_inverse=True)
        true, answered = np.divmod(cells, classes)
        self.cells = ColumnSums(cell_of.astype(np.int64), len(cells))
        self.diagonal = np.flatnonzero(true == answered)
        self.hits = ColumnSums(true[self.diagonal], classes)
        self.true = ColumnSums(true, classes)
        self.answered = ColumnSums(answered, classes)

    def __call__(self, weights: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
        cells = self.cells(weights)  # (resamples, filled cells of the confusion matrix)
        return self.hits(cells[:, self.diagonal]), self.true(cells), self.answered(cells)


def most_confused(
    confusion: NDArray[np.int64], classes: list[str] | tuple[str, ...], k: int = 10
) -> list[dict[str, Any]]:
    """Return the k commonest mistakes: true and predicted class, count, share of the true class."""
    rows, columns = np.nonzero(confusion)
    wrong = rows != columns
    rows, columns = rows[wrong], columns[wrong]
    order = np.argsort(-confusion[rows, columns], kind="stable")[:k]
    found = []
    for true, predicted in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        count = int(confusion[true, predicted])
        share = count / int(confusion[true].sum())
        pair = {"true": classes[true], "predicted": classes[predicted]}
        found.append({**pair, "count": count, "share": share})
    return found


def worst_mistakes(
    probabilities: NDArray[Any], labels: NDArray[np.int64], k: int = 24
) -> NDArray[np.int64]:
    """Return the indices of the k wrong answers that gave their true class the least probability.

    Among equals the surer of the wrong answer comes first, then the earlier example.
    """
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    sure = probabilities[wrong].max(1)
    return wrong[np.lexsort((-sure, probabilities[wrong, labels[wrong]]))[:k]].astype(np.int64)


def least_sure(probabilities: NDArray[Any], k: int = 24) -> NDArray[np.int64]:
    """Return the indices of the k answers with the smallest lead over the second choice."""
    if probabilities.shape[1] < 2:
        return np.arange(min(k, len(probabilities)), dtype=np.int64)
    best = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.argsort(best[:, 1] - best[:, 0], kind="stable")[:k].astype(np.int64)
