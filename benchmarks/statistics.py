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
Round = dict[str, dict[str, Any]]


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


def noise(first: float, second: float, examples: int) -> float:
    """Return the difference of two accuracies that chance explains in 95 cases of 100.

    The normal approximation for two proportions, each of so many examples.
    """
    variance = (first * (1 - first) + second * (1 - second)) / examples
    return 1.96 * math.sqrt(variance)


def verdict(rounds: Sequence[Round], name: str) -> str:
    """Return in words how a contestant's accuracy stands to ours: "" where within noise."""
    ours, theirs = (values(rounds, each, "accuracy") for each in (OURS, name))
    if name == OURS or not ours or not theirs:
        return ""
    examples = min(run["examples"] for each in rounds for run in each.values() if "examples" in run)
    first, second = statistics.mean(ours), statistics.mean(theirs)
    if abs(first - second) <= noise(first, second, examples):
        return ""
    return "lower than ours" if second < first else "higher than ours"
