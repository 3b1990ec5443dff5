"""Boxes in an XML file for each picture, as PASCAL VOC and labelImg write them."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

from torchfolio.data.boxes import KIND
from torchfolio.data.dataset import Dataset, Problem, Progress, Reader
from torchfolio.data.folders import SPLITS, descend, entries
from torchfolio.data.pairing import is_picture
from torchfolio.data.readers.boxed import Annotated, Row, box_dataset
from torchfolio.data.readers.image_folder import walk
from torchfolio.data.scan import scan
from torchfolio.errors import DataError
from torchfolio.options import option

FOLDER = "annotations"  # of the XML files, in lower case; they may also lie beside the pictures
LISTS = "ImageSets/Main"  # which pictures belong to a split


@dataclass(frozen=True)
class VocOptions:
    """Settings of the reading of VOC's XML files."""

    origin: Literal["auto", "zero", "one"] = option(
        "auto",
        "What the first pixel is called: one in PASCAL VOC, zero in many tools; auto: zero where "
        "any box begins there.",
    )


class VocBoxes(Reader):
    """``Annotations/*.xml`` beside ``JPEGImages``, or XML files beside their pictures.

    Splits are those of ``ImageSets/Main``. Objects that are difficult are in neither loss nor
    scores. Record: path of the picture, its boxes and classes.
    """

    name: ClassVar[str] = "voc-boxes"
    reads: ClassVar[str] = "boxes in an XML file for each picture (PASCAL VOC)"
    kind: ClassVar[str] = KIND
    Options = VocOptions
    options: VocOptions

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        if not path.is_dir():
            return None
        root = descend(path)
        for folder in (*named(root, FOLDER), root):
            if any(name.lower().endswith(".xml") for name in entries(folder)[1]):
                return f"boxes in XML files in {folder.relative_to(root).as_posix()}"
        return None

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        root = descend(path)
        problems: list[Problem] = []
        files = list(walk(root, root, problems))
        pictures = {PurePosixPath(each).stem: each for each in files if is_picture(each)}
        splits = splits_of_lists(root)
        found: list[tuple[Annotated, list[tuple[str, tuple[float, ...], str, bool]]]] = []
        for name in files:
            if not name.lower().endswith(".xml"):
                continue
            stem = PurePosixPath(name).stem
            try:
                told = read_file(root / name)
            except DataError as error:
                problems.append(Problem(name, str(error)))
                continue
            if told is None:
                continue  # XML of another kind
            image = pictures.get(stem) or pictures.get(PurePosixPath(told.filename).stem)
            if image is None:
                problems.append(Problem(name, f"its picture {told.filename or stem} is not there"))
                continue
            problems += [Problem(name, each) for each in told.problems]
            split = splits.get(stem, "" if splits else "train")
            found.append((Annotated(image, split, [], name), told.objects))
        for split_name in sorted(splits.keys() - {PurePosixPath(a.source).stem for a, _ in found}):
            problems.append(Problem(LISTS, f"{split_name} is listed and has no XML file"))
        classes = sorted({label for _, rows in found for label, _, _, _ in rows})
        numbers = {name: place for place, name in enumerate(classes)}
        first = self.first([box for _, rows in found for _, box, _, _ in rows])
        for each, rows in found:
            each.rows += [
                Row(numbers[label], (box[0] - first, box[1] - first, box[2], box[3]), where, aside)
                for label, box, where, aside in rows
            ]
        scanned = scan(root, [each.image for each, _ in found], self.name, progress)
        return box_dataset(
            reader=self,
            path=path,
            root=root,
            scan=scanned,
            annotated=[each for each, _ in found],
            classes=classes,
            problems=problems,
            on_error=on_error,
            reading=f"boxes in XML files; the first pixel is {first} (--origin)",
        )

    def first(self, boxes: list[tuple[float, ...]]) -> int:
        """Return what the first pixel is called in these boxes."""
        if self.options.origin != "auto":
            return int(self.options.origin == "one")
        return 0 if any(min(box[0], box[1]) < 1 for box in boxes) else 1


@dataclass
class Told:
    """What one file says: its picture, its objects, and what is wrong with some of them."""

    filename: str
    objects: list[tuple[str, tuple[float, ...], str, bool]]  # class, box, where, difficult
    problems: list[str]


def read_file(path: Path) -> Told | None:
    """Read one file; ``None`` where it is no annotation. Raises ``DataError`` for a damaged one."""
    try:
        top = ET.fromstring(path.read_bytes())  # expat limits what entities expand to
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}") from error
    except ET.ParseError as error:
        line, column = error.position
        text = str(error).partition(":")[0]
        raise DataError(f"damaged XML in line {line}, column {column + 1}: {text}") from error
    if top.tag != "annotation":
        return None
    found = Told(top.findtext("filename", "").strip(), [], [])
    for place, each in enumerate(top.iterfind("object"), 1):
        name = each.findtext("name", "").strip()
        where = f"object {place} ({name or 'without a name'})"
        box = list(numbers_of(each.find("bndbox")))
        if not name:
            found.problems.append(f"{where}: no class: left out")
        elif len(box) < 4:
            found.problems.append(f"{where}: no box of four numbers: left out")
        elif box[2] <= box[0] or box[3] <= box[1]:
            size = f"{box[2] - box[0]:g} pixels wide and {box[3] - box[1]:g} high"
            found.problems.append(f"{where}: a box {size}: left out")
        else:
            aside = each.findtext("difficult", "0").strip() == "1"
            found.objects.append((name, tuple(box), where, aside))
    return found


def numbers_of(box: ET.Element | None) -> Iterator[float]:
    """Give the sides of a box as far as they are numbers: left, top, right, bottom."""
    for side in ("xmin", "ymin", "xmax", "ymax"):
        try:
            yield float("" if box is None else box.findtext(side, ""))
        except ValueError:
            return


def named(root: Path, name: str) -> list[Path]:
    """Return the folders of a name in a folder, whatever the case."""
    return [root / each for each in entries(root)[0] if each.lower() == name]


def splits_of_lists(root: Path) -> dict[str, str]:
    """Return the split of each name in VOC's lists; empty where there are none."""
    folder = root / LISTS
    found: dict[str, str] = {}
    for split in (*SPLITS, "trainval"):
        file = folder / f"{split}.txt"
        if file.is_file():
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                words = line.split()
                if words:
                    found.setdefault(words[0], "train" if split == "trainval" else split)
    return found
