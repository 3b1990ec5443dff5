"""Two classifiers on the same examples: how far apart they are, and whether it is chance.

The difference has a paired percentile bootstrap interval (:mod:`torchfolio.evaluation.intervals`):
both are measured on the same resamples. McNemar's test (McNemar, "Note on the sampling error of the
difference between correlated proportions or percentages", 1947) asks whether, of the examples that
only one of them answers rightly, one has more than its half; here in its exact form, by the
binomial distribution. Where examples come in groups, the sign of each group's gain is flipped
instead (Fisher, "The Design of Experiments", 1935, Section 21), which of single examples is
McNemar's test. What is no share of right answers is judged by the bootstrap itself: by how
many resamples lie beyond zero.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite, lgamma, log
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchfolio.evaluation.intervals import (
    Floats,
    Interval,
    Weights,
    bootstrap,
    intervals,
    units_of,
)

SIGNIFICANT = 0.05
EXACT = 16  # units whose flips are all counted: 65,536
FLIPS = 10_000
TIE = 1e-9  # sums nearer than this are equal


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
class Gap:
    """By how much the first is ahead of the second in one metric, and how surely.

    ``p`` is the p-value of the ``test``, that there is no difference.
    """

    test: ClassVar[str] = "bootstrap"
    said: ClassVar[str] = "p is twice the share of the resamples at or beyond zero"

    difference: Interval
    p: float

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self) | {"difference": self.difference.as_json()}

    def counts(self) -> dict[str, int]:
        """Return what was counted, by its title, where a test counts."""
        return {}


@dataclass(frozen=True)
class Pair(Gap, Overlap):
    """An overlap, and what it says of the difference: of accuracy, by McNemar's test."""

    test = "mcnemar"
    said = "p by McNemar's exact test"

    def counts(self) -> dict[str, int]:
        return {
            "only the first right": self.only_first,
            "only the second right": self.only_second,
            "different answers": self.disagree,
        }


@dataclass(frozen=True)
class GroupedPair(Pair):
    """The same of examples that come in groups, each group one unit."""

    test = "sign_flips"
    said = "p by flipping the signs of groups' gains"


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
    counts, difference = overlap(one, other, right), intervals([gain.mean()], samples)[0]
    if groups is None:
        p = mcnemar(counts.only_first, counts.only_second)
        return Pair(**vars(counts), difference=difference, p=p)
    unit, units = units_of(groups)
    p = sign_flips(np.bincount(unit, gain, units), seed)
    return GroupedPair(**vars(counts), difference=difference, p=p)


def gap_of(value: float, samples: Floats) -> Gap:
    """Return a gap from a difference and that of each resample (resamples,)."""
    return Gap(intervals([value], samples)[0], bootstrap_p(samples))


def bootstrap_p(samples: Floats) -> float:
    """Return a two-sided p-value of resampled differences (resamples,).

    Twice the share of those at or beyond zero on the side where fewer are, with the one at hand
    counted among them (Davison and Hinkley, "Bootstrap Methods and their Application", 1997,
    Section 4.2), so that it is never zero. It is below 0.05 where the percentile interval of 95 %
    excludes zero, to within a resample. Where no resample has a difference it is 1.
    """
    known = samples[np.isfinite(samples)]
    beyond = min((known <= 0).sum(), (known >= 0).sum())
    return min(1.0, 2 * (int(beyond) + 1) / (len(known) + 1))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p-value of so many examples each."""
    total, fewer = only_first + only_second, min(only_first, only_second)
    if total == 0:
        return 1.0
    counts = range(fewer + 1)
    logs = [lgamma(total + 1) - lgamma(k + 1) - lgamma(total - k + 1) for k in counts]
    tail = float(np.exp(np.array(logs) - total * log(2)).sum())
    return min(1.0, 2 * tail)


def sign_flips(gains: NDArray[Any], seed: int = 0) -> float:
    """Return the two-sided p-value of the sum of units' gains (units,).

    Where neither of two is better, each unit's gain is as likely to be the other's. Of up to
    ``EXACT`` units with a gain all flips are counted, of more ``FLIPS`` at random, with the one at
    hand among them.
    """
    moved = np.abs(gains[gains != 0])
    if len(moved) <= EXACT:
        signs = 1 - 2 * (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1)
        return float((np.abs(signs @ moved) >= abs(gains.sum()) - TIE).mean())
    random = np.random.default_rng(seed)
    sums = np.array([random.choice((-1, 1), len(moved)) @ moved for _ in range(FLIPS)])
    return float(((np.abs(sums) >= abs(gains.sum()) - TIE).sum() + 1) / (FLIPS + 1))


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
    """Say which of two is better by a difference of shares, where ``p`` says that one is.

    ``enough`` is whether whatever else is asked for says so too.
    """
    if not difference.defined:
        return "no evidence of a difference: there is no such figure of these examples"
    points = 100 * difference.value
    if not isfinite(difference.low):
        return (
            f"no evidence of a difference: {points:+.2f} points, of a single unit, which cannot "
            "say what is chance"
        )
    low, high = 100 * difference.low, 100 * difference.high
    told = f"{points:+.2f} points [{low:+.2f}, {high:+.2f}], p = {p:.2g}"
    if p >= SIGNIFICANT or not enough:
        return f"no evidence of a difference: {told}"
    better = first if points > 0 else second
    return f"{better} is better: {told}"
