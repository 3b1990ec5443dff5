"""Kill a training at random moments, resume it each time, and compare the weights at its end.

A training is left alone first; its digest is what the others must end with. It shows, too, through
which phases a training goes: before each state that is saved, while that is written, and once
trained. Other trainings are then killed (SIGKILL, or its like on Windows) at a random moment of a
phase that is still to come, drawn at random, and resumed with ``folio resume``: so kills strike all
over the course, and nearly every one leaves another state. Exits with 1 if a digest differs.

    python tools/kill_test.py --kills 20 -- lenet5 digits
    python tools/kill_test.py --json docs/results/kills.json -- lenet5 digits
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from origin import origin

from torchfolio.checkpoint import is_temporary

FOLIO = [sys.executable, "-m", "torchfolio"]
TICK = 0.01  # seconds between two looks at a run folder

# The update of the last state saved (-1: none yet; infinite: trained, so that there is only
# evaluating left), and whether the next is being written.
Phase = tuple[float, bool]


def run(
    arguments: list[str], out: Path, strike: tuple[Phase, float] | None = None
) -> tuple[dict[str, Any] | None, dict[Phase, float]]:
    """Run a command on a run folder; return its JSON, and after how many seconds phases began.

    ``strike`` kills it so many seconds after a phase, or a later one, is reached: no JSON then.
    """
    command = [*FOLIO, *arguments, "--json", "--quiet", "--no-report"]
    left = writing(out)
    reached: dict[Phase, float] = {}
    began = time.monotonic()
    with (
        tempfile.TemporaryFile() as told,
        tempfile.TemporaryFile() as wrong,
        subprocess.Popen(command, stdout=told, stderr=wrong) as process,
    ):
        while process.poll() is None:
            now = time.monotonic() - began
            reached.setdefault(phase(out, left), now)
            if strike is not None:
                since = [seconds for each, seconds in reached.items() if each >= strike[0]]
                if since and now >= min(since) + strike[1]:
                    process.kill()
                    process.wait()
                    return None, reached
            time.sleep(TICK)
        if process.returncode != 0:
            wrong.seek(0)
            raise SystemExit(f"{' '.join(command)} failed: {wrong.read().decode(errors='replace')}")
        told.seek(0)
        return json.loads(told.read()), reached


def writing(out: Path) -> set[str]:
    """Return the names of states that are being written, or were when their process was killed."""
    return {each.name for each in (out / "state").glob(".*") if is_temporary(each.name)}


def phase(out: Path, left: set[str]) -> Phase:
    """Return the phase of a training; ``left`` is what one that was killed was writing."""
    log = out / "log.txt"
    if log.is_file() and " ended: " in log.read_text(encoding="utf-8"):
        return math.inf, False
    update = last_update(out)
    return -1 if update is None else update, bool(writing(out) - left)


def doing(at: Phase) -> str:
    """Return in a word what is done in a phase."""
    update, saves = at
    if saves:
        return "saving"
    if update < 0:
        return "reading"
    return "evaluating" if update == math.inf else "training"


def lengths(reached: dict[Phase, float], seconds: float) -> dict[Phase, float]:
    """Return how many seconds each phase of a training took that took so many in all."""
    ends = [*list(reached.values())[1:], seconds]
    return {each: end - reached[each] for each, end in zip(reached, ends, strict=True)}


def begin_or_resume(out: Path, train: list[str]) -> list[str]:
    """Return the arguments that begin a training, or go on with it once there is a run."""
    if (out / "recipe.toml").is_file():
        return ["resume", str(out)]
    return ["train", *train, "--out", str(out)]


def disturb(
    out: Path, train: list[str], kills: int, alone: dict[Phase, float], chance: random.Random
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train with at most so many kills; return the result, and when and where each struck.

    ``alone`` has the phases of a training left alone, and the seconds of each. Of those still to
    come one is drawn, or none: then the training goes on to its end.
    """
    struck: list[dict[str, Any]] = []
    while True:
        strike: tuple[Phase, float] | None = None
        if len(struck) < kills:
            here = phase(out, writing(out)) if out.exists() else (-math.inf, False)
            drawn = chance.choice([*(each for each in alone if each > here), None])
            strike = drawn and (drawn, chance.uniform(0, alone[drawn]))
        started = time.monotonic()
        result, reached = run(begin_or_resume(out, train), out, strike)
        if result is not None:
            return result, struck
        seconds, update, what = time.monotonic() - started, last_update(out), doing(max(reached))
        struck.append({"seconds": round(seconds, 2), "update": update, "during": what})
        saved = "nothing" if update is None else f"update {update}"
        print(f"killed after {seconds:.2f} s while {what}, with {saved} saved", flush=True)


def last_update(out: Path) -> int | None:
    """Return the update of the last whole state in a run folder, if there is one."""
    states = sorted((out / "state").glob("update-*.safetensors"))
    return int(states[-1].stem.removeprefix("update-")) if states else None


def test(request: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train alone, then train and kill; return what happened."""
    chance = random.Random(request.seed)
    started = time.monotonic()
    place = folder / "alone"
    alone, reached = run(begin_or_resume(place, request.train), place)
    assert alone is not None  # nothing kills it
    seconds = time.monotonic() - started
    phases = lengths(reached, seconds)
    print(f"left alone: {seconds:.1f} s, digest {alone['digest']}", flush=True)
    length = {key: alone["training"][key] for key in ("epochs", "updates")}
    trainings: list[dict[str, Any]] = []
    left, same = request.kills, True
    while left and same:
        out = folder / f"killed-{len(trainings) + 1}"
        result, struck = disturb(out, request.train, left, phases, chance)
        left -= len(struck)
        for kill in struck:
            share = None if kill["update"] is None else kill["update"] / length["updates"]
            kill["epoch"] = None if share is None else round(length["epochs"] * share, 2)
        trainings.append({"digest": result["digest"], "kills": struck})
        same = all(result[key] == alone[key] for key in ("digest", "metrics"))
        word = "the same" if result["digest"] == alone["digest"] else "ANOTHER"
        print(f"ended after {len(struck)} kills: {word} digest", flush=True)
        if not same:
            print(f"{out} differs from {folder / 'alone'}", file=sys.stderr)
    return {
        "command": f"python tools/kill_test.py --kills {request.kills} --seed {request.seed} "
        f"-- {without_place(' '.join(request.train))}",
        "kills": request.kills - left,
        "same": same,
        "alone": {"digest": alone["digest"], **length, "seconds": round(seconds, 1)},
        "trainings": trainings,
        **origin(place),
    }


def without_place(text: str) -> str:
    """Return a text in which the folder of public data is called DATA, as in docs/results.md."""
    place = os.environ.get("TORCHFOLIO_DATA")
    return text.replace(place, "DATA") if place else text


def main() -> None:
    """Read the request, train, kill, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--folder", type=Path, help="where the runs go; a temporary one if left out"
    )
    parser.add_argument("--json", type=Path, help="write what happened to this file")
    parser.add_argument("train", nargs="+", help="what follows 'folio train'")
    request = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        result = test(request, request.folder or Path(temporary))
    if request.json:
        request.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if not result["same"]:
        sys.exit(1)
    print(f"{result['kills']} kills: the same digest")


if __name__ == "__main__":
    main()
