"""Kill, starve and damage trainings; exits with 1 at the first that does not end as it must.

``python -m tools.endurance`` does all of it, and writes docs/results/endurance.json;
``python -m tools.endurance --sample 5 --kills 6 --only kill random -- lenet5`` is a sample, which
is written only to what ``--json`` names. The file is written after each part, and keeps the other
parts of the same training by the same code; with ``--go-on`` what it holds is not done again,
unless it broke or was done to another sample.
"""

import os

if __name__ == "__main__":  # numpy reads it as it begins
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.results import code_digest
from tools.endurance import crashes, damage, random_kills, together
from tools.endurance.data import write_pictures
from tools.endurance.dropout import RATE
from tools.endurance.events import NEED_SPACE
from tools.endurance.plan import ONCE, PARTS, TRAININGS, asked, share
from tools.endurance.process import warm
from tools.endurance.record import Record
from tools.endurance.trial import Bench, BrokenError
from tools.origin import origin

# Everything that has a memory of its own, at once, besides dropout (tools.endurance.dropout);
# patience ends it before its epochs do.
SETTINGS = (
    *("--epochs", "4", "--batch-size", "8", "--ema", "0.9", "--patience", "2", "--mixup", "0.4"),
    *("--schedule", "plateau", "--plateau-patience", "0"),
)
CLASSES, EACH = 3, 8
KILLS = 100  # at random moments
RESULTS = Path(__file__).parents[2] / "docs" / "results" / "endurance.json"
# strike: what does it, and the kinds of events at which it can tell something new
STRIKES: dict[str, tuple[Callable[..., dict[str, Any]], tuple[str, ...] | None]] = {
    "kill": (crashes.kill_at_each, None),
    "power": (crashes.kill_at_each, ("half", "flush", "rename")),
    "full": (crashes.deny_at_each, NEED_SPACE),
    "denied": (crashes.deny_at_each, ("make", "mkdir", "rename", "remove")),
}
MIDDLE = 0.7  # of the events: a training has two states and its best weights then


def endure(
    name: str, folder: Path, parts: list[str], request: argparse.Namespace, record: Record
) -> None:
    """Do the parts to the trainings of one network; keep what happened after each."""
    began = time.monotonic()
    channels, side, settings = TRAININGS[name]
    data = write_pictures(folder / name / "pictures", CLASSES, EACH, side, channels)
    bench = Bench(folder / name, [name, str(data), *SETTINGS, *settings])
    try:
        bench.leave_alone()
    except BrokenError:
        record.forget(name)
        raise
    events = len(bench.events)
    say(name, f"left alone: {events} events, {bench.seconds:.1f} s, {bench.alone['digest'][:16]}")
    facts: dict[str, Any] = {
        "settings": " ".join(bench.train[2:]),
        "dropout": RATE,
        "digest": bench.alone["digest"],
        "training": bench.alone["training"],
        "events": events,
    }
    code = code_digest() + code_digest(Path(__file__).parent)  # of what trains, of what strikes
    record.begin(name, facts, origin(bench.out) | {"code": code})
    for part in parts:
        wanted = asked(name, part, request)
        if request.go_on and record.holds(name, part, wanted):
            say(name, f"{part}: done before")
            continue
        record.forget(name, part)
        do: Callable[..., dict[str, Any]] = DOES.get(part, strike)
        try:
            found = do(bench, part, request) | {"asked": wanted}
        except BrokenError as error:
            found = {"broken": str(error), "asked": wanted}
            record.keep(name, part, found, command(), time.monotonic() - began)
            raise
        record.keep(name, part, found, command(), time.monotonic() - began)
        say(name, f"{part}: {summary(found)}")
    record.seconds += time.monotonic() - began


def strike(bench: Bench, part: str, request: argparse.Namespace) -> dict[str, Any]:
    """Strike at every numbered event, or at a sample of them."""
    every, kinds = STRIKES[part]
    numbered = enumerate(bench.events, 1)
    chosen = [number for number, (kind, _) in numbered if kinds is None or kind in kinds]
    return every(bench, part, crashes.spread(chosen, request.sample))


def report(bench: Bench, _: str, request: argparse.Namespace) -> dict[str, Any]:
    """Kill a finished training while it is measured and reported."""
    return crashes.finish_and_report(bench, request.sample)


def at_random(bench: Bench, _: str, request: argparse.Namespace) -> dict[str, Any]:
    """Kill at random moments: this network's share of them."""
    return random_kills.random_kills(bench, share(bench.train[0], request), request.seed)


def damaged(bench: Bench, _: str, request: argparse.Namespace) -> dict[str, Any]:
    """Damage the files of a killed training."""
    tenths = crashes.spread(range(10), request.sample)
    middle = round(MIDDLE * len(bench.events))
    found = damage.damage_each_file(bench, middle, tenths)
    return found | {"both states": damage.both_states_damaged(bench, middle)}


def two(bench: Bench, *_: Any) -> dict[str, Any]:
    """Train twice into one folder."""
    return together.two_trainings(bench)


DOES: dict[str, Callable[..., dict[str, Any]]] = {
    "report": report,
    "random": at_random,
    "damage": damaged,
    "together": two,
}


def summary(told: dict[str, Any]) -> str:
    """Return what happened in a line."""
    kept = {
        key: value for key, value in told.items() if key not in ("at", "kill", "digest", "asked")
    }
    return json.dumps(kept)[:300]


def command() -> str:
    """Return the command that runs, as it would be given for the whole."""
    words = [word for word in sys.argv[1:] if word != "--go-on"]
    return " ".join(["python -m tools.endurance", *words])


def say(name: str, line: str) -> None:
    """Tell how far it is."""
    print(f"{name}: {line}", flush=True)


def main() -> None:
    """Read the request, do it, write what happened."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=list(TRAININGS), help=", ".join(TRAININGS))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--sample", type=int, help="so many events of each kind instead of all")
    parser.add_argument("--kills", type=int, default=KILLS, help="at random moments, in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=Path, help="write what happened to this file")
    parser.add_argument("--go-on", action="store_true", help="leave out what that file holds")
    request = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("The endurance test needs Linux: it forks, and reads /proc.")
    if "random" in request.only and request.kills < len(request.networks):
        parser.error("--kills needs one for each network at least; else leave random out of --only")
    sampled = request.sample is not None or request.kills < KILLS
    record = Record(request.json or (None if sampled else RESULTS))
    with tempfile.TemporaryDirectory() as temporary:
        warm(Path(temporary))
        for name in request.networks:
            first = name == request.networks[0]
            parts = [part for part in request.only if first or part not in ONCE]
            try:
                endure(name, Path(temporary), parts, request, record)
            except BrokenError as error:
                sys.exit(f"{name}: BROKEN: {error}")
    print(f"every training ended as the one left alone ({record.seconds:.0f} s in all)")


if __name__ == "__main__":
    main()
