"""Folders of runs compared, as a table, as lines and as a page.

It offers what :mod:`torchfolio.comparison.page` does for runs, under the same names.
"""

from collections.abc import Sequence
from pathlib import Path

from torchfolio.comparison.page import COST, cells_of, pair_lines, sides_blocks
from torchfolio.comparison.runs import Side
from torchfolio.evaluation.classification_report import points
from torchfolio.evaluation.names import AREAS, within
from torchfolio.evaluation.report import Cell, Report, Section, Table, Text, write_report
from torchfolio.folds.comparison import FoldsComparison, FoldsFinding, compare_runs
from torchfolio.folds.plan import Plan

__all__ = ["compare_runs", "lines", "table_of", "write_page"]


def table_of(comparison: FoldsComparison) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows: figures with their spread, what a training costs."""
    headline = comparison.headline
    header = ["folder", "network", *map(within, headline), *COST[:-2], "a training", "latency"]
    return header, [spread_cells(side, headline) for side in comparison.sides]


def spread_cells(side: Side, headline: Sequence[str]) -> list[str]:
    """Return a folder's row; the first figure has its standard deviation over the runs."""
    cells = cells_of(side, headline)
    std = side.metrics[headline[0]]["std"]
    if std is not None and cells[2]:
        value, percent, ends = cells[2].partition(" %")
        cells[2] = f"{value} ± {100 * std:.2f}{percent}{ends}"
    return cells


def write_page(path: Path, comparison: FoldsComparison) -> None:
    """Write the comparison as one HTML file."""
    sides = comparison.sides
    names = [side.name for side in sides]
    note = (
        "Value of all answers together ± standard deviation over the runs; below, the 95 % "
        "interval over the examples. Time is the mean of a training."
    )
    first = sides_blocks("Folders", *table_of(comparison), sides, comparison.headline[0], note)
    tables = [
        make(metric, found, names, comparison.plan)
        for metric, found in comparison.findings.items()
        for make in (tests_table, pooled_table)
    ]
    sections = [
        Section("", first),
        Section("Pair by pair", tables),
        Section("In words", [Text("", lines(comparison))]),
    ]
    title = f"{len(sides)} networks compared on the same {told(comparison.plan)}"
    subtitle = f"{comparison.examples:,} answers each"
    write_report(path, Report(title, subtitle, sections))


def told(plan: Plan) -> str:
    """Return what was the same for all, in words."""
    return "test split" if plan.folds is None else str(plan)


def pair_name(names: Sequence[str], each: FoldsFinding) -> str:
    """Return the names of a pair's two folders."""
    return f"{names[each.first]} - {names[each.second]}"


def tests_table(
    metric: str, found: Sequence[FoldsFinding], names: Sequence[str], plan: Plan
) -> Table:
    """Return what the differences of the runs say, pair by pair."""
    rows: list[list[Cell]] = [
        [
            pair_name(names, each),
            *points(each.test.difference),
            f"{100 * each.test.std:.2f}",
            f"{each.test.t:.2f}",
            each.test.freedom,
            f"{each.p:.2g}",
            each.words.split(":")[0],
        ]
        for each in found
    ]
    columns = ("pair", "points", "95 % interval", "standard deviation", "t", "degrees of freedom",
               "p", "in words")  # fmt: skip
    note = (
        f"Differences of {within(metric)}, run by run, by Student's paired t-test: the runs share "
        "their examples and differ by their seeds."
        if plan.folds is None
        else f"Differences of {within(metric)}, fold by fold, by the corrected resampled t-test "
        "(Nadeau and Bengio, 2003; Bouckaert and Frank, 2004): folds share their training examples."
    )
    adjusted = f"{note} p is adjusted for the number of pairs (Holm)."
    return Table(f"Run by run: {within(metric)}", columns, rows, adjusted)


def pooled_table(
    metric: str, found: Sequence[FoldsFinding], names: Sequence[str], plan: Plan
) -> Table:
    """Return what the answers of all runs together say, pair by pair."""
    first = found[0]
    rows: list[list[Cell]] = []
    for each in found:
        row: list[Cell] = [pair_name(names, each), *points(each.gap.difference)]
        row += each.gap.counts().values()
        rows.append([*row, f"{each.gap.p:.2g}"] if each.once else row)
    columns = ["pair", "points", "95 % interval", *first.gap.counts()]
    note = (
        "The same resamples of the examples for both (paired bootstrap). The answers are taken as "
        "they are: what other trainings would say is not in these figures."
    )
    if metric in AREAS:
        note += " Scores of different networks are put in one order."
    if first.once:
        columns.append("p")
        note += f" {first.gap.said}, not adjusted for the number of pairs."
    return Table(f"All answers together: {within(metric)}", columns, rows, note)


def lines(comparison: FoldsComparison) -> list[str]:
    """Return the pairs as a person reads them."""
    return pair_lines([side.name for side in comparison.sides], comparison.findings)
