"""Thresholds of the best F1, against every threshold there is, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_curve

from torchfolio.evaluation.thresholds import FEW, best_threshold, choose_thresholds


def f1_at(scores: np.ndarray, positive: np.ndarray, threshold: float) -> float:
    return float(f1_score(positive, scores >= threshold, zero_division=0))


@pytest.mark.parametrize("decimals", [1, 9])  # with many ties, and with none
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_no_threshold_has_a_better_f1(decimals: int, share: float) -> None:
    random = np.random.default_rng(1)
    positive = random.random(120) < share
    scores = np.round(1 / (1 + np.exp(-random.normal(size=120) - positive)), decimals)
    found = f1_at(scores, positive, best_threshold(scores, positive))
    precision, recall, _ = precision_recall_curve(positive, scores)
    with np.errstate(invalid="ignore"):
        best = np.nanmax(2 * precision * recall / (precision + recall))
    assert found == pytest.approx(best, abs=1e-12)
    assert found >= max(f1_at(scores, positive, each) for each in np.linspace(0, 1, 301))


def test_the_threshold_lies_halfway_to_the_next_score() -> None:
    scores = np.array([0.9, 0.8, 0.4, 0.3], np.float32)
    found = best_threshold(scores, np.array([True, True, False, False]))
    assert found == pytest.approx((0.8 + 0.4) / 2)
    # one of the two at 0.8 is right: they are taken together, or not at all
    scores = np.array([0.9, 0.8, 0.8, 0.3])
    found = best_threshold(scores, np.array([True, True, False, False]))
    assert found == pytest.approx((0.8 + 0.3) / 2)
    assert best_threshold(scores, np.ones(4, bool)) == pytest.approx(0.15)


def test_of_equally_good_thresholds_the_highest_is_taken() -> None:
    # one right of one: 2/3 of two positives; three right of four: 2 * 2 / (4 + 2) = 2/3
    scores = np.array([0.9, 0.7, 0.6, 0.5])
    found = best_threshold(scores, np.array([True, False, False, True]))
    assert found == pytest.approx(0.8)


def test_neighbouring_numbers_of_single_precision_are_told_apart() -> None:
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    scores = np.array([high, low], np.float32)
    found = best_threshold(scores, np.array([True, False]))
    assert (scores >= np.array([found])).tolist() == [True, False]


def test_labels_of_few_positives_keep_the_middle() -> None:
    random = np.random.default_rng(0)
    targets = np.zeros((60, 4), np.uint8)
    for label, count in enumerate((0, FEW - 1, FEW, 30)):
        targets[:count, label] = 1
    probabilities = (0.1 * random.random((60, 4)) + 0.1 * targets).astype(np.float32)
    found = choose_thresholds(probabilities, targets)
    assert found.values[:2].tolist() == [0.5, 0.5]
    assert (found.values[2:] < 0.2).all()
    assert found.rare.tolist() == [0, 1]
    assert found.blind.tolist() == []


def test_a_label_that_every_example_would_have_is_named() -> None:
    """Lipton et al., Theorem 2: of a network that knows nothing, F1 is best if all have it."""
    random = np.random.default_rng(2)
    targets = np.stack([np.arange(50) % 2, np.ones(50, int), np.arange(50) % 5 > 0], 1)
    probabilities = random.random((50, 3))
    probabilities[:, 0] = 0.3  # the same of all
    probabilities[:, 2] = targets[:, 2]
    found = choose_thresholds(probabilities, targets)
    assert found.values[0] == pytest.approx(0.15)
    assert found.blind.tolist() == [0]  # every example should have the second
