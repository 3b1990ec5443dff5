"""Areas under weights against scikit-learn, and the first-order form against the exact one."""

import numpy as np
import pytest
import torch
from sklearn import metrics
from torchmetrics.functional import classification as functional

from torchfolio.evaluation import ranking
from torchfolio.evaluation.intervals import bootstrap_weights
from torchfolio.evaluation.ranking import Ranking


@pytest.mark.parametrize("decimals", [1, 12])  # with many ties, and with none
def test_areas_under_weights_are_scikit_learns(decimals: int) -> None:
    random = np.random.default_rng(4)
    positive = random.random(150) < 0.3
    scores = np.round(random.normal(size=150) + positive, decimals)
    weights = np.concatenate(list(bootstrap_weights(150, 20, seed=1)))
    roc, average_precision = Ranking(scores, positive).areas(weights)
    for row, weight in enumerate(weights):
        expected = metrics.roc_auc_score(positive, scores, sample_weight=weight)
        assert roc[row] == pytest.approx(expected, abs=1e-12)
        expected = metrics.average_precision_score(positive, scores, sample_weight=weight)
        assert average_precision[row] == pytest.approx(expected, abs=1e-12)


def test_areas_are_undefined_where_no_positive_was_drawn() -> None:
    rank = Ranking(np.array([0.9, 0.4, 0.2]), np.array([True, False, False]))
    roc, average_precision = rank.areas(np.array([[0, 2, 1], [3, 0, 0]], np.float32))
    assert np.isnan(roc).all()
    assert np.isnan(average_precision[0])
    assert average_precision[1] == 1


def test_influence_is_the_derivative_by_each_weight() -> None:
    random = np.random.default_rng(7)
    positive = random.random(60) < 0.4
    scores = np.round(random.normal(size=60) + positive, 1)
    found = Ranking(scores, positive).influence()
    step = 1e-4
    for example in range(60):
        up, down = np.ones(60), np.ones(60)
        up[example] += step
        down[example] -= step
        for area, score in enumerate((metrics.roc_auc_score, metrics.average_precision_score)):
            rise = score(positive, scores, sample_weight=up)
            rise -= score(positive, scores, sample_weight=down)
            assert found[area][example] == pytest.approx(rise / step / 2, abs=1e-7)


def test_first_order_intervals_agree_with_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    labels = random.integers(0, 3, 1500)
    scores = random.normal(size=(1500, 3))
    scores[np.arange(1500), labels] += 1.5
    odds = np.exp(scores)
    probabilities = odds / odds.sum(1, keepdims=True)
    settings = {"groups": None, "resamples": 400, "seed": 2}
    exact = ranking.resampled(probabilities, labels, **settings)
    monkeypatch.setattr(ranking, "EXACT", 0)
    monkeypatch.setattr(ranking, "INFLUENCE", 3000)  # two classes at a time
    linear = ranking.resampled(probabilities, labels, **settings)
    for name in ranking.AREAS:
        # the same draws: the difference is second order, small beside the spread
        spread = exact[name].std(0)
        assert (np.abs(linear[name] - exact[name]).mean(0) < 0.1 * spread).all()
        assert linear[name].std(0) == pytest.approx(spread, rel=0.05)


def test_curves_keep_their_ends_and_their_area() -> None:
    random = np.random.default_rng(8)
    labels = random.integers(0, 2, 5000)
    score = 1 / (1 + np.exp(-random.normal(size=5000) - labels))
    roc, precision_recall = ranking.values(np.stack([1 - score, score], 1), labels)
    assert roc[1] is not None
    assert precision_recall[1] is not None
    assert (roc[1].x[0], roc[1].y[0], roc[1].x[-1], roc[1].y[-1]) == (0, 0, 1, 1)
    assert len(roc[1].x) <= ranking.CURVE_POINTS + 2
    assert np.trapezoid(roc[1].y, roc[1].x) == pytest.approx(
        metrics.roc_auc_score(labels, score), abs=2e-3
    )
    assert precision_recall[1].x[0] == 0
    assert precision_recall[1].x[-1] == 1
    assert precision_recall[1].y[-1] == pytest.approx(labels.mean())
    x, y, _ = metrics.roc_curve(labels, score, drop_intermediate=False)
    points = set(zip(np.round(x, 6), np.round(y, 6), strict=True))
    drawn = set(zip(np.round(roc[1].x, 6), np.round(roc[1].y, 6), strict=True))
    assert drawn <= points


@pytest.mark.parametrize("decimals", [1, 6])  # with many ties, and with hardly any
def test_curves_are_those_of_torchmetrics(decimals: int) -> None:
    random = np.random.default_rng(6)
    labels = random.integers(0, 3, 40)
    scores = np.round(random.random((40, 3)) + 0.3 * np.eye(3)[labels], decimals) / 2
    roc, precision_recall = ranking.values(scores, labels)
    for index in range(3):
        pair = torch.from_numpy(scores[:, index]), torch.from_numpy((labels == index).astype(int))
        x, y, _ = (each.numpy() for each in functional.binary_roc(*pair))
        found = roc[index]
        assert found is not None
        assert found.area == pytest.approx(float(functional.binary_auroc(*pair)), abs=1e-6)
        assert points(found.x, found.y) <= points(x, y)
        assert points(found.x[[0, -1]], found.y[[0, -1]]) == {(0.0, 0.0), (1.0, 1.0)}
        y, x, _ = (each.numpy() for each in functional.binary_precision_recall_curve(*pair))
        found = precision_recall[index]
        assert found is not None
        expected = float(functional.binary_average_precision(*pair))
        assert found.area == pytest.approx(expected, abs=1e-6)
        assert points(found.x, found.y) <= points(x, y)
        assert (found.x[0], found.y[0], found.x[-1]) == (0, 1, 1)
        assert len(found.x) > 10


def points(x: np.ndarray, y: np.ndarray) -> set[tuple[float, float]]:
    """Return the points of a curve, rounded to what float32 holds."""
    rounded = (np.round(part.astype(np.float64), 5).tolist() for part in (x, y))
    return set(zip(*rounded, strict=True))
