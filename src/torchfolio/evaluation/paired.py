"""Two classifiers on the same examples: how far apart they are, and whether it is chance.

The difference has a paired percentile bootstrap interval (:mod:`torchfolio.evaluation.intervals`):
both are measured on the same resamples. McNemar's test (McNemar, "Note on the sampling error of the
difference between correlated proportions or percentages", 1947) asks whether, of the examples that
only one of them answers rightly, one has more than its half; here in its exact form, by the
binomial distribution.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import lgamma, log
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchfolio.evaluation.intervals import Interval, Weights, bootstrap, intervals

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Overlap:
    """How many of the same examples two classifiers, the first and the second, answer rightly.

    ``only_first`` and ``only_second`` count those that one alone answers rightly, ``both`` and
    ``neither`` the others; ``disagree`` those with different answers.
    """

    only_first: int
    only_second: int
    both: int
    neither: int
    disagree: int


@dataclass(frozen=True)
class Pair(Overlap):
    """An overlap, and what it says of the difference.

    ``difference`` is the first one's accuracy less the second one's; ``p`` is McNemar's.
    """

    difference: Interval
    p: float

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self) | {"difference": self.difference.as_json()}


def overlap(first: ArrayLike, second: ArrayLike, labels: ArrayLike) -> Overlap:
    """Count the right answers (examples,) of two classifiers."""
    one, other, right = (np.asarray(each) for each in (first, second, labels))
    hits, others = one == right, other == right
    return Overlap(
        only_first=int((hits & ~others).sum()),
        only_second=int((~hits & others).sum()),
        both=int((hits & others).sum()),
        neither=int((~hits & ~others).sum()),
        disagree=int((one != other).sum()),
    )


def compare(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> Pair:
    """Compare answers (examples,) with the right ones; examples of a group are one unit."""
    one, other, right = (np.asarray(each) for each in (first, second, labels))
    gain = (one == right).astype(np.float64) - (other == right)

    def means(weights: Weights) -> dict[str, NDArray[np.float64]]:
        return {"difference": (weights @ gain) / weights.sum(1)}

    samples = bootstrap(means, len(gain), groups=groups, seed=seed)["difference"]
    counts = overlap(one, other, right)
    return Pair(
        **vars(counts),
        difference=intervals([gain.mean()], samples)[0],
        p=mcnemar(counts.only_first, counts.only_second),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p-value of so many examples each."""
    total, fewer = only_first + only_second, min(only_first, only_second)
    if total == 0:
        return 1.0
    counts = range(fewer + 1)
    logs = [lgamma(total + 1) - lgamma(k + 1) - lgamma(total - k + 1) for k in counts]
    tail = float(np.exp(np.array(logs) - total * log(2)).sum())
    return min(1.0, 2 * tail)


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm, 1979): the chance of any false finding."""
    order = np.argsort(values, kind="stable")
    adjusted, highest = [0.0] * len(values), 0.0
    for place, index in enumerate(order.tolist()):
        highest = max(highest, min(1.0, (len(values) - place) * values[index]))
        adjusted[index] = highest
    return adjusted


def verdict(pair: Pair, p: float, first: str, second: str) -> str:
    """Say in words what a pair shows; ``p`` is the adjusted p-value."""
    return in_words(pair.difference, p, first, second)


def in_words(
    difference: Interval, p: float, first: str, second: str, *, enough: bool = True
) -> str:
    """Say which of two is better by a difference of accuracy, where ``p`` says that one is.

    ``enough`` is whether whatever else is asked for says so too.
    """
    points = 100 * difference.value
    low, high = 100 * difference.low, 100 * difference.high
    told = f"{points:+.2f} points [{low:+.2f}, {high:+.2f}], p = {p:.2g}"
    if p >= SIGNIFICANT or not enough:
        return f"no evidence of a difference: {told}"
    better = first if points > 0 else second
    return f"{better} is better: {told}"
