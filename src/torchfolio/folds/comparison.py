"""Folders of runs on the same folds: whether their networks differ by more than chance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from torchfolio.comparison import Answers, Side, distinct, require_same, side_of
from torchfolio.errors import RequestError
from torchfolio.evaluation.paired import Pair, compare, holm, in_words
from torchfolio.evaluation.resampled import Corrected, corrected_t_test
from torchfolio.folds.folder import Folds
from torchfolio.folds.plan import Plan, is_folds
from torchfolio.run import Run
from torchfolio.training.folder import RunFolder


@dataclass(frozen=True)
class FoldsPair:
    """Two folders, by their places, and what was found.

    ``pair`` is of all answers together; ``test`` of the differences of the runs, its p adjusted for
    the number of pairs in ``p``.
    """

    first: int
    second: int
    pair: Pair
    test: Corrected
    p: float
    words: str


@dataclass(frozen=True)
class FoldsComparison:
    """Folders of runs on the same folds, and each pair of them."""

    sides: list[Side]
    pairs: list[FoldsPair]
    plan: Plan
    examples: int

    @property
    def once(self) -> bool:
        """Whether each example was tested once, so that McNemar's test has independent answers."""
        return self.plan.repeats == 1

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values; McNemar's p is ``None`` where it does not apply."""
        pairs = [
            {
                "first": self.sides[each.first].name,
                "second": self.sides[each.second].name,
                "difference": each.test.difference.as_json(),
                "std": each.test.std,
                "t": each.test.t if np.isfinite(each.test.t) else None,
                "degrees_of_freedom": each.test.freedom,
                "p": each.test.p,
                "p_adjusted": each.p,
                "pooled_difference": each.pair.difference.as_json(),
                "mcnemar_p": each.pair.p if self.once else None,
                "only_first": each.pair.only_first,
                "only_second": each.pair.only_second,
                "both": each.pair.both,
                "neither": each.pair.neither,
                "disagree": each.pair.disagree,
                "verdict": each.words,
            }
            for each in self.pairs
        ]
        return {
            "runs": [side.as_json() for side in self.sides],
            "pairs": pairs,
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
    that is not finished, and for folders whose folds differ.
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
    for name, whole in zip(names[1:], wholes[1:], strict=True):
        require_same_folds(names[0], wholes[0], name, whole)
    plan = wholes[0].plan
    found = [answers_of(whole) for whole in wholes]
    for name, answers in zip(names[1:], found[1:], strict=True):
        require_same(names[0], found[0], name, answers)
    pairs = []
    for one, other in combinations(range(len(wholes)), 2):
        first, second = found[one], found[other]
        pair = compare(
            first.predictions, second.predictions, first.labels,
            groups=first.groups, seed=plan.seed,
        )  # fmt: skip
        differences = accuracies(wholes[one]) - accuracies(wholes[other])
        pairs.append((one, other, pair, corrected_t_test(differences, ratio(wholes[one]))))
    adjusted = holm([test.p for *_, test in pairs])
    sides = []
    for name, whole in zip(names, wholes, strict=True):
        say(f"measuring {name}")
        sides.append(side_of_folds(name, whole, device if speed else None))
    told = [
        FoldsPair(one, other, pair, test, p, verdict(plan, pair, test, p, names[one], names[other]))
        for (one, other, pair, test), p in zip(pairs, adjusted, strict=True)
    ]
    return FoldsComparison(sides, told, plan, len(found[0].names))


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


def answers_of(whole: Folds) -> Answers:
    """Return what the runs of a folder said, sorted by repeat and example."""
    task = whole.described["task"]
    if task != "image-classification":
        raise RequestError(f"{whole.path} holds runs of {task}; compare takes classifiers.")
    repeats = whole.plan.repeats
    assert whole.metrics  # it is finished
    rows = RunFolder(whole.path).read_table("predictions/test.csv")
    rows = sorted(rows, key=lambda row: (int(row["repeat"]), row["input"]))
    unit = "group" if rows and "group" in rows[0] else "input" if repeats > 1 else None
    return Answers(
        [f"{row['repeat']} {row['input']}" for row in rows],
        np.array([row["label"] for row in rows]),
        np.array([row["prediction"] for row in rows]),
        None if unit is None else np.array([row[unit] for row in rows]),
    )


def accuracies(whole: Folds) -> Any:
    """Return the accuracy of each run (runs,)."""
    return np.array([each["metrics"]["accuracy"]["value"] for each in whole.metrics["folds"]])


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


def verdict(plan: Plan, pair: Pair, test: Corrected, p: float, first: str, second: str) -> str:
    """Say in words what a pair shows.

    Of folds the corrected t-test decides. Repeats without folds are tested on the same few
    examples, so the interval over these must exclude zero as well.
    """
    degrees = f"{test.freedom} degrees of freedom"
    if plan.folds is not None:
        return f"{in_words(test.difference, p, first, second)} (corrected t-test, {degrees})"
    enough = not pair.difference.low <= 0 <= pair.difference.high
    words = in_words(pair.difference, p, first, second, enough=enough)
    return f"{words} (interval over the examples, t-test over the seeds, {degrees})"
