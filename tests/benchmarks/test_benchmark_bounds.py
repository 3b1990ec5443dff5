from typing import Any

from benchmarks.bounds import Bound, fastest, told
from benchmarks.workloads import all_workloads


def run(wall: float, **more: Any) -> dict[str, Any]:
    return {"wall": wall, "accuracy": 0.99, "examples": 1000, "memory": 100.0, "why": ""} | more


ROUNDS = [
    {"ours": run(10), "a": run(20), "b": run(16, accuracy=0.9)},
    {"ours": run(12), "a": run(20), "b": run(15, accuracy=0.9)},
    {"ours": run(15, why="broken"), "a": run(20), "b": run(14, accuracy=0.9)},
]


def test_ratios_of_the_same_round_are_held_against_the_bound() -> None:
    # 10 / 20 and 12 / 20; the broken round does not count
    assert told(ROUNDS, [Bound(0.6, ("a",))], None, [], 2) == [
        ("ours: time", "a", "0.55 (0.5 to 0.6)", "0.6", "yes")
    ]
    assert told(ROUNDS, [Bound(0.5, ("a",))], None, [], 2)[0][-1] == "no"


def test_bf16_has_a_bound_of_its_own() -> None:
    bound = Bound(0.6, ("a",), bf16=0.5)
    assert [row[3:] for row in told(ROUNDS, [bound], None, ["ours"], 2)] == [("0.5", "no")]
    assert [row[3:] for row in told(ROUNDS, [bound], None, [], 2)] == [("0.6", "yes")]


def test_seconds_and_differences() -> None:
    bounds = [Bound(11.5, kind="seconds"), Bound(-9.5, ("a",), kind="difference")]
    assert told(ROUNDS, bounds, None, [], 2) == [
        ("ours: time", "", "11 s (10 to 12)", "11.5 s", "yes"),
        ("ours: time", "a", "-9.00 s (-10 to -8)", "-9.50 s", "no"),
    ]


def test_the_fastest_is_the_one_that_reached_the_mark() -> None:
    assert fastest(ROUNDS, None) == "b"
    assert fastest(ROUNDS, 0.95) == "a"
    assert fastest(ROUNDS, 0.999) is None
    assert told(ROUNDS, [Bound(0.6, ("fastest",))], 0.95, [], 2)[0][1] == "a, the fastest"


def test_a_bound_is_not_reached_beside_a_better_metric() -> None:
    rounds = [
        {"ours": run(10, accuracy=0.90 + share), "a": run(20, accuracy=0.93 + 2 * share)}
        for share in (0, 0.001, 0.002)
    ]
    assert told(rounds, [Bound(0.6, ("a",))], None, [], 2)[0][-1] == "no: the metric of a is better"
    assert told(rounds, [Bound(0.6, ("a",))], 0.90, [], 2)[0][-1] == "yes"  # the mark is enough
    renamed = [{"ours": each["a"], "ours_cold": each["ours"], "a": each["a"]} for each in rounds]
    bounds = [Bound(1.0, ("a",)), Bound(1.0, ("a",), ours="ours_cold")]
    assert [row[-1] for row in told(renamed, bounds, None, [], 2)] == [
        "yes",
        "no: the metric of a is better",
    ]


def test_a_bound_has_no_answer_before_enough_rounds_have_both() -> None:
    bounds = [Bound(0.6, ("a",)), Bound(11.5, kind="seconds")]  # two rounds of ours are good
    few = "not yet a result (2 of 3 rounds)"
    assert [row[2:] for row in told(ROUNDS, bounds, None, [], 3)] == [
        ("0.55 (0.5 to 0.6)", "0.6", few),
        ("11 s (10 to 12)", "11.5 s", few),
    ]
    rounds = [{"ours": run(10), "a": run(20), "slow": run(90)}, {"ours": run(12), "a": run(20)}]
    bounds = [Bound(0.6, ("a", "slow", "fastest"))]
    assert [row[-1] for row in told(rounds, bounds, 0.95, [], 2)] == [
        "yes",
        "not yet a result (1 of 2 rounds)",
        "yes",  # a is the fastest
    ]


def test_ours_has_to_reach_the_mark() -> None:
    rounds = [{"ours": run(10, accuracy=0.98), "a": run(20)}] * 2
    bounds = [Bound(0.6, ("a",)), Bound(0.6, ("fastest",)), Bound(11.5, kind="seconds")]
    missed = "no: the mark is not reached"
    assert [row[-1] for row in told(rounds, bounds, 0.985, [], 2)] == [missed] * 3
    assert [row[-1] for row in told(rounds, bounds, 0.98, [], 2)] == ["yes"] * 3
    assert told(rounds, bounds, 0.985, [], 3)[0][-1] == "not yet a result (2 of 3 rounds)"


def test_who_did_not_run_is_told() -> None:
    rows = told(ROUNDS, [Bound(0.6, ("c",)), Bound(0.6, ("a",), ours="d")], None, [], 2)
    assert [row[1:] for row in rows] == [
        ("c", "not measured", "0.6", "not measured"),
        ("a", "not measured", "0.6", "not measured"),
    ]


def test_bounds_name_contestants_of_their_workload() -> None:
    for workload in all_workloads().values():
        for bound in workload.bounds:
            assert {bound.ours, *bound.over} - {"fastest"} <= set(workload.commands)
            assert bound.bf16 is None or bound.bf16 < bound.most
