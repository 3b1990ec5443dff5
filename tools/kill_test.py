"""Kill a training at random moments, resume it each time, and compare the weights at its end.

A training is left alone first; its digest is what the others must end with. Then trainings are
killed (SIGKILL, or its like on Windows) at random moments of reading, training, saving and
evaluating, and resumed with ``folio resume`` until they end. Exits with 1 if a digest differs.

    python tools/kill_test.py --kills 20 -- lenet5 digits
    python tools/kill_test.py --json docs/results/kills.json -- lenet5 digits
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from origin import origin

FOLIO = [sys.executable, "-m", "torchfolio"]


def run(arguments: list[str], seconds: float | None = None) -> dict[str, Any] | None:
    """Run a command; return its JSON, or ``None`` if it was killed after so many seconds."""
    command = [*FOLIO, *arguments, "--json", "--quiet", "--no-report"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed: {err.decode(errors='replace')}")
    return json.loads(out)


def begin_or_resume(out: Path, train: list[str]) -> list[str]:
    """Return the arguments that begin a training, or go on with it once there is a run."""
    if (out / "recipe.toml").is_file():
        return ["resume", str(out)]
    return ["train", *train, "--out", str(out)]


def disturb(
    out: Path, train: list[str], kills: int, longest: float, chance: random.Random
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train with at most so many kills; return the result, and when and where each struck."""
    struck: list[dict[str, Any]] = []
    while len(struck) < kills:
        seconds = chance.uniform(0, 0.75 * longest)  # later, it would often end before
        result = run(begin_or_resume(out, train), seconds)
        if result is not None:
            return result, struck
        update = last_update(out)
        struck.append({"seconds": round(seconds, 2), "update": update})
        saved = "nothing" if update is None else f"update {update}"
        print(f"killed after {seconds:.2f} s, with {saved} saved", flush=True)
    result = run(begin_or_resume(out, train))
    assert result is not None  # nothing kills it
    return result, struck


def last_update(out: Path) -> int | None:
    """Return the update of the last whole state in a run folder, if there is one."""
    states = sorted((out / "state").glob("update-*.safetensors"))
    return int(states[-1].stem.removeprefix("update-")) if states else None


def test(request: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train alone, then train and kill; return what happened."""
    chance = random.Random(request.seed)
    started = time.monotonic()
    alone = run(["train", *request.train, "--out", str(folder / "alone")])
    assert alone is not None  # nothing kills it
    longest = time.monotonic() - started
    print(f"left alone: {longest:.1f} s, digest {alone['digest']}", flush=True)
    length = {key: alone["training"][key] for key in ("epochs", "updates")}
    trainings: list[dict[str, Any]] = []
    left, same = request.kills, True
    while left and same:
        out = folder / f"killed-{len(trainings) + 1}"
        result, struck = disturb(out, request.train, left, longest, chance)
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
        "alone": {"digest": alone["digest"], **length, "seconds": round(longest, 1)},
        "trainings": trainings,
        **origin(folder / "alone"),
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
