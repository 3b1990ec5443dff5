"""Boxes in an XML file for each picture, as PASCAL VOC and labelImg write them."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

from torchfolio.data.boxes import KIND
from torchfolio.data.dataset import Dataset, Problem, Progress, Reader
from torchfolio.data.folders import (
    SPLIT_OF,
    SPLITS,
    descend,
    entries,
    listing,
    nfc,
    split_in,
)
from torchfolio.data.pairing import is_picture
from torchfolio.data.readers.boxed import Annotated, Row, box_dataset
from torchfolio.data.readers.image_folder import walk
from torchfolio.data.scan import scan
from torchfolio.errors import DataError
from torchfolio.options import option

# Folders that part pictures from their XML files, in lower case.
BESIDE = {"annotations", "jpegimages", "images", "imgs", "labels", "xmls"}
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
        splits = [root / name for name in entries(root)[0] if name.lower() in SPLIT_OF]
        inner = [each for folder in splits for each in (*named(folder, FOLDER), folder)]
        for folder in (*named(root, FOLDER), root, *inner):
            if any(name.lower().endswith(".xml") for name in entries(folder)[1]):
                return f"boxes in XML files in {folder.relative_to(root).as_posix()}"
        return None

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        root = descend(path)
        problems: list[Problem] = []
        files = list(walk(root, root, problems))
        pictures = Pictures(files)
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
            try:
                image = pictures.find(name, told.filename)
            except DataError as error:
                problems.append(Problem(name, str(error)))
                continue
            problems += [Problem(name, each) for each in told.problems]
            split = splits.get(stem, "") if splits else split_in(name) or "train"
            found.append((Annotated(image, split, [], name, told.size), told.objects))
        for listed in sorted(splits.keys() - {PurePosixPath(a.source).stem for a, _ in found}):
            problems.append(Problem(LISTS, f"{listed} is listed and has no XML file"))
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


class Pictures:
    """The pictures below a folder, found by the XML files that belong to them."""

    def __init__(self, files: Sequence[str]) -> None:
        self.by_key: dict[str, list[str]] = {}
        self.by_stem: dict[str, list[str]] = {}
        for each in files:
            if is_picture(each) and not any(
                part.lower().startswith("segmentation") for part in PurePosixPath(each).parts
            ):
                self.by_key.setdefault(key_of(each), []).append(each)
                self.by_stem.setdefault(nfc(PurePosixPath(each).stem), []).append(each)

    def find(self, xml: str, filename: str) -> str:
        """Return the picture of an XML file; raise ``DataError`` for none, or several.

        It lies at the same place, but for folders such as ``Annotations`` and ``JPEGImages``; or
        there is one of its name, or of the name that it tells, which is of no other split.
        """
        said = PurePosixPath(filename.replace("\\", "/"))
        found = self.by_key.get(key_of(xml), [])
        for stem in (PurePosixPath(xml).stem, said.stem):
            if not found:
                own = split_in(xml)
                found = [
                    each
                    for each in self.by_stem.get(nfc(stem), [])
                    if not own or split_in(each) in ("", own)
                ]
        if len(found) > 1:
            found = [each for each in found if PurePosixPath(each).name == said.name] or found
        if not found:
            raise DataError(f"its picture {filename or PurePosixPath(xml).stem} is not there")
        if len(found) > 1:
            raise DataError(f"several pictures could be its: {listing(found)}")
        return found[0]


def key_of(path: str) -> str:
    """Return what a picture and its XML file have in common: the path but for usual folders."""
    parts = PurePosixPath(nfc(path)).with_suffix("").parts
    return "/".join(each for each in parts if each.lower() not in BESIDE)


@dataclass
class Told:
    """What one file says: its picture, its objects, and what is wrong with some of them.

    ``size`` is the picture's (height, width), 0 where it does not say.
    """

    filename: str
    objects: list[tuple[str, tuple[float, ...], str, bool]]  # class, box, where, difficult
    problems: list[str]
    size: tuple[int, int]


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
    except (LookupError, ValueError) as error:
        raise DataError(f"its encoding cannot be read ({error}); UTF-8 can") from error
    if top.tag != "annotation":
        return None
    sides = [top.findtext(f"size/{side}", "").strip() for side in ("height", "width")]
    height, width = (int(each) if each.isdecimal() else 0 for each in sides)
    found = Told(top.findtext("filename", "").strip(), [], [], (height, width))
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
