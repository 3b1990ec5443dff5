"""Every figure of several labels an example, with its interval, from probabilities and targets.

Names and values are scikit-learn's, and numpy alone computes them. Macro figures are means over the
labels that have a positive example here (scikit-learn's, of those columns); a label without one has
no recall, no areas, and no part in them. Micro figures are of all (example, label) pairs together.
Log-loss is the binary cross-entropy over all pairs, with probabilities clipped at the machine
precision of their type.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchfolio.evaluation import calibration, ranking
from torchfolio.evaluation.calibration import ReliabilityBin
from torchfolio.evaluation.classification import Means
from torchfolio.evaluation.counts import macro
from torchfolio.evaluation.intervals import (
    RESAMPLES,
    Interval,
    Weights,
    bootstrap,
    intervals,
    units_of,
)
from torchfolio.evaluation.label_measures import (
    Training,
    baseline_scores,
    baseline_terms,
    checked,
    gaps,
    per_example,
    scores,
)
from torchfolio.evaluation.ranking import Curve

METRICS = (
    *("mean_average_precision", "micro_average_precision", "macro_f1", "micro_f1"),
    *("macro_precision", "micro_precision", "macro_recall", "micro_recall"),
    *("subset_accuracy", "hamming_loss", "roc_auc", "log_loss", "ece"),
)
PER_LABEL = ("average_precision", "roc_auc", "precision", "recall", "f1")
NAMED = 5  # labels that a note names


@dataclass(frozen=True)
class MultilabelResult:
    """The figures of several labels an example on one set of examples.

    ``metrics`` and ``baseline`` hold an interval under each name; ``per_label`` the same for each
    label, with its ``support`` and, where it is one for all examples, its ``threshold``;
    ``together`` and ``answered`` count the examples that have two labels (labels, labels), in truth
    and in the answers; ``notes`` say what could not be computed, and why.
    """

    metrics: dict[str, Interval]
    baseline: dict[str, Interval]
    per_label: list[dict[str, Interval | int | float]]
    together: NDArray[np.int64]
    answered: NDArray[np.int64]
    roc: list[Curve | None]
    precision_recall: list[Curve | None]
    reliability: list[ReliabilityBin]
    notes: list[str]
    examples: int
    units: int
    resamples: int
    seed: int

    def as_json(self) -> dict[str, Any]:
        """Return all but the curves as plain values; ``None`` for what is not defined."""
        bins = [
            {key: x if isfinite(x) else None for key, x in asdict(each).items()}
            for each in self.reliability
        ]
        return {
            "metrics": {name: each.as_json() for name, each in self.metrics.items()},
            "baseline": {name: each.as_json() for name, each in self.baseline.items()},
            "per_label": [
                {name: x.as_json() if isinstance(x, Interval) else x for name, x in row.items()}
                for row in self.per_label
            ],
            "together": self.together.tolist(),
            "answered_together": self.answered.tolist(),
            "reliability": bins,
            "notes": self.notes,
            "examples": self.examples,
            "units": self.units,
            "resamples": self.resamples,
            "seed": self.seed,
        }


def evaluate(
    probabilities: NDArray[Any],
    targets: NDArray[Any],
    thresholds: ArrayLike,
    *,
    names: Sequence[str],
    training: Training | None = None,
    groups: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MultilabelResult:
    """Measure probabilities against targets, ones and zeros (both examples, labels).

    An example has a label from its threshold on: ``thresholds`` are those of all examples
    (labels,), or of each by itself (examples, labels). From ``training`` come the baselines: the
    share of each label as its probability, and always the commonest set as the answer. ``groups``
    names what hangs together (examples,); by default each example is independent.
    """
    probabilities, targets = checked(probabilities, targets)
    examples, labels = targets.shape
    limits = np.asarray(thresholds, np.float64)
    answers = probabilities >= limits
    truth = targets.astype(bool)
    roc, precision_recall = ranking.values(probabilities, targets)
    bins = calibration.reliability(probabilities.ravel().astype(np.float64), truth.ravel())
    terms = {**per_example(probabilities, truth, answers), "gaps": gaps(probabilities, truth)}
    values: dict[str, Any] = {name: each.mean(0) for name, each in terms.items() if name != "gaps"}
    values |= scores((truth & answers).sum(0), truth.sum(0), answers.sum(0))
    values["ece"] = calibration.calibration_error(bins)
    for name, curves in (("roc_auc", roc), ("average_precision", precision_recall)):
        values[name] = np.array([each.area if each else np.nan for each in curves])
    values["micro_average_precision"] = ranking.pooled(probabilities, targets)

    drawing: dict[str, Any] = {"groups": groups, "resamples": resamples, "seed": seed}
    beside = {} if training is None else baseline_terms(training, truth)
    mean = Means(terms | {f"baseline {name}": each for name, each in beside.items()})
    counted = [each.astype(np.float32) for each in (truth & answers, truth, answers)]

    def statistics(weights: Weights) -> dict[str, NDArray[Any]]:
        rows = mean(weights)
        hits, true, answered = (weights @ each for each in counted)
        rows |= scores(hits, true, answered) | {"ece": np.abs(rows.pop("gaps")).sum(1)}
        if training is not None:
            found = baseline_scores(training, true, weights.sum(1))
            rows |= {f"baseline {name}": each for name, each in found.items()}
        return rows

    samples = bootstrap(statistics, examples, **drawing)
    samples |= ranking.resampled(probabilities, targets, **drawing)
    samples["micro_average_precision"] = ranking.pooled_resampled(probabilities, targets, **drawing)
    each_label = {name: intervals(values[name], samples[name]) for name in PER_LABEL}
    for name, area in (("mean_average_precision", "average_precision"), ("roc_auc", "roc_auc")):
        values[name], samples[name] = macro(values[area]), macro(samples[area])
    baseline: dict[str, Any] = {name: each.mean(0) for name, each in beside.items()}
    if training is not None:
        baseline |= baseline_scores(training, truth.sum(0), np.array(examples))
    units = examples if groups is None else units_of(groups)[1]
    held, given = truth.astype(np.float32), answers.astype(np.float32)
    return MultilabelResult(
        metrics={name: intervals(values[name], samples[name])[0] for name in METRICS},
        baseline={
            name: intervals(baseline[name], samples[f"baseline {name}"])[0]
            for name in METRICS
            if name in baseline
        },
        per_label=[
            {"support": int(truth[:, index].sum())}
            | ({"threshold": float(limits[index])} if limits.ndim == 1 else {})
            | {name: each_label[name][index] for name in PER_LABEL}
            for index in range(labels)
        ],
        together=(held.T @ held).astype(np.int64),
        answered=(given.T @ given).astype(np.int64),
        roc=roc,
        precision_recall=precision_recall,
        reliability=bins,
        notes=notes(truth, answers, names, units),
        examples=examples,
        units=units,
        resamples=resamples,
        seed=seed,
    )


def notes(
    truth: NDArray[np.bool_], answers: NDArray[np.bool_], names: Sequence[str], units: int
) -> list[str]:
    """Say in words what could not be computed, and where an interval says too little."""
    true, answered = truth.sum(0), answers.sum(0)
    said = []
    if (absent := np.flatnonzero(true == 0)).size:
        said.append(
            f"No example here has {told(names, absent)}: no recall and no areas, so no part in "
            "macro means. False alarms count in micro figures, subset accuracy and Hamming loss."
        )
    if (every := np.flatnonzero(true == len(truth))).size:
        said.append(f"Every example here has {told(names, every)}: there is no ROC area.")
    if (ignored := np.flatnonzero((true > 0) & (answered == 0))).size:
        said.append(f"Never answered: {told(names, ignored)}, which counts as a precision of 0.")
    if units == 1:
        said.append("There is one independent unit: nothing can be said about intervals.")
    elif (truth == answers).all():
        limit = 0.05 ** (1 / units)
        said.append(
            "Every answer is right, so resampling finds no spread. With 95 % confidence the subset "
            f"accuracy is at least {limit:.2%} (exact binomial limit for {units} of {units})."
        )
    return said


def told(names: Sequence[str], which: NDArray[np.int64]) -> str:
    """Return a few names in quotes, and how many more there are."""
    text = ", ".join(repr(names[each]) for each in which[:NAMED])
    return text if len(which) <= NAMED else f"{text} and {len(which) - NAMED} more labels"
