"""Runs side by side: figures, cost, and whether their differences are more than chance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torchfolio.errors import RequestError
from torchfolio.evaluation.figures import class_scores
from torchfolio.evaluation.intervals import Interval
from torchfolio.evaluation.paired import Pair, compare, holm, verdict
from torchfolio.evaluation.report import Cell, Figure, Report, Section, Table, Text, write_report
from torchfolio.networks.summary import summarise
from torchfolio.run import Run
from torchfolio.tasks.image_classification_report import speed_of
from torchfolio.tasks.image_classifier import ImageClassifier
from torchfolio.tasks.registry import find_task
from torchfolio.training.start import make_task

MANY = 30  # classes or runs that a figure holds


@dataclass(frozen=True)
class Side:
    """One run of a comparison; what an ensemble costs is the sum over its members."""

    name: str
    network: str
    metrics: dict[str, dict[str, float | None]]
    parameters: int
    macs: int
    seconds: float | None
    latency: float | None  # milliseconds

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "run": self.name,
            "network": self.network,
            "metrics": self.metrics,
            "parameters": self.parameters,
            "macs": self.macs,
            "training_seconds": self.seconds,
            "latency_ms": self.latency,
        }


@dataclass(frozen=True)
class Comparison:
    """Runs, and each pair of them: their places, what was found, the adjusted p, and the words."""

    sides: list[Side]
    pairs: list[tuple[int, int, Pair, float, str]]
    split: str
    examples: int

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        pairs = [
            {
                "first": self.sides[one].name,
                "second": self.sides[other].name,
                **pair.as_json(),
                "p_adjusted": p,
                "verdict": words,
            }
            for one, other, pair, p, words in self.pairs
        ]
        sides = [side.as_json() for side in self.sides]
        return {"runs": sides, "pairs": pairs, "split": self.split, "examples": self.examples}


@dataclass(frozen=True)
class Answers:
    """What a run said of its examples, in the order of their names."""

    names: list[str]
    labels: NDArray[np.str_]
    predictions: NDArray[np.str_]
    groups: NDArray[np.str_] | None


def compare_runs(
    paths: Sequence[str | Path],
    *,
    device: str = "auto",
    speed: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Compare runs on the examples that all of them were tested on.

    With ``speed`` the latency of each is measured, one after the other, on ``device``. Raises
    ``RequestError`` for fewer than two runs, for runs that were not measured, and for runs that
    were tested on different examples.
    """
    if len(paths) < 2:
        raise RequestError("Give two runs or more: folio compare runs/one runs/other")
    runs = [Run(path) for path in paths]
    names = distinct([run.name for run in runs])
    found = [answers_of(run) for run in runs]
    for name, answers in zip(names[1:], found[1:], strict=True):
        require_same(names[0], found[0], name, answers)
    pairs = []
    for one, other in combinations(range(len(runs)), 2):
        first, second = found[one], found[other]
        pair = compare(
            first.predictions, second.predictions, first.labels,
            groups=first.groups, seed=runs[0].recipe.training.seed,
        )  # fmt: skip
        pairs.append((one, other, pair))
    adjusted = holm([pair.p for _, _, pair in pairs])
    told = [
        (one, other, pair, p, verdict(pair, p, names[one], names[other]))
        for (one, other, pair), p in zip(pairs, adjusted, strict=True)
    ]
    sides = []
    for name, run in zip(names, runs, strict=True):
        say(f"measuring {name}")
        sides.append(side_of(name, run, device if speed else None))
    return Comparison(sides, told, runs[0].metrics["split"], len(found[0].names))


def distinct(names: list[str]) -> list[str]:
    """Return names that differ: equal ones get a number."""
    counts: dict[str, int] = {}
    result = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        result.append(name if names.count(name) == 1 else f"{name} ({counts[name]})")
    return result


def answers_of(run: Run) -> Answers:
    """Return what a run said of the split that it was measured on."""
    metrics = run.metrics
    task = run.recipe.task["name"]
    if not issubclass(find_task(task), ImageClassifier):
        raise RequestError(f"{run.path} is a run of {task}; compare takes classifiers.")
    file = run.path / "predictions" / f"{metrics['split']}.csv"
    if not file.is_file():
        raise RequestError(
            f"{run.path} has no predictions: nothing was held out. Train with --test-split."
        )
    rows = run.folder.read_table(f"predictions/{metrics['split']}.csv")
    rows = sorted(rows, key=lambda row: row["input"])
    groups = [row["group"] for row in rows] if rows and "group" in rows[0] else None
    return Answers(
        [row["input"] for row in rows],
        np.array([row["label"] for row in rows]),
        np.array([row["prediction"] for row in rows]),
        None if groups is None else np.array(groups),
    )


def require_same(first: str, one: Answers, second: str, other: Answers) -> None:
    """Raise unless two runs were tested on the same examples with the same labels."""
    if one.names == other.names and (one.labels == other.labels).all():
        return
    common = len(set(one.names) & set(other.names))
    if one.names == other.names:
        what = f"{int((one.labels != other.labels).sum()):,} of them have different labels"
    else:
        what = f"{common:,} are the same"
    raise RequestError(
        f"{first} and {second} were tested on different examples: {len(one.names):,} and "
        f"{len(other.names):,}, of which {what}. Train both on the same data with the same --seed, "
        "--val-split and --test-split."
    )


def side_of(name: str, run: Run, device: str | None) -> Side:
    """Return a run's figures and what it costs."""
    task: Any = make_task(run.recipe, run.folder.preprocessing())
    with torch.device("meta"):
        members = task.members(task.rebuilt(run.recipe.network))
    summaries = [summarise(member.network, member.shape) for member in members]
    latency = None
    if device is not None:
        task, parts, context = run.ready(device, report=False)
        speed = speed_of(task, parts, task.answering(parts, context), context)
        latency = float(speed["latency_ms"])
    metrics = run.metrics
    return Side(
        name=name,
        network=run.recipe.network["name"],
        metrics=metrics["metrics"],
        parameters=sum(summary.parameters for summary in summaries),
        macs=sum(summary.macs for summary in summaries),
        seconds=metrics.get("training", {}).get("seconds"),
        latency=latency,
    )


# The page

SHOWN = {"accuracy": "accuracy", "macro_f1": "macro F1", "log_loss": "log loss"}


def cells_of(side: Side) -> list[str]:
    """Return a run's row: what it is, its figures, what it costs."""
    cells = [side.name, side.network]
    for key in SHOWN:
        figure = Interval.from_json(side.metrics[key])
        if key == "log_loss":
            cells.append(f"{figure.value:.3f}" if figure.defined else "")
        else:
            ends = f"[{100 * figure.low:.2f}, {100 * figure.high:.2f}]"
            cells.append(f"{100 * figure.value:.2f} % {ends}" if figure.defined else "")
    time = "" if side.seconds is None else f"{side.seconds:,.0f} s"
    latency = "" if side.latency is None else f"{side.latency:.2f} ms"
    return [*cells, f"{side.parameters:,}", f"{side.macs:,}", time, latency]


HEADER = ("run", "network", *SHOWN.values(), "parameters", "multiply-adds", "training", "latency")


def write_page(path: Path, comparison: Comparison) -> None:
    """Write the comparison as one HTML file."""
    sides = comparison.sides
    rows = [[cell.replace(" [", "\n[") for cell in cells_of(side)] for side in sides]
    blocks: list[Any] = [Table("Runs", HEADER, rows)]
    scores = [Interval.from_json(side.metrics["accuracy"]) for side in sides]
    if len(sides) <= MANY:
        figure = class_scores(scores, [side.name for side in sides], xlabel="accuracy")
        blocks.append(Figure("Accuracy with its 95 % interval", figure))
    pairs: list[list[Cell]] = [
        [
            f"{sides[one].name} - {sides[other].name}",
            f"{100 * pair.difference.value:+.2f}",
            f"{100 * pair.difference.low:+.2f} to {100 * pair.difference.high:+.2f}",
            pair.only_first,
            pair.only_second,
            pair.disagree,
            f"{p:.2g}",
            words.split(":")[0],
        ]
        for one, other, pair, p, words in comparison.pairs
    ]
    columns = ("pair", "points", "95 % interval", "only the first right", "only the second right",
               "different answers", "p", "in words")  # fmt: skip
    note = (
        "The same resamples for both (paired bootstrap); p by McNemar's exact test, adjusted for "
        "the number of pairs (Holm)."
    )
    sections = [
        Section("", blocks),
        Section("Pair by pair", [Table("Differences of accuracy", columns, pairs, note)]),
        Section("In words", [Text("", lines(comparison))]),
    ]
    title = f"{len(sides)} runs compared"
    subtitle = f"on {comparison.examples:,} {comparison.split} examples, the same for all"
    write_report(path, Report(title, subtitle, sections))


def lines(comparison: Comparison) -> list[str]:
    """Return the pairs as a person reads them."""
    names = [side.name for side in comparison.sides]
    return [
        f"{names[one]} - {names[other]}: {words}" for one, other, _, _, words in comparison.pairs
    ]
