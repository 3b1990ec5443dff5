"""From which probability on an example has a label: the threshold of the best F1.

Lipton, Elkan, Naryanaswamy, "Optimal Thresholding of Classifiers to Maximize F1 Measure", ECML
PKDD 2014 (arXiv 1402.1892): with probabilities that are calibrated the best threshold is half of
the F1 that it reaches (Theorem 1), so never above 0.5; where a network knows nothing, F1 is best if
every example has the label (Theorem 2), which says more of F1 than of the network; and of few
positives the best threshold is a matter of chance (Section 6). So labels with fewer than ``FEW``
positives keep 0.5, and labels that every example would have are named.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.evaluation.intervals import Floats

FEW = 5  # positives below which no threshold is chosen; ours
MIDDLE = 0.5  # the threshold of a label for which none is chosen


@dataclass(frozen=True)
class Thresholds:
    """A threshold for each label (labels,), in float64: an example has it from there on.

    ``rare`` are the labels of too few positives, ``blind`` those that every example has at their
    threshold although not every one should.
    """

    values: Floats
    rare: NDArray[np.int64]
    blind: NDArray[np.int64]


def choose_thresholds(probabilities: NDArray[Any], targets: NDArray[Any]) -> Thresholds:
    """Choose the thresholds from probabilities and ones and zeros (both examples, labels)."""
    labels = targets.shape[1]
    positives = targets.sum(0, dtype=np.int64)
    values = np.full(labels, MIDDLE)
    rare = np.flatnonzero(positives < FEW)
    for label in np.flatnonzero(positives >= FEW).tolist():
        values[label] = best_threshold(probabilities[:, label], targets[:, label].astype(bool))
    everywhere = (probabilities >= values).all(0) & (positives < len(targets))
    return Thresholds(values, rare, np.setdiff1d(np.flatnonzero(everywhere), rare))


def best_threshold(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Return the threshold of the best F1 of one label (examples,); of several the highest.

    It lies halfway between the lowest score that is taken and the next below it, or 0, so that a
    rounding of scores moves no example over it.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order].astype(np.float64)
    taken = np.arange(1, len(ranked) + 1)
    hits = positive[order].cumsum()
    ends = np.append(ranked[1:] != ranked[:-1], True)  # equal scores are taken together
    f1 = np.where(ends, 2 * hits / (taken + hits[-1]), -1)
    last = int(f1.argmax())
    below = ranked[last + 1] if last + 1 < len(ranked) else 0.0
    return float((ranked[last] + below) / 2)
