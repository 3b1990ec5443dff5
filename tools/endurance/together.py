"""Two trainings into one run folder, in real processes: all but the first are refused."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tools.endurance.trial import Bench, BrokenError
from torchfolio.training.folder import RunFolder

FOLIO = [sys.executable, "-m", "torchfolio"]
PATIENCE = 120.0  # seconds until a training has begun


def start(arguments: list[str], cache: Path) -> subprocess.Popen[str]:
    """Start ``folio`` as a process of its own."""
    return subprocess.Popen(
        [*FOLIO, *arguments, "--quiet", "--no-report"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "TORCHFOLIO_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
    )


def two_trainings(bench: Bench, epochs: int = 100_000) -> dict[str, Any]:
    """Begin two trainings in one folder at once: one trains, and nothing else gets in meanwhile.

    Refused are the other one, a third that finds the run there, resuming it, and a training into a
    folder that is only locked yet. After the kill of the first the run is resumed.
    """
    bench.clear()
    long = [*bench.train]
    for flag in ("--epochs", "--patience"):
        long[long.index(flag) + 1] = str(epochs)
    train = ["train", *long, "--out", str(bench.out)]
    both = [start(train, bench.cache) for _ in range(2)]
    waiting: dict[str, subprocess.Popen[str]] = {}
    try:
        first, second = winner(both)
        refused = {"begun at once": refusal(second, "training into", "holds a run already")}
        await_file(bench.out / "state", first)
        locked = bench.folder / "locked"
        with RunFolder.create(locked).locked():
            waiting["train"] = start(train, bench.cache)
            waiting["resume"] = start(["resume", str(bench.out)], bench.cache)
            waiting["train, locked"] = start([*train[:-1], str(locked)], bench.cache)
            words = ("holds a run already", "is training into", "is training into")
            for (what, process), word in zip(waiting.items(), words, strict=True):
                refused[what] = refusal(process, word)
        if first.poll() is not None:
            raise BrokenError("the first training did not outlive the others")
    finally:
        for process in (*both, *waiting.values()):
            process.kill()
            if process.stdout and not process.stdout.closed:  # not read to its end yet
                process.communicate()
    again = start(["resume", str(bench.out)], bench.cache)  # the lock died with its process
    try:
        await_log(bench.out, again)
    finally:
        again.kill()
        again.communicate()
    names = {str(bench.folder / "locked"): "RUN", str(bench.out): "RUN"}
    for old, new in names.items():
        refused = {what: error.replace(old, new) for what, error in refused.items()}
    return {"refused": refused, "after a kill": "resumed"}


def winner(both: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    """Wait until one of two processes has ended; return the other one first."""
    deadline = time.monotonic() + PATIENCE
    while all(each.poll() is None for each in both):
        if time.monotonic() > deadline:
            raise BrokenError("two trainings go on in one folder")
        time.sleep(0.05)
    return sorted(both, key=lambda each: each.poll() is not None)


def refusal(process: subprocess.Popen[str], *words: str) -> str:
    """Return the error of a process that is to be refused for a reason with one of these words."""
    try:
        error = process.communicate(timeout=PATIENCE)[1].strip()
    except subprocess.TimeoutExpired:
        process.kill()
        raise BrokenError("a second training goes on in the folder of the first") from None
    if process.returncode != 2 or not any(each in error for each in words):
        raise BrokenError(f"not refused as it should be (exit {process.returncode}): {error}")
    return error


def await_file(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a training has saved its first state."""
    await_true(lambda: any(folder.glob("update-*.safetensors")), process)


def await_log(run: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a run was resumed."""
    log = run / "log.txt"
    await_true(lambda: log.is_file() and "resumed at" in log.read_text(encoding="utf-8"), process)


def await_true(done: Any, process: subprocess.Popen[str]) -> None:
    """Wait for something that a process brings about."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        if process.poll() is not None or time.monotonic() > deadline:
            raise BrokenError("a training does not begin")
        time.sleep(0.05)
