"""The page of ``folio check --html``: counts, problems and pictures in one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from torchfolio.cli.check import SETS, facts_line, label_lines, split_counts, without_label
from torchfolio.data.bands import to_look_at
from torchfolio.data.check import KINDS, label_sets
from torchfolio.data.check_boxes import relative_sizes
from torchfolio.data.kinds import BOXED, MASKED
from torchfolio.errors import DataError
from torchfolio.evaluation.report import (
    Block,
    Cell,
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
        Section("Classes", _classes(dataset, findings))
        if dataset.targets is None
        else Section("Labels", _labels(dataset, splits, findings)),
        Section("Problems", _problems(dataset, findings)),
    ]
    subtitle = f"{dataset.path}, read by {dataset.reader}"
    write_report(path, Report(f"Data: {dataset.name}", subtitle, sections))


def _figures(dataset: "Dataset", splits: "Splits | None", problems: int) -> KeyFigures:
    counts = split_counts(dataset, splits)
    return KeyFigures(
        [
            KeyFigure("Pictures", show(len(dataset))),
            KeyFigure(
                "Classes" if dataset.targets is None else "Labels", show(len(dataset.classes))
            ),
            *(KeyFigure(name.capitalize(), show(size)) for name, size in counts.items()),
            KeyFigure("Problems", show(problems)),
        ]
    )


def _facts(dataset: "Dataset", splits: "Splits | None") -> list[str]:
    facts = [f"Pictures: {facts_line(dataset)}."]
    if dataset.reading:
        facts.insert(0, f"Read as {dataset.reading}.")
    if dataset.targets is not None:
        facts += [f"{line[:1].upper()}{line[1:]}." for line in label_lines(dataset)]
    if splits is not None:
        facts.append(f"Split: {splits.rule}")
    return facts


def _samples(dataset: "Dataset") -> Gallery:
    """Return a few pictures, class by class in turn; one of several labels for its rarest."""
    if dataset.kind == MASKED:
        chosen = np.unique(np.linspace(0, len(dataset) - 1, SAMPLES).astype(int))
        caption = "Every class but the first in its colour; grey pixels do not count."
        return Gallery("", [_masked(dataset, int(each)) for each in chosen], caption)
    if dataset.kind == BOXED:
        chosen = np.unique(np.linspace(0, len(dataset) - 1, SAMPLES).astype(int))
        return Gallery("", [_boxed(dataset, int(each)) for each in chosen])
    labels, groups = dataset.labels, len(dataset.classes)
    if dataset.targets is not None:
        counts = dataset.targets.sum(0, dtype=np.int64)
        rarity = np.where(dataset.targets > 0, counts, np.iinfo(np.int64).max)
        labels = np.where(dataset.targets.any(1), rarity.argmin(1), groups)
        groups += 1  # pictures without a label
    assert labels is not None
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(groups))
    ends = np.append(starts[1:], len(order))
    rank = np.arange(len(order)) - np.repeat(starts, ends - starts)
    turn = order[np.lexsort((labels[order], rank))][:SAMPLES]
    items = [_picture(dataset, int(each), dataset.truth(int(each))) for each in turn]
    return Gallery("", items)


def _masked(dataset: "Dataset", index: int) -> Picture:
    """Return a picture with its mask drawn in."""
    from PIL import Image

    from torchfolio.tasks.segmentation.masks import tinted

    records: Any = dataset.records
    image = Image.fromarray(_pixels(dataset, index)).convert("RGB")
    image.thumbnail((2 * SIDE, 2 * SIDE))
    try:
        mask = Image.fromarray(records.masks.get(index))
    except (DataError, OSError):  # the problems say what it is
        return Picture(np.asarray(image), f"{_short(dataset, index)}\nits mask cannot be read")
    mask = mask.resize(image.size, Image.Resampling.NEAREST)
    return Picture(tinted(np.asarray(image), np.asarray(mask)), _short(dataset, index))


def _boxed(dataset: "Dataset", index: int) -> Picture:
    """Return a picture with its boxes drawn in, a colour for each class."""
    from PIL import Image, ImageDraw

    from torchfolio.tasks.segmentation.masks import colours

    records: Any = dataset.records
    objects = records.objects[index]
    image = Image.fromarray(_pixels(dataset, index)).convert("RGB")
    width = image.width
    image.thumbnail((2 * SIDE, 2 * SIDE))
    pen, shades = ImageDraw.Draw(image), colours(256)
    for box, label in zip(objects.boxes * (image.width / width), objects.labels, strict=True):
        shade = tuple(int(each) for each in shades[int(label) % 255 + 1])
        pen.rectangle([float(each) for each in box], outline=shade, width=2)
    names = dict.fromkeys(dataset.classes[label] for label in objects.labels.tolist())
    return Picture(np.asarray(image), f"{_short(dataset, index)}\n{', '.join(names) or 'nothing'}")


def _balance(findings: "Findings", names: tuple[str, ...]) -> str:
    """Return the drawing of how many pictures each class, or label, has in each split."""
    from torchfolio.data.splits import NAMES
    from torchfolio.evaluation import figures

    counts = findings.counts
    balance = {name: counts[:, i].tolist() for i, name in enumerate(NAMES) if counts[:, i].any()}
    return figures.class_balance(balance, names)


def _rows(findings: "Findings", names: tuple[str, ...]) -> list[list[Cell]]:
    rows = zip(names, findings.counts.tolist(), strict=True)
    return [[name, *row, sum(row)] for name, row in rows]


def _classes(dataset: "Dataset", findings: "Findings") -> list[Block]:
    names = dataset.classes
    columns = ["Class", "Train", "Val", "Test", "All"]
    boxed = dataset.kind == BOXED
    blocks: list[Block] = [
        Figure(f"{'Objects' if boxed else 'Pictures'} of each class", _balance(findings, names)),
        Table("Counts", columns, _rows(findings, names)),
    ]
    if boxed:
        from torchfolio.evaluation.figures.boxes import box_sizes

        caption = (
            "Every box, in shares of its picture's longer side; those on the line are squares."
        )
        blocks.append(Figure("Sizes and shapes", box_sizes(relative_sizes(dataset)), caption))
    return blocks


def _labels(dataset: "Dataset", splits: "Splits | None", findings: "Findings") -> list[Block]:
    """Return how often each label occurs, with which others, and in which sets."""
    from torchfolio.evaluation import figures

    assert dataset.targets is not None
    names = dataset.classes
    none = without_label(dataset, splits)
    sizes = list(split_counts(dataset, splits).values())
    rows = _rows(findings, names)
    rows += [["(no label)", *none, sum(none)], ["All pictures", *sizes, sum(sizes)]]
    held = dataset.targets.astype(np.float32)
    together = (held.T @ held).astype(np.int64)
    sets = label_sets(dataset)
    return [
        Figure("Pictures with each label", _balance(findings, names)),
        Figure(
            "Labels together",
            figures.labels_together(together, names),
            "Of the pictures with the label of a row, how many have that of the column too.",
            wide=14 < len(names) <= 30,
        ),
        Table("Counts", ["Label", "Train", "Val", "Test", "All"], rows),
        Table(f"Sets of labels ({len(sets):,})", ["Set", "Pictures"], sets[: 3 * SETS]),
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
        if kind in ("conflict", "differing") and problems:
            pairs = [
                (int(group[0]), int(each)) for group in findings.conflicts for each in group[1:]
            ]
            what = "two classes" if kind == "conflict" else "different labels"
            blocks.append(Gallery(f"One picture, {what}", _pairs(dataset, pairs)))
        if kind == "near" and findings.near:
            blocks.append(Gallery("Near duplicates, in pairs", _pairs(dataset, findings.near)))
    return blocks


def _pairs(dataset: "Dataset", pairs: list[tuple[int, int]]) -> list[Picture]:
    return [
        _picture(dataset, each, f"{dataset.truth(each)}\n{_short(dataset, each)}")
        for pair in pairs[:PAIRS]
        for each in pair
    ]


def _short(dataset: "Dataset", index: int) -> str:
    name = dataset.records.name(index)
    return name if len(name) <= 40 else f"…{name[-39:]}"


def _pixels(dataset: "Dataset", index: int) -> "NDArray[np.uint8]":
    """Return the pixels of a record's picture (height, width, 3)."""
    records: Any = dataset.records
    return np.ascontiguousarray(to_look_at(records.pixels(index)))


def _picture(dataset: "Dataset", index: int, caption: str) -> Picture:
    from PIL import Image

    image = Image.fromarray(_pixels(dataset, index))
    image.thumbnail((SIDE, SIDE))
    return Picture(np.asarray(image), caption)
