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


def test_a_picture_of_which_no_pixel_counts_is_in_no_figure() -> None:
    """Two pictures of Dice 0.5 and 0, and one that is void: the mean is 0.25, not 0.5."""
    half = confusion(np.array([[1, 1, 0]], np.uint8), np.array([[1, 0, 1]], np.uint8), 2)
    none = confusion(np.array([[1, 0, 0]], np.uint8), np.array([[0, 1, 0]], np.uint8), 2)
    void = confusion(np.full((1, 3), 255, np.uint8), np.ones((1, 3), np.uint8), 2)
    assert np.isnan(picture_dice(np.stack([void]))).all()
    pictures, others = np.stack([half, void, none]), np.stack([half, none])
    objects = np.array([[[2, 1, 1, 2, 2]], [[0, 0, 0, 0, 0]], [[1, 0, 1, 1, 1]]])
    found = evaluate(
        pictures, [3, 3], objects=objects, of_pictures={"rand_error": np.array([0.1, 0.9, 0.3])}
    ).metrics
    wanted = evaluate(
        others, [3, 3], objects=objects[[0, 2]], of_pictures={"rand_error": np.array([0.1, 0.3])}
    ).metrics
    assert found["picture_dice"].value == pytest.approx(0.25)
    assert found["rand_error"].value == pytest.approx(0.2)
    assert found["false_alarms"].value == pytest.approx(1)
    assert {k: v.value for k, v in found.items()} == {k: v.value for k, v in wanted.items()}
    alone = evaluate(np.stack([void, void]), [3, 3])
    assert np.isnan(alone.metrics["picture_dice"].value)


@pytest.mark.parametrize("classes", [2, 5])
def test_iou_dice_precision_and_recall_are_those_of_torchmetrics(classes: int) -> None:
    """Over all pixels, with pixels that do not count, and a class that nobody has."""
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("torchmetrics.classification")
    draw = np.random.default_rng(classes)
    truth, answer = draw.integers(0, max(2, classes - 1), (2, 6, 30, 40), np.uint8)
    truth[:, :3] = 255
    counts = ClassCounts.of(confusion(truth, answer, classes))
    given = torch.from_numpy(answer).long(), torch.from_numpy(truth).long()
    kinds = {
        "iou": metrics.MulticlassJaccardIndex,
        "dice": metrics.MulticlassF1Score,
        "precision": metrics.MulticlassPrecision,
        "recall": metrics.MulticlassRecall,
    }
    for name, kind in kinds.items():
        theirs = kind(num_classes=classes, average=None, ignore_index=255)(*given).numpy()
        ours = getattr(counts, name)()
        assert np.nan_to_num(ours) == pytest.approx(theirs, abs=1e-6)
        assert np.isfinite(ours).sum() == max(2, classes - 1)
    mean_iou = metrics.MulticlassJaccardIndex(num_classes=classes, ignore_index=255)(*given)
    assert figures(confusion(truth, answer, classes))["mean_iou"] == pytest.approx(
        float(mean_iou), abs=1e-6
    )


def test_dice_of_each_picture_is_that_of_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    segmentation = pytest.importorskip("torchmetrics.segmentation")
    truth, answer = np.random.default_rng(3).integers(0, 3, (2, 4, 20, 25), np.uint8)
    ours = picture_dice(np.stack([confusion(*each, 3) for each in zip(truth, answer, strict=True)]))
    for place, value in enumerate(ours):
        dice = segmentation.DiceScore(
            3, include_background=False, average="macro", input_format="index"
        )
        given = (torch.from_numpy(each[place : place + 1]).long() for each in (answer, truth))
        assert float(dice(*given)) == pytest.approx(value, abs=1e-6)


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
