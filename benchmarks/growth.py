"""How time and memory grow with the data, and what the loop itself costs.

    python -m benchmarks.growth [time] [memory] [loop]

- ``time``: seconds of an epoch of LeNet-5 on 3,000, 12,000 and 48,000 pictures of MNIST, in turn.
- ``memory``: anonymous memory of a training on 2,000 and on 20,000 JPEGs of 500x375, cut at random
  at 128 pixels: a linear network, so that the data and not the arithmetic count.
- ``loop``: milliseconds of an update by the loop, and of bare forward, backward and optimizer step
  on pictures that lie ready, CPU time of one thread, the two in pairs of which either comes first
  in turn. The share is that of the medians, and its quartiles are those of the pairs.

The cache is one of its own, empty at first.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks import data
from benchmarks.ceiling import hardware
from benchmarks.process import ROOT, measure
from benchmarks.results import RESULTS, slug
from benchmarks.statistics import quartiles
from torchfolio.training.device import autocast
from torchfolio.training.start import make_loop, prepare

WORK = ROOT / "build" / "benchmarks"
COUNTS = (3_000, 12_000, 48_000)
FILES = (2_000, 20_000)
FOLIO = (sys.executable, "-m", "torchfolio")


def time_of_epochs(folder: Path, rounds: int = 3) -> list[dict[str, Any]]:
    """Return the seconds of an epoch for each number of pictures: the median of the rounds."""
    source = Path(data.prepare("mnist", "full", WORK / "data").path) / "MNIST" / "raw"
    pictures = np.frombuffer((source / "train-images-idx3-ubyte").read_bytes(), np.uint8, offset=16)
    labels = np.frombuffer((source / "train-labels-idx1-ubyte").read_bytes(), np.uint8, offset=8)
    found: dict[int, list[float]] = {count: [] for count in COUNTS}
    for number in range(rounds):
        for count in COUNTS:
            path = folder / f"{count}.npz"
            if not path.is_file():
                images = pictures.reshape(-1, 28, 28)[:count]
                np.savez(path, x_train=images, y_train=labels[:count].astype(np.int64))
            run = folder / f"run-{number}-{count}"
            arguments = ["train", "lenet5", str(path), "--epochs", "2", "--batch-size", "64",
                         "--no-report", "--quiet", "--out", str(run)]  # fmt: skip
            checked(measure([*FOLIO, *arguments], {}, folder))
            rows = (run / "history.csv").read_text(encoding="utf-8").splitlines()
            column = rows[0].split(",").index("seconds")
            first, second = (float(row.split(",")[column]) for row in rows[1:3])
            found[count].append(second - first)
    return [
        {"pictures": count, "seconds": round(statistics.median(seconds), 3)}
        for count, seconds in found.items()
    ]


def memory_of_files(folder: Path) -> list[dict[str, Any]]:
    """Return the memory of a training for each number of files."""
    source = Path(data.prepare("jpegs_2000", "full", WORK / "data").path)
    originals = sorted(source.rglob("*.jpg"))[: FILES[0]]
    found = []
    for count in FILES:
        files = folder / f"files-{count}"
        for index in range(count):
            original = originals[index % len(originals)]
            path = files / original.parent.name / f"{index:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(original.read_bytes() + index.to_bytes(4, "big"))  # no two are alike
        arguments = ["train", "softmax_regression", str(files), "--image-size", "128", "--augment",
                     "photo", "--epochs", "1", "--no-report", "--quiet",
                     "--out", str(folder / f"run-{count}")]  # fmt: skip
        run = checked(measure([*FOLIO, *arguments], {}, folder))
        figures = {name: round(run[name] / 2**20) for name in ("memory", "anonymous")}
        found.append({"files": count, "seconds": round(run["wall"], 1), **figures})
        shutil.rmtree(files)
    return found


def cost_of_the_loop(folder: Path, rounds: int = 25) -> list[dict[str, Any]]:
    """Return the milliseconds of an update by the loop and of the bare step."""
    del folder
    mnist = data.prepare("mnist", "full", WORK / "data").path
    jpegs = data.prepare("jpegs_500", "full", WORK / "data").path
    return [
        cost_of("lenet5", mnist, 60, rounds, batch_size=64, augment="none"),
        cost_of("resnet18", jpegs, 3, rounds, batch_size=32, image_size=128, augment="photo"),
    ]


def cost_of(network: str, path: str, updates: int, rounds: int, **settings: Any) -> dict[str, Any]:
    """Return it of one network; the decoded pictures are in the cache after the first round."""
    start = prepare(network, path, {"epochs": 1, "threads": 1, **settings})
    loop = make_loop(start)
    loop.set_training_mode()
    plan, task = loop.plan(0)[:updates], loop.task
    batches = [loop.load(indices)[0] for indices in plan]
    pictures: Any = getattr(task, "pictures")  # noqa: B009  # of image tasks
    ready = [(pictures.normalised(batch.images), batch.labels) for batch in batches]
    part = loop.parts.network
    optimizer = torch.optim.SGD(part.parameters(), lr=1e-3, momentum=0.9, fused=True)

    def bare() -> None:
        for images, labels in ready:
            with autocast(loop.options):
                loss = F.cross_entropy(part(images), labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()

    def ours() -> None:
        for indices in plan:
            loop.take_update(loop.load(indices))
            loop.flush()

    found: dict[str, list[float]] = {"ours": [], "bare": []}
    turns = [("bare", bare), ("ours", ours)]
    for number in range(rounds + 1):  # the first one warms up
        for name, function in turns if number % 2 else reversed(turns):
            began = time.process_time()
            function()
            if number:
                found[name].append(1000 * (time.process_time() - began) / updates)
    about = {
        "network": network,
        "batch": settings["batch_size"],
        "precision": loop.options.precision,
        "rounds": rounds,
    }
    return about | shares(found["ours"], found["bare"])


def shares(ours: list[float], bare: list[float]) -> dict[str, Any]:
    """Return medians and quartiles of both, and what ours takes more as a share of ours."""
    every = [1 - one / other for one, other in zip(bare, ours, strict=True)]
    share = 1 - statistics.median(bare) / statistics.median(ours)
    return {
        "ours": round(statistics.median(ours), 2),
        "quartiles of ours": quartiles(ours, 2),
        "bare": round(statistics.median(bare), 2),
        "quartiles of bare": quartiles(bare, 2),
        "share": round(share, 3),
        "quartiles of the share": quartiles(every, 3),
    }


MEASURES: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "time": time_of_epochs,
    "memory": memory_of_files,
    "loop": cost_of_the_loop,
}


def checked(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run that ended well."""
    if run["status"]:
        raise SystemExit(run["errors"])
    return run


def main() -> None:
    """Measure what is asked for, print it, and write it beside what was measured before."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help=f"of: {', '.join(MEASURES)}; all unless named")
    request = parser.parse_args()
    for name in set(request.what) - set(MEASURES):
        parser.error(f"there is no {name}, but {', '.join(MEASURES)}")
    machine = hardware("cpu")
    path = RESULTS.parent / "growth" / f"growth_{slug(machine)}.json"
    document: dict[str, Any] = {}
    if path.is_file():
        document = json.loads(path.read_text(encoding="utf-8"))
    document["hardware"] = machine
    folder = WORK / "growth"
    for what in request.what or MEASURES:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        os.environ["TORCHFOLIO_CACHE"] = str(folder / "cache")
        rows = MEASURES[what](folder)
        print(what, *rows, sep="\n  ", flush=True)
        began = datetime.now(UTC).isoformat(timespec="seconds")
        document[what] = {"began": began, "torch": torch.__version__, "rows": rows}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
