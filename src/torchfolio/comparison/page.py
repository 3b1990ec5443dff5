"""Runs compared, as a table, as lines and as a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchfolio.comparison.runs import Comparison, Finding, Side, compare_runs
from torchfolio.evaluation.classification_report import points
from torchfolio.evaluation.figures import class_scores
from torchfolio.evaluation.intervals import Interval
from torchfolio.evaluation.names import BOUNDED, title, within
from torchfolio.evaluation.report import Cell, Figure, Report, Section, Table, Text, write_report

__all__ = ["compare_runs", "lines", "table_of", "write_page"]

MANY = 30  # runs that a figure holds
COST = ("parameters", "multiply-adds", "training", "latency")


def table_of(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows: what each run is, its figures, what it costs."""
    headline = comparison.headline
    header = ["run", "network", *map(within, headline), *COST]
    return header, [cells_of(side, headline) for side in comparison.sides]


def cells_of(side: Side, headline: Sequence[str]) -> list[str]:
    """Return a run's row."""
    cells = [side.name, side.network, *(figure_cell(side, metric) for metric in headline)]
    time = "" if side.seconds is None else f"{side.seconds:,.0f} s"
    latency = "" if side.latency is None else f"{side.latency:.2f} ms"
    return [*cells, f"{side.parameters:,}", f"{side.macs:,}", time, latency]


def figure_cell(side: Side, metric: str) -> str:
    """Return a figure as text; one from 0 to 1 in per cent, with its interval."""
    figure = Interval.from_json(side.metrics[metric])
    if not figure.defined:
        return ""
    if metric not in BOUNDED:
        return f"{figure.value:.3f}"
    return f"{100 * figure.value:.2f} % [{100 * figure.low:.2f}, {100 * figure.high:.2f}]"


def write_page(path: Path, comparison: Comparison) -> None:
    """Write the comparison as one HTML file."""
    sides = comparison.sides
    names = [side.name for side in sides]
    gaps = [gaps_table(metric, found, names) for metric, found in comparison.findings.items()]
    sections = [
        Section("", sides_blocks("Runs", *table_of(comparison), sides, comparison.headline[0])),
        Section("Pair by pair", gaps),
        Section("In words", [Text("", lines(comparison))]),
    ]
    same = "of the same names and labels" if comparison.notes else "the same for all"
    subtitle = f"on {comparison.examples:,} {comparison.split} examples, {same}"
    write_report(path, Report(f"{len(sides)} runs compared", subtitle, sections))


def sides_blocks(
    name: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    sides: Sequence[Side],
    metric: str,
    note: str = "",
) -> list[Any]:
    """Return the table of runs, and the figure that counts most drawn."""
    table = [[cell.replace(" [", "\n[").replace(", ", ",\u00a0") for cell in row] for row in rows]
    blocks: list[Any] = [Table(name, header, table, note)]
    if len(sides) <= MANY:
        scores = [Interval.from_json(side.metrics[metric]) for side in sides]
        drawn = class_scores(scores, [side.name for side in sides], xlabel=within(metric))
        blocks.append(Figure(f"{title(metric)} with its 95 % interval", drawn))
    return blocks


def gaps_table(metric: str, found: Sequence[Finding], names: Sequence[str]) -> Table:
    """Return the differences of one metric, pair by pair."""
    rows: list[list[Cell]] = [
        [
            f"{names[each.first]} - {names[each.second]}",
            *points(each.gap.difference),
            *each.gap.counts().values(),
            f"{each.p:.2g}",
            each.words.split(":")[0],
        ]
        for each in found
    ]
    counted = found[0].gap.counts()
    columns = ("pair", "points", "95 % interval", *counted, "p", "in words")
    note = (
        f"The same resamples for both (paired bootstrap); {found[0].gap.said}, adjusted for the "
        "number of pairs (Holm)."
    )
    return Table(f"Differences of {within(metric)}", columns, rows, note)


def lines(comparison: Comparison) -> list[str]:
    """Return the pairs as a person reads them, after what is not known of them."""
    names = [side.name for side in comparison.sides]
    return comparison.notes + pair_lines(names, comparison.findings)


def pair_lines(names: Sequence[str], findings: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return a line for each pair and metric; the metric is named where there are several.

    A finding has ``first``, ``second`` and ``words``.
    """
    told = {metric: f", {within(metric)}" if len(findings) > 1 else "" for metric in findings}
    return [
        f"{names[each.first]} - {names[each.second]}{told[metric]}: {each.words}"
        for found in zip(*findings.values(), strict=True)
        for metric, each in zip(findings, found, strict=True)
    ]
