"""Digits with several labels each, as pictures and a table, and predictions read again."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from torchfolio.data.readers import open_dataset

SETTINGS: dict[str, Any] = {"device": "cpu", "threads": 1, "workers": 0}
LABELS = ("even", "below five", "round", "one or seven")
COUNT = 420


def write_digits(folder: Path, count: int = COUNT, start: int = 0) -> list[list[int]]:
    """Write digits as pictures, and return what each is: a yes or no for each label."""
    digits = open_dataset("digits")
    assert digits.labels is not None
    (folder / "图 片").mkdir(parents=True)
    rows = []
    for index in range(start, start + count):
        pixels = digits.records.pixels(index)[..., 0]  # type: ignore[attr-defined]
        Image.fromarray(pixels).save(folder / "图 片" / f"{index}.png")
        digit = int(digits.labels[index])
        rows.append([digit % 2 == 0, digit < 5, digit in (0, 6, 8, 9), digit in (1, 7)])
    return [[int(each) for each in row] for row in rows]


def write_columns(folder: Path, rows: list[list[int]], start: int = 0) -> Path:
    """Write a table with a column for each label."""
    lines = ["file," + ",".join(LABELS)]
    lines += [
        f"图 片/{number}.png," + ",".join(map(str, row)) for number, row in enumerate(rows, start)
    ]
    (folder / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "labels.csv"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table_of(rows: list[dict[str, str]]) -> tuple[Any, Any, Any]:
    """Return truth, answers and probabilities (examples, labels) of a table of predictions."""
    truth, answers = (
        np.array([[name in row[column].split("|") for name in LABELS] for row in rows])
        for column in ("labels", "prediction")
    )
    return truth, answers, np.array([[float(row[f"p({name})"]) for name in LABELS] for row in rows])
