"""Kill a training at random moments, resume it each time, and compare the weights at its end.

A training is left alone first; its digest is what the others must end with. Then trainings are
killed (SIGKILL, or its like on Windows) at random moments of reading, training, saving and
evaluating, and resumed with ``folio resume`` until they end. Exits with 1 if a digest differs.

    python tools/kill_test.py --kills 20 -- lenet5 digits
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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


def disturb(out: Path, train: list[str], kills: int, longest: float, chance: random.Random) -> Any:
    """Train with at most so many kills; return the result and how often it was killed."""
    for done in range(kills):
        seconds = chance.uniform(0, 0.75 * longest)  # later, it would often end before
        result = run(begin_or_resume(out, train), seconds)
        if result is not None:
            return result, done
        states = sorted(path.stem for path in (out / "state").glob("*.safetensors"))
        print(f"killed after {seconds:.2f} s, with {states[-1:] or 'nothing'} saved", flush=True)
    return run(begin_or_resume(out, train)), kills


def main() -> None:
    """Read the request, train, kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--folder", type=Path, help="where the runs go; a temporary one if left out"
    )
    parser.add_argument("train", nargs="+", help="what follows 'folio train'")
    request = parser.parse_args()
    chance = random.Random(request.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = request.folder or Path(temporary)
        started = time.monotonic()
        alone = run(["train", *request.train, "--out", str(folder / "alone")])
        assert alone is not None
        longest = time.monotonic() - started
        print(f"left alone: {longest:.1f} s, digest {alone['digest']}", flush=True)
        left, number = request.kills, 0
        while left:
            number += 1
            out = folder / f"killed-{number}"
            result, killed = disturb(out, request.train, left, longest, chance)
            left -= killed
            same = result["digest"] == alone["digest"]
            word = "the same" if same else "ANOTHER"
            print(f"ended after {killed} kills: {word} digest", flush=True)
            if not same or result["metrics"] != alone["metrics"]:
                raise SystemExit(f"{out} differs from {folder / 'alone'}")
    print(f"{request.kills} kills: the same digest")


if __name__ == "__main__":
    main()
