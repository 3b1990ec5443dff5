"""VOC's lists of names, which say what belongs to a split: train.txt, val.txt and the like."""

import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from torchfolio.data.dataset import Problem
from torchfolio.data.folders import SPLITS, counted, nfc

FLAG = re.compile(r"\s+-?[01]$")  # behind a name: whether a class is in the picture


def splits_of_lists(
    root: Path, place: str, stems: Collection[str], lacks: str, problems: list[Problem]
) -> dict[str, str]:
    """Return the split of each of ``stems`` that a list in the folder ``place`` names.

    A line is a name, perhaps with a suffix, and perhaps with a number behind it that says whether
    there is an object. What is only in trainval.txt is for training. Names of no stem are named as
    listed and having no ``lacks``.
    """
    found: dict[str, str] = {}
    lost: set[str] = set()
    for split in (*SPLITS, "trainval"):
        shared: dict[str, int] = {}
        for line in lines_of(root / place / f"{split}.txt"):
            bare = FLAG.sub("", line)
            tries = (line, bare, stem_of(line), stem_of(bare))
            name = next((each for each in tries if each in stems), None)
            if name is None:
                lost.add(bare)
                continue
            other = found.setdefault(name, split)
            if other != split:
                shared[other] = shared.get(other, 0) + 1
        for other, number in shared.items():
            if split != "trainval":  # which has both
                text = f"{split} names {counted(number, 'picture')} that {other} names too"
                problems.append(Problem(place, f"{text}: only in {other}"))
    problems += [Problem(place, f"{each} is listed and has no {lacks}") for each in sorted(lost)]
    return {name: "train" if split == "trainval" else split for name, split in found.items()}


def stem_of(path: str) -> str:
    """Return the name of a file without its suffix."""
    return nfc(PurePosixPath(path).stem)


def lines_of(file: Path) -> list[str]:
    """Return the lines of a list that hold something; none where there is no such file."""
    if not file.is_file():
        return []
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    return [nfc(line.strip()) for line in text.splitlines() if line.strip()]
