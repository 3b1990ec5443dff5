"""Two trainings into one run folder, in real processes: the second is refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tools.endurance.trial import Bench, BrokenError

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
    """Train for long; meanwhile train into the same folder, and resume it: both are refused."""
    bench.clear()
    long = [*bench.train]
    for flag in ("--epochs", "--patience"):
        long[long.index(flag) + 1] = str(epochs)
    first = start(["train", *long, "--out", str(bench.out)], bench.cache)
    refused = {}
    try:
        await_file(bench.out / "state", first)
        for verb, arguments in (
            ("train", ["train", *long, "--out", str(bench.out)]),
            ("resume", ["resume", str(bench.out)]),
        ):
            second = start(arguments, bench.cache)
            error = second.communicate(timeout=PATIENCE)[1].strip()
            if second.returncode != 2:
                raise BrokenError(f"a second {verb} is not refused: {error}")
            refused[verb] = error.replace(str(bench.out), "RUN")
        if first.poll() is not None:
            raise BrokenError("the first training did not outlive the others")
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    again = start(["resume", str(bench.out)], bench.cache)  # the lock died with its process
    try:
        await_log(bench.out, again)
    finally:
        again.kill()
        again.communicate()
    return {"refused": refused, "after a kill": "resumed"}


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
