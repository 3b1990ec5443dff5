"""Killed at random moments, over and over, until a training ends; with where each kill struck.

Every other kill is at any moment of the whole, and so mostly in what takes long; those between are
at a random moment of one place, the places in turn.
"""

import random
from collections import Counter
from itertools import cycle
from typing import Any

from tools.endurance.process import STRUCK, Attack
from tools.endurance.trial import Bench, BrokenError

SHARE = 0.9  # of the time that a training takes: a kill after that often comes too late
OFTEN = 6  # kills of one training; then it may end
IN_TURN = ("start", "scan", "cache", "step", "validation", "checkpoint", "evaluation", "resume")
WITHIN = 0.05  # seconds from when a place is entered until the kill, at most


def random_kills(bench: Bench, kills: int, seed: int) -> dict[str, Any]:
    """Kill trainings ``kills`` times in all at random moments, resume, and compare each end."""
    chance, turn, anywhere = random.Random(seed), cycle(IN_TURN), cycle((True, False))
    longest = bench.seconds
    places: Counter[str] = Counter()
    digests = []
    moments = []
    while sum(places.values()) < kills:
        bench.clear()
        struck: list[str] = []
        outcome = None
        while len(struck) < OFTEN and sum(places.values()) < kills:
            if next(anywhere):
                attack = Attack(seconds=chance.uniform(0, SHARE * longest))
            else:
                attack = Attack(seconds=chance.uniform(0, WITHIN), place=next(turn))
            outcome = bench.run(attack)
            if outcome.status != STRUCK:
                longest = max(longest, outcome.seconds)  # others may use the machine too
                break
            struck.append(outcome.place)
            places[outcome.place] += 1
            moments.append([round(outcome.seconds, 2), outcome.place])
            outcome = None
        try:
            digests.append(bench.finish(outcome or bench.run(Attack(at=0))).result["digest"])
        except BrokenError as error:
            raise BrokenError(
                f"killed during {', '.join(struck)} (seed {seed}): {error}"
            ) from error
    return {
        "kills": sum(places.values()),
        "trainings": len(digests),
        "digest": bench.alone["digest"],
        "same": all(each == bench.alone["digest"] for each in digests),
        "during": dict(places),
        "kill": moments,
    }
