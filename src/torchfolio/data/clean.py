"""A clean copy of pictures with classes or labels: ``folio check --fix``."""

import csv
import io
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchfolio.checkpoint import replacing, write_text
from torchfolio.data.check import Findings
from torchfolio.data.dataset import Dataset
from torchfolio.data.near import grey
from torchfolio.data.records import ImageFiles
from torchfolio.errors import RequestError

LABELS, PICTURES = "labels.csv", "pictures"  # the table and the folder of several labels a picture
FORBIDDEN = '<>:"/\\|?*'  # in names on Windows, and what would lead to another folder elsewhere
RESERVED = frozenset(
    ("con", "prn", "aux", "nul", *(f"com{i}" for i in range(10)), *(f"lpt{i}" for i in range(10)))
)
KEEP_ORDER = ("test", "val", "train")  # of a picture in several splits, the one that stays


def fix(dataset: Dataset, findings: Findings, target: Path) -> dict[str, int]:
    """Write the good pictures to ``target`` as class folders, and ``removed.csv`` beside them.

    Left out are files that cannot be read, all but one of exact duplicates (where splits share
    a picture, that of test stays) and every picture that stands in several classes, or under
    different labels. Good files are copied byte for byte; pictures from arrays are written as PNG.
    The splits that the data bring become folders. Pictures with several labels lie in one folder
    beside a table, which has a column for each label, their splits and their groups. ``target``
    must be empty or new. Returns how many were "kept" and "removed".
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RequestError(f"{target} exists and is not an empty folder. Give a new one to --fix.")
    split_of = np.full(len(dataset), "train", object)
    for split, rows in dataset.given.items():
        split_of[rows] = split
    removed = {problem.path: problem.problem for problem in findings.problems.get("file", [])}
    drop = np.zeros(len(dataset), bool)
    for group in findings.copies:
        names = [dataset.records.name(int(each)) for each in group]
        if any(group is conflict for conflict in findings.conflicts):
            drop[group] = True
            for name in names:
                others = [other for other in names if other != name]
                what = "is in another class" if dataset.targets is None else "has other labels"
                removed[name] = f"the same picture {what}: {others[0]}"
            continue
        order = sorted(range(len(group)), key=lambda i: (KEEP_ORDER.index(split_of[group[i]]), i))
        for each in order[1:]:
            drop[group[each]] = True
            removed[names[each]] = f"the same picture as {names[order[0]]}"
    kept = np.flatnonzero(~drop).tolist()
    taken: set[str] = set()
    target.mkdir(parents=True, exist_ok=True)
    if dataset.targets is not None:
        names = [_write(dataset, index, target, PICTURES, taken) for index in kept]
        table = label_rows(dataset, kept, names, split_of)
        write_text(target / LABELS, csv_text(*table))
    else:
        assert dataset.labels is not None
        folders = folder_names(dataset.classes)
        for index in kept:
            folder = folders[dataset.labels[index]]
            if len(dataset.given) > 1:
                folder = f"{split_of[index]}/{folder}"
            _write(dataset, index, target, folder, taken)
    write_text(target / removed_file(dataset), csv_text(["path", "reason"], removed.items()))
    return {"kept": len(kept), "removed": len(removed)}


def removed_file(dataset: Dataset) -> str:
    """Return where a clean copy tells what was left out: a table stands alone in its folder."""
    return "removed.csv" if dataset.targets is None else f"{PICTURES}/removed.csv"


def label_rows(
    dataset: Dataset, kept: Sequence[int], names: Sequence[str], split_of: NDArray[Any]
) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of the table of pictures with several labels."""
    assert dataset.targets is not None

    def free(name: str) -> str:  # a label may be called so
        return free(f"{name}_") if name in dataset.classes else name

    header, columns = [free("path"), *dataset.classes], [list(names)]
    columns += dataset.targets[kept].T.tolist()
    if len(dataset.given) > 1:
        header.append(free("split"))
        columns.append(split_of[kept].tolist())
    if dataset.groups is not None:
        header.append(free("group"))
        columns.append(dataset.groups[kept].tolist())
    return header, [list(row) for row in zip(*columns, strict=True)]


def csv_text(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def folder_names(classes: tuple[str, ...]) -> list[str]:
    """Return a name for the folder of each class that every system accepts, all different."""
    names: list[str] = []
    for text in classes:
        name = safe_name(text)
        while name.lower() in {each.lower() for each in names}:
            name += "_"
        names.append(name)
    return names


def safe_name(text: str) -> str:
    """Return a text as the name of a file or folder."""
    name = "".join("_" if each in FORBIDDEN or ord(each) < 32 else each for each in text)
    name = name.rstrip(". ").lstrip(" ")
    if name.startswith("."):
        name = "_" + name[1:]
    if name.split(".")[0].lower() in RESERVED:
        name = f"_{name}"
    return name or "_"


def _write(dataset: Dataset, index: int, target: Path, folder: str, taken: set[str]) -> str:
    """Write one picture under its own name, or with a number where that is taken; return where."""
    records = dataset.records
    if isinstance(records, ImageFiles):
        name = safe_name(Path(records.name(index)).name)
    else:
        name = f"{index:06d}.png"
    stem, suffix = Path(name).stem, Path(name).suffix
    number = 2
    while f"{folder}/{name}".lower() in taken:
        name = f"{stem}_{number}{suffix}"
        number += 1
    taken.add(f"{folder}/{name}".lower())
    file = target / folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(records, ImageFiles):
        with replacing(file) as temporary:
            shutil.copyfile(records.path(index), temporary)
        return f"{folder}/{name}"
    pixels = records.pixels(index)  # type: ignore[attr-defined]
    with replacing(file) as temporary:
        if pixels.dtype != np.uint8 and pixels.shape[2] == 1:  # deep grey keeps its range
            deep = np.rint(pixels[..., 0] * 65535).astype(np.uint16)
            Image.fromarray(deep).save(temporary, format="PNG")
        elif pixels.shape[2] == 1:
            grey(pixels).save(temporary, format="PNG")
        else:
            colour = pixels if pixels.dtype == np.uint8 else np.rint(pixels * 255).astype(np.uint8)
            Image.fromarray(colour).save(temporary, format="PNG")
    return f"{folder}/{name}"
