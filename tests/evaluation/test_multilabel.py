"""Every figure of several labels an example against scikit-learn."""

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.exceptions import UndefinedMetricWarning

from torchfolio.errors import FolioError
from torchfolio.evaluation import ranking
from torchfolio.evaluation.intervals import bootstrap_weights
from torchfolio.evaluation.label_measures import Training, quick_metrics
from torchfolio.evaluation.multilabel import METRICS, PER_LABEL, evaluate
from torchfolio.evaluation.multilabel_report import label_section
from torchfolio.evaluation.report import Table
from torchfolio.evaluation.thresholds import choose_thresholds

Case = tuple[NDArray[np.floating], NDArray[np.uint8]]


def make(examples: int, shares: list[float], *, seed: int = 0, decimals: int = 12) -> Case:
    """Draw labels, each with its share of the examples, and probabilities that lean to them."""
    random = np.random.default_rng(seed)
    targets = (random.random((examples, len(shares))) < shares).astype(np.uint8)
    scores = random.normal(size=targets.shape) + 1.5 * targets - 1
    return np.round(1 / (1 + np.exp(-scores)), decimals), targets


def with_columns(case: Case, column: int) -> Case:
    """Take a case whose label number 1 has the same answer everywhere."""
    targets = case[1].copy()
    targets[:, 1] = column
    return case[0], targets


CASES = {
    "four labels": make(300, [0.5, 0.3, 0.1, 0.05]),
    "one label": make(80, [0.4]),
    "single precision": (make(200, [0.5, 0.2])[0].astype(np.float32), make(200, [0.5, 0.2])[1]),
    "ties": make(200, [0.5, 0.2, 0.2], decimals=1),
    "a label that no example has": with_columns(make(120, [0.4, 0.2, 0.2]), 0),
    "a label that every example has": with_columns(make(120, [0.4, 0.2, 0.2]), 1),
    "examples without a label": make(150, [0.05, 0.04]),
    "all right": (np.array([[0.9, 0.1], [0.8, 0.7], [0.2, 0.6]] * 5), np.array([[1, 0], [1, 1], [0, 1]] * 5)),  # noqa: E501
}  # fmt: skip


def expected(probabilities: NDArray[Any], targets: NDArray[Any], answers: NDArray[Any]) -> dict:
    """Return what scikit-learn says; macro means over the labels with a positive."""
    there = targets.any(0)
    macro = {"average": "macro", "zero_division": 0}
    micro = {"average": "micro", "zero_division": 0}
    if targets.shape[1] == 1:  # which scikit-learn takes for the two classes of a yes and a no
        macro = micro = {"average": "binary", "zero_division": 0}
    flat, likely = targets.ravel(), probabilities.ravel()
    found = {
        "mean_average_precision": metrics.average_precision_score(
            targets[:, there], probabilities[:, there], average="macro"
        ),
        "micro_average_precision": metrics.average_precision_score(
            targets, probabilities, average="micro"
        ),
        "subset_accuracy": metrics.accuracy_score(targets, answers),
        "hamming_loss": metrics.hamming_loss(targets, answers),
        "log_loss": metrics.log_loss(flat, likely, labels=[0, 1]),
    }
    for name in ("precision", "recall", "f1"):
        score = getattr(metrics, f"{name}_score")
        found[f"macro_{name}"] = score(targets[:, there], answers[:, there], **macro)
        found[f"micro_{name}"] = score(targets, answers, **micro)
    both = there & ~targets.all(0)
    found["roc_auc"] = metrics.roc_auc_score(
        targets[:, both], probabilities[:, both], average="macro"
    )
    return found


@pytest.mark.parametrize("name", CASES)
def test_metrics_are_scikit_learns(name: str) -> None:
    probabilities, targets = CASES[name]
    limits = np.linspace(0.3, 0.6, targets.shape[1])
    names = [f"label {number}" for number in range(targets.shape[1])]
    found = evaluate(probabilities, targets, limits, names=names, resamples=20)
    assert tuple(found.metrics) == METRICS
    for metric, value in expected(probabilities, targets, probabilities >= limits).items():
        assert found.metrics[metric].value == pytest.approx(value, abs=1e-6), metric
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["examples"] == len(targets)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_figures_of_each_label_are_scikit_learns(name: str) -> None:
    probabilities, targets = CASES[name]
    limits = np.linspace(0.3, 0.6, targets.shape[1])
    names = [f"label {number}" for number in range(targets.shape[1])]
    result = evaluate(probabilities, targets, limits, names=names, resamples=20)
    for index, row in enumerate(result.per_label):
        truth, answers = targets[:, index], probabilities[:, index] >= limits[index]
        assert (row["support"], row["threshold"]) == (truth.sum(), limits[index])
        values: dict[str, Any] = {each: getattr(row[each], "value", None) for each in PER_LABEL}
        if not truth.any():
            assert math.isnan(values["average_precision"])
            assert math.isnan(values["recall"])
            continue
        wanted = {
            "average_precision": metrics.average_precision_score(truth, probabilities[:, index]),
            "precision": metrics.precision_score(truth, answers, zero_division=0),
            "recall": metrics.recall_score(truth, answers),
            "f1": metrics.f1_score(truth, answers),
        }
        if not truth.all():
            wanted["roc_auc"] = metrics.roc_auc_score(truth, probabilities[:, index])
        assert {each: values[each] for each in wanted} == pytest.approx(wanted, abs=1e-6)
        assert math.isnan(values["roc_auc"]) == bool(truth.all())


def test_examples_may_have_thresholds_of_their_own() -> None:
    """As where each was answered by another of several networks."""
    probabilities, targets = CASES["four labels"]
    limits = np.where(np.arange(300)[:, None] < 100, 0.3, [0.4, 0.5, 0.6, 0.7])
    found = evaluate(probabilities, targets, limits, names="abcd", resamples=20)
    first, second = [0.3] * 4, [0.4, 0.5, 0.6, 0.7]
    answers = np.concatenate([probabilities[:100] >= first, probabilities[100:] >= second])
    for metric, value in expected(probabilities, targets, answers).items():
        assert found.metrics[metric].value == pytest.approx(value, abs=1e-6), metric
    assert all("threshold" not in row for row in found.per_label)
    table = label_section(found, "abcd").blocks[2]
    assert isinstance(table, Table)
    assert "threshold" not in table.columns
    assert table.note.endswith("Each network has its own.")
    assert {len(row) for row in table.rows} == {len(table.columns)}
    alike = evaluate(probabilities, targets, first, names="abcd", resamples=20)
    table = label_section(alike, "abcd").blocks[2]
    assert isinstance(table, Table)
    assert table.columns[2] == "threshold"
    assert {row[2] for row in table.rows} == {"0.300"}


def test_intervals_are_those_of_resampled_examples() -> None:
    """Each resample, by scikit-learn's weights, gives the samples that the interval is cut from."""
    probabilities, targets = CASES["four labels"]
    limits = np.full(4, 0.4)
    found = evaluate(probabilities, targets, limits, names="abcd", resamples=60, seed=3)
    answers = probabilities >= limits
    rows = []
    for weight in np.concatenate(list(bootstrap_weights(len(targets), 60, 3))):
        every = np.repeat(weight, 4)
        rows.append(
            [
                metrics.average_precision_score(targets, probabilities, sample_weight=weight),
                metrics.average_precision_score(
                    targets.ravel(), probabilities.ravel(), sample_weight=every
                ),
                metrics.f1_score(targets, answers, average="macro", sample_weight=weight),
                metrics.f1_score(targets, answers, average="micro", sample_weight=weight),
                metrics.accuracy_score(targets, answers, sample_weight=weight),
                metrics.hamming_loss(targets, answers, sample_weight=weight),
            ]
        )
    low, high = np.percentile(np.array(rows), [2.5, 97.5], axis=0)
    names = (
        *("mean_average_precision", "micro_average_precision", "macro_f1", "micro_f1"),
        *("subset_accuracy", "hamming_loss"),
    )
    for place, name in enumerate(names):
        interval = found.metrics[name]
        assert interval.low == pytest.approx(low[place], abs=1e-6), name
        assert interval.high == pytest.approx(high[place], abs=1e-6), name


def test_groups_are_the_units() -> None:
    probabilities, targets = CASES["four labels"]
    groups = np.arange(300) // 10
    found = evaluate(probabilities, targets, np.full(4, 0.5), names="abcd", groups=groups)
    alone = evaluate(probabilities, targets, np.full(4, 0.5), names="abcd")
    assert (found.units, alone.units) == (30, 300)
    # each example ten times: as independent ones they would be surer than they are
    repeated = evaluate(
        probabilities[groups * 10], targets[groups * 10], np.full(4, 0.5),
        names="abcd", groups=groups,
    )  # fmt: skip
    unaware = evaluate(
        probabilities[groups * 10], targets[groups * 10], np.full(4, 0.5), names="abcd"
    )
    widths = [
        each.metrics["micro_f1"].high - each.metrics["micro_f1"].low for each in (repeated, unaware)
    ]
    assert widths[0] > 2 * widths[1]
    one = evaluate(probabilities, targets, [0.5] * 4, names="abcd", groups=np.zeros(300))
    assert math.isnan(one.metrics["micro_f1"].low)
    assert "There is one independent unit" in one.notes[-1]


@pytest.mark.parametrize("decimals", [1, 12])
def test_the_first_order_form_of_pooled_areas_agrees_with_the_exact_one(
    decimals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    probabilities, targets = make(600, [0.5, 0.3, 0.1], decimals=decimals)
    settings: dict[str, Any] = {"groups": None, "resamples": 300, "seed": 2}
    exact = ranking.pooled_resampled(probabilities, targets, **settings)
    monkeypatch.setattr(ranking, "EXACT", 0)
    linear = ranking.pooled_resampled(probabilities, targets, **settings)
    assert np.abs(linear - exact).mean() < 0.1 * exact.std()
    assert linear.std() == pytest.approx(exact.std(), rel=0.05)


def test_calibration_is_that_of_all_pairs() -> None:
    probabilities, targets = CASES["four labels"]
    found = evaluate(probabilities, targets, [0.5] * 4, names="abcd", resamples=20)
    flat, there = probabilities.ravel(), targets.ravel()
    edges = np.linspace(0, 1, 16)
    bins = np.clip(np.searchsorted(edges, flat, side="left") - 1, 0, 14)
    total = sum(abs((flat - there)[bins == number].sum()) for number in range(15))
    assert found.metrics["ece"].value == pytest.approx(total / len(flat))
    assert sum(each.count for each in found.reliability) == 1200
    interval = found.metrics["ece"]
    assert interval.low <= interval.value <= interval.high


def test_labels_together_are_counted_in_truth_and_in_answers() -> None:
    targets = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]])
    probabilities = np.array([[0.9, 0.1, 0.8], [0.9, 0.9, 0.1], [0.1, 0.1, 0.1], [0.2, 0.9, 0.1]])
    found = evaluate(probabilities, targets, [0.5] * 3, names="abc", resamples=20)
    assert found.together.tolist() == [[3, 2, 1], [2, 2, 1], [1, 1, 1]]
    assert found.answered.tolist() == [[2, 1, 1], [1, 2, 0], [1, 0, 1]]


# Baselines


def test_the_baseline_has_the_shares_of_training_and_its_commonest_set() -> None:
    probabilities, targets = CASES["four labels"]
    shares, common = np.array([0.5, 0.5, 0.2, 0.0]), np.array([1, 0, 0, 0])
    training = Training(shares * 200, 200, common)
    found = evaluate(
        probabilities, targets, [0.5] * 4, names="abcd", training=training, resamples=50, seed=1
    ).baseline
    constant = np.broadcast_to(shares.astype(np.float32), targets.shape)
    wanted = expected(constant, targets, np.broadcast_to(common, targets.shape))
    del wanted["roc_auc"]
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert found[name].value == pytest.approx(value, abs=1e-6), name
        assert found[name].low <= found[name].value <= found[name].high
    # of a probability that is the same for all, the average precision is the share here
    assert found["mean_average_precision"].value == pytest.approx(targets.mean(0).mean())
    weights = np.concatenate(list(bootstrap_weights(300, 50, 1)))
    samples = [
        metrics.average_precision_score(
            targets.ravel(), constant.ravel(), sample_weight=np.repeat(weight, 4)
        )
        for weight in weights
    ]
    low, high = np.percentile(samples, [2.5, 97.5])
    assert found["micro_average_precision"].low == pytest.approx(low, abs=1e-6)
    assert found["micro_average_precision"].high == pytest.approx(high, abs=1e-6)


# Validation


def test_the_quick_figures_are_those_of_the_whole_measurement() -> None:
    probabilities, targets = CASES["four labels"]
    found = quick_metrics(probabilities, targets)
    chosen = choose_thresholds(probabilities, targets).values
    whole = evaluate(probabilities, targets, chosen, names="abcd", resamples=20).metrics
    assert set(found) == {"log_loss", "mean_average_precision", "macro_f1", "micro_f1"}
    assert found == pytest.approx({name: whole[name].value for name in found})


# What cannot be computed


def test_labels_without_a_positive_are_named_and_left_out_of_macro_means() -> None:
    probabilities, targets = CASES["a label that no example has"]
    names = ["sky", "ufo", "sea"]
    result = evaluate(probabilities, targets, [0.4] * 3, names=names, resamples=20)
    assert "No example here has 'ufo': no recall and no areas" in result.notes[0]
    both = evaluate(
        probabilities[:, [0, 2]], targets[:, [0, 2]], [0.4] * 2, names=["sky", "sea"], resamples=20
    )
    for name in ("mean_average_precision", "macro_f1", "macro_precision", "roc_auc"):
        assert result.metrics[name].value == pytest.approx(both.metrics[name].value)
    assert result.metrics["micro_precision"].value < both.metrics["micro_precision"].value
    everywhere = CASES["a label that every example has"]
    notes = evaluate(*everywhere, [0.4] * 3, names=names, resamples=20).notes
    assert "Every example here has 'ufo': there is no ROC area." in notes
    never = evaluate(probabilities, targets, [0.4, 0.4, 1.1], names=names, resamples=20).notes
    assert "Never answered: 'sea', which counts as a precision of 0." in never


def test_no_positive_at_all_leaves_areas_undefined() -> None:
    probabilities = make(20, [0.5, 0.5])[0]
    result = evaluate(
        probabilities, np.zeros((20, 2)), [0.5] * 2, names="ab", resamples=20,
        training=Training(np.array([3, 4]), 10, np.array([0, 1])),
    )  # fmt: skip
    undefined = {name for name, each in result.metrics.items() if not each.defined}
    assert undefined >= {"mean_average_precision", "micro_average_precision", "roc_auc"}
    assert result.metrics["hamming_loss"].defined
    json.dumps(result.as_json(), allow_nan=False)


def test_all_right_says_what_that_is_worth() -> None:
    result = evaluate(*CASES["all right"], [0.5] * 2, names="ab", resamples=20)
    assert result.metrics["subset_accuracy"].value == 1
    assert f"at least {0.05 ** (1 / 15):.2%}" in result.notes[-1]


@pytest.mark.parametrize(
    ("probabilities", "targets", "told"),
    [
        (np.ones((3, 2)), np.ones((3, 3)), "do not belong together"),
        (np.ones(3), np.ones(3), "do not belong together"),
        (np.ones((0, 2)), np.ones((0, 2)), "no example to evaluate"),
        (np.full((3, 2), 1.5), np.ones((3, 2)), "not numbers from 0 to 1"),
        (np.full((3, 2), np.nan), np.ones((3, 2)), "weights have diverged"),
        (np.ones((3, 2)), np.full((3, 2), 2), "other than 0 and 1"),
    ],
)
def test_what_does_not_fit_is_refused(probabilities: Any, targets: Any, told: str) -> None:
    with pytest.raises(FolioError, match=told):
        evaluate(probabilities, targets, [0.5] * 2, names="ab")


def test_scikit_learn_warns_where_we_leave_out() -> None:
    """Why macro means leave labels without a positive out: scikit-learn counts them as 0."""
    targets = np.array([[1, 0], [0, 0]])
    with pytest.warns(UserWarning, match="No positive class found"):
        found = metrics.average_precision_score(targets, np.array([[0.9, 0.1], [0.2, 0.3]]))
    assert found == 0.5
    assert issubclass(UndefinedMetricWarning, UserWarning)
