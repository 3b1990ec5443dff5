"""Steps that take turns in one process, so that what disturbs the machine disturbs all alike."""

import time
from collections.abc import Callable, Mapping
from typing import Any

Step = Callable[[], Any]


def take_turns(
    steps: Mapping[str, Step], turn: float, least: int, most: int, seconds: float = 0.0
) -> dict[str, list[float]]:
    """Return the milliseconds of a step of each, of every round.

    A turn takes its steps until ``turn`` seconds are over, at least one; each round begins with
    another contestant. Rounds are taken until so many ``seconds`` are over, but from ``least`` to
    ``most`` of them; one before them warms up.
    """
    found: dict[str, list[float]] = {name: [] for name in steps}
    order, began = list(steps), 0.0
    for number in range(most + 1):
        if number > least and time.perf_counter() - began > seconds:
            break
        for name in order:
            start, count = time.perf_counter(), 0
            while not count or time.perf_counter() - start < turn:
                steps[name]()
                count += 1
            if number:
                found[name].append(round(1000 * (time.perf_counter() - start) / count, 3))
        order = [*order[1:], order[0]]
        began = began or time.perf_counter()
    return found
