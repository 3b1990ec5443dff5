"""Runs that were tested on the same examples: the comparison itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torchfolio.errors import FolioError, RequestError
from torchfolio.evaluation.answers import Answers
from torchfolio.evaluation.paired import Gap, holm, in_words
from torchfolio.networks.summary import summarise
from torchfolio.run import Run
from torchfolio.tasks.image_classification_report import speed_of
from torchfolio.tasks.registry import find_task
from torchfolio.training.damage import read_tensor_file
from torchfolio.training.folder import RunFolder
from torchfolio.training.start import make_task


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
class Finding:
    """What a pair of runs, by their places, shows of one metric; ``p`` is adjusted (Holm)."""

    first: int
    second: int
    gap: Gap
    p: float
    words: str

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values, but for the runs."""
        return self.gap.as_json() | {"p_adjusted": self.p, "verdict": self.words}


@dataclass(frozen=True)
class Comparison:
    """Runs, and under each metric that is compared what each pair of them shows.

    ``headline`` names the figures of a run to lay side by side; ``notes`` say what is not known of
    the examples that they were tested on.
    """

    sides: list[Side]
    headline: tuple[str, ...]
    findings: dict[str, list[Finding]]
    split: str
    examples: int
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "runs": [side.as_json() for side in self.sides],
            "pairs": pairs_as_json([side.name for side in self.sides], self.findings),
            "split": self.split,
            "examples": self.examples,
            "notes": self.notes,
        }


def pairs_as_json(names: Sequence[str], findings: Mapping[str, Sequence[Any]]) -> list[Any]:
    """Return each pair as plain values: what it shows of the first metric, then of the others.

    Those stand under their names. A finding has ``first``, ``second`` and ``as_json``.
    """
    metrics = list(findings)
    pairs = []
    for found in zip(*findings.values(), strict=True):
        places = {"first": names[found[0].first], "second": names[found[0].second]}
        first, *others = (each.as_json() for each in found)
        told = {"metric": metrics[0], **first}
        pairs.append(places | told | dict(zip(metrics[1:], others, strict=True)))
    return pairs


def compare_runs(
    paths: Sequence[str | Path],
    *,
    device: str = "auto",
    speed: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Compare runs on the examples that all of them were tested on.

    With ``speed`` the latency of each is measured, one after the other, on ``device``. Raises
    ``RequestError`` for fewer than two runs, for runs that were not measured, for runs that
    answer in different ways, and for runs that were tested on different examples.
    """
    if len(paths) < 2:
        raise RequestError("Give two runs or more: folio compare runs/one runs/other")
    runs = [Run(path) for path in paths]
    names = distinct([run.name for run in runs])
    task = shared_task(names, [run.recipe.task["name"] for run in runs])
    found = [answers_of(run.folder, run.metrics["split"], task.Compared) for run in runs]
    notes: list[str] = []
    for name, run, answers in zip(names[1:], runs[1:], found[1:], strict=True):
        require_same(names[0], found[0], name, answers)
        notes += require_same_contents(names[0], runs[0], name, run)
    gaps = task.Compared.gaps(found, runs[0].recipe.training.seed)
    findings = {metric: judged(each, names) for metric, each in gaps.items()}
    sides = []
    for name, run in zip(names, runs, strict=True):
        say(f"measuring {name}")
        sides.append(side_of(name, run, device if speed else None))
    split = runs[0].metrics["split"]
    return Comparison(sides, task.headline, findings, split, len(found[0].names), notes)


def judged(gaps: Sequence[Gap], names: Sequence[str]) -> list[Finding]:
    """Return what the gaps of all pairs of runs show, p adjusted for the number of pairs."""
    adjusted = holm([gap.p for gap in gaps])
    places = combinations(range(len(names)), 2)
    return [
        Finding(one, other, gap, p, in_words(gap.difference, p, names[one], names[other]))
        for (one, other), gap, p in zip(places, gaps, adjusted, strict=True)
    ]


def distinct(names: list[str]) -> list[str]:
    """Return names that differ: equal ones get a number."""
    counts: dict[str, int] = {}
    result = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        result.append(name if names.count(name) == 1 else f"{name} ({counts[name]})")
    return result


def shared_task(names: Sequence[str], tasks: Sequence[str]) -> Any:
    """Return the task of the first run, or raise where the answers of all cannot be compared."""
    kinds = [find_task(task) for task in tasks]
    for name, kind in zip(names, kinds, strict=True):
        if kind.Compared is None:
            raise RequestError(
                f"{name} is a run of {kind.name}; compare takes classifiers. metrics.json in each "
                "run has its figures with their intervals."
            )
        if kind.Compared is not kinds[0].Compared:
            raise RequestError(
                f"{names[0]} is a run of {kinds[0].name} and {name} one of {kind.name}: they say "
                "different things of a picture. Compare runs of one task."
            )
    return kinds[0]


def answers_of(folder: RunFolder, split: str, kind: type[Answers]) -> Answers:
    """Return what was said of the examples of a split, sorted by repeat and example.

    Where examples were tested in several repeats, the answers to one are one unit.
    """
    if not (folder.path / "predictions" / f"{split}.csv").is_file():
        raise RequestError(
            f"{folder.path} has no predictions: nothing was held out. Train with --test-split."
        )
    table = folder.read_table(f"predictions/{split}.csv")
    places = [(int(row.get("repeat", 1)), row["input"]) for row in table]
    order = sorted(range(len(table)), key=places.__getitem__)
    rows = [table[place] for place in order]
    repeated = len({repeat for repeat, _ in places}) > 1
    unit = "group" if rows and "group" in rows[0] else "input" if repeated else None
    arrays = arrays_of(folder, split, kind.needs, len(table)) if kind.needs else {}
    return kind(
        names=[f"{places[place][0]} {places[place][1]}" for place in order],
        truth=np.array([row[kind.column] for row in rows]),
        given=np.array([row["prediction"] for row in rows]),
        groups=None if unit is None else np.array([row[unit] for row in rows]),
        arrays={name: arrays[name][np.array(order)] for name in kind.needs},
    )


def arrays_of(
    folder: RunFolder, split: str, names: Sequence[str], rows: int
) -> dict[str, NDArray[Any]]:
    """Return the arrays beside a table of predictions, with a row for each of its own."""
    path = folder.path / "predictions" / f"{split}.safetensors"
    if not path.is_file():
        raise RequestError(
            f"{folder.path} has no {path.name} beside its predictions, with the probabilities as "
            f"they are. 'folio resume {folder.path}' measures it again."
        )
    tensors, _ = read_tensor_file(path)
    if any(name not in tensors or len(tensors[name]) != rows for name in names):
        raise FolioError(
            f"{path} and {split}.csv are no pair of one run, or damaged. 'folio resume "
            f"{folder.path}' measures it again."
        )
    return {name: tensors[name].numpy() for name in names}


def require_same(first: str, one: Answers, second: str, other: Answers) -> None:
    """Raise unless two runs were tested on the same examples with the same labels."""
    if one.names == other.names and (one.truth == other.truth).all():
        return
    common = len(set(one.names) & set(other.names))
    if one.names == other.names:
        what = f"{int((one.truth != other.truth).sum()):,} of them have different labels"
    else:
        what = f"{common:,} are the same"
    raise RequestError(
        f"{first} and {second} were tested on different examples: {len(one.names):,} and "
        f"{len(other.names):,}, of which {what}. Train both on the same data with the same --seed, "
        "--val-split and --test-split."
    )


def require_same_contents(first: str, one: Run, second: str, other: Run) -> list[str]:
    """Raise where examples of the same names are others; return a note where that is not known.

    A run has a digest of what it was tested on, but for those of before there was one: if their
    data differ, it may be in other examples only.
    """
    mine, theirs = one.folder.data(), other.folder.data()
    paths = f"{mine['path']} and {theirs['path']}"
    digests = [run.metrics.get("tested") for run in (one, other)]
    if None in digests:
        if mine["fingerprint"] == theirs["fingerprint"]:
            return []
        return [
            f"{first} and {second} had data of other contents, {paths}: whether the examples "
            "tested are the same is not known, only that names and labels are. 'folio resume' "
            "measures a run again, which tells it where its data are still there."
        ]
    if digests[0] != digests[1]:
        raise RequestError(
            f"{first} and {second} were tested on different examples: those of {paths} have the "
            "same names and labels, and other contents. Train both on the same data."
        )
    return []


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
