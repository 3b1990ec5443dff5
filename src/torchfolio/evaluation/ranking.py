"""Areas under ROC and precision-recall curves, one class against the rest, under resampling.

The values themselves and the curves are torchmetrics'. Resamples are computed here, from weights.
Exactly, they cost examples x classes x resamples; where that is more than ``EXACT``, each area is
followed to first order in the weights instead (the infinitesimal jackknife; for the ROC area these
are the placement values of DeLong et al., "Comparing the Areas under Two or More Correlated
Receiver Operating Characteristic Curves", 1988, Section 2). Both agree as the examples grow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchfolio.evaluation.intervals import Floats, Weights, bootstrap

EXACT = 300_000_000  # examples x classes x resamples: a few seconds on one core
INFLUENCE = 2**24  # entries of the table of derivatives that is held at a time
AREAS = ("roc_auc", "average_precision")
CURVE_POINTS = 200  # of a curve that is drawn


@dataclass(frozen=True)
class Curve:
    """A curve to draw. ROC: false and true positive rate; else recall and precision."""

    x: Floats
    y: Floats
    area: float


class Ranking:
    """One class's scores (examples,), sorted from the highest; equal scores form a group.

    Only groups that hold a positive matter to either area, so weights are summed over the runs
    of examples between the ends of those groups.
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
        self.ranked_hit, self.kept = hit, kept
        self.edges = np.unique(np.r_[0, starts[kept], ends[kept]])
        self.before = np.searchsorted(self.edges, starts[kept])
        self.after = np.searchsorted(self.edges, ends[kept])

    def areas(self, weights: Weights) -> tuple[Floats, Floats]:
        """Return the ROC areas and average precisions under weights (resamples, examples).

        Not-a-number for a resample without a positive (or, for ROC, without a negative).
        """
        ranked = weights[:, self.order]
        inner = self.edges[self.edges < ranked.shape[1]]
        sums = np.add.reduceat(ranked, inner, axis=1, dtype=np.float64)
        total = np.zeros((len(weights), len(inner) + 1))
        np.cumsum(sums, axis=1, out=total[:, 1:])
        hits = np.add.reduceat(weights[:, self.hit], self.group_hits, axis=1, dtype=np.float64)
        true = hits.cumsum(1)
        above, upto = total[:, self.before], total[:, self.after]  # all examples ranked so high
        positives = true[:, -1]
        negatives = total[:, -1] - positives
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(hits > 0, true / upto, 0)
            average_precision = (hits * precision).sum(1) / positives
            false = (above + upto - 2 * true + hits) / 2  # ranked higher, and half of those equal
            roc = (hits * (negatives[:, None] - false)).sum(1) / (positives * negatives)
        return roc, average_precision

    def influence(self) -> tuple[Floats, Floats]:
        """Return the derivative of both areas by the weight of each example, at weights of one."""
        hit = self.ranked_hit
        groups = int(self.group_of[-1]) + 1
        hits = np.bincount(self.group_of, hit, groups)
        misses = np.bincount(self.group_of, ~hit, groups)
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
    labels: NDArray[np.int64],
    *,
    groups: ArrayLike | None,
    resamples: int,
    seed: int,
) -> dict[str, Floats]:
    """Return ``roc_auc`` and ``average_precision`` (resamples, classes) of resampled examples.

    A class without examples has columns of not-a-number.
    """
    examples, classes = probabilities.shape
    present = np.unique(labels)
    exact = examples * len(present) * resamples <= EXACT
    block = len(present) if exact else max(1, INFLUENCE // examples)
    result = {name: np.full((resamples, classes), np.nan) for name in AREAS}
    for start in range(0, len(present), block):
        members = present[start : start + block]
        rankings = [Ranking(probabilities[:, each], labels == each) for each in members]
        statistics = (_exact if exact else _first_order)(rankings)
        samples = bootstrap(statistics, examples, groups=groups, resamples=resamples, seed=seed)
        for name in AREAS:
            result[name][:, members] = samples[name]
    return result


def _exact(rankings: list[Ranking]) -> Callable[[Weights], dict[str, Floats]]:
    """Return the areas (resamples, classes) as a function of weights."""

    def statistics(weights: Weights) -> dict[str, Floats]:
        areas = np.array([each.areas(weights) for each in rankings])  # (classes, 2, resamples)
        return {name: areas[:, index].T for index, name in enumerate(AREAS)}

    return statistics


def _first_order(rankings: list[Ranking]) -> Callable[[Weights], dict[str, Floats]]:
    """Return the areas (resamples, classes), held to 0 and 1, as a linear function of weights."""
    once = np.ones((1, len(rankings[0].order)), np.float32)
    areas = np.array([each.areas(once) for each in rankings])[..., 0]  # (classes, 2)
    slopes = np.array([each.influence() for each in rankings], np.float32)

    def statistics(weights: Weights) -> dict[str, Floats]:
        return {
            name: np.clip(areas[:, index] + (weights - 1) @ slopes[:, index].T, 0, 1)
            for index, name in enumerate(AREAS)
        }

    return statistics


def values(
    probabilities: NDArray[Any], labels: NDArray[np.int64]
) -> tuple[list[Curve | None], list[Curve | None]]:
    """Return the ROC and the precision-recall curve of each class with their exact areas.

    ``None`` for a class without examples (or, for ROC, with nothing else). The areas are of all
    points; the curves keep about ``CURVE_POINTS`` of them, for drawing.
    """
    import torch
    from torchmetrics.functional import classification as metrics

    roc: list[Curve | None] = []
    precision_recall: list[Curve | None] = []
    for index in range(probabilities.shape[1]):
        target = torch.from_numpy((labels == index).astype(np.int64))
        scores = torch.from_numpy(np.ascontiguousarray(probabilities[:, index]))
        positives = int(target.sum())
        roc.append(None)
        precision_recall.append(None)
        if 0 < positives < len(labels):
            area = float(metrics.binary_auroc(scores, target))
            x, y, _ = (part.double().numpy() for part in metrics.binary_roc(scores, target))
            roc[-1] = Curve(*_thin(x, y), area)
        if positives:
            area = float(metrics.binary_average_precision(scores, target))
            y, x, _ = (
                part.double().numpy()
                for part in metrics.binary_precision_recall_curve(scores, target)
            )
            precision_recall[-1] = Curve(*_thin(x[::-1], y[::-1]), area)
    return roc, precision_recall


def _thin(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Keep the ends and points that lie evenly along the curve, counting both directions."""
    along = np.r_[0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))]
    wanted = np.linspace(0, along[-1], CURVE_POINTS)
    kept = np.unique(np.r_[0, np.searchsorted(along, wanted, "left"), len(x) - 1])
    kept = kept[kept < len(x)]
    return x[kept].copy(), y[kept].copy()
