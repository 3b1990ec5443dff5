import zlib

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from torchfolio.data.draws import key, mix, uniforms

EXAMPLES = np.arange(20_000)


def test_the_finaliser_is_splitmix64s() -> None:
    # Steele, Lea and Flood, 2014: seed 1234567 gives these first numbers (the widely published
    # test vector of SplitMix64): the state advances by the golden gamma, then is mixed
    golden, state = 0x9E3779B97F4A7C15, 1234567
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    states = [(state + (number + 1) * golden) % 2**64 for number in range(5)]
    assert mix(np.array(states, np.uint64)).tolist() == expected


def test_the_numbers_of_an_example_do_not_depend_on_its_company() -> None:
    whole = uniforms("a", 1, 2, EXAMPLES, 3)
    chosen = np.array([17, 3, 19_999, 3])
    assert np.array_equal(uniforms("a", 1, 2, chosen, 3), whole[chosen])
    assert np.array_equal(uniforms("a", 1, 2, EXAMPLES, 7)[:, :3], whole)


def test_they_differ_by_purpose_seed_epoch_and_example() -> None:
    places = [("a", 0, 0), ("b", 0, 0), ("a", 1, 0), ("a", 0, 1), ("a", 1, 1)]
    drawn = np.concatenate([uniforms(*place, EXAMPLES, 2).ravel() for place in places])
    assert len(np.unique(drawn)) == len(drawn)  # 200,000 of 2**53: a collision is a fault
    assert drawn.min() >= 0
    assert drawn.max() < 1


@pytest.mark.parametrize("column", [0, 1, 8])
def test_they_are_uniform(column: int) -> None:
    numbers = uniforms("augment", 0, 3, EXAMPLES, 9)[:, column]
    counts = np.bincount((numbers * 100).astype(int), minlength=100)
    statistic = ((counts - 200) ** 2 / 200).sum()
    assert chi2.ppf(0.0005, 99) < statistic < chi2.ppf(0.9995, 99)
    assert kstest(numbers, "uniform").pvalue > 0.0005


def test_neighbours_are_independent() -> None:
    numbers = uniforms("order", 0, 0, EXAMPLES, 2)
    following = uniforms("order", 0, 1, EXAMPLES, 2)
    for first, second in (
        (numbers[:, 0], numbers[:, 1]),
        (numbers[1:, 0], numbers[:-1, 0]),
        (numbers[:, 0], following[:, 0]),
    ):
        # pairs fall evenly into 20 x 20 cells
        cells = (first * 20).astype(int) * 20 + (second * 20).astype(int)
        counts = np.bincount(cells, minlength=400)
        expected = len(first) / 400
        statistic = ((counts - expected) ** 2 / expected).sum()
        assert chi2.ppf(0.0005, 399) < statistic < chi2.ppf(0.9995, 399)


def test_every_order_of_three_is_as_frequent() -> None:
    orders = [
        tuple(np.argsort(uniforms("order", seed, 0, np.arange(3), 1)[:, 0])) for seed in range(3000)
    ]
    counts = np.unique(np.array(orders), axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert ((counts - 500) ** 2 / 500).sum() < chi2.ppf(0.999, 5)


def test_keys_differ_and_fit_torchs_seeds() -> None:
    places = [
        (purpose, seed, update) for purpose in "ab" for seed in range(50) for update in range(50)
    ]
    keys = {key(*place) for place in places}
    assert len(keys) == len(places)
    assert all(0 <= each < 2**63 for each in keys)
    assert key("a", 1, 2) == key("a", 1, 2) != key("a", 2, 1)
    assert key("a", -1) == key("a", 2**64 - 1)


def test_a_key_mixes_as_the_numbers_of_examples_do() -> None:
    golden = np.uint64(0x9E3779B97F4A7C15)
    state = np.zeros(1, np.uint64)
    with np.errstate(over="ignore"):
        for number in (zlib.crc32(b"update"), 7, 2**64 - 3):
            state = mix(state * golden + np.uint64(number) + golden)
    assert key("update", 7, -3) == int(state[0]) >> 1
