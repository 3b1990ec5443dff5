"""A clean copy of pictures with classes: ``folio check --fix``."""

import csv
import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from torchfolio.checkpoint import replacing, write_text
from torchfolio.data.check import Findings
from torchfolio.data.dataset import Dataset
from torchfolio.data.near import grey
from torchfolio.data.records import ImageFiles
from torchfolio.errors import RequestError

REMOVED = "removed.csv"
FORBIDDEN = '<>:"/\\|?*'  # in names on Windows, and what would lead to another folder elsewhere
RESERVED = frozenset(
    ("con", "prn", "aux", "nul", *(f"com{i}" for i in range(10)), *(f"lpt{i}" for i in range(10)))
)
KEEP_ORDER = ("test", "val", "train")  # of a picture in several splits, the one that stays


def fix(dataset: Dataset, findings: Findings, target: Path) -> dict[str, int]:
    """Write the good pictures to ``target`` as class folders, and ``removed.csv`` beside them.

    Left out are files that cannot be read, all but one of exact duplicates (where splits share
    a picture, that of test stays) and every picture that stands in several classes. Good files
    are copied byte for byte; pictures from arrays are written as PNG. The splits that the data
    bring become folders. ``target`` must be empty or new. Returns how many were "kept" and
    "removed".
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
                removed[name] = f"the same picture is in another class: {others[0]}"
            continue
        order = sorted(range(len(group)), key=lambda i: (KEEP_ORDER.index(split_of[group[i]]), i))
        for each in order[1:]:
            drop[group[each]] = True
            removed[names[each]] = f"the same picture as {names[order[0]]}"
    folders = folder_names(dataset.classes)
    taken: set[str] = set()
    for index in np.flatnonzero(~drop).tolist():
        assert dataset.labels is not None
        folder = folders[dataset.labels[index]]
        if len(dataset.given) > 1:
            folder = f"{split_of[index]}/{folder}"
        _write(dataset, index, target, folder, taken)
    target.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "reason"])
    writer.writerows(removed.items())
    write_text(target / REMOVED, text.getvalue())
    return {"kept": int((~drop).sum()), "removed": len(removed)}


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


def _write(dataset: Dataset, index: int, target: Path, folder: str, taken: set[str]) -> None:
    """Write one picture under its own name, or with a number where that is taken."""
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
        shutil.copyfile(records.path(index), file)
        return
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
