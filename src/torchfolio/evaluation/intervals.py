"""How sure a measured value is: percentile bootstrap intervals over independent units.

Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979; the percentile interval is that
of Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, Section 13.3. A resample draws
as many units as there are, with replacement; here it is the count of how often each unit was
drawn, so that a metric is computed from weights and no example is ever copied. Examples that
hang together (pictures of one patient, sentences of one document) are one unit.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchfolio.errors import FolioError

Weights = NDArray[np.float32]  # (resamples, examples): how often each example was drawn
Floats = NDArray[np.float64]

RESAMPLES = 1000
LEVEL = 0.95
CHUNK = 2**20  # weights held at a time: 4 MiB, which stays in the processor's cache


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its 95 % interval; not-a-number where it is not defined."""

    value: float
    low: float
    high: float

    @property
    def defined(self) -> bool:
        """Whether there is a value at all."""
        return isfinite(self.value)

    def as_json(self) -> dict[str, float | None]:
        """Return value, low and high; ``None`` for what is not defined."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        return {name: end if isfinite(end) else None for name, end in ends.items()}

    @classmethod
    def from_json(cls, figure: Mapping[str, float | None]) -> "Interval":
        """Return what :meth:`as_json` returned as an interval; further keys do not matter."""
        ends = [figure[name] for name in ("value", "low", "high")]
        return cls(*(float("nan") if end is None else end for end in ends))


UNDEFINED = Interval(float("nan"), float("nan"), float("nan"))


def units_of(groups: ArrayLike) -> tuple[NDArray[np.int64], int]:
    """Return the unit of each example, a number a group, and how many units there are."""
    names, unit = np.unique(np.asarray(groups), return_inverse=True)
    return unit.astype(np.int64), len(names)


def bootstrap_weights(
    units: int, resamples: int = RESAMPLES, seed: int = 0, *, chunk: int | None = None
) -> Iterator[Weights]:
    """Yield how often each unit was drawn, a few resamples at a time: (some resamples, units).

    The draws depend on ``seed`` alone, not on ``chunk``, the number of resamples to yield at a
    time (by default as many as keep within 4 MiB). Each row sums to ``units``.
    """
    if units < 1 or resamples < 1:
        raise FolioError(
            f"A bootstrap was asked of {units} units and {resamples} resamples: "
            "both must be at least 1."
        )
    random = np.random.default_rng(seed)
    chunk = chunk or max(1, CHUNK // units)
    for start in range(0, resamples, chunk):
        weights = np.empty((min(chunk, resamples - start), units), np.float32)
        for row in weights:
            row[:] = np.bincount(random.integers(0, units, units), minlength=units)
        yield weights


def bootstrap(
    statistics: Callable[[Weights], dict[str, NDArray[Any]]],
    examples: int,
    *,
    groups: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Floats]:
    """Compute statistics on every resample: under each name (resamples, ...).

    ``statistics`` takes weights (some resamples, examples) and returns, under each name, an array
    with one row for each of them. Examples of one group are drawn together. Of a single unit
    resampling can say nothing: every statistic is then not-a-number.
    """
    unit, units = (None, examples) if groups is None else units_of(groups)
    if units == 1:
        once = statistics(np.ones((1, examples), np.float32))
        return {name: np.full(rows.shape, np.nan) for name, rows in once.items()}
    chunk = max(1, CHUNK // max(1, examples))
    parts: dict[str, list[NDArray[Any]]] = {}
    for weights in bootstrap_weights(units, resamples, seed, chunk=chunk):
        for name, rows in statistics(weights if unit is None else weights[:, unit]).items():
            parts.setdefault(name, []).append(rows)
    return {name: np.concatenate(rows).astype(np.float64) for name, rows in parts.items()}


def intervals(values: ArrayLike, samples: Floats, *, level: float = LEVEL) -> list[Interval]:
    """Return the percentile interval of each value (metrics,) from samples (resamples, metrics).

    Resamples on which a metric is not defined (no example of the class was drawn) are left out.
    An interval always holds its value: where resampling shifts a metric to one side, as it does
    calibration errors, the interval is widened to the value rather than left beside it.
    """
    found = np.atleast_1d(np.asarray(values, np.float64))
    tail = 100 * (1 - level) / 2
    result = []
    for value, column in zip(found, samples.reshape(len(samples), -1).T, strict=True):
        defined = column[np.isfinite(column)]
        if not isfinite(value):
            result.append(UNDEFINED)
        elif len(defined) == 0:
            result.append(Interval(float(value), float("nan"), float("nan")))
        else:
            low, high = np.percentile(defined, [tail, 100 - tail])
            result.append(Interval(float(value), float(min(low, value)), float(max(high, value))))
    return result


def mean_interval(
    values: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the mean of values (examples,) with its interval; undefined of no values."""
    numbers = np.asarray(values, np.float64)
    if numbers.size == 0:
        return UNDEFINED

    def means(weights: Weights) -> dict[str, NDArray[Any]]:
        return {"mean": (weights @ numbers) / weights.sum(1)}

    samples = bootstrap(means, len(numbers), groups=groups, resamples=resamples, seed=seed)
    return intervals([numbers.mean()], samples["mean"])[0]
