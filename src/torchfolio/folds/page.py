"""The report of a folder of runs: the figures of all together, and of each fold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w

from torchfolio.evaluation.classification_report import range_text
from torchfolio.evaluation.figures import class_scores
from torchfolio.evaluation.intervals import Interval
from torchfolio.evaluation.names import BOUNDED, SHARES, title, within
from torchfolio.evaluation.report import (
    Block,
    Cell,
    Code,
    Figure,
    KeyFigure,
    KeyFigures,
    Report,
    Section,
    Table,
    Text,
    show,
    write_report,
)
from torchfolio.folds.plan import Plan
from torchfolio.tasks.base import Evaluation
from torchfolio.tasks.registry import find_task
from torchfolio.training.folder import RunFolder
from torchfolio.training.report import duration, environment_table


def write_page(
    path: Path, plan: Plan, described: Mapping[str, Any], evaluation: Evaluation,
    result: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write ``report.html`` of a folder of runs."""
    opening, *figures = evaluation.sections
    sections = [
        opened(opening, plan, result),
        runs_section(plan, result),
        *figures,
        *origin(path, plan, described),
    ]
    task = str(result["task"]).replace("-", " ").capitalize()
    heading = f"{described['network']} on {described['data']['name']}, {plan}"
    subtitle = f"{task}, {result['run']}. {told(plan)}"
    write_report(path / "report.html", Report(heading, subtitle, sections))


def told(plan: Plan) -> str:
    """Return in a sentence what was tested by what."""
    if plan.folds is None:
        return f"One test split, answered by {plan.repeats} trainings from different seeds."
    times = "once" if plan.repeats == 1 else f"{plan.repeats} times"
    return f"Each example is tested {times}, by a network that was trained on the other folds."


def opened(opening: Section, plan: Plan, result: Mapping[str, Any]) -> Section:
    """Return the opening with the spread of the first metric beside its value."""
    name, figure = next(iter(result["metrics"].items()))
    blocks: list[Block] = []
    for block in opening.blocks:
        if isinstance(block, KeyFigures):
            spread = KeyFigure(
                "Mean of the runs",
                spread_text(figure, name in SHARES),
                note=f"{within(name)} and its standard deviation over {len(result['folds'])} runs",
            )
            block = replace(block, figures=[*block.figures[:1], spread, *block.figures[1:]])
        blocks.append(block)
    return replace(opening, blocks=blocks)


def spread_text(figure: Mapping[str, float | None], share: bool) -> str:
    """Return mean and standard deviation with the digits they deserve: "96.94 ± 0.81 %"."""
    mean, std = figure["mean"], figure["std"]
    if mean is None:
        return "–"
    digits = 1 + (std is not None and std < 0.01)
    scale, digits, unit = (100, digits, "\u202f%") if share else (1, digits + 2, "")
    beside = "" if std is None else f" ± {scale * std:.{digits}f}"
    return f"{scale * mean:.{digits}f}{beside}{unit}"


def runs_section(plan: Plan, result: Mapping[str, Any]) -> Section:
    """Return the runs one by one, and how far each metric is spread over them."""
    members: Sequence[Mapping[str, Any]] = result["folds"]
    name, whole = next(iter(result["metrics"].items()))
    blocks: list[Block] = []
    if name in BOUNDED:
        scores = [Interval.from_json(each["metrics"][name]) for each in members]
        figure = class_scores(
            [*scores, Interval.from_json(whole)],
            [*(each["run"] for each in members), "all together"],
            xlabel=within(name),
        )
        blocks.append(Figure(f"{title(name)} of each run", figure, "With its 95 % interval."))
    runs = runs_table(members, find_task(result["task"]).headline)
    blocks += [spread_table(members, result), runs, Text("", meaning(plan))]
    return Section("Folds" if plan.folds else "Repeats", blocks)


def spread_table(members: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> Table:
    """Return mean, standard deviation, lowest and highest value of each metric over the runs."""
    rows: list[list[Cell]] = []
    for name, figure in result["metrics"].items():
        values = [each["metrics"].get(name, {}).get("value") for each in members]
        known = [value for value in values if value is not None]
        if not known:
            continue
        share = name in SHARES
        ends = Interval(figure["mean"], min(known), max(known))
        rows.append([title(name), spread_text(figure, share), range_text(ends, share=share)])
    columns = ["", "mean ± standard deviation", "lowest – highest"]
    return Table("Spread over the runs", columns, rows, align=("left", "right", "right"))


def runs_table(members: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """Return one row a run: its seed, its examples, its figures, and how long it took."""
    rows: list[list[Cell]] = []
    for each in members:
        counts = " / ".join(show(each[name]) for name in ("train", "val", "examples"))
        row: list[Cell] = [each["run"], each["seed"], counts]
        row += [figure_cell(each["metrics"][name], name in SHARES) for name in names]
        training = each["training"]
        best = training.get("best_epoch") or training["epochs"]
        rows.append([*row, best, duration(training["seconds"])])
    columns = ["run", "seed", "train / val / test", *map(title, names)]
    align = ["left", *["right"] * (len(columns) + 1)]
    return Table("Each run", [*columns, "best epoch", "time"], rows, align=align)


def figure_cell(figure: Mapping[str, float | None], share: bool) -> str:
    """Return a value with its interval below, with the same digits in every row."""
    scale, digits, unit = (100, 1, "\u202f%") if share else (1, 3, "")
    ends = [figure[name] for name in ("value", "low", "high")]
    value, low, high = ("–" if end is None else f"{scale * end:.{digits}f}" for end in ends)
    return f"{value}{unit}\n{low} – {high}{unit}"


def meaning(plan: Plan) -> list[str]:
    """Return what the spread and the interval say, and what they do not."""
    if plan.folds is None:
        return [
            "The standard deviation says how much the seed of the training changes: initial "
            "weights, order, augmentation. All runs have the same split. The interval, a bootstrap "
            "over the test examples, says how far chance in their choice may have moved the figure."
        ]
    return [
        "The standard deviation says how much a run differs from the others: other training "
        "examples, another seed, and fewer examples to test on. It is not the error of the mean, "
        "because the runs share most of their training examples: no formula has that without bias "
        "(Bengio and Grandvalet, 2004).",
        "The interval is a bootstrap over the examples, with the answers as they are. It says how "
        "far chance in the choice of examples may have moved the figure, not what other training "
        "examples would change. Two networks on the same folds are compared by 'folio compare'.",
    ]


def origin(path: Path, plan: Plan, described: Mapping[str, Any]) -> list[Section]:
    """Return on what the runs were trained, and with which settings."""
    first = RunFolder(path / plan.trainings[0].name)
    data, own = described["data"], first.data()
    names = "labels" if own["kind"] == "multilabel-classification" else "classes"
    read: list[list[Cell]] = [
        ["path", data["path"]],
        ["reader", data["reader"]],
        ["examples", f"{data['examples']:,}"],
        [names, f"{data['classes']}"],
        ["split of the first run", own["split"]["rule"]],
        ["digest of what is tested", described["division"]],
    ]
    recipe = tomli_w.dumps(RunFolder(path).recipe().as_toml())
    code = Code("recipe.toml: what all runs share; seed, split_seed and fold are their own", recipe)
    return [
        Section("Data", [Table("What was read", ["", ""], read)]),
        Section("Recipe and environment", [code, environment_table(first.path)]),
    ]
