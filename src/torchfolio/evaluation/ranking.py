"""ROC and precision-recall curves, one class or label at a time, and their areas under resampling.

The area under the ROC curve is by the trapezoidal rule (equal scores count half), the average
precision is the sum of precisions weighted by the steps in recall, as in scikit-learn. Resamples
are computed from how often each example was drawn. Exactly, they cost examples x classes x
resamples; where that is more than ``EXACT``, each area is followed to first order in the weights
instead (the infinitesimal jackknife; for the ROC area these are the placement values of DeLong et
al., "Comparing the Areas under Two or More Correlated Receiver Operating Characteristic Curves",
1988, Section 2). Both agree as the examples grow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchfolio.evaluation.intervals import Floats, Weights, bootstrap

EXACT = 30_000_000  # examples x classes x resamples: a fifth of a second on one core
INFLUENCE = 2**24  # entries of the table of derivatives that is held at a time
AREAS = ("roc_auc", "average_precision")
Counts = NDArray[np.int32]  # (resamples, examples): how often each example was drawn
CURVE_POINTS = 200  # of a curve that is drawn


@dataclass(frozen=True)
class Curve:
    """A curve to draw. ROC: false and true positive rate; else recall and precision."""

    x: Floats
    y: Floats
    area: float


class Ranking:
    """One class's scores (examples,), sorted from the highest; equal scores form a group.

    Only groups that hold a positive matter to either area, so sums are looked up at the ends of
    those groups alone.
    """

    def __init__(self, scores: NDArray[Any], positive: NDArray[np.bool_]) -> None:
        self.order = np.argsort(-scores, kind="stable")
        ranked, hit = scores[self.order], positive[self.order]
        self.positives, self.negatives = int(hit.sum()), int((~hit).sum())
        starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        ends = np.r_[starts[1:], len(ranked)]
        self.group_of = np.repeat(np.arange(len(starts)), ends - starts)  # of each rank
        kept, first = np.unique(self.group_of[hit], return_index=True)
        self.group_hits = first  # where each kept group begins among the positives
        self.hit = self.order[hit]
        self.ranked_hit = hit
        self.starts, self.ends = starts[kept], ends[kept]

    def areas(self, counts: Counts) -> tuple[Floats, Floats]:
        """Return the ROC areas and average precisions under counts (resamples, examples).

        Not-a-number for a resample without a positive (or, for ROC, without a negative).
        """
        total = np.zeros((len(counts), counts.shape[1] + 1), np.int32)
        np.cumsum(counts.take(self.order, 1), axis=1, dtype=np.int32, out=total[:, 1:])
        above, upto = total.take(self.starts, 1), total.take(self.ends, 1)  # ranked so high
        hits = np.add.reduceat(counts.take(self.hit, 1), self.group_hits, axis=1, dtype=np.float64)
        true = hits.cumsum(1)
        positives = true[:, -1]
        negatives = total[:, -1] - positives
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(hits > 0, true / upto, 0)
            average_precision = (hits * precision).sum(1) / positives
            false = (above + upto - 2 * true + hits) / 2  # ranked higher, and half of those equal
            roc = (hits * (negatives[:, None] - false)).sum(1) / (positives * negatives)
        return roc, average_precision

    def tally(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return how many positives and negatives each group holds, the highest score first."""
        groups = int(self.group_of[-1]) + 1
        hits = np.bincount(self.group_of, self.ranked_hit, groups)
        return hits, np.bincount(self.group_of, ~self.ranked_hit, groups)

    def influence(self) -> tuple[Floats, Floats]:
        """Return the derivative of both areas by the weight of each example, at weights of one."""
        hit = self.ranked_hit
        hits, misses = self.tally()
        true, upto = hits.cumsum(), (hits + misses).cumsum()
        below = self.negatives - misses.cumsum() + misses / 2  # negatives a member is ahead of
        above = true - hits / 2  # positives ahead of a member
        roc = np.full(len(hit), np.nan)
        if self.negatives:
            place = np.where(hit, below[self.group_of], above[self.group_of])
            place /= np.where(hit, self.negatives, self.positives)
            area = place[hit].mean()
            roc = (place - area) / np.where(hit, self.positives, self.negatives)
        precision = true / upto
        average = (hits * precision).sum() / self.positives
        gain = np.cumsum((hits / upto)[::-1])[::-1][self.group_of]  # a hit more in groups from here
        loss = np.cumsum((hits * true / upto**2)[::-1])[::-1][self.group_of]  # an example more
        own = np.where(hit, precision[self.group_of] - average + gain, 0)
        result = np.empty((2, len(hit)))
        result[:, self.order] = roc, (own - loss) / self.positives
        return result[0], result[1]


def resampled(
    probabilities: NDArray[Any],
    labels: NDArray[np.integer],
    *,
    groups: ArrayLike | None,
    resamples: int,
    seed: int,
) -> dict[str, Floats]:
    """Return ``roc_auc`` and ``average_precision`` (resamples, classes) of resampled examples.

    ``labels`` are classes (examples,), or ones and zeros (examples, classes) where an example may
    have several. A class without examples has columns of not-a-number.
    """
    examples, classes = probabilities.shape
    present = np.unique(labels) if labels.ndim == 1 else np.flatnonzero(labels.any(0))
    exact = examples * len(present) * resamples <= EXACT
    block = max(1, len(present) if exact else INFLUENCE // examples)
    result = {name: np.full((resamples, classes), np.nan) for name in AREAS}
    for start in range(0, len(present), block):
        members = present[start : start + block]
        rankings = [Ranking(probabilities[:, each], having(labels, each)) for each in members]
        statistics = (_exact if exact else _first_order)(rankings)
        samples = bootstrap(statistics, examples, groups=groups, resamples=resamples, seed=seed)
        for name in AREAS:
            result[name][:, members] = samples[name]
    return result


def having(labels: NDArray[Any], index: int) -> NDArray[np.bool_]:
    """Return which examples are of a class, or have a label (examples,)."""
    return labels == index if labels.ndim == 1 else labels[:, index].astype(bool)


def pooled(probabilities: NDArray[Any], targets: NDArray[Any]) -> float:
    """Return the average precision of all (example, label) pairs in one ranking ("micro")."""
    if not targets.any():
        return float("nan")
    ranking = Ranking(probabilities.ravel(), targets.ravel().astype(bool))
    return float(ranking.areas(np.ones((1, targets.size), np.int32))[1][0])


def pooled_resampled(
    probabilities: NDArray[Any],
    targets: NDArray[Any],
    *,
    groups: ArrayLike | None,
    resamples: int,
    seed: int,
) -> Floats:
    """Return :func:`pooled` (resamples,) of resampled examples, each with all of its pairs."""
    examples, labels = targets.shape
    if not targets.any():
        return np.full(resamples, np.nan)
    ranking = Ranking(probabilities.ravel(), targets.ravel().astype(bool))
    if targets.size * resamples <= EXACT:

        def statistics(weights: Weights) -> dict[str, Floats]:
            counts = np.repeat(weights.astype(np.int32), labels, axis=1)
            return {"area": ranking.areas(counts)[1]}

    else:
        area = pooled(probabilities, targets)
        slopes = ranking.influence()[1].reshape(examples, labels).sum(1).astype(np.float32)

        def statistics(weights: Weights) -> dict[str, Floats]:
            return {"area": np.clip(area + (weights - 1) @ slopes, 0, 1)}

    drawing: dict[str, Any] = {"groups": groups, "resamples": resamples, "seed": seed}
    return bootstrap(statistics, examples, **drawing)["area"]


def _exact(rankings: list[Ranking]) -> Callable[[Weights], dict[str, Floats]]:
    """Return the areas (resamples, classes) as a function of weights."""

    def statistics(weights: Weights) -> dict[str, Floats]:
        counts = weights.astype(np.int32)
        areas = np.array([each.areas(counts) for each in rankings])  # (classes, 2, resamples)
        return {name: areas[:, index].T for index, name in enumerate(AREAS)}

    return statistics


def _first_order(rankings: list[Ranking]) -> Callable[[Weights], dict[str, Floats]]:
    """Return the areas (resamples, classes), held to 0 and 1, as a linear function of weights."""
    once = np.ones((1, len(rankings[0].order)), np.int32)
    areas = np.array([each.areas(once) for each in rankings])[..., 0]  # (classes, 2)
    slopes = np.array([each.influence() for each in rankings], np.float32)

    def statistics(weights: Weights) -> dict[str, Floats]:
        return {
            name: np.clip(areas[:, index] + (weights - 1) @ slopes[:, index].T, 0, 1)
            for index, name in enumerate(AREAS)
        }

    return statistics


def values(
    probabilities: NDArray[Any], labels: NDArray[np.integer]
) -> tuple[list[Curve | None], list[Curve | None]]:
    """Return the ROC and the precision-recall curve of each class with their exact areas.

    ``labels`` are as in :func:`resampled`. ``None`` for a class without examples (or, for ROC, with
    nothing else). The areas are of all points; the curves keep about ``CURVE_POINTS`` of them, for
    drawing.
    """
    roc: list[Curve | None] = []
    precision_recall: list[Curve | None] = []
    once = np.ones((1, len(labels)), np.int32)
    for index in range(probabilities.shape[1]):
        roc.append(None)
        precision_recall.append(None)
        positive = having(labels, index)
        if not positive.any():
            continue
        ranking = Ranking(probabilities[:, index], positive)
        area, average_precision = (float(each[0]) for each in ranking.areas(once))
        true, false = (each.cumsum() for each in ranking.tally())
        recall = np.r_[0, true / ranking.positives]
        if ranking.negatives:
            roc[-1] = Curve(*_thin(np.r_[0, false / ranking.negatives], recall), area)
        precision = np.r_[1, true / (true + false)]
        precision_recall[-1] = Curve(*_thin(recall, precision), average_precision)
    return roc, precision_recall


def _thin(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Keep the ends and points that lie evenly along the curve, counting both directions."""
    along = np.r_[0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))]
    wanted = np.linspace(0, along[-1], CURVE_POINTS)
    kept = np.unique(np.r_[0, np.searchsorted(along, wanted, "left"), len(x) - 1])
    kept = kept[kept < len(x)]
    return x[kept].copy(), y[kept].copy()
