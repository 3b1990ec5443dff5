"""The schedules of the time to accuracy, chosen on validation data alone.

    python -m benchmarks.schedules time_mnist [--seeds 0 1 2] [--only NAME ...]

Trains each candidate by ``folio train`` (one thread, as many side by side as there are cores) and
keeps the accuracy of its last epoch on the validation split; what the test split says is not read.
``TAKEN`` is the one that ``workloads/time_to_accuracy.py`` trains: of MNIST the shortest whose mean
reaches the mark (fewest epochs, then the larger batch); of notMNIST one with an epoch more, since
its test split is small (0.4 points of standard error).
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks import data
from benchmarks.ceiling import hardware
from benchmarks.process import ROOT, surroundings
from benchmarks.results import RESULTS
from benchmarks.workloads import all_workloads

FOLDER = RESULTS.parent / "schedules"
WORK = ROOT / "build" / "benchmarks"
ADAMW = "--optimizer adamw --schedule cosine --weight-decay 0 --augment none"
CAFFE = "lenet_caffe --precision bf16"
SMOOTH = "--label-smoothing 0.1"
STANDARD = "--normalize standard"
RESNET = f"resnet18 {SMOOTH}"
SHIFTED = ADAMW.replace("--augment none", "--augment shift")
TAKEN = {"time_mnist": "adamw 2, large, smoothed", "time_notmnist": "adamw 4"}
CANDIDATES: dict[str, dict[str, str]] = {
    "time_mnist": {
        "adamw 1, smoothed": f"{CAFFE} --epochs 1 --batch-size 64 --lr 0.002 {ADAMW} {SMOOTH}",
        "adamw 1, small, smoothed": (
            f"{CAFFE} --epochs 1 --batch-size 32 --lr 0.002 {ADAMW} {SMOOTH}"
        ),
        "adamw 1, small, smoothed, standardised": (
            f"{CAFFE} --epochs 1 --batch-size 32 --lr 0.002 {ADAMW} {SMOOTH} {STANDARD}"
        ),
        "adamw 1, smoothed, standardised": (
            f"{CAFFE} --epochs 1 --batch-size 64 --lr 0.003 {ADAMW} {SMOOTH} {STANDARD}"
        ),
        "adamw 2, smoothed": f"{CAFFE} --epochs 2 --batch-size 64 --lr 0.002 {ADAMW} {SMOOTH}",
        "adamw 2, large, smoothed": (
            f"{CAFFE} --epochs 2 --batch-size 128 --lr 0.003 {ADAMW} {SMOOTH}"
        ),
        "adamw 2, large, smoothed, standardised": (
            f"{CAFFE} --epochs 2 --batch-size 128 --lr 0.003 {ADAMW} {SMOOTH} {STANDARD}"
        ),
    },
    "time_notmnist": {
        "adamw 2": f"{RESNET} --epochs 2 --batch-size 64 --lr 0.001 {SHIFTED}",
        "adamw 3": f"{RESNET} --epochs 3 --batch-size 64 --lr 0.001 {SHIFTED}",
        "adamw 3, quick": f"{RESNET} --epochs 3 --batch-size 64 --lr 0.002 {SHIFTED}",
        "adamw 3, small": f"{RESNET} --epochs 3 --batch-size 32 --lr 0.001 {SHIFTED}",
        "adamw 3, unshifted": f"{RESNET} --epochs 3 --batch-size 64 --lr 0.001 {ADAMW}",
        "adamw 4": f"{RESNET} --epochs 4 --batch-size 64 --lr 0.001 {SHIFTED}",
        "adamw 5": f"{RESNET} --epochs 5 --batch-size 64 --lr 0.002 {SHIFTED}",
        "adamw 6": f"{RESNET} --epochs 6 --batch-size 64 --lr 0.001 {SHIFTED}",
        "adamw 6, unshifted": f"{RESNET} --epochs 6 --batch-size 64 --lr 0.001 {ADAMW}",
    },
}


def validate(flags: str, path: str, seed: int) -> float:
    """Train once; return the accuracy of the last epoch on the validation split."""
    network, *others = flags.split()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        call = [
            *(sys.executable, "-m", "torchfolio", "train", network, path, *others),
            *("--seed", str(seed), "--threads", "1", "--no-report", "--quiet", "--out", str(run)),
        ]
        done = subprocess.run(
            call, env=surroundings({}), capture_output=True, encoding="utf-8", check=False
        )
        if done.returncode:
            print(f"{flags}: {done.stderr.strip()[-300:]}", flush=True)
            return 0.0
        with (run / "history.csv").open(encoding="utf-8", newline="") as file:
            return float(list(csv.DictReader(file))[-1]["val_accuracy"])


def main() -> None:
    """Train, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workload", choices=list(CANDIDATES))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", help="the candidates to train; all unless named")
    parser.add_argument("--out", type=Path, default=FOLDER)
    request = parser.parse_args()
    workload = all_workloads()[request.workload]
    path = data.prepare(workload.data or "", "full", WORK / "data").path
    names = request.only or list(CANDIDATES[request.workload])
    file = request.out / f"{request.workload}.json"
    known: list[dict[str, Any]] = []
    if file.is_file():
        known = json.loads(file.read_text(encoding="utf-8"))["candidates"]
    for name in names:
        flags = CANDIDATES[request.workload][name]
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            found = list(pool.map(lambda seed: validate(flags, path, seed), request.seeds))  # noqa: B023
        row = {"name": name, "flags": flags, "seeds": request.seeds, "val_accuracy": found}
        known = [each for each in known if each["name"] != name] + [row]
        print(f"{name}: {100 * statistics.mean(found):.2f} % {found}", flush=True)
        document = {
            "workload": request.workload,
            "mark": workload.mark,
            "hardware": hardware("cpu"),
            "torch": torch.__version__,
            "candidates": known,
        }
        request.out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
