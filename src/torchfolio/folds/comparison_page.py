"""Folders of runs compared, as a table, as lines and as a page.

It offers what :mod:`torchfolio.comparison` does for runs, under the same names.
"""

from pathlib import Path
from typing import Any

from torchfolio.comparison import HEADER as RUNS_HEADER
from torchfolio.comparison import MANY, Side
from torchfolio.comparison import cells_of as cells_of_run
from torchfolio.evaluation.figures import class_scores
from torchfolio.evaluation.intervals import Interval
from torchfolio.evaluation.report import Cell, Figure, Report, Section, Table, Text, write_report
from torchfolio.folds.comparison import FoldsComparison, FoldsPair, compare_runs
from torchfolio.folds.plan import Plan

__all__ = ["HEADER", "cells_of", "compare_runs", "lines", "write_page"]

HEADER = ("folder", *RUNS_HEADER[1:-2], "a training", "latency")


def cells_of(side: Side) -> list[str]:
    """Return a folder's row: what it is, its figures with their spread, what a training costs."""
    cells = cells_of_run(side)
    std = side.metrics["accuracy"]["std"]
    if std is not None and cells[2]:
        value, percent, ends = cells[2].partition(" %")
        cells[2] = f"{value} ± {100 * std:.2f}{percent}{ends}"
    return cells


def write_page(path: Path, comparison: FoldsComparison) -> None:
    """Write the comparison as one HTML file."""
    sides = comparison.sides
    rows = [[cell.replace(" [", "\n[") for cell in cells_of(side)] for side in sides]
    note = (
        "Value of all answers together ± standard deviation over the runs; below, the 95 % "
        "interval over the examples. Time is the mean of a training."
    )
    blocks: list[Any] = [Table("Folders", HEADER, rows, note)]
    scores = [Interval.from_json(side.metrics["accuracy"]) for side in sides]
    if len(sides) <= MANY:
        figure = class_scores(scores, [side.name for side in sides], xlabel="accuracy")
        blocks.append(Figure("Accuracy with its 95 % interval", figure))
    sections = [
        Section("", blocks),
        Section("Pair by pair", [tests_table(comparison), pooled_table(comparison)]),
        Section("In words", [Text("", lines(comparison))]),
    ]
    title = f"{len(sides)} networks compared on the same {told(comparison.plan)}"
    subtitle = f"{comparison.examples:,} answers each"
    write_report(path, Report(title, subtitle, sections))


def told(plan: Plan) -> str:
    """Return what was the same for all, in words."""
    return "test split" if plan.folds is None else str(plan)


def pair_name(comparison: FoldsComparison, each: FoldsPair) -> str:
    """Return the names of a pair's two folders."""
    return f"{comparison.sides[each.first].name} - {comparison.sides[each.second].name}"


def tests_table(comparison: FoldsComparison) -> Table:
    """Return what the differences of the runs say, pair by pair."""
    rows: list[list[Cell]] = [
        [
            pair_name(comparison, each),
            f"{100 * each.test.difference.value:+.2f}",
            f"{100 * each.test.difference.low:+.2f} to {100 * each.test.difference.high:+.2f}",
            f"{100 * each.test.std:.2f}",
            f"{each.test.t:.2f}",
            each.test.freedom,
            f"{each.p:.2g}",
            each.words.split(":")[0],
        ]
        for each in comparison.pairs
    ]
    columns = ("pair", "points", "95 % interval", "standard deviation", "t", "degrees of freedom",
               "p", "in words")  # fmt: skip
    note = (
        "Differences of accuracy, run by run, by Student's paired t-test: the runs share their "
        "examples and differ by their seeds."
        if comparison.plan.folds is None
        else "Differences of accuracy, fold by fold, by the corrected resampled t-test (Nadeau and "
        "Bengio, 2003; Bouckaert and Frank, 2004): folds share their training examples."
    )
    return Table(
        "Run by run", columns, rows, f"{note} p is adjusted for the number of pairs (Holm)."
    )


def pooled_table(comparison: FoldsComparison) -> Table:
    """Return what the answers of all runs together say, pair by pair."""
    rows: list[list[Cell]] = []
    for each in comparison.pairs:
        pair = each.pair
        ends = f"{100 * pair.difference.low:+.2f} to {100 * pair.difference.high:+.2f}"
        row: list[Cell] = [
            pair_name(comparison, each), f"{100 * pair.difference.value:+.2f}", ends,
            pair.only_first, pair.only_second, pair.disagree,
        ]  # fmt: skip
        rows.append([*row, f"{pair.p:.2g}"] if comparison.once else row)
    columns = ["pair", "points", "95 % interval", "only the first right", "only the second right",
               "different answers"]  # fmt: skip
    note = (
        "The same resamples of the examples for both (paired bootstrap). The answers are taken as "
        "they are: what other trainings would say is not in these figures."
    )
    if comparison.once:
        columns.append("McNemar's p")
        note += " p by McNemar's exact test, not adjusted for the number of pairs."
    return Table("All answers together", columns, rows, note)


def lines(comparison: FoldsComparison) -> list[str]:
    """Return the pairs as a person reads them."""
    return [f"{pair_name(comparison, each)}: {each.words}" for each in comparison.pairs]
