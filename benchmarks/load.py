"""Load: folders of very many tiny pictures, of very many classes, or on a slow disk.

``python -m benchmarks.load`` writes the data into a temporary folder and runs ``folio check`` and
one epoch of ``folio train`` on them, as whole processes, first with an empty cache folder (cold),
then once more (warm). Time and peak memory must grow with the files, and no faster. Each row is
written to docs/results/load.json as it comes, also that of a command that fails; with ``--sizes``,
a trial, it is written only to what ``--json`` names. Rows of another machine, of other versions or
of another state of our code go.
"""

import argparse
import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.process import ROOT, measure
from benchmarks.results import code_digest
from tools.origin import machine
from torchfolio.checkpoint import write_text

RESULTS = ROOT / "docs" / "results" / "load.json"
SIZES = [2_000, 20_000, 200_000]
WHICH = ("data", "files", "classes", "verb", "cache")  # by which a row is told from others
SIDE = 16  # pixels of a picture
TRAIN = ("--epochs", "1", "--batch-size", "512", "--threads", "1", "--no-report", "--quiet")
LIMIT = 3600.0  # seconds for one command
SLOW_MS = 5.0  # of each access to a slow disk: a network drive's


@dataclass(frozen=True)
class Load:
    """One kind of data: how many files in how many classes, in folders or beside a table."""

    name: str
    files: int
    classes: int
    table: bool = False
    slow: bool = False


def loads(sizes: list[int]) -> Iterator[Load]:
    """Give the kinds of data, from few files to many."""
    for files in sizes:
        yield Load("folders", files, 10)
        yield Load("table", files, 10, table=True)
    for files in sizes[1:]:
        yield Load("many classes", files, files // 20)
    yield Load("slow disk", sizes[0], 10, slow=True)


def write(load: Load, folder: Path) -> Path:
    """Write the pictures; the first class has but one of them."""
    random = np.random.default_rng(0)
    labels = np.sort(np.arange(load.files) % load.classes)
    labels[1 : np.count_nonzero(labels == 0)] = 1
    names = [f"class-{label:05d}" for label in labels]
    data = folder / "data"
    homes = [data] if load.table else [data / name for name in sorted(set(names))]
    for home in homes:
        home.mkdir(parents=True)
    rows = [("path", "label")]
    for start in range(0, load.files, 1000):
        count = min(1000, load.files - start)
        noise = random.integers(0, 64, (count, SIDE, SIDE), np.uint8)
        for index in range(count):
            number = start + index
            noise[index, labels[number] % SIDE] += np.uint8(128)
            name = f"{number:06d}.png"
            home = data if load.table else data / names[number]
            Image.fromarray(noise[index]).save(home / name, compress_level=1)
            rows.append((name, names[number]))
    if load.table:
        with (data / "labels.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    return data


def rows_of(load: Load, folder: Path) -> Iterator[dict[str, Any]]:
    """Measure the commands on one kind of data; give a row for each, also where it fails."""
    data = write(load, folder)
    environment = {"TORCHFOLIO_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    if load.slow:
        environment["TORCHFOLIO_SLOW_DISK"] = f"{data}:{SLOW_MS}"
    for verb, state in (("check", "cold"), ("train", "cold"), ("check", "warm"), ("train", "warm")):
        if state == "cold":
            shutil.rmtree(folder / "cache", ignore_errors=True)
        arguments = [str(data), "--json"]
        if verb == "train":
            shutil.rmtree(folder / "run", ignore_errors=True)
            arguments = ["softmax_regression", *arguments, *TRAIN, "--out", str(folder / "run")]
        module = "benchmarks.ours" if verb == "train" else "torchfolio"
        command = [sys.executable, "-m", "benchmarks.slow_disk" if load.slow else module]
        (folder / "marks").unlink(missing_ok=True)
        took = measure([*command, verb, *arguments], environment, folder, LIMIT)
        row = {
            "data": load.name,
            "files": load.files,
            "classes": load.classes,
            "verb": verb,
            "cache": state,
            **{key: rounded(took[key]) for key in ("wall", "cpu", "first_step")},
            "memory_mb": megabytes(took["memory"]),
            "anonymous_mb": megabytes(took["anonymous"]),
            "status": took["status"],
            "date": date.today().isoformat(),
        }
        if verb == "train":
            files = (each for each in (folder / "run").rglob("*") if each.is_file())
            row["run_mb"] = megabytes(sum(each.stat().st_size for each in files))
        if took["status"] != 0:
            row["errors"] = took["errors"][-500:]
        yield row


def rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def megabytes(count: int | None) -> float | None:
    return None if count is None else round(count / 1e6, 1)


def origin() -> dict[str, Any]:
    """Return what all rows of a file have in common: where, and with what they were measured."""
    versions = {each: version(each) for each in ("torchfolio", "torch")}
    about = {"machine": machine(), "versions": versions, "code": code_digest()}
    return about | {"slow_disk_ms": SLOW_MS}


def keep(path: Path, row: dict[str, Any], about: dict[str, Any]) -> None:
    """Write a row in the place of that of the same command on the same data, beside the others.

    Rows of another origin than ``about`` go.
    """
    told: dict[str, Any] = {"rows": []}
    if path.is_file():
        told = json.loads(path.read_text(encoding="utf-8"))
    same = all(told.get(name) == value for name, value in about.items())
    others = [
        each
        for each in (told["rows"] if same else [])
        if any(each[name] != row[name] for name in WHICH)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(about | {"rows": [*others, row]}, indent=1) + "\n")


def main() -> None:
    """Measure every load, from small to large, and write each row as it comes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", help="numbers of files, for a trial")
    parser.add_argument("--only", help="this kind of data alone; the rows of the others stay")
    parser.add_argument("--json", type=Path, help="the file of the rows")
    request = parser.parse_args()
    path = request.json or (None if request.sizes else RESULTS)
    about = origin()
    failed = 0
    for load in loads(request.sizes or SIZES):
        if request.only in (None, load.name):
            with tempfile.TemporaryDirectory() as temporary:
                for row in rows_of(load, Path(temporary)):
                    print(json.dumps(row), flush=True)
                    if path is not None:
                        keep(path, row, about)
                    failed += row["status"] != 0
    if failed:
        raise SystemExit(f"{failed} commands failed; their errors are above.")


if __name__ == "__main__":
    main()
