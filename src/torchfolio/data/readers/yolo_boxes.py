"""Boxes in a text file for each picture, as YOLO reads them."""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import ClassVar

from torchfolio.data.bands import ARRAY
from torchfolio.data.dataset import Dataset, Problem, Progress, Reader
from torchfolio.data.folders import counted, entries, listing, nfc
from torchfolio.data.kinds import BOXED
from torchfolio.data.pairing import exactly, is_picture
from torchfolio.data.readers.boxed import Annotated, Row, box_dataset
from torchfolio.data.readers.image_folder import walk
from torchfolio.data.readers.voc_boxes import named
from torchfolio.data.readers.yolo_settings import (
    MOST_CLASSES,
    class_names,
    is_settings,
    keypoints_of,
    root_of,
    settings_of,
)
from torchfolio.data.readers.yolo_splits import splits_of
from torchfolio.data.scan import scan
from torchfolio.errors import DataError

LOOK = 200  # files that are looked at to recognise the layout
MOST = 10_000  # files of a folder "labels" of which those that are not empty are sought for that
IMAGES, LABELS = "images", "labels"  # folders; or both kinds of files lie together
OTHER = re.compile(
    r"(classes|names|readme.*|license.*|notes|requirements|train|val|valid|test)\.txt",
    re.IGNORECASE,
)  # text files that are of no picture


class YoloBoxes(Reader):
    """``images/*`` and ``labels/*.txt``, with or without folders of splits.

    A line of a text file is class, centre and size of a box, as shares of the picture's width and
    height. An empty file, or none, says that there is nothing; a split whose pictures have none is
    left out. Classes are named in ``data.yaml`` or ``classes.txt``, else by their numbers. Splits
    are those of ``data.yaml`` or of lists (``train.txt``), else of folders. Record: path of the
    picture, its boxes and classes.
    """

    name: ClassVar[str] = "yolo-boxes"
    reads: ClassVar[str] = "boxes in a text file for each picture (YOLO)"
    kind: ClassVar[str] = BOXED

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        if not path.is_dir() and not is_settings(path):
            return None
        root = root_of(path)
        tops = [root, *(root / name for name in entries(root)[0])]
        folders = [folder for top in tops for folder in named(top, LABELS)] or [root]
        for folder in folders:
            some = islice(walk(folder, root), LOOK if folder == root else MOST)
            files = [each for each in some if is_label(each)]
            filled = [each for each in files if not is_empty(root / each)]
            if any(looks_right(root / each) for each in filled[:LOOK]):
                return "boxes in text files"
            if files and not filled and folder != root:
                return "text files of boxes, all empty"
        return None

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        root = root_of(path)
        problems: list[Problem] = []
        file, settings = settings_of(path, root, problems)
        files = list(walk(root, root, problems))
        pictures = without_copies([each for each in files if is_picture(each)])
        labels = labels_of(root, files, {key_of(each) for each in pictures}, problems)
        splits, lists = splits_of(root, file, settings, pictures, problems)
        labels = {key: name for key, name in labels.items() if name not in lists}
        splits = labelled(pictures, splits, labels, problems)
        splits = distinct(pictures, splits, labels, problems)
        for place, split in enumerate(splits):
            if not split:
                labels.pop(key_of(pictures[place]), None)
        pictures = [each for each, split in zip(pictures, splits, strict=True) if split]
        splits = [each for each in splits if each]
        scanned = scan(root, pictures, self.name, progress)
        keypoints = keypoints_of(settings)
        annotated, highest = [], -1
        for place, image in enumerate(pictures):
            source = labels.pop(key_of(image), "")
            height, width = scanned.sizes[place].tolist()
            size = (height, width)
            rows = read_file(root, source, size, keypoints, problems) if source else []
            highest = max([highest, *(row.label for row in rows)])
            annotated.append(Annotated(image, splits[place], rows, source or image))
        problems += [Problem(each, "its picture is not there") for each in labels.values()]
        classes = class_names(root, file, settings, problems)
        if classes:
            for each in annotated:
                for row in each.rows:
                    if row.label >= len(classes):
                        text = f"class {row.label}, of {len(classes)} that are named: left out"
                        problems.append(Problem(each.source, f"{row.where}: {text}"))
                each.rows = [row for row in each.rows if row.label < len(classes)]
        else:
            classes += [f"class {number}" for number in range(len(classes), highest + 1)]
        return box_dataset(
            reader=self,
            path=path,
            root=root,
            scan=scanned,
            annotated=annotated,
            classes=classes,
            problems=problems,
            on_error=on_error,
            reading="boxes in text files: class, centre and size as shares of the picture",
        )


def without_copies(pictures: Sequence[str]) -> list[str]:
    """Return pictures without arrays beside one of the same name: Ultralytics keeps copies so."""
    suffixes = {each: PurePosixPath(each).suffix.lower() for each in pictures}
    names = {exactly(each) for each, suffix in suffixes.items() if suffix != ARRAY}
    return [each for each in pictures if suffixes[each] != ARRAY or exactly(each) not in names]


def labels_of(
    root: Path, files: Sequence[str], pictures: Collection[str], problems: list[Problem]
) -> dict[str, str]:
    """Return the text file of each key; a second one of the same key is named.

    ``pictures`` are the keys of pictures: "test.txt" is a list, or has the boxes of "test.jpg".
    """
    found: dict[str, str] = {}
    for each in files:
        if not each.lower().endswith(".txt"):
            continue
        key = key_of(each)
        if is_label(each) or (key in pictures and looks_right(root / each)):
            if key in found:
                text = f"{each} says the boxes of the same picture: this file is left out"
                problems.append(Problem(found[key], text))
            found[key] = each
    return found


def is_label(path: str) -> bool:
    """Return whether a file is named as one with the boxes of a picture."""
    name = PurePosixPath(path).name.lower()
    return name.endswith(".txt") and not OTHER.fullmatch(name)


def key_of(path: str) -> str:
    """Return what a picture and its text file have in common: the path below images or labels."""
    parts = PurePosixPath(nfc(path)).with_suffix("").parts
    return "/".join(each for each in parts if each.lower() not in (IMAGES, LABELS))


def is_empty(file: Path) -> bool:
    """Return whether a file is there and holds nothing."""
    try:
        return not file.stat().st_size
    except OSError:
        return False


def looks_right(file: Path) -> bool:
    """Return whether the first line of a file is a class and four shares."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as opened:
            words = opened.readline().split()
    except OSError:
        return False
    try:
        numbers = [float(each) for each in words]
    except ValueError:
        return False
    return len(numbers) >= 5 and numbers[0].is_integer() and numbers[0] >= 0


def read_file(
    root: Path, name: str, size: tuple[int, int], keypoints: int, problems: list[Problem]
) -> list[Row]:
    """Return the boxes that a file says, in pixels; name the lines that say none.

    ``size`` is the picture's (height, width), ``keypoints`` how many numbers follow each box.
    """
    try:
        lines = (root / name).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        problems.append(Problem(name, f"cannot be read: {error.strerror or error}"))
        return []
    rows = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        try:
            rows.append(row_of(words, f"line {number}", size, keypoints))
        except DataError as error:
            problems.append(Problem(name, f"line {number}: {error}: left out"))
    return rows


def row_of(words: Sequence[str], where: str, size: tuple[int, int], keypoints: int = 0) -> Row:
    """Return the box of one line; of a polygon (class and points) the box around it."""
    try:
        label, *shares = [float(each) for each in words]
    except ValueError:
        raise DataError(f"{' '.join(words)!r} are not all numbers") from None
    if not label.is_integer() or not 0 <= label < MOST_CLASSES:
        raise DataError(f"the class is {words[0]}, not a number from 0 on")
    if keypoints and len(shares) == 4 + keypoints:
        shares = shares[:4]
    if len(shares) > 5 and len(shares) % 2 == 0:
        across, down = shares[::2], shares[1::2]
        box = (min(across), min(down), max(across), max(down))
    elif len(shares) in (4, 5):  # a fifth is how sure a detector was
        x, y, w, h = shares[:4]
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    else:
        raise DataError(f"{len(words)} numbers, not 5 (class, centre x and y, width, height)")
    if max(map(abs, shares[:4])) > 2:
        raise DataError("the numbers are pixels, not shares of the picture from 0 to 1")
    height, width = size
    return Row(
        int(label), (box[0] * width, box[1] * height, box[2] * width, box[3] * height), where
    )


def labelled(
    pictures: Sequence[str],
    splits: Sequence[str],
    labels: Mapping[str, str],
    problems: list[Problem],
) -> list[str]:
    """Return the splits again, "" for those of which no picture has a text file."""
    found = {split for each, split in zip(pictures, splits, strict=True) if key_of(each) in labels}
    for split in sorted(set(splits) - found - {""}):
        text = f"none of its {counted(splits.count(split), 'picture')} has a text file: left out"
        problems.append(Problem(f"the {split} split", f"{text}. An empty one says: no object"))
    return [each if each in found else "" for each in splits]


def distinct(
    pictures: Sequence[str],
    splits: Sequence[str],
    labels: Mapping[str, str],
    problems: list[Problem],
) -> list[str]:
    """Return the splits again, "" for pictures of which several could be that of a text file."""
    of_key: dict[str, list[str]] = {}
    for each, split in zip(pictures, splits, strict=True):
        if split and key_of(each) in labels:
            of_key.setdefault(key_of(each), []).append(each)
    several = {key: found for key, found in of_key.items() if len(found) > 1}
    for key, found in several.items():
        text = f"several pictures could be its: {listing(found)}: left out"
        problems.append(Problem(labels[key], text))
    return [
        "" if key_of(each) in several else split
        for each, split in zip(pictures, splits, strict=True)
    ]
