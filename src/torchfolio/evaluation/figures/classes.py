"""Figures with a row or a cell for each class: confusion, scores, balance."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from torchfolio.evaluation.figures.canvas import drawing, shorten, width_of
from torchfolio.evaluation.intervals import Interval
from torchfolio.evaluation.theme import INK, MUTED, ON_STRONG, PAPER, RIGHT, SERIES, WRONG

WIDTH = 440.0
NAMED = 30  # classes up to which a confusion matrix carries names and numbers
CELL_SIZES = ((3, 64.0), (5, 44.0), (10, 30.0), (14, 26.0), (NAMED, 22.0))  # up to, pixels
NUMBERS = 500  # counts that a confusion matrix carries
CELLS = 250  # classes from which neighbours share a cell
BARS = 40  # classes up to which each has a bar
LABEL = 130.0  # pixels that a class name may take
STRONG = 0.8  # opacity from which a number is written in white
FAINT = 0.01  # share as which the diagonal of labels together is painted


class Words(NamedTuple):
    """What the rows and the columns of a matrix are, and the colour beside its diagonal."""

    rows: str
    columns: str
    what: str
    other: tuple[int, int, int]


MATRIX_OF_ANSWERS = Words("true", "predicted", "class", WRONG)
MATRIX_OF_LABELS = Words("with", "also with", "label", RIGHT)


def confusion_matrix(confusion: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Draw counts (true class, predicted class): right answers blue, wrong ones vermilion.

    A cell is as strong as the square root of its share of the true class, so that rare mistakes
    show. Up to 30 classes have names and numbers; more are numbered in their order.
    """
    count = len(classes)
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    label = (
        f"confusion matrix of {count} classes, "
        f"{np.trace(confusion)} of {confusion.sum()} answers right"
    )
    return _matrix(confusion, share, classes, label, MATRIX_OF_ANSWERS)


def pixel_confusion(confusion: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Draw pixels (true class, predicted class) as shares of the true class, in per cent.

    Colours and names are those of :func:`confusion_matrix`.
    """
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    label = (
        f"confusion matrix of {len(classes)} classes, "
        f"{np.trace(confusion) / max(1, confusion.sum()):.1%} of the pixels right"
    )
    hundreds = np.rint(100 * share).astype(np.int64)
    return _matrix(hundreds, share, classes, label, MATRIX_OF_ANSWERS)


def labels_together(counts: NDArray[np.int64], labels: Sequence[str]) -> str:
    """Draw how many examples that have the label of a row have that of the column, too.

    ``counts`` (labels, labels) are the examples with both; on the diagonal, with the label. A cell
    is as strong as the square root of its share of the row's examples. Up to 30 labels have names
    and numbers; more are numbered in their order.
    """
    share = counts / np.maximum(np.diag(counts)[:, None], 1)
    np.fill_diagonal(share, FAINT * (np.diag(counts) > 0))  # every example has its own labels
    label = f"how many examples have two of {len(labels)} labels together"
    return _matrix(counts, share, labels, label, MATRIX_OF_LABELS)


def _matrix(
    counts: NDArray[np.int64],
    share: NDArray[np.float64],
    names: Sequence[str],
    label: str,
    words: Words,
) -> str:
    """Draw counts (rows, columns) under the same names, each cell as strong as its share."""
    count = len(names)
    if count > NAMED:
        return _dense_matrix(share, label, words)
    cell = next(size for most, size in CELL_SIZES if count <= most)
    names = [shorten(name, LABEL) for name in names]
    room = max(map(width_of, names))
    upright = room > cell - 2  # names of columns are turned
    left, bottom = room + 34, (room if upright else 12) + 34
    side = cell * count
    with drawing(label, max(left + side + 4, 200), side + bottom + 4) as canvas:
        axes = canvas.axes(left, 2, side, side)
        _cells(axes, share, words.other)
        for row, column in _numbered(counts):
            strong = share[row, column] ** 0.5 > STRONG
            axes.text(
                column,
                row,
                _short(int(counts[row, column])),
                ha="center",
                va="center_baseline",
                fontsize=9 if cell < 30 or (cell == 30 and counts.max() > 999) else 11,
                color=ON_STRONG if strong else INK,
            )
        edges = np.arange(1, count) - 0.5
        axes.vlines(edges, -0.5, count - 0.5, color=PAPER, linewidth=1)
        axes.hlines(edges, -0.5, count - 0.5, color=PAPER, linewidth=1)
        axes.set_yticks(range(count), names, color=INK)
        axes.set_xticks(range(count), names, color=INK)
        if upright:
            for name in axes.get_xticklabels():
                name.set(rotation=90, rotation_mode="anchor", ha="right", va="center")
        canvas.text(left + side / 2, side + bottom - 6, words.columns, ha="center", color=MUTED)
        canvas.text(8, 2 + side / 2, words.rows, ha="center", rotation=90, color=MUTED)
    return canvas.svg


def _numbered(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the cells that carry their count: the largest, of those that are not zero."""
    order = np.argsort(-counts, axis=None, kind="stable")[:NUMBERS]
    cells = (divmod(int(cell), len(counts)) for cell in order)
    return [cell for cell in cells if counts[cell]]


def _dense_matrix(share: NDArray[np.float64], label: str, words: Words) -> str:
    """Draw cells without names; where there are too many, each is the largest of a block."""
    count = len(share)
    block = -(-count // CELLS)
    if block > 1:
        padded = np.pad(share, (0, -count % block))
        diagonal = np.pad(np.diag(share), (0, -count % block)).reshape(-1, block).max(1)
        np.fill_diagonal(padded, 0)
        blocks = len(padded) // block
        share = padded.reshape(blocks, block, blocks, block).max((1, 3))
        mistakes = np.diag(share).copy()
        np.fill_diagonal(share, np.maximum(diagonal, mistakes))
    with drawing(label, WIDTH, WIDTH) as canvas:
        axes = canvas.axes(50, 4, WIDTH - 54, WIDTH - 54)
        _cells(axes, share, words.other)
        ticks = [
            tick for tick in MaxNLocator(6, integer=True).tick_values(0, count) if tick < count
        ]
        places = [tick / block for tick in ticks if tick >= 0]
        names = [f"{tick:.0f}" for tick in ticks if tick >= 0]
        axes.set_xticks(places, names)
        axes.set_yticks(places, names)
        axes.set_xlabel(f"{words.columns} {words.what}, by number")
        axes.set_ylabel(f"{words.rows} {words.what}, by number")
    return canvas.svg


def _cells(axes: Axes, share: NDArray[np.float64], other: tuple[int, int, int]) -> None:
    """Paint shares (rows, columns) by opacity: the diagonal blue, the rest in another colour."""
    colours = np.empty((*share.shape, 4), np.uint8)
    colours[..., :3] = other
    index = np.arange(len(share))
    colours[index, index, :3] = RIGHT
    colours[..., 3] = np.round(255 * np.sqrt(share))
    colours[colours[..., 3] == 0] = 0  # what cannot be seen need not be stored
    axes.imshow(colours, interpolation="none", aspect="auto")


def _short(count: int) -> str:
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"


def class_scores(scores: Sequence[Interval], classes: Sequence[str], *, xlabel: str) -> str:
    """Draw a score from 0 to 1 for each class as a point on its interval.

    The axis ends at 1 and begins below the lowest interval. Of more than 40 classes the twenty
    lowest and the twenty highest are drawn.
    """
    rows = [(each, name) for each, name in zip(scores, classes, strict=True) if each.defined]
    if len(rows) > BARS:
        rows.sort(key=lambda row: row[0].value)
        rows = [*rows[: BARS // 2], *rows[-BARS // 2 :]]
        xlabel += f" (the {BARS // 2} lowest and highest of {len(classes)} classes)"
    names = [shorten(name, LABEL) for _, name in rows]
    left = max(map(width_of, names), default=20) + 12
    worst = min(rows, key=lambda row: row[0].value, default=None)
    label = f"{xlabel} of each class" + (
        f"; the lowest is {worst[0].value:.3f} for {worst[1]}" if worst else ""
    )
    with drawing(label, WIDTH, 17 * len(rows) + 46) as canvas:
        axes = canvas.axes(left, 4, WIDTH - left - 48, max(17 * len(rows), 1))
        values = np.array([each.value for each, _ in rows])
        places = np.arange(len(rows))
        ends = np.array([[each.low, each.high] for each, _ in rows]).reshape(-1, 2)
        axes.hlines(places, *ends.T, color=SERIES[0], linewidth=4, alpha=0.35)
        axes.scatter(values, places, 28, color=SERIES[0], linewidths=0, zorder=3, clip_on=False)
        lowest = np.nanmin([*ends[:, 0], *values, 1.0])
        start = max(0.0, np.floor((lowest - 0.02 * (1 - lowest)) * 20) / 20)
        for place, value in zip(places, values, strict=True):
            axes.annotate(
                f"{value:.3f}",
                (1, place),
                xytext=(8, 0),
                textcoords="offset points",
                va="center_baseline",
                color=MUTED,
            )
        axes.set(xlim=(min(start, 0.95), 1), ylim=(len(rows) - 0.4, -0.6), xlabel=xlabel)
        axes.set_yticks(places, names, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
    return canvas.svg


def class_balance(counts: Mapping[str, Sequence[int]], classes: Sequence[str]) -> str:
    """Draw how many examples each class has, by split ("train", "val", "test").

    Of more than 40 classes the totals are drawn as one falling line.
    """
    table = np.array([list(each) for each in counts.values()], np.int64).reshape(len(counts), -1)
    totals = table.sum(0)
    label = f"examples of each class, from {totals.min()} to {totals.max()}"
    if len(classes) > BARS:
        with drawing(label, WIDTH, 250) as canvas:
            axes = canvas.axes(52, 8, WIDTH - 66, 190)
            ranks = np.arange(1, len(classes) + 1)
            axes.step(ranks, np.sort(totals)[::-1], where="mid", color=SERIES[0], linewidth=2)
            axes.set(ylim=(0, None), xlabel="classes, the largest first", ylabel="examples")
            axes.grid(axis="y")
        return canvas.svg
    names = [shorten(name, LABEL) for name in classes]
    left = max(map(width_of, names)) + 12
    with drawing(label, WIDTH, 17 * len(names) + 70) as canvas:
        axes = canvas.axes(left, 26, WIDTH - left - 56, 17 * len(names))
        places, start = np.arange(len(names)), np.zeros(len(names))
        colours = [SERIES[0], SERIES[4], SERIES[2], *SERIES]
        for row, colour in zip(table, colours, strict=False):
            axes.barh(places, row, 0.62, start, color=colour, linewidth=0)
            start = start + row
        for place, total in zip(places, totals, strict=True):
            axes.annotate(
                f"{total:,}".replace(",", " "),
                (float(total), place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center_baseline",
                color=MUTED,
            )
        axes.set_yticks(places, names, color=INK)
        axes.set(ylim=(len(names) - 0.4, -0.6), xlabel="examples")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        if len(counts) > 1:
            canvas.legend(list(zip(counts, colours, strict=False)), left, 10)
    return canvas.svg
