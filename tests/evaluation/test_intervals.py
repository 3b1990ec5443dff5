"""Bootstrap intervals against theory and against drawing examples one by one."""

import subprocess
import sys

import numpy as np
import pytest

from torchfolio.errors import FolioError
from torchfolio.evaluation.intervals import (
    Interval,
    bootstrap,
    bootstrap_weights,
    intervals,
    mean_interval,
    units_of,
)


def test_weights_count_as_many_draws_as_there_are_units() -> None:
    weights = np.concatenate(list(bootstrap_weights(37, 50, seed=3)))
    assert weights.shape == (50, 37)
    assert (weights.sum(1) == 37).all()
    assert set(np.unique(weights)) <= set(range(38))


def test_a_unit_is_drawn_as_often_as_the_binomial_says() -> None:
    # Binomial(200, 1/200): mean 1, variance 1 - 1/200, P(never) = (1 - 1/200)^200
    weights = np.concatenate(list(bootstrap_weights(200, 2000, seed=1)))
    assert weights.mean() == 1
    assert weights.var() == pytest.approx(1 - 1 / 200, abs=0.01)
    assert (weights == 0).mean() == pytest.approx((1 - 1 / 200) ** 200, abs=0.003)


def test_draws_depend_on_the_seed_and_not_on_the_chunk() -> None:
    one = np.concatenate(list(bootstrap_weights(91, 64, seed=5, chunk=64)))
    many = np.concatenate(list(bootstrap_weights(91, 64, seed=5, chunk=7)))
    other = np.concatenate(list(bootstrap_weights(91, 64, seed=6)))
    assert (one == many).all()
    assert (one != other).any()


def test_chunks_stay_within_four_mebibytes() -> None:
    assert next(bootstrap_weights(100_000, 1000)).nbytes <= 4 * 2**20


@pytest.mark.parametrize("accuracy", [0.5, 0.8, 0.94])
def test_interval_of_an_accuracy_is_near_the_normal_approximation(accuracy: float) -> None:
    examples = 2000
    correct = np.arange(examples) < accuracy * examples
    found = mean_interval(correct, resamples=4000)
    half = 1.96 * np.sqrt(accuracy * (1 - accuracy) / examples)
    assert found.value == pytest.approx(accuracy)
    assert found.low == pytest.approx(accuracy - half, abs=0.08 * half)
    assert found.high == pytest.approx(accuracy + half, abs=0.08 * half)


def test_intervals_hold_the_true_value_in_about_95_of_100_cases() -> None:
    random = np.random.default_rng(0)
    held = 0
    for trial in range(400):
        found = mean_interval(random.normal(3, 2, 80), resamples=300, seed=trial)
        held += found.low <= 3 <= found.high
    # 400 draws of a 95 % event: standard deviation 1.1 %; the percentile interval of a mean of 80
    # with 300 resamples covers a little less than its name
    assert 0.905 <= held / 400 <= 0.975


def test_examples_of_a_group_are_drawn_together() -> None:
    # 50 groups of 20 equal values: the interval is that of 50 values, not of 1,000
    groups = np.repeat(np.arange(50), 20)
    random = np.random.default_rng(2)
    values = random.normal(size=50)
    grouped = mean_interval(values[groups], groups=groups, resamples=4000)
    half = 1.96 * values.std() / np.sqrt(50)
    assert (grouped.high - grouped.low) / 2 == pytest.approx(half, rel=0.1)
    alone = mean_interval(values[groups], resamples=4000)
    assert alone.high - alone.low < (grouped.high - grouped.low) / 3


def test_groups_may_be_names() -> None:
    unit, units = units_of(["b", "a", "b", "c"])
    assert unit.tolist() == [1, 0, 1, 2]
    assert units == 3


def test_percentiles_are_those_of_the_samples() -> None:
    samples = np.arange(1001, dtype=np.float64)[:, None]  # quantile q of 0..1000 is 1000 q
    found = intervals([500], samples)[0]
    assert (found.low, found.high) == (pytest.approx(25), pytest.approx(975))


def test_an_interval_holds_its_value() -> None:
    samples = np.linspace(2, 3, 100)[:, None]
    found = intervals([1.5], samples)[0]
    assert found.low == 1.5
    assert found.high == pytest.approx(2.975)


def test_resamples_without_a_value_are_left_out() -> None:
    samples = np.array([[np.nan], [1.0], [1.0], [np.nan]])
    assert intervals([1.0], samples) == [Interval(1, 1, 1)]


def test_of_one_unit_nothing_is_said() -> None:
    assert mean_interval([4.0]).as_json() == {"value": 4.0, "low": None, "high": None}
    found = mean_interval([4.0, 6.0], groups=["a", "a"])
    assert found.as_json() == {"value": 5.0, "low": None, "high": None}


def test_of_no_values_nothing_is_said() -> None:
    assert mean_interval([]).as_json() == {"value": None, "low": None, "high": None}
    assert not mean_interval([]).defined


def test_statistics_may_have_any_shape() -> None:
    table = np.arange(12.0).reshape(6, 2)
    found = bootstrap(lambda weights: {"sum": weights @ table}, 6, resamples=9)
    assert found["sum"].shape == (9, 2)
    # every draw adds 1 more to the second column than to the first
    assert (found["sum"][:, 1] - found["sum"][:, 0] == 6).all()


def test_no_units_are_an_error() -> None:
    with pytest.raises(FolioError, match="0 units and 10 resamples"):
        next(bootstrap_weights(0, 10))


def test_intervals_import_numpy_alone() -> None:
    code = (
        "import sys, torchfolio.evaluation.intervals, torchfolio.evaluation.classification\n"
        "heavy = {'torch', 'torchmetrics', 'matplotlib', 'captum', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
