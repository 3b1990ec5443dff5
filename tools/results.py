"""Run the trainings of docs/results.md and write the page.

    python tools/results.py run [NAME ...] [--seeds 0 1 2]     needs TORCHFOLIO_DATA
    python tools/results.py write

Each training is one ``folio train`` in a process of its own; what it printed, and its history, go
to ``docs/results/<name>.json``, one entry a seed, with the command, the machine and the versions.
A study makes ensembles of trainings and compares runs, in the same way; what it needs and what is
not in ``--runs`` is trained first.
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
from recipes_tried import TRIED
from results_page import RESULTS, write_page
from studies import STUDIES
from trainings import TRAININGS
from where import WHERE

EVERY = {**TRAININGS, **TRIED, **WHERE}
KNOWN = {**EVERY, **STUDIES}
HISTORY = ("epoch", "train_loss", "val_loss", "val_accuracy", "lr")


def main() -> None:
    """Read the request."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(KNOWN)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, help="where the run folders go and stay")
    arguments = parser.parse_args()
    if arguments.what == "write":
        write_page()
        return
    for name in arguments.names:
        if name not in KNOWN:
            sys.exit(f"There is no training {name!r}; there are: {', '.join(KNOWN)}.")
    data = os.environ.get("TORCHFOLIO_DATA")
    if not data:
        sys.exit("TORCHFOLIO_DATA is not set: it names the folder with the public data.")
    runs = arguments.runs or Path(tempfile.mkdtemp(prefix="folio-results-"))
    for seed in arguments.seeds:
        for name in arguments.names or KNOWN:
            (study if name in STUDIES else run)(name, seed, Path(data), runs)


def run(name: str, seed: int, data: Path, runs: Path) -> None:
    """Train once, after the run that it starts from, and add what came out to its file."""
    training = EVERY[name]
    source = runs / f"{training.source}-{seed}"
    if training.source and not source.exists():
        run(training.source, seed, data, runs)
    target = runs / f"{name}-{seed}"
    arguments = training.arguments.format(data=data, source=source).split()
    start = time.perf_counter()
    result = folio("train", *arguments, "--seed", str(seed), "--out", str(target))
    measured = json.loads((target / "metrics.json").read_text(encoding="utf-8"))
    plain = measured["details"].get("plain_threshold")
    classes = measured["details"].get("classes", [])
    by_class = measured["details"].get("by_class", {})
    learned = {}
    if training.by_heart:
        found = folio("evaluate", str(target), "--split", "train", "--no-report")
        learned = {"training_pictures": found["metrics"]}
    entry = {
        "seed": seed,
        "command": training.command(seed),
        "seconds": round(time.perf_counter() - start, 1),
        "metrics": result["metrics"],
        "baseline": result["baseline"],
        **learned,
        **({"plain_threshold": plain} if plain else {}),
        **(by_class_of(classes, by_class["iou"]) if len(classes) > 2 and "iou" in by_class else {}),
        "training": result["training"],
        "history": history(target),
        **origin(target),
    }
    add(name, entry)
    figure = result["metrics"][training.figures[0]]
    print(f"{name} seed {seed}: {figure['value']:.4f} in {entry['seconds']:.0f} s", flush=True)


def by_class_of(classes: list[str], found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a figure of each class under its name, as an entry keeps it."""
    return {"iou_by_class": dict(zip(classes, found, strict=True))}


def study(name: str, seed: int, data: Path, runs: Path) -> None:
    """Make the ensembles of a study, compare, and add what came out to its file."""
    asked = STUDIES[name]
    places = {training: runs / f"{training}-{seed}" for training in asked.trainings()}
    for training, place in places.items():
        if not place.exists():
            run(training, seed, data, runs)
    ensembles = {}
    for each, members in asked.ensembles.items():
        target = runs / f"{each}-{seed}"
        sources = [str(places[member]) for member in members]
        made = folio("ensemble", *sources, "--method", asked.method, "--out", str(target))
        kept = ("members", "pairs", "disagreement", "oracle")
        ensembles[each] = {"accuracy": made["metrics"]["accuracy"]} | {
            key: made[key] for key in kept
        }
        places[each] = target
    compared = [places[each] for each in asked.compared]
    found = folio("compare", *map(str, compared), "--no-speed")
    entry = {
        "seed": seed,
        "examples": found["examples"],
        "ensembles": ensembles,
        "pairs": [pair for pair in found["pairs"] if pair["first"] == compared[0].name],
        **origin(places[asked.trainings()[0]]),
    }
    add(name, entry)
    for pair in entry["pairs"]:
        print(f"{pair['first']} - {pair['second']}: {pair['verdict']}", flush=True)


def folio(verb: str, *words: str) -> dict[str, Any]:
    """Run the command in a process of its own; return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "torchfolio", verb, *words, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        sys.exit(f"folio {verb} {' '.join(words)} failed: {done.stdout}")
    return dict(json.loads(done.stdout))


def add(name: str, entry: dict[str, Any]) -> None:
    """Put an entry into the file of its name, in the place of the one with its seed."""
    path = RESULTS / f"{name}.json"
    entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    entries = [each for each in entries if each["seed"] != entry["seed"]] + [entry]
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def history(run: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's ``history.csv``: epoch, losses, validation accuracy, rate."""
    with (run / "history.csv").open(encoding="utf-8", newline="") as file:
        return [
            {
                name: float(row[name]) if name != "epoch" else int(row[name])
                for name in HISTORY
                if name in row
            }
            for row in csv.DictReader(file)
        ]


if __name__ == "__main__":
    main()
