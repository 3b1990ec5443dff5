import time

from benchmarks.turns import take_turns


def test_contestants_take_turns_each_round_begins_with_another_and_the_first_warms_up() -> None:
    called: list[str] = []

    def step(name: str) -> None:
        called.append(name)
        time.sleep(0.02 if name == "slow" else 0.001)

    steps = {name: lambda name=name: step(name) for name in ("slow", "quick")}
    found = take_turns(steps, 0.0, 3, 25)
    assert called == ["slow", "quick", "quick", "slow"] * 2
    assert len(found["slow"]) == len(found["quick"]) == 3
    assert min(found["slow"]) >= 20
    called.clear()
    take_turns(steps, 0.0, 3, 25, seconds=0.3)
    assert 8 < len(called) <= 2 * 26


def test_a_turn_repeats_quick_steps() -> None:
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        time.sleep(0.001)

    found = take_turns({"one": step}, 0.02, 2, 2)
    assert 15 < count <= 60  # three rounds of up to twenty
    assert all(1 <= each < 3 for each in found["one"])
