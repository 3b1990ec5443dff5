"""Every figure of a classifier against scikit-learn."""

import json
import math
import tracemalloc
import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.calibration import calibration_curve

from torchfolio.errors import FolioError
from torchfolio.evaluation.classification import (
    evaluate,
    least_sure,
    most_confused,
    quick_metrics,
    worst_mistakes,
)
from torchfolio.evaluation.measures import checked

Case = tuple[NDArray[np.floating], NDArray[np.int64]]


def make(examples: int, classes: int, *, seed: int = 0, labels: list[int] | None = None) -> Case:
    """Draw labels among some classes and probabilities that lean towards them."""
    random = np.random.default_rng(seed)
    truth = random.choice(labels or list(range(classes)), examples)
    scores = random.normal(size=(examples, classes))
    scores[np.arange(examples), truth] += 1
    odds = np.exp(scores)
    return odds / odds.sum(1, keepdims=True), truth.astype(np.int64)


def with_zeros(case: Case) -> Case:
    probabilities = np.where(case[0] < 0.12, 0, case[0])
    return probabilities / probabilities.sum(1, keepdims=True), case[1]


def with_ties(case: Case) -> Case:
    probabilities = np.ceil(case[0] * 4)
    return probabilities / probabilities.sum(1, keepdims=True), case[1]


CASES = {
    "binary": make(200, 2),
    "ten classes": make(500, 10),
    "single precision": (make(300, 7)[0].astype(np.float32), make(300, 7)[1]),
    "absent classes": make(300, 8, labels=[1, 2, 6]),
    "examples of one class only": make(50, 4, labels=[2]),
    "ties": with_ties(make(300, 7)),
    "binary ties": with_ties(make(120, 2)),
    "probabilities of zero": with_zeros(make(300, 7)),
    "one example": make(1, 3),
    "all right": (np.eye(4)[np.arange(40) % 4] * 0.6 + 0.1, np.arange(40) % 4),
}


def expected_metrics(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> dict:
    """Return what scikit-learn says; means over the classes with examples."""
    classes = probabilities.shape[1]
    every, present = np.arange(classes), np.unique(labels)
    predicted = probabilities.argmax(1)
    indicator = np.eye(classes)[labels]
    average = {"labels": present, "zero_division": 0}
    found = {
        "accuracy": metrics.accuracy_score(labels, predicted),
        "macro_precision": metrics.precision_score(labels, predicted, average="macro", **average),
        "macro_recall": metrics.recall_score(labels, predicted, average="macro", **average),
        "macro_f1": metrics.f1_score(labels, predicted, average="macro", **average),
        "weighted_f1": metrics.f1_score(labels, predicted, average="weighted", **average),
        "log_loss": metrics.log_loss(labels, probabilities, labels=every),
        "average_precision": metrics.average_precision_score(
            indicator[:, present], probabilities[:, present], average="macro"
        ),
    }
    if len(present) > 1:
        found["roc_auc"] = metrics.roc_auc_score(
            indicator[:, present], probabilities[:, present], average="macro"
        )
    if classes > 5:
        found["top5_accuracy"] = metrics.top_k_accuracy_score(
            labels, probabilities, k=5, labels=every
        )
    return found


@pytest.mark.parametrize("name", CASES)
def test_metrics_are_scikit_learns(name: str) -> None:
    probabilities, labels = CASES[name]
    found = evaluate(probabilities, labels, resamples=20).metrics
    expected = expected_metrics(probabilities, labels)
    assert set(found) - {"ece", "roc_auc"} == set(expected) - {"roc_auc"}
    for metric, value in expected.items():
        assert found[metric].value == pytest.approx(value, abs=1e-6), metric
    if "roc_auc" not in expected:
        assert math.isnan(found["roc_auc"].value)


def test_macro_areas_are_scikit_learns_multiclass_ones() -> None:
    probabilities, labels = CASES["ten classes"]
    found = evaluate(probabilities, labels, resamples=20).metrics
    expected = metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert found["roc_auc"].value == pytest.approx(expected, abs=1e-6)
    probabilities, labels = CASES["binary"]
    found = evaluate(probabilities, labels, resamples=20).metrics
    expected = metrics.roc_auc_score(labels, probabilities[:, 1])
    assert found["roc_auc"].value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_figures_of_each_class_are_scikit_learns(name: str) -> None:
    probabilities, labels = CASES[name]
    result = evaluate(probabilities, labels, resamples=20)
    predicted = probabilities.argmax(1)
    every = np.arange(probabilities.shape[1])
    assert (result.confusion == metrics.confusion_matrix(labels, predicted, labels=every)).all()
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=every, zero_division=np.nan
    )
    for index, row in enumerate(result.per_class):
        own = labels == index
        assert row["support"] == support[index]
        if own.any():
            never = (predicted != index).all()
            assert row["precision"].value == pytest.approx(0 if never else precision[index])
            assert row["recall"].value == pytest.approx(recall[index])
            assert row["f1"].value == pytest.approx(f1[index])
            expected = metrics.average_precision_score(own, probabilities[:, index])
            assert row["average_precision"].value == pytest.approx(expected, abs=1e-6)
        else:
            assert math.isnan(row["recall"].value)
            assert math.isnan(row["average_precision"].value)
        if 0 < own.sum() < len(own):
            expected = metrics.roc_auc_score(own, probabilities[:, index])
            assert row["roc_auc"].value == pytest.approx(expected, abs=1e-6)
        else:
            assert math.isnan(row["roc_auc"].value)


@pytest.mark.parametrize("name", ["binary", "ten classes", "ties", "all right"])
def test_reliability_is_scikit_learns_calibration_curve(name: str) -> None:
    probabilities, labels = CASES[name]
    result = evaluate(probabilities, labels, resamples=20)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    accuracies, confidences = calibration_curve(correct, confidence, n_bins=15)
    filled = [each for each in result.reliability if each.count]
    assert [each.accuracy for each in filled] == pytest.approx(accuracies)
    assert [each.confidence for each in filled] == pytest.approx(confidences)
    shares = np.array([each.count for each in filled]) / len(labels)
    error = (shares * np.abs(accuracies - confidences)).sum()
    assert result.metrics["ece"].value == pytest.approx(error, abs=1e-9)


def test_intervals_are_those_of_scikit_learn_on_drawn_examples() -> None:
    probabilities, labels = make(120, 3, seed=9)
    resamples = 150
    found = evaluate(probabilities, labels, resamples=resamples, seed=4).metrics
    random = np.random.default_rng(4)
    drawn = [random.integers(0, 120, 120) for _ in range(resamples)]
    each = [expected_metrics(probabilities[chosen], labels[chosen]) for chosen in drawn]
    for name in each[0]:
        low, high = np.percentile([values[name] for values in each], [2.5, 97.5])
        assert found[name].low == pytest.approx(low, abs=1e-5), name
        assert found[name].high == pytest.approx(high, abs=1e-5), name


def test_groups_widen_the_interval_and_count_as_units() -> None:
    probabilities, labels = make(60, 3)
    copies = np.repeat(np.arange(60), 10)
    alone = evaluate(probabilities[copies], labels[copies], resamples=300)
    together = evaluate(probabilities[copies], labels[copies], groups=copies, resamples=300)
    assert together.units == 60
    assert alone.units == 600
    for name in ("accuracy", "macro_f1", "log_loss", "roc_auc"):
        width = {r.units: r.metrics[name].high - r.metrics[name].low for r in (alone, together)}
        # ten copies of each: the true width is the square root of ten times as large
        assert width[60] == pytest.approx(width[600] * math.sqrt(10), rel=0.3)


def test_baseline_answers_with_the_commonest_class_of_training() -> None:
    labels = np.array([0, 0, 1, 2, 2, 2])
    counts = [50, 30, 20]
    probabilities = np.full((6, 3), 1 / 3)
    found = evaluate(probabilities, labels, training_counts=counts, resamples=20).baseline
    constant, frequencies = np.zeros(6, int), np.tile([0.5, 0.3, 0.2], (6, 1))
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(labels, constant))
    macro = metrics.f1_score(labels, constant, average="macro", zero_division=0)
    assert found["macro_f1"].value == pytest.approx(macro)
    assert found["log_loss"].value == pytest.approx(metrics.log_loss(labels, frequencies))
    assert found["accuracy"].low <= 1 / 3 <= found["accuracy"].high


@pytest.mark.parametrize("name", CASES)
def test_quick_metrics_are_those_of_the_evaluation(name: str) -> None:
    quick = quick_metrics(*CASES[name])
    expected = expected_metrics(*CASES[name])
    wanted = {"accuracy", "macro_f1", "log_loss", "top5_accuracy"} & set(expected)
    assert quick == {metric: pytest.approx(expected[metric], abs=1e-6) for metric in wanted}


def test_results_are_plain_json_without_not_a_number() -> None:
    result = evaluate(*CASES["absent classes"], training_counts=[1] * 8, resamples=20)
    again = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert again["per_class"][0]["recall"] == {"value": None, "low": None, "high": None}
    assert again["metrics"]["accuracy"]["value"] == result.metrics["accuracy"].value
    assert again["confusion"] == result.confusion.tolist()
    assert "confusion_cells" not in again


def test_the_same_seed_gives_the_same_intervals() -> None:
    first, again, other = (evaluate(*CASES["binary"], seed=seed) for seed in (1, 1, 2))
    assert first.metrics == again.metrics
    assert first.metrics != other.metrics


def test_notes_say_what_is_missing() -> None:
    absent = evaluate(*CASES["absent classes"], resamples=5).notes
    assert any("5 of 8 classes have no example" in note for note in absent)
    alone = evaluate(*CASES["examples of one class only"], resamples=5).notes
    assert any("no ROC area" in note for note in alone)
    single = evaluate(*CASES["one example"], resamples=5).notes
    assert any("one independent unit" in note for note in single)
    # 40 of 40 right: (0.05)^(1/40) = 92.78 %, the exact binomial limit
    perfect = evaluate(*CASES["all right"], resamples=5).notes
    assert any("at least 92.78%" in note for note in perfect)


def test_one_class_alone_can_be_evaluated() -> None:
    result = evaluate(np.ones((4, 1)), np.zeros(4, np.int64), resamples=5)
    assert result.metrics["accuracy"].value == 1
    assert result.confusion.tolist() == [[4]]


def test_a_hundred_classes_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = evaluate(*make(400, 100), resamples=10)
    assert len(result.per_class) == 100


def test_very_many_classes_are_measured_without_a_copy_of_their_probabilities() -> None:
    probabilities, labels = make(500, 4000)
    probabilities = probabilities.astype(np.float32)
    tracemalloc.start()
    found = quick_metrics(probabilities, labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < probabilities.nbytes
    k = metrics.top_k_accuracy_score(labels, probabilities, k=5, labels=range(4000))
    assert found["top5_accuracy"] == pytest.approx(k)
    above = np.array([[1.004, 0.0]], np.float32)  # rounded up in half precision
    assert checked(above, np.array([0]))[0].tolist() == [[1, 0]]
    assert above[0, 0] > 1  # what was given stays as it is


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.ones((3, 2)) / 2, np.zeros(2, int), "do not belong together"),
        (np.ones((0, 2)), np.zeros(0, int), "no example to evaluate"),
        (np.ones((2, 2)) / 2, np.array([0, 2]), "whole numbers from 0 to 1"),
        (np.ones((2, 2)) / 2, np.array([0.0, 1.0]), "whole numbers"),
        (np.array([[0.5, 0.5], [np.nan, 0.5]]), np.array([0, 1]), "the first is number 1"),
        (np.array([[3.0, -2.0]]), np.array([0]), "not probabilities"),
    ],
)
def test_wrong_inputs_are_named(probabilities, labels, message) -> None:
    with pytest.raises(FolioError, match=message):
        evaluate(probabilities, labels)


def test_training_counts_must_fit() -> None:
    with pytest.raises(FolioError, match="one count a class"):
        evaluate(*CASES["binary"], training_counts=[1, 2, 3])


def test_most_confused_pairs_come_first() -> None:
    confusion = np.array([[5, 3, 0], [1, 8, 1], [0, 6, 4]])
    found = most_confused(confusion, ["cat", "dog", "fox"], 2)
    assert found == [
        {"true": "fox", "predicted": "dog", "count": 6, "share": 0.6},
        {"true": "cat", "predicted": "dog", "count": 3, "share": 3 / 8},
    ]
    assert len(most_confused(confusion, ["cat", "dog", "fox"], 100)) == 4


def test_worst_mistakes_gave_the_truth_the_least() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.05, 0.95]])
    labels = np.array([1, 1, 1, 0])
    assert worst_mistakes(probabilities, labels, 2).tolist() == [3, 0]
    assert worst_mistakes(probabilities, labels).tolist() == [3, 0, 1]


def test_least_sure_answers_lead_the_least() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.4, 0.38, 0.22], [0.34, 0.33, 0.33]])
    assert least_sure(probabilities, 2).tolist() == [2, 1]


def test_of_very_many_classes_only_filled_cells_of_the_confusion_are_written() -> None:
    classes = 5000
    probabilities = np.full((3, classes), 1 / classes)
    probabilities[[0, 1, 2], [7, 7, 4999]] += 0.01
    result = evaluate(
        probabilities / probabilities.sum(1, keepdims=True), np.array([7, 9, 4999]), resamples=10
    )
    written = result.as_json()
    assert written["confusion_cells"] == [[7, 7, 1], [9, 7, 1], [4999, 4999, 1]]
    assert "confusion" not in written
