"""The page of ``folio check --html``: counts, problems and pictures in one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from torchfolio.cli.check import facts_line, split_counts
from torchfolio.data.check import KINDS
from torchfolio.evaluation.report import (
    Block,
    Figure,
    Gallery,
    KeyFigure,
    KeyFigures,
    Picture,
    Report,
    Section,
    Table,
    Text,
    show,
    write_report,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from torchfolio.data.check import Findings
    from torchfolio.data.dataset import Dataset
    from torchfolio.data.splits import Splits

SAMPLES = 12  # pictures that show what the data are
PAIRS = 12  # of near duplicates and of conflicts, each
SIDE = 160  # pixels of a picture on the page


def write_page(
    path: Path, dataset: "Dataset", splits: "Splits | None", findings: "Findings"
) -> None:
    """Write the page."""
    number = sum(len(problems) for problems in findings.problems.values())
    sections = [
        Section("", [_figures(dataset, splits, number), Text("", _facts(dataset, splits))]),
        Section("Pictures", [_samples(dataset)]),
        Section("Classes", _classes(dataset, findings)),
        Section("Problems", _problems(dataset, findings)),
    ]
    subtitle = f"{dataset.path}, read by {dataset.reader}"
    write_report(path, Report(f"Data: {dataset.name}", subtitle, sections))


def _figures(dataset: "Dataset", splits: "Splits | None", problems: int) -> KeyFigures:
    counts = split_counts(dataset, splits)
    return KeyFigures(
        [
            KeyFigure("Pictures", show(len(dataset))),
            KeyFigure("Classes", show(len(dataset.classes))),
            *(KeyFigure(name.capitalize(), show(size)) for name, size in counts.items()),
            KeyFigure("Problems", show(problems)),
        ]
    )


def _facts(dataset: "Dataset", splits: "Splits | None") -> list[str]:
    facts = [f"Pictures: {facts_line(dataset)}."]
    if splits is not None:
        facts.append(f"Split: {splits.rule}")
    return facts


def _samples(dataset: "Dataset") -> Gallery:
    """Return a few pictures, class by class in turn."""
    labels = dataset.labels
    assert labels is not None
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(len(dataset.classes)))
    ends = np.append(starts[1:], len(order))
    rank = np.arange(len(order)) - np.repeat(starts, ends - starts)
    turn = order[np.lexsort((labels[order], rank))][:SAMPLES]
    items = [_picture(dataset, int(each), dataset.classes[labels[each]]) for each in turn]
    return Gallery("", items)


def _classes(dataset: "Dataset", findings: "Findings") -> list[Block]:
    from torchfolio.data.splits import NAMES
    from torchfolio.evaluation import figures

    counts = findings.counts
    balance = {name: counts[:, i].tolist() for i, name in enumerate(NAMES) if counts[:, i].any()}
    rows = [
        [name, *row, sum(row)] for name, row in zip(dataset.classes, counts.tolist(), strict=True)
    ]
    return [
        Figure("Pictures of each class", figures.class_balance(balance, dataset.classes)),
        Table("Counts", ["Class", "Train", "Val", "Test", "All"], rows),
    ]


def _problems(dataset: "Dataset", findings: "Findings") -> list[Block]:
    if not findings.problems:
        return [Text("", ["No problem was found."])]
    blocks: list[Block] = []
    for kind, heading in KINDS.items():
        problems = findings.problems.get(kind, [])
        if problems:
            rows = [[f"{problem.path}\n{problem.problem}"] for problem in problems]
            blocks.append(Table(f"{heading.capitalize()} ({len(problems):,})", ["Where"], rows))
        if kind == "conflict" and findings.conflicts:
            pairs = [
                (int(group[0]), int(each)) for group in findings.conflicts for each in group[1:]
            ]
            blocks.append(Gallery("One picture, two classes", _pairs(dataset, pairs)))
        if kind == "near" and findings.near:
            blocks.append(Gallery("Near duplicates, in pairs", _pairs(dataset, findings.near)))
    return blocks


def _pairs(dataset: "Dataset", pairs: list[tuple[int, int]]) -> list[Picture]:
    assert dataset.labels is not None
    return [
        _picture(dataset, each, f"{dataset.classes[dataset.labels[each]]}\n{_short(dataset, each)}")
        for pair in pairs[:PAIRS]
        for each in pair
    ]


def _short(dataset: "Dataset", index: int) -> str:
    name = dataset.records.name(index)
    return name if len(name) <= 40 else f"…{name[-39:]}"


def _picture(dataset: "Dataset", index: int, caption: str) -> Picture:
    from PIL import Image

    records: Any = dataset.records
    pixels: NDArray[Any] = records.pixels(index)
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels * 255).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((SIDE, SIDE))
    return Picture(np.asarray(image), caption)
