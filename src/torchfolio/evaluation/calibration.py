"""Whether an answer given with 80 % is right in 80 % of cases.

Guo et al., "On Calibration of Modern Neural Networks", 2017: reliability diagrams and the
expected calibration error (Section 2, Equation 3) over 15 bins (Table 1). Bin m holds the
confidences in ((m-1)/15, m/15], as Section 2 and scikit-learn's ``calibration_curve`` have it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchfolio.evaluation.intervals import Floats

BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """The answers whose confidence lies in (low, high]; without any, means are not-a-number."""

    low: float
    high: float
    confidence: float
    accuracy: float
    count: int


def bin_of(confidence: Floats) -> NDArray[np.int64]:
    """Return the bin (examples,) of each confidence."""
    inner = np.linspace(0, 1, BINS + 1)[1:-1]
    return np.searchsorted(inner, confidence, side="left").astype(np.int64)


def reliability(confidence: Floats, correct: NDArray[np.bool_]) -> list[ReliabilityBin]:
    """Return the 15 bins with mean confidence, share of right answers and number of answers."""
    bins = bin_of(confidence)
    edges = np.linspace(0, 1, BINS + 1)
    counts = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        confidences = np.bincount(bins, confidence, BINS) / counts
        accuracies = np.bincount(bins, correct, BINS) / counts
    rows = zip(edges[:-1], edges[1:], confidences, accuracies, counts, strict=True)
    return [
        ReliabilityBin(float(low), float(high), float(confidence), float(accuracy), int(count))
        for low, high, confidence, accuracy, count in rows
    ]


def calibration_error(bins: list[ReliabilityBin]) -> float:
    """Return the mean distance of accuracy from confidence, each bin by its share of answers."""
    filled = [each for each in bins if each.count]
    total = sum(each.count for each in filled)
    return sum(each.count * abs(each.accuracy - each.confidence) for each in filled) / total


def gaps(confidence: Floats, correct: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return confidence less correctness in the column of the bin (examples, 15).

    The calibration error under weights is the sum of the absolute weighted column sums over the
    sum of the weights.
    """
    table = np.zeros((len(confidence), BINS), np.float32)
    table[np.arange(len(confidence)), bin_of(confidence)] = confidence - correct
    return table
