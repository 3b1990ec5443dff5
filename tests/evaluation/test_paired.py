"""Paired comparisons, against hand calculations and scipy."""

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test

from torchfolio.evaluation.paired import compare, holm, mcnemar, sign_flips, verdict

LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1])


def test_the_counts_are_those_of_the_four_fields() -> None:
    first = np.array([0, 1, 2, 0, 1, 0, 1, 2])  # five right
    second = np.array([0, 1, 0, 1, 1, 2, 1, 0])  # four right
    pair = compare(first, second, LABELS)
    assert (pair.both, pair.only_first, pair.only_second, pair.neither) == (3, 2, 1, 2)
    assert pair.disagree == 4
    assert pair.difference.value == pytest.approx(1 / 8)
    assert pair.difference.low <= 1 / 8 <= pair.difference.high


@pytest.mark.parametrize(("one", "other"), [(0, 0), (1, 0), (5, 5), (12, 3), (0, 40), (300, 371)])
def test_mcnemar_is_the_exact_binomial_test(one: int, other: int) -> None:
    expected = binomtest(one, one + other, 0.5).pvalue if one + other else 1.0
    assert mcnemar(one, other) == pytest.approx(expected, rel=1e-9)


def test_holm_by_hand() -> None:
    # in order 0.01, 0.03, 0.04: times 3, 2, 1, and never less than the one before
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_equal_answers_differ_by_nothing() -> None:
    pair = compare(LABELS, LABELS, LABELS)
    assert (pair.difference.value, pair.difference.low, pair.difference.high) == (0, 0, 0)
    assert pair.p == 1
    assert "no evidence of a difference: +0.00 points" in verdict(pair, pair.p, "a", "b")


def test_a_clear_difference_is_said_whichever_comes_first() -> None:
    labels = np.zeros(100, int)
    good, bad = labels.copy(), labels.copy()
    good[:5], bad[:40] = 1, 1
    one, other = compare(good, bad, labels), compare(bad, good, labels)
    assert one.difference.value == pytest.approx(0.35)
    assert verdict(one, one.p, "good", "bad").startswith("good is better: +35.00 points")
    assert verdict(other, other.p, "bad", "good").startswith("good is better: -35.00 points")


def test_examples_of_a_group_are_one_unit() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10)
    labels = np.zeros(200, int)
    first = np.repeat(random.integers(0, 2, 20), 10)  # a group is right or wrong as a whole
    alone = compare(first, np.ones(200, int), labels)
    together = compare(first, np.ones(200, int), labels, groups=groups)
    width = alone.difference.high - alone.difference.low
    assert together.difference.high - together.difference.low > 2 * width


def test_groups_decide_where_examples_of_a_group_are_right_or_wrong_together() -> None:
    # four patients of ten pictures: the first is right on three of them, the second on one
    groups, labels = np.repeat(np.arange(4), 10), np.zeros(40, int)
    first = np.repeat([0, 0, 0, 1], 10)
    alone = compare(first, 1 - first, labels)
    assert alone.p < 0.01  # 30 to 10 pictures
    assert alone.test == "mcnemar"
    together = compare(first, 1 - first, labels, groups=groups)
    assert together.test == "sign_flips"
    assert together.p == 10 / 16  # of 16 flips 2 sum to 40 and 8 to 20
    words = verdict(together, together.p, "one", "other")
    assert words.startswith("no evidence of a difference: +50.00 points")


def test_of_one_group_nothing_is_evidence() -> None:
    labels = np.zeros(40, int)
    pair = compare(labels, labels + 1, labels, groups=np.zeros(40, int))
    assert pair.p == 1
    words = verdict(pair, pair.p, "one", "other")
    assert words.startswith("no evidence of a difference: +100.00 points, of a single unit")
    assert "nan" not in words


@pytest.mark.parametrize("units", [3, 9, 16])
def test_sign_flips_of_few_units_are_all_flips(units: int) -> None:
    gains = np.random.default_rng(units).integers(-4, 6, units).astype(float)
    expected = permutation_test(
        (gains,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    ).pvalue
    assert sign_flips(gains) == pytest.approx(expected)


def test_sign_flips_of_many_single_examples_are_mcnemars() -> None:
    gains = np.array([1.0] * 40 + [-1.0] * 22 + [0.0] * 500)
    assert sign_flips(gains, 3) == pytest.approx(mcnemar(40, 22), abs=0.006)
