"""The sections of a report on several labels a picture, from its result."""

from collections.abc import Mapping, Sequence
from typing import Any

from torchfolio.evaluation.classification_report import (
    cell,
    range_text,
    speed_figures,
    value_text,
)
from torchfolio.evaluation.intervals import Interval
from torchfolio.evaluation.multilabel import MultilabelResult
from torchfolio.evaluation.names import NAMES, SHARES
from torchfolio.evaluation.report import (
    Block,
    Figure,
    KeyFigure,
    KeyFigures,
    Section,
    Table,
    Text,
    show,
)

OPENING = ("mean_average_precision", "macro_f1", "micro_f1", "subset_accuracy", "hamming_loss")
INTERVAL = "With its 95 % interval."
COLUMNS = {
    "average_precision": "average precision",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC area",
}


def opening(result: MultilabelResult, speed: Mapping[str, Any] | None = None) -> Section:
    """Return the numbers that matter, mean average precision first, with the baseline beside it."""
    figures = []
    for name in OPENING:
        interval, share, note = result.metrics[name], name in SHARES, ""
        if name in result.baseline:
            note = f"baseline {value_text(result.baseline[name], share=share, like=interval)}"
        texts = value_text(interval, share=share), range_text(interval, share=share)
        figures.append(KeyFigure(NAMES[name], *texts, note))
    grouped = result.units != result.examples
    units = f"in {show(result.units)} independent groups" if grouped else ""
    figures.append(KeyFigure("Examples", show(result.examples), note=units))
    if speed:
        figures += speed_figures(speed)
    blocks: list[Block] = [KeyFigures(figures)]
    if result.notes:
        blocks.append(Text("", result.notes))
    return Section("", blocks)


def label_section(result: MultilabelResult, labels: Sequence[str]) -> Section:
    """Return every label's figures, and which labels stand together in truth and in answers."""
    from torchfolio.evaluation import figures

    shared = "threshold" in result.per_label[0]  # and not one of each of several networks
    rows = [
        [
            name,
            cell(row["support"]),
            *([f"{row['threshold']:.3f}"] if shared else []),
            *(cell(row[key]) for key in COLUMNS),
        ]
        for name, row in zip(labels, result.per_label, strict=True)
    ]
    drawn = {
        key: figures.class_scores(
            [each for row in result.per_label if isinstance(each := row[key], Interval)],
            labels,
            xlabel=COLUMNS[key],
        )
        for key in ("average_precision", "f1")
    }
    wide = 14 < len(labels) <= 30
    return Section(
        "Labels",
        [
            Figure("Average precision by label", drawn["average_precision"], INTERVAL),
            Figure("F1 by label", drawn["f1"], f"At its threshold. {INTERVAL}"),
            Table(
                "Each label",
                ["label", "pictures", *(["threshold"] if shared else []), *COLUMNS.values()],
                rows,
                "Value and 95 % interval. Precision, recall and F1 are at the threshold: a picture "
                "has the label from that probability on."
                + ("" if shared else " Each network has its own."),
            ),
            Figure(
                "Labels together in truth",
                figures.labels_together(result.together, labels),
                "Of the pictures with the label of a row, how many have that of the column too, "
                "the stronger the larger their share; on the diagonal how many have the label.",
                wide=wide,
            ),
            Figure(
                "Labels together in answers",
                figures.labels_together(result.answered, labels),
                "The same of the labels that the network gave: where it is stronger than in truth, "
                "one label is taken for the other.",
                wide=wide,
            ),
        ],
    )


def measures(result: MultilabelResult) -> Section:
    """Return every metric with its interval beside the baseline, and the calibration."""
    from torchfolio.evaluation import figures

    rows = []
    for name, interval in result.metrics.items():
        share = name in SHARES
        other = result.baseline.get(name)
        texts = value_text(interval, share=share), range_text(interval, share=share)
        beside = value_text(other, share=share, like=interval) if other else ""
        rows.append([NAMES[name], *texts, beside])
    note = (
        f"Intervals: 95 % percentile bootstrap, {show(result.resamples)} resamples of "
        f"{show(result.units)} independent units. Baseline: the share of each label in the "
        "training data as its probability, and always the commonest set of labels as the answer. "
        "Macro figures, mean average precision and ROC AUC are means over the labels, micro "
        "figures of all pairs of picture and label. Subset accuracy: the share of pictures with "
        "every label right; Hamming loss: the share of wrong pairs; log-loss is in nats a pair."
    )
    columns = ["", "value", "95 % interval", "baseline"]
    return Section(
        "Measures",
        [
            Table("", columns, rows, note, ("left", "right", "right", "right")),
            Figure(
                "Calibration",
                figures.reliability_diagram(
                    result.reliability,
                    measured="share with the label",
                    given="probability",
                    right="with the label",
                ),
                "Of the labels given with a probability, how many are there. Bars on the diagonal "
                "mean that 80 % is 80 %. Below: how often each probability is given.",
            ),
        ],
    )


def curves(result: MultilabelResult, labels: Sequence[str]) -> Section:
    """Return the precision-recall and ROC curves."""
    from torchfolio.evaluation import figures

    told = "Each label by itself, with the area under each curve."
    if sum(curve is not None for curve in result.precision_recall) > 6:
        told += " The band holds eight in ten labels; the three of least area are drawn."
    drawn = figures.precision_recall_curves(result.precision_recall, labels, what="labels")
    roc = figures.roc_curves(result.roc, labels, what="labels")
    return Section(
        "Curves", [Figure("Precision and recall", drawn, told), Figure("ROC", roc, told)]
    )
