"""The report of a run, and what every report has: learning curves, recipe, data, environment."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import tomli_w

from torchfolio.checkpoint import write_text
from torchfolio.errors import FolioError
from torchfolio.evaluation.figures import standalone
from torchfolio.evaluation.report import Code, Figure, Report, Section, Table, write_report
from torchfolio.tasks.base import Evaluation
from torchfolio.tasks.registry import find_task
from torchfolio.training.damage import read_object
from torchfolio.training.folder import RunFolder
from torchfolio.training.recipes import Recipe


def run_sections(
    recipe: Recipe,
    data: dict[str, Any],
    history: list[dict[str, Any]],
    result: dict[str, Any],
    folder: Path,
) -> list[Section]:
    """Return how the run was trained, on what, and with which settings.

    Of what is not trained (``Task.trained``): the data, and the environment.
    """
    from torchfolio.evaluation.classification_report import training_section

    training = result["training"]
    monitor = training.get("monitor") or "loss"
    series = {
        name: {
            label: [row.get(f"{split}_{name}") for row in history]
            for split, label in (("train", "training"), ("val", "validation"))
            if any(row.get(f"{split}_{name}") is not None for row in history)
        }
        for name in dict.fromkeys(("loss", monitor))
    }
    drawn = {name: each for name, each in series.items() if each}
    blocks: list[Any] = list(training_section(drawn, training.get("best_epoch")).blocks)
    rows = [
        ["ended by", training.get("reason", "")],
        ["epochs", f"{training.get('epochs', 0):,}"],
        ["updates", f"{training.get('updates', 0):,}"],
        ["best epoch", f"{training.get('best_epoch') or 'the last'}"],
        ["time in training", duration(training.get("seconds", 0.0))],
        ["digest of the last weights", (result.get("digest") or "")[:16]],
    ]
    course = Table("Course of the training", ["", ""], rows)
    split = data["split"]
    counts = [[name, f"{count:,}"] for name, count in split["counts"].items()]
    names = "labels" if data.get("kind") == "multilabel-classification" else "classes"
    problems = [[each["path"], each["problem"]] for each in data["problems"][:50]]
    described: list[Any] = [
        Table(
            "What was read",
            ["", ""],
            [
                ["path", data["path"]],
                ["reader", data["reader"]],
                *([["read as", data["reading"]]] if data.get("reading") else []),
                ["examples", f"{data['examples']:,}"],
                [names, f"{len(data['classes'])}"],
                ["split", split["rule"]],
            ],
        ),
        Table("Splits", ["split", "examples"], counts),
    ]
    if problems:
        described.append(Table(f"Left out: {len(data['problems'])}", ["file", "problem"], problems))
    if not find_task(recipe.task["name"]).trained:
        made = Section("Environment", [environment_table(folder)])
        return [Section("Data", described), made]
    return [
        Section("Training", blocks),
        Section("Data", described),
        Section(
            "Recipe and environment",
            [
                course,
                Code("recipe.toml: train it again with --recipe", tomli_w.dumps(recipe.as_toml())),
                environment_table(folder),
            ],
        ),
    ]


def environment_table(folder: Path) -> Table:
    """Return the versions and the machine that a run was trained with, if they are known."""
    keys = ("device", "threads", "platform", "python", "versions")
    try:
        environment = read_object(folder / "environment.json", keys)
    except FolioError:
        return Table(
            "Environment", ["", ""], [["not known", "environment.json is missing or damaged"]]
        )
    machine = [["device", environment["device"]], ["threads", str(environment["threads"])]]
    machine += [["platform", environment["platform"]], ["Python", environment["python"]]]
    machine += [[name, number] for name, number in environment["versions"].items()]
    return Table("Environment", ["", ""], machine)


def duration(seconds: float) -> str:
    """Return seconds as a person reads them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def write_run_report(
    path: Path, folder: RunFolder, evaluation: Evaluation, result: dict[str, Any]
) -> None:
    """Write the report of one evaluation of a run, and its drawings as files of their own."""
    recipe, described = folder.recipe(), folder.data()
    result_section, *pictures = evaluation.sections
    *training, data, origin = run_sections(recipe, described, folder.history(), result, folder.path)
    of = described["name"]
    if result["data"] != described["path"]:
        of, data = Path(result["data"]).name, replace(data, title="Data of the training")
    sections = [result_section, *training, *pictures, data, origin]
    drawings = [each for part in sections for each in part.blocks if isinstance(each, Figure)]
    for name, drawing in zip(file_names([each.title for each in drawings]), drawings, strict=True):
        write_text(path.parent / "figures" / f"{name}.svg", standalone(drawing.svg))
    title = f"{recipe.network['name']} on {of}"
    what = "all data" if result["split"] == "all" else f"{result['split']} split"
    subtitle = f"{result['task'].replace('-', ' ').capitalize()}, run {result['run']}, {what}"
    if copies := result.get("copies_of_training"):
        subtitle += f". {told_copies(copies, result['examples'])}"
    write_report(path, Report(title=title, subtitle=subtitle, sections=sections))


def file_names(titles: Sequence[str]) -> list[str]:
    """Return a name for the file of each drawing, no two alike; a class may be in a title."""
    names: list[str] = []
    for title in titles:
        name = re.sub(r"\W+", "-", title.lower()).strip("-")[:80] or "figure"
        numbered = (f"{name}-{number}" for number in count(2))
        names.append(next(each for each in chain([name], numbered) if each not in names))
    return names


def told_copies(copies: int, examples: int) -> str:
    """Return in words how many examples repeat training examples."""
    return f"{copies:,} of {examples:,} examples are exact copies of training examples"
