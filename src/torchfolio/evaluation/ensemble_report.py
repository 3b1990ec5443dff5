"""The section of a report that lays an ensemble beside its members."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.evaluation.classification_report import points, range_text, value_text
from torchfolio.evaluation.ensembles import EnsembleResult, Standing
from torchfolio.evaluation.intervals import Interval
from torchfolio.evaluation.report import Block, Cell, Figure, Section, Table, Text, percent, show

METHODS = {
    "mean": "mean of the probabilities",
    "weighted": "weighted mean of the probabilities",
    "vote": "majority vote",
    "stack": "logistic regression on the log-probabilities",
}
VOTE = (
    "A vote has no probability of its own; its log-loss is that of (votes + mean probability) / "
    "(members + 1)."
)
MANY = 30  # classes or members that a figure or a table of coefficients holds


def members_section(
    result: EnsembleResult,
    names: list[str],
    networks: Sequence[str],
    method: str,
    weights: Sequence[float] | None = None,
    told: Sequence[Block] = (),
) -> Section:
    """Return members and ensemble side by side: figures, differences, disagreement.

    ``networks`` says what each member is, ``weights`` how much its word counts, where that is one
    number; ``told`` are further blocks on what was fitted.
    """
    titles = [f"{name}\n{network}" for name, network in zip(names, networks, strict=True)]
    titles.append(f"ensemble\n{METHODS[method]}")
    note = VOTE if method == "vote" else ""
    blocks: list[Block] = [figures_table(result, titles, weights, note)]
    standings = [*result.members, result.ensemble]
    if len(standings) <= MANY:
        from torchfolio.evaluation.figures import class_scores

        accuracies = [each.accuracy for each in standings]
        drawn = class_scores(accuracies, [*names, "ensemble"], xlabel="accuracy")
        blocks.append(Figure("Accuracy of each", drawn, "With its 95 % interval."))
    blocks += [
        gains_table(result, names),
        disagreement_table(result, names),
        together_table(result),
        *told,
        Text("In words", in_words(result, names)),
    ]
    return Section("Members", blocks)


def figures_table(
    result: EnsembleResult, titles: Sequence[str], weights: Sequence[float] | None, note: str
) -> Table:
    """Return accuracy and log-loss of each, and its weight where there is one."""
    standings = [*result.members, result.ensemble]
    rows: list[list[Cell]] = [
        [title, *figures(standing)] for title, standing in zip(titles, standings, strict=True)
    ]
    columns = ["", "accuracy", "log-loss"]
    if weights is not None:
        columns.append("weight")
        rows = [[*row, each] for row, each in zip(rows, [*map(three, weights), ""], strict=True)]
    return Table("Each member, and the ensemble", columns, rows, note, aligned(columns))


def figures(standing: Standing) -> list[Cell]:
    """Return accuracy and log-loss as cells, each with its interval below."""
    return [with_range(standing.accuracy, share=True), with_range(standing.log_loss, share=False)]


def with_range(interval: Interval, *, share: bool) -> str:
    """Return a value with the ends of its interval on a line below."""
    value, ends = value_text(interval, share=share), range_text(interval, share=share)
    return f"{value}\n{ends}" if ends else value


def gains_table(result: EnsembleResult, names: list[str]) -> Table:
    """Return by how much the ensemble surpasses each member, and whether it is more than chance."""
    rows: list[list[Cell]] = [
        [
            name,
            "\n".join(filter(None, points(pair.difference))),
            pair.only_first,
            pair.only_second,
            f"{p:.2g}",
        ]
        for name, pair, p in zip(names, result.pairs, result.p, strict=True)
    ]
    columns = ["the ensemble less", "points", "only the ensemble right", "only the member right",
               "p"]  # fmt: skip
    note = (
        "The difference of accuracy has the same resamples for both (paired bootstrap); "
        f"{result.pairs[0].said}, adjusted for the number of members (Holm)."
    )
    return Table("What the ensemble gains", columns, rows, note, aligned(columns))


def disagreement_table(result: EnsembleResult, names: list[str]) -> Table:
    """Return for each pair of members how often they differ, and which of them is right."""

    def counted(count: int) -> str:
        return f"{show(count)}\n{percent(count / result.examples, 2)}"

    rows: list[list[Cell]] = [
        [
            f"{names[one]} – {names[other]}",
            counted(counts.disagree),
            counted(counts.both),
            counted(counts.only_first),
            counted(counts.only_second),
            counted(counts.neither),
        ]
        for one, other, counts in result.overlaps
    ]
    columns = ["members", "different answers", "both right", "only the first", "only the second",
               "both wrong"]  # fmt: skip
    return Table("Where members disagree", columns, rows, align=aligned(columns))


def together_table(result: EnsembleResult) -> Table:
    """Return how often all members say the same, and how often any of them is right."""
    counts = {"all give the same answer": result.unanimous, "all are right": result.all_right}
    rows: list[list[Cell]] = [
        [name, percent(count / result.examples, 2)] for name, count in counts.items()
    ]
    rows.append(["the ensemble is right", with_range(result.ensemble.accuracy, share=True)])
    rows.append(["at least one member is right", with_range(result.oracle, share=True)])
    columns = ["", f"of {show(result.examples)} examples"]
    return Table("All members together", columns, rows, align=aligned(columns))


def in_words(result: EnsembleResult, names: list[str]) -> list[str]:
    """Say what the ensemble gains, and what no choice among the members' answers can surpass."""
    gains = zip(names, result.verdicts(names), strict=True)
    right = value_text(result.oracle, share=True)
    return [
        *(f"The ensemble and {name}: {words}." for name, words in gains),
        f"At least one member is right on {right} of the examples: no choice among their answers "
        "can do better.",
    ]


def coefficients_table(
    weight: NDArray[np.floating], bias: NDArray[np.floating], names: list[str],
    classes: Sequence[str], penalty: float,
) -> Table:  # fmt: skip
    """Return what each member's logarithm of a class adds to the score of that class.

    ``weight`` is (classes, members * classes), ``bias`` (classes,).
    """
    count = len(classes)
    own = np.stack([np.diag(weight[:, n * count : (n + 1) * count]) for n in range(len(names))])
    rows: list[list[Cell]] = [
        [name, *map(three, own[:, place]), three(bias[place])]
        for place, name in enumerate(classes[:MANY])
    ]
    rows.insert(0, ["mean over the classes", *map(three, own.mean(1)), three(bias.mean())])
    note = (
        "Score of a class: the sum of its coefficient for each log-probability, and the intercept; "
        "shown are the coefficients of the class's own log-probabilities. Fitted on the validation "
        f"split, with a penalty of {penalty:g} / 2 times the sum of squared coefficients."
    )
    if count > MANY:
        note = f"The first {MANY} of {count} classes. {note}"
    columns = ["class", *names, "intercept"]
    return Table("Coefficients", columns, rows, note, aligned(columns))


def three(value: Any) -> str:
    """Return a number with three digits after the point."""
    return f"{value:.3f}"


def aligned(columns: Sequence[str]) -> list[str]:
    """Return the alignment of a table whose first column names the rows."""
    return ["left", *["right"] * (len(columns) - 1)]
