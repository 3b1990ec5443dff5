"""Run the trainings of docs/results.md and write the page.

    python tools/results.py run [NAME ...] [--seeds 0 1 2]     needs TORCHFOLIO_DATA
    python tools/results.py write

Each training is one ``folio train`` in a process of its own; what it printed, and its history, go
to ``docs/results/<name>.json``, one entry a seed, with the command, the machine and the versions.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from origin import origin
from results_page import RESULTS, write_page
from trainings import TRAININGS

HISTORY = ("epoch", "train_loss", "val_loss", "val_accuracy", "lr")


def main() -> None:
    """Read the request."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(TRAININGS)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, help="where the run folders go and stay")
    arguments = parser.parse_args()
    if arguments.what == "write":
        write_page()
        return
    for name in arguments.names:
        if name not in TRAININGS:
            sys.exit(f"There is no training {name!r}; there are: {', '.join(TRAININGS)}.")
    data = os.environ.get("TORCHFOLIO_DATA")
    if not data:
        sys.exit("TORCHFOLIO_DATA is not set: it names the folder with the public data.")
    runs = arguments.runs or Path(tempfile.mkdtemp(prefix="folio-results-"))
    for seed in arguments.seeds:
        for name in arguments.names or TRAININGS:
            run(name, seed, Path(data), runs)


def run(name: str, seed: int, data: Path, runs: Path) -> None:
    """Train once, after the run that it starts from, and add what came out to its file."""
    training = TRAININGS[name]
    source = runs / f"{training.source}-{seed}"
    if training.source and not source.exists():
        run(training.source, seed, data, runs)
    target = runs / f"{name}-{seed}"
    arguments = training.arguments.format(data=data, source=source).split()
    start = time.perf_counter()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torchfolio", "train", *arguments),
            *("--seed", str(seed), "--out", str(target), "--json"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        sys.exit(f"{name}, seed {seed} failed: {done.stdout}")
    result = json.loads(done.stdout)
    entry = {
        "seed": seed,
        "command": training.command(seed),
        "seconds": round(time.perf_counter() - start, 1),
        "metrics": result["metrics"],
        "baseline": result["baseline"],
        "training": result["training"],
        "history": history(target),
        **origin(target),
    }
    path = RESULTS / f"{name}.json"
    entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    entries = [each for each in entries if each["seed"] != seed] + [entry]
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    accuracy = result["metrics"]["accuracy"]
    print(f"{name} seed {seed}: {accuracy['value']:.4f} in {entry['seconds']:.0f} s", flush=True)


def history(run: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's ``history.csv``: epoch, losses, validation accuracy, rate."""
    with (run / "history.csv").open(encoding="utf-8", newline="") as file:
        return [
            {name: float(row[name]) if name != "epoch" else int(row[name]) for name in HISTORY}
            for row in csv.DictReader(file)
        ]


if __name__ == "__main__":
    main()
