"""Runs on the same examples beside each other: scikit-learn, scipy and hand calculations agree."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score

from torchfolio.evaluation import answers
from torchfolio.evaluation.answers import OneClass, SeveralLabels
from torchfolio.evaluation.intervals import bootstrap_weights
from torchfolio.evaluation.paired import Pair, bootstrap_p, in_words

Table = NDArray[np.float32]


def drawn(examples: int = 150, shares: Any = (0.5, 0.3, 0.1)) -> NDArray[np.uint8]:
    """Draw which examples have which label."""
    return (np.random.default_rng(0).random((examples, len(shares))) < shares).astype(np.uint8)


def leaning(targets: NDArray[np.uint8], strength: float, seed: int) -> Table:
    """Draw probabilities that lean to the truth."""
    scores = np.random.default_rng(seed).normal(size=targets.shape) + strength * (targets - 0.5)
    return (1 / (1 + np.exp(-scores))).astype(np.float32)


def said(probabilities: Table, targets: NDArray[np.uint8], groups: Any = None) -> SeveralLabels:
    """What a run said, whose thresholds are one half."""
    truth, given = (
        np.array(["|".join(map(str, np.flatnonzero(row))) for row in each])
        for each in (targets, probabilities >= 0.5)
    )
    names = [f"1 {number}" for number in range(len(targets))]
    arrays = {"probabilities": probabilities, "targets": targets}
    return SeveralLabels(names, truth, given, groups, arrays)


def test_the_difference_in_average_precision_is_resampled_for_both_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "RESAMPLES", 100)
    targets = drawn()
    one, other = leaning(targets, 2.0, 1), leaning(targets, 1.5, 2)
    [gap] = SeveralLabels.gaps([said(one, targets), said(other, targets)], 5)[
        "mean_average_precision"
    ]
    value = average_precision_score(targets, one) - average_precision_score(targets, other)
    assert gap.difference.value == pytest.approx(value, abs=1e-7)
    samples = []
    for weight in np.concatenate(list(bootstrap_weights(150, 100, 5))):
        both = (
            average_precision_score(targets, each, sample_weight=weight) for each in (one, other)
        )
        samples.append(next(both) - next(both))
    low, high = np.percentile(samples, [2.5, 97.5])
    assert gap.difference.low == pytest.approx(low, abs=1e-6)
    assert gap.difference.high == pytest.approx(high, abs=1e-6)
    fewer = min(sum(each <= 0 for each in samples), sum(each >= 0 for each in samples))
    assert gap.p == pytest.approx(2 * (fewer + 1) / 101)


def test_all_labels_right_is_judged_by_mcnemars_test() -> None:
    targets = drawn()
    one, other = leaning(targets, 3.0, 1), leaning(targets, 1.0, 2)
    [pair] = SeveralLabels.gaps([said(one, targets), said(other, targets)], 0)["subset_accuracy"]
    right = [((each >= 0.5) == targets).all(1) for each in (one, other)]
    assert isinstance(pair, Pair)
    counts = [int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())]
    assert [pair.only_first, pair.only_second] == counts
    assert pair.both == int((right[0] & right[1]).sum())
    assert pair.p == pytest.approx(binomtest(counts[0], sum(counts), 0.5).pvalue)
    assert pair.difference.value == pytest.approx(right[0].mean() - right[1].mean())
    differ = ((one >= 0.5) != (other >= 0.5)).any(1)
    assert pair.disagree == int(differ.sum())


def test_p_by_the_bootstrap_by_hand() -> None:
    # two of nine at or below zero: twice three tenths
    assert bootstrap_p(np.array([-1.0, 0, 1, 1, 1, 1, 1, 1, 1])) == pytest.approx(0.6)
    assert bootstrap_p(np.full(999, 0.1)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.full(999, -0.1)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.zeros(999)) == 1
    assert bootstrap_p(np.array([np.nan, 0.1, 0.2, 0.3, np.nan])) == pytest.approx(0.5)
    assert bootstrap_p(np.array([np.nan])) == 1


def test_p_and_the_interval_say_the_same() -> None:
    random = np.random.default_rng(0)
    for shift in np.linspace(0, 0.5, 40):
        samples = random.normal(shift, 0.12, 1000)
        low, high = np.percentile(samples, [2.5, 97.5])
        if min(abs(low), abs(high)) > 0.005:  # a resample or two may be at the end
            assert (bootstrap_p(samples) < 0.05) == (low > 0 or high < 0)


def test_a_run_beside_itself_is_not_ahead() -> None:
    targets = drawn()
    run = said(leaning(targets, 1.0, 1), targets)
    for [gap] in SeveralLabels.gaps([run, run], 0).values():
        assert (gap.difference.value, gap.difference.low, gap.difference.high) == (0, 0, 0)
        assert gap.p == 1


def test_pairs_come_in_the_order_of_the_runs() -> None:
    targets = drawn(300)
    runs = [said(leaning(targets, strength, 1), targets) for strength in (0.5, 1.5, 3.0)]
    gaps = SeveralLabels.gaps(runs, 0)
    assert list(gaps) == ["mean_average_precision", "subset_accuracy"]
    areas = [float(average_precision_score(targets, run.arrays["probabilities"])) for run in runs]
    found = [gap.difference.value for gap in gaps["mean_average_precision"]]
    expected = [areas[0] - areas[1], areas[0] - areas[2], areas[1] - areas[2]]
    assert found == pytest.approx(expected, abs=1e-7)


def test_examples_of_a_group_are_one_unit() -> None:
    once = drawn(20)
    targets, groups = np.repeat(once, 10, axis=0), np.repeat(np.arange(20), 10).astype(str)
    one, other = (np.repeat(leaning(once, 1.0, seed), 10, axis=0) for seed in (1, 2))
    alone, together = (
        SeveralLabels.gaps([said(one, targets, unit), said(other, targets, unit)], 0)
        for unit in (None, groups)
    )
    for metric in ("mean_average_precision", "subset_accuracy"):
        widths = [
            each[metric][0].difference.high - each[metric][0].difference.low
            for each in (alone, together)
        ]
        assert widths[1] > 2 * widths[0]


def test_of_many_runs_a_clear_difference_is_still_found() -> None:
    """With 1,000 resamples p would be 0.002 at least, times 36 pairs."""
    targets = drawn(60)
    poor = [said(leaning(targets, 0.0, seed), targets) for seed in range(8)]
    good = said(leaning(targets, 6.0, 9), targets)
    gaps = SeveralLabels.gaps([good, *poor], 0)["mean_average_precision"]
    assert 36 * gaps[0].p < 0.05
    assert gaps[0].p == pytest.approx(2 / 3601)


def test_without_a_positive_there_is_nothing_to_say() -> None:
    targets = np.zeros((20, 2), np.uint8)
    one, other = (np.random.default_rng(seed).random((20, 2), np.float32) for seed in (1, 2))
    [gap] = SeveralLabels.gaps([said(one, targets), said(other, targets)], 0)[
        "mean_average_precision"
    ]
    assert not gap.difference.defined
    assert gap.p == 1
    words = in_words(gap.difference, gap.p, "one", "other")
    assert words == "no evidence of a difference: there is no such figure of these examples"


def test_labels_that_no_example_has_do_not_count() -> None:
    targets = drawn(80, (0.5, 0.3, 0.0))
    one, other = leaning(targets, 2.0, 1), leaning(targets, 1.0, 2)
    [three] = SeveralLabels.gaps([said(one, targets), said(other, targets)], 0)[
        "mean_average_precision"
    ]
    both = [said(each[:, :2], targets[:, :2]) for each in (one, other)]
    [two] = SeveralLabels.gaps(both, 0)["mean_average_precision"]
    assert three == two


def test_one_class_is_compared_by_accuracy() -> None:
    truth = np.array(["cat", "dog", "owl", "cat"])
    runs = [
        OneClass(list("abcd"), truth, np.array(given), None, {})
        for given in (["cat", "dog", "owl", "dog"], ["cat", "cat", "cat", "cat"])
    ]
    [[pair]] = OneClass.gaps(runs, 0).values()
    assert isinstance(pair, Pair)
    assert (pair.only_first, pair.only_second, pair.both, pair.neither) == (2, 1, 1, 0)
    assert pair.difference.value == pytest.approx(0.25)
    assert list(pair.counts().values()) == [2, 1, 3]
