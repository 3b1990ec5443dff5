"""What many rounds say: medians, spread, ratios of the same round, and who did less.

A run is what :func:`benchmarks.process.measure` returned, with ``accuracy`` and ``examples`` where
the contestant was tested; a round holds one run of each contestant, by its name.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

OURS = "ours"
COLD = "ours_cold"  # the same, with an empty cache
COLD_FP32 = "ours_cold_fp32"
BF16 = "_bf16"  # the end of the name of a peer that was told to compute in it
Round = dict[str, dict[str, Any]]
ENOUGH = 3  # rounds for an interval of their mean
SAME = 1e-6  # differences of an accuracy that rounding makes
# Student's t for an interval of 95 % around the mean of 2, 3, ... 15 values; above, the normal's.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179,
           2.160, 2.145)  # fmt: skip
NORMAL = 1.96


@dataclass(frozen=True)
class Spread:
    """The median of some values, their extremes and quartiles (linear, between neighbours)."""

    count: int
    median: float
    low: float
    high: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """Return the spread of the values, ``None`` where there are none."""
        if not values:
            return None
        if len(values) == 1:
            lower = median = upper = values[0]
        else:
            lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(len(values), median, min(values), max(values), lower, upper)


def quartiles(found: Sequence[float], digits: int) -> list[float]:
    """Return the first and the third quartile of at least one value."""
    spread = Spread.of(found)
    assert spread is not None
    return [round(spread.lower, digits), round(spread.upper, digits)]


def values(rounds: Sequence[Round], name: str, quantity: str) -> list[float]:
    """Return a quantity of a contestant, of each round in which it did the work."""
    runs = (each[name] for each in rounds if name in each)
    return [run[quantity] for run in runs if not run.get("why") and run.get(quantity) is not None]


def ratios(rounds: Sequence[Round], name: str, quantity: str, over: str = OURS) -> list[float]:
    """Return ours over a contestant's, of each round in which both did the work."""
    found = []
    for each in rounds:
        pair = [*values([each], over, quantity), *values([each], name, quantity)]
        if len(pair) == 2 and pair[1] > 0:
            found.append(pair[0] / pair[1])
    return found


def why_failed(run: dict[str, Any], errors: str, chance: float | None) -> str:
    """Return why a run does not count: it broke off, or has learned nothing; else "".

    ``errors`` is the end of what it printed.
    ``chance`` is the accuracy of guessing, ``None`` where nothing is tested. Below it plus three
    standard deviations of guessing, over the examples tested, nothing was learned.
    """
    if run["status"] != 0:
        lines = [line for line in errors.splitlines() if line.strip()]
        return f"exit status {run['status']}: {lines[-1][:300] if lines else ''}".strip()
    if chance is None:
        return ""
    if run.get("accuracy") is None:
        return "it printed no accuracy"
    least = chance + 3 * math.sqrt(chance * (1 - chance) / run["examples"])
    if run["accuracy"] <= least:
        return f"at chance: accuracy {run['accuracy']:.4f}, guessing reaches {least:.4f}"
    return ""


def interval(found: Sequence[float]) -> tuple[float, float]:
    """Return the mean of at least two values, and half the width of its 95 % interval."""
    student = STUDENT[len(found) - 2] if len(found) - 2 < len(STUDENT) else NORMAL
    return statistics.mean(found), student * statistics.stdev(found) / len(found) ** 0.5


def noise(first: float, second: float, examples: int) -> float:
    """Return the difference of two accuracies that chance explains in 95 cases of 100.

    The normal approximation for two proportions, each of so many examples.
    """
    variance = (first * (1 - first) + second * (1 - second)) / examples
    return 1.96 * math.sqrt(variance)


def verdict(rounds: Sequence[Round], name: str, over: str = OURS) -> str:
    """Return in words how a contestant's accuracy stands to ours: "" where within noise.

    From three rounds on, by the 95 % interval of the mean difference in the same round; with fewer,
    and where every round has the same answers (of weights that all were given), by what chance
    explains on so many test examples. ``over`` is the contestant of ours.
    """
    pairs = [
        (values([each], over, "accuracy")[0], values([each], name, "accuracy")[0])
        for each in rounds
        if values([each], over, "accuracy") and values([each], name, "accuracy")
    ]
    if name == over or not pairs:
        return ""
    first, second = (statistics.mean(each) for each in zip(*pairs, strict=True))
    differences = [theirs - ours for ours, theirs in pairs]
    if len(pairs) >= ENOUGH and max(differences) - min(differences) > SAME:
        _, least = interval(differences)
    else:
        runs = [run for each in rounds for run in each.values() if "examples" in run]
        least = noise(first, second, min(run["examples"] for run in runs))
    if abs(first - second) <= least:
        return ""
    return "lower than ours" if second < first else "higher than ours"
