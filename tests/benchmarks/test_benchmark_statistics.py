import math

import pytest

from benchmarks.statistics import Spread, noise, ratios, values, verdict, why_failed


def good(wall: float, accuracy: float = 0.9, examples: int = 1000) -> dict[str, object]:
    return {"wall": wall, "accuracy": accuracy, "examples": examples, "why": ""}


def test_a_spread_is_as_calculated_by_hand() -> None:
    assert Spread.of([4, 1, 3, 2, 10]) == Spread(5, median=3, low=1, high=10, lower=2, upper=4)
    # four values: quartiles at 0.75 and 2.25 of the way, linear between neighbours
    assert Spread.of([1, 2, 3, 5]) == Spread(4, median=2.5, low=1, high=5, lower=1.75, upper=3.5)
    assert Spread.of([7]) == Spread(1, 7, 7, 7, 7, 7)
    assert Spread.of([]) is None


def test_ratios_are_of_the_same_round() -> None:
    rounds = [
        {"ours": good(1), "peer": good(2)},
        {"ours": good(3), "peer": good(4)},
        {"ours": good(5), "peer": good(1) | {"why": "at chance"}},
        {"ours": good(9)},
    ]
    assert ratios(rounds, "peer", "wall") == [0.5, 0.75]
    assert values(rounds, "ours", "wall") == [1, 3, 5, 9]
    assert values(rounds, "peer", "wall") == [2, 4]
    assert values(rounds, "peer", "latency") == []


def test_a_contestant_at_chance_has_failed() -> None:
    run = {"status": 0, "accuracy": 0.12, "examples": 500}
    # 0.1 + 3 sqrt(0.1 * 0.9 / 500) = 0.1 + 3 * 0.013416 = 0.14025
    assert why_failed(run, "", 0.1) == "at chance: accuracy 0.1200, guessing reaches 0.1402"
    assert why_failed(run | {"accuracy": 0.15}, "", 0.1) == ""
    assert why_failed({"status": 0}, "", 0.1) == "it printed no accuracy"
    assert why_failed({"status": 0}, "", None) == ""


def test_a_contestant_that_breaks_off_has_failed() -> None:
    errors = "Traceback\nValueError: no data\n\n"
    assert why_failed({"status": 1}, errors, 0.1) == "exit status 1: ValueError: no data"
    assert why_failed({"status": -9}, "", None) == "exit status -9:"


def test_noise_is_that_of_two_proportions() -> None:
    # 1.96 sqrt((0.9 * 0.1 + 0.8 * 0.2) / 1000) = 1.96 * 0.0158114
    assert noise(0.9, 0.8, 1000) == pytest.approx(1.96 * math.sqrt(0.25 / 1000))
    assert noise(0.9, 0.8, 1000) == pytest.approx(0.03099, abs=1e-5)


def test_who_reaches_less_or_more_than_chance_explains_is_marked() -> None:
    # at 0.9 against 0.9 the noise of 1,000 examples is 0.0263
    rounds = [
        {"ours": good(1), "lower": good(1, 0.86), "near": good(1, 0.89), "higher": good(1, 0.94)}
    ]
    assert verdict(rounds, "lower") == "lower than ours"
    assert verdict(rounds, "near") == ""
    assert verdict(rounds, "higher") == "higher than ours"
    assert verdict(rounds, "ours") == ""
    assert verdict([{"ours": good(1)}], "lower") == ""


def test_from_three_rounds_on_differences_of_the_same_round_are_judged() -> None:
    # differences -0.01, -0.02, -0.03: mean -0.02, half width 4.303 * 0.01 / sqrt(3) = 0.0248
    ours, theirs = (0.9, 0.92, 0.94), (0.89, 0.90, 0.91)
    rounds = [{"ours": good(1, a), "b": good(1, b)} for a, b in zip(ours, theirs, strict=True)]
    assert verdict(rounds, "b") == ""
    # -0.02, -0.02, -0.03: mean -0.0233, half width 4.303 * 0.00577 / sqrt(3) = 0.0143
    rounds[0]["b"] = good(1, 0.88)
    assert verdict(rounds, "b") == "lower than ours"


def test_the_same_answers_in_every_round_are_judged_by_their_examples() -> None:
    # 1.96 sqrt(2 * 0.1 * 0.9 / 1000) = 0.0263; five such rounds tell no more than one
    for theirs, told in ((0.91, ""), (0.94, "higher than ours")):
        rounds = [{"ours": good(1), "b": good(1, theirs)}] * 5
        assert verdict(rounds, "b") == told
    assert verdict([{"ours": good(1), "ours_cold": good(1, 0.8), "b": good(1)}], "b") == ""
    assert (
        verdict([{"ours": good(1), "ours_cold": good(1, 0.8), "b": good(1)}], "b", "ours_cold")
        == "higher than ours"
    )
