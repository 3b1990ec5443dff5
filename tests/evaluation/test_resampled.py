"""The corrected resampled t-test, against hand calculations and scipy."""

from math import inf, sqrt

import numpy as np
import pytest
from scipy import stats

from torchfolio.errors import FolioError
from torchfolio.evaluation.resampled import corrected_t_test, t_quantile, two_sided


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 14, 29, 99, 999, 10_000, 2.5])
@pytest.mark.parametrize("t", [0.0, 1e-6, 0.3, 1.0, 2.5, 7.0, 40.0])
def test_the_tails_are_those_of_scipy(freedom: float, t: float) -> None:
    expected = 2 * stats.t.sf(t, freedom)
    assert two_sided(t, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert two_sided(-t, freedom) == two_sided(t, freedom)


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 29, 199])
def test_the_quantile_is_that_of_scipy(freedom: int) -> None:
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


def test_three_folds_by_hand() -> None:
    # mean 4 and variance 4, times 1/3 + 1/2; with two degrees of freedom both tails of Student's t
    # hold 1 - t / sqrt(t**2 + 2)
    found = corrected_t_test([2, 4, 6], ratio=1 / 2)
    t = 4 / sqrt(4 * (1 / 3 + 1 / 2))
    assert (found.difference.value, found.std, found.freedom) == (4, 2, 2)
    assert found.t == pytest.approx(t)
    assert found.p == pytest.approx(1 - t / sqrt(t**2 + 2))
    assert found.p == pytest.approx(0.15983, abs=1e-5)
    reach = 4.302653 * sqrt(10 / 3)  # the table's quantile of two degrees
    assert found.difference.low == pytest.approx(4 - reach, abs=1e-4)
    assert found.difference.high == pytest.approx(4 + reach, abs=1e-4)


def test_ten_times_ten_folds_by_the_formula_of_bouckaert_and_frank() -> None:
    random = np.random.default_rng(0)
    differences = random.normal(0.01, 0.03, 100)
    found = corrected_t_test(differences, ratio=1 / 9)
    variance = (1 / 100 + 1 / 9) * differences.var(ddof=1)
    assert found.t == pytest.approx(differences.mean() / sqrt(variance))
    assert found.freedom == 99
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.t), 99))
    naive = stats.ttest_1samp(differences, 0)
    assert naive.pvalue < found.p / 5  # what the correction is for


def test_without_a_correction_it_is_the_paired_test() -> None:
    one, other = np.array([0.91, 0.93, 0.90, 0.95]), np.array([0.90, 0.90, 0.91, 0.90])
    expected = stats.ttest_rel(one, other)
    found = corrected_t_test(one - other, ratio=0)
    assert found.t == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert found.difference.low == pytest.approx(interval.low)
    assert found.difference.high == pytest.approx(interval.high)


def test_the_interval_holds_zero_exactly_where_p_is_above_a_twentieth() -> None:
    random = np.random.default_rng(1)
    for shift in np.linspace(0, 0.05, 40):
        found = corrected_t_test(random.normal(shift, 0.02, 5), ratio=1 / 4)
        holds = found.difference.low <= 0 <= found.difference.high
        assert holds == (found.p >= 0.05)


def test_equal_differences_are_certain_and_none_is_no_difference() -> None:
    none = corrected_t_test([0.0, 0.0, 0.0], ratio=0.25)
    assert (none.t, none.difference.low, none.difference.high) == (0, 0, 0)
    assert none.p == pytest.approx(1)
    equal = corrected_t_test([-0.5, -0.5], ratio=0.25)
    assert (equal.t, equal.p) == (-inf, 0)


def test_one_difference_has_no_spread() -> None:
    with pytest.raises(FolioError, match=r"1 difference\(s\) have no spread: two or more"):
        corrected_t_test([0.1], ratio=0.25)
