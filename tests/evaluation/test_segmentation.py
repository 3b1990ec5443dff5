import numpy as np
import pytest

from torchfolio.evaluation.segmentation import (
    ClassCounts,
    confusion,
    evaluate,
    figures,
    picture_dice,
)

TRUTH = np.array([[0, 0, 1], [1, 2, 255]], np.uint8)
ANSWER = np.array([[0, 1, 1], [1, 0, 2]], np.uint8)


def test_pixels_are_counted_truth_down_answer_across() -> None:
    assert confusion(TRUTH, ANSWER, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]


def test_figures_are_those_of_a_hand_calculation() -> None:
    counts = ClassCounts.of(confusion(TRUTH, ANSWER, 3))
    assert counts.hits.tolist() == [1, 2, 0]
    assert counts.false.tolist() == [1, 1, 0]
    assert counts.missed.tolist() == [1, 0, 1]
    assert counts.iou() == pytest.approx([1 / 3, 2 / 3, 0])
    assert counts.dice() == pytest.approx([1 / 2, 4 / 5, 0])
    assert counts.precision()[:2] == pytest.approx([1 / 2, 2 / 3])
    assert np.isnan(counts.precision()[2])
    assert counts.recall() == pytest.approx([1 / 2, 1, 0])
    found = figures(confusion(TRUTH, ANSWER, 3))
    assert found["mean_iou"] == pytest.approx(1 / 3)
    assert found["mean_dice"] == pytest.approx((1 / 2 + 4 / 5) / 3)
    assert found["pixel_accuracy"] == pytest.approx(3 / 5)


def test_a_class_that_nobody_has_is_in_no_mean() -> None:
    found = figures(confusion(TRUTH, ANSWER, 4))
    assert found["mean_iou"] == pytest.approx(1 / 3)


def test_dice_is_f1_and_iou_is_jaccard_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    truth, answer = draw.integers(0, 4, (2, 50, 60), np.uint8)
    counts = ClassCounts.of(confusion(truth, answer, 4))
    flat = truth.reshape(-1), answer.reshape(-1)
    assert counts.dice() == pytest.approx(metrics.f1_score(*flat, average=None))
    assert counts.iou() == pytest.approx(metrics.jaccard_score(*flat, average=None))


def test_an_empty_mask_that_was_answered_empty_has_a_dice_of_one() -> None:
    empty = np.zeros((2, 2), np.uint8)
    full = np.ones((2, 2), np.uint8)
    found = picture_dice(np.stack([confusion(empty, empty, 2), confusion(empty, full, 2)]))
    assert found.tolist() == [1, 0]


def test_the_baseline_is_the_commonest_class_of_training_everywhere() -> None:
    confusions = np.array([[[6, 2], [1, 3]]])
    found = evaluate(confusions, [90, 10])
    assert found.baseline["pixel_accuracy"].value == pytest.approx(8 / 12)
    assert found.baseline["dice"].value == 0
    assert found.metrics["dice"].value == pytest.approx(6 / 9)


def test_intervals_hold_the_value_and_are_over_pictures() -> None:
    draw = np.random.default_rng(1)
    confusions = draw.integers(1, 50, (12, 2, 2))
    alike = np.repeat(confusions[:1], 12, 0)
    for each in evaluate(confusions, [1, 0]).metrics.values():
        assert each.low < each.value < each.high
    for each in evaluate(alike, [1, 0]).metrics.values():
        assert each.low == pytest.approx(each.value) == each.high
    grouped = evaluate(confusions, [1, 0], groups=["a"] * 12)
    assert np.isnan(grouped.metrics["dice"].low)
