"""Folders of runs on the same folds: whether their networks differ by more than chance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from torchfolio.comparison.runs import (
    Side,
    answers_of,
    distinct,
    pairs_as_json,
    require_same,
    shared_task,
    side_of,
)
from torchfolio.errors import RequestError
from torchfolio.evaluation.intervals import Floats
from torchfolio.evaluation.names import within
from torchfolio.evaluation.paired import Gap, holm, in_words
from torchfolio.evaluation.resampled import Corrected, corrected_t_test
from torchfolio.folds.folder import Folds
from torchfolio.folds.plan import Plan, is_folds
from torchfolio.run import Run
from torchfolio.training.folder import RunFolder

EQUAL = 1e-9  # the standard deviation of differences that rounding alone tells apart


@dataclass(frozen=True)
class FoldsFinding:
    """What a pair of folders, by their places, shows of one metric.

    ``gap`` is of all answers together; ``test`` of the differences of the runs, its p adjusted for
    the number of pairs in ``p``. ``once`` says that each example was tested once, so that the
    answers are independent and the gap's own p holds.
    """

    first: int
    second: int
    gap: Gap
    test: Corrected
    p: float
    once: bool
    words: str

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values, but for the folders; the gap's p only where it holds."""
        pooled = self.gap.as_json()
        difference, p = pooled.pop("difference"), pooled.pop("p")
        return {
            "difference": self.test.difference.as_json(),
            "std": self.test.std,
            "t": self.test.t if np.isfinite(self.test.t) else None,
            "degrees_of_freedom": self.test.freedom,
            "p": self.test.p,
            "p_adjusted": self.p,
            "pooled_difference": difference,
            f"{self.gap.test}_p": p if self.once else None,
            **pooled,
            "verdict": self.words,
        }


@dataclass(frozen=True)
class FoldsComparison:
    """Folders of runs on the same folds, and for each metric what each pair of them shows.

    ``headline`` names the figures of a folder to lay side by side.
    """

    sides: list[Side]
    headline: tuple[str, ...]
    findings: dict[str, list[FoldsFinding]]
    plan: Plan
    examples: int

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "runs": [side.as_json() for side in self.sides],
            "pairs": pairs_as_json([side.name for side in self.sides], self.findings),
            "split": "test",
            "examples": self.examples,
            "folds": self.plan.folds,
            "repeats": self.plan.repeats,
        }


def compare_runs(
    paths: Sequence[str | Path],
    *,
    device: str = "auto",
    speed: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> FoldsComparison:
    """Compare folders of runs on the folds that they share.

    With ``speed`` the latency of the first network of each is measured, one after the other, on
    ``device``. Raises ``RequestError`` for fewer than two folders, for a run among them, for one
    that is not finished, for folders that answer in different ways, and for those whose folds
    differ.
    """
    if len(paths) < 2:
        raise RequestError("Give two folders of runs or more: folio compare runs/one runs/other")
    for path in paths:
        if not is_folds(path):
            raise RequestError(
                f"{path} is no folder of runs, as 'folio train --folds' makes them. Compare such "
                "folders with one another, or runs with runs: those in a folder are runs too."
            )
    wholes = [Folds(path) for path in paths]
    names = distinct([whole.name for whole in wholes])
    task = shared_task(names, [whole.described["task"] for whole in wholes])
    for name, whole in zip(names[1:], wholes[1:], strict=True):
        require_same_folds(names[0], wholes[0], name, whole)
    for whole in wholes:
        _ = whole.metrics  # it is finished, or raises
    found = [answers_of(RunFolder(whole.path), "test", task.Compared) for whole in wholes]
    for name, answers in zip(names[1:], found[1:], strict=True):
        require_same(names[0], found[0], name, answers)
    gaps = task.Compared.gaps(found, wholes[0].plan.seed)
    findings = {metric: judged(metric, each, names, wholes) for metric, each in gaps.items()}
    sides = []
    for name, whole in zip(names, wholes, strict=True):
        say(f"measuring {name}")
        sides.append(side_of_folds(name, whole, device if speed else None))
    return FoldsComparison(sides, task.headline, findings, wholes[0].plan, len(found[0].names))


def judged(
    metric: str, gaps: Sequence[Gap], names: Sequence[str], wholes: Sequence[Folds]
) -> list[FoldsFinding]:
    """Return what all pairs of folders show of a metric, p adjusted for the number of pairs."""
    plan, values = wholes[0].plan, [values_of(whole, metric) for whole in wholes]
    pairs = list(combinations(range(len(wholes)), 2))
    shared = ratio(wholes[0])
    tests = [corrected_t_test(values[one] - values[other], shared) for one, other in pairs]
    adjusted = holm([test.p for test in tests])
    return [
        FoldsFinding(
            first=one,
            second=other,
            gap=gap,
            test=test,
            p=p,
            once=plan.repeats == 1,
            words=verdict(plan, gap, test, p, names[one], names[other]),
        )
        for (one, other), gap, test, p in zip(pairs, gaps, tests, adjusted, strict=True)
    ]


def side_of_folds(name: str, whole: Folds, device: str | None) -> Side:
    """Return a folder's figures, and what one of its trainings costs: time is their mean."""
    found = whole.metrics
    side = side_of(name, Run(whole.path / found["folds"][0]["run"]), device)
    seconds = float(np.mean([each["training"]["seconds"] for each in found["folds"]]))
    return replace(side, metrics=found["metrics"], seconds=seconds)


def require_same_folds(first: str, one: Folds, second: str, other: Folds) -> None:
    """Raise unless two folders tested the same examples in the same runs."""
    if one.described["division"] == other.described["division"]:
        return
    names = ("folds", "repeats", "split_seed")
    values = [(name, getattr(one.plan, name), getattr(other.plan, name)) for name in names]
    what = [
        f"{name} {'none' if a is None else a} and {'none' if b is None else b}"
        for name, a, b in values
        if a != b
    ]
    if one.described["data"]["fingerprint"] != other.described["data"]["fingerprint"]:
        sizes = [each.described["data"]["examples"] for each in (one, other)]
        what.insert(0, f"other data, {sizes[0]:,} and {sizes[1]:,} examples")
    told = "; ".join(what) or "the examples were divided by other rules (--duplicates, --fold)"
    raise RequestError(
        f"{first} and {second} were not tested on the same folds: {told}. Train both on the same "
        "data with the same --folds, --repeats and --split-seed (or --seed)."
    )


def values_of(whole: Folds, metric: str) -> Floats:
    """Return a metric of each run (runs,), or raise where one has none."""
    members = whole.metrics["folds"]
    values = [each["metrics"][metric]["value"] for each in members]
    lacking = [each["run"] for each, value in zip(members, values, strict=True) if value is None]
    if lacking:
        raise RequestError(
            f"{whole.path / lacking[0]} has no {within(metric)}: none of the examples that it was "
            "tested on has a label. Take fewer folds, or add examples."
        )
    return np.array(values, np.float64)


def ratio(whole: Folds) -> float:
    """Return the examples that a run is tested on over those that it learns from.

    It learns from validation too, which chooses its weights. Repeats without folds all have the
    same examples: given these, their runs are independent, and nothing is to be corrected.
    """
    if whole.plan.folds is None:
        return 0.0
    members = whole.metrics["folds"]
    learnt = sum(each["train"] + each["val"] for each in members)
    return float(sum(each["examples"] for each in members) / learnt)


def verdict(plan: Plan, gap: Gap, test: Corrected, p: float, first: str, second: str) -> str:
    """Say in words what a pair shows.

    Of folds the corrected t-test decides; it knows no spread where all their differences are equal,
    as of few examples they may be by chance. Repeats without folds are tested on the same few
    examples. In both cases the interval over the examples must exclude zero as well.
    """
    clear = gap.difference.low > 0 or gap.difference.high < 0
    degrees = f"{test.freedom} degrees of freedom"
    if plan.folds is not None:
        enough = clear or test.std > EQUAL
        words = in_words(test.difference, p, first, second, enough=enough)
        return f"{words} (corrected t-test, {degrees})"
    words = in_words(gap.difference, p, first, second, enough=clear)
    return f"{words} (interval over the examples, t-test over the seeds, {degrees})"
