"""Whole trainings in float32 and in bf16, side by side: what clears a network for bf16.

    python -m benchmarks.precision [NETWORK ...] [--seeds 0 1 2 3 4]     needs TORCHFOLIO_DATA

Each is one ``folio train`` by the network's recipe (those of docs/results.md), one thread each,
both precisions of a seed at the same time. A network is cleared where the mean accuracy in bf16, on
the test split, is not below the 95 % interval of the mean in float32. Its card then says
``bf16 = true``. Seeds of several calls add up. The trainings run on the CPU; that a GPU takes bf16
for a cleared network, too, rests on them and on the times of ``benchmarks.layouts --device cuda``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.ceiling import hardware
from benchmarks.results import RESULTS
from benchmarks.statistics import interval
from torchfolio.training.device import computes_bf16

FOLDER = RESULTS.parent / "precision"
PRECISIONS = ("fp32", "bf16")
NOTMNIST = (
    "{data}/notmnist_small/notMNIST_small.tar.gz --val-split 0.3 --test-split 0.2 --epochs 12 "
    "--batch-size 128 --lr 0.01 --schedule cosine --augment shift --label-smoothing 0.1"
)
TRAININGS = {
    "mlp": "{data}/mnist --set widths=[512,512]",
    "lenet_caffe": "{data}/mnist",
    "resnet18": NOTMNIST,
    "resnet20": "{data}/cifar10_small/cifar10_png.tar.gz",
}
SEEDS = 5  # at least


def cleared(accuracies: Mapping[str, Sequence[float]]) -> bool:
    """Return whether the mean in bf16 is not below the interval of float32, by enough seeds."""
    if len(accuracies["fp32"]) < SEEDS:
        return False
    mean, half = interval(accuracies["fp32"])
    return statistics.mean(accuracies["bf16"]) >= mean - half


def train(network: str, seed: int, data: str) -> dict[str, Any]:
    """Train in each precision, side by side; return accuracy and seconds of each."""
    arguments = TRAININGS[network].format(data=data).split()
    row: dict[str, Any] = {
        "seed": seed,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware("cpu"),
        "torch": torch.__version__,
    }
    running: dict[str, subprocess.Popen[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for precision in PRECISIONS:
                call = [
                    *(sys.executable, "-m", "torchfolio", "train", network, *arguments),
                    *("--seed", str(seed), "--precision", precision, "--threads", "1"),
                    *("--device", "cpu", "--no-report", "--quiet", "--json"),
                    *("--out", str(Path(folder) / precision)),
                ]
                running[precision] = subprocess.Popen(
                    call, stdout=subprocess.PIPE, encoding="utf-8"
                )
            for precision, process in running.items():
                row[precision] = figures(process, f"{network}, seed {seed}, {precision}")
        finally:
            for process in running.values():
                process.kill()
                process.wait()
    return row


def figures(process: "subprocess.Popen[str]", name: str) -> dict[str, Any]:
    """Wait for a training; return its accuracy, seconds and digest."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{name} failed: {output}")
    result = json.loads(output)
    return {
        "accuracy": result["metrics"]["accuracy"]["value"],
        "seconds": result["training"]["seconds"],
        "digest": result["digest"],
    }


def add(network: str, row: dict[str, Any], folder: Path) -> None:
    """Add a seed to the file of a network; one measured before is replaced."""
    path = folder / f"{network}.json"
    known = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    rows = [each for each in known if each["seed"] != row["seed"]] + [row]
    document = {
        "network": network,
        "command": f"folio train {network} {TRAININGS[network].format(data='DATA')}",
        "rows": sorted(rows, key=lambda each: int(each["seed"])),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Train, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", help=f"of: {', '.join(TRAININGS)}; all unless named")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(5)))
    parser.add_argument("--out", type=Path, default=FOLDER)
    request = parser.parse_args()
    data = os.environ.get("TORCHFOLIO_DATA")
    if not data:
        sys.exit("TORCHFOLIO_DATA is not set: it names the folder with the public data.")
    if not computes_bf16(torch.device("cpu")):
        sys.exit("This processor has no instructions for bf16: nothing is cleared here.")
    for network in request.networks or TRAININGS:
        for seed in request.seeds:
            row = train(network, seed, data)
            add(network, row, request.out)
            print(network, row, flush=True)


if __name__ == "__main__":
    main()
