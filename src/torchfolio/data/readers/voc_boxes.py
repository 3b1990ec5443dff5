"""Boxes in an XML file for each picture, as PASCAL VOC and labelImg write them."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

from torchfolio.data.dataset import Dataset, Problem, Progress, Reader
from torchfolio.data.folders import (
    SPLIT_OF,
    counted,
    descend,
    entries,
    listing,
    nfc,
    split_in,
)
from torchfolio.data.kinds import BOXED
from torchfolio.data.pairing import is_picture
from torchfolio.data.readers.boxed import Annotated, Row, box_dataset, is_again, is_yes
from torchfolio.data.readers.image_folder import walk
from torchfolio.data.scan import scan
from torchfolio.data.voc_lists import splits_of_lists, stem_of
from torchfolio.errors import DataError
from torchfolio.options import option

# Folders that part pictures from their XML files, in lower case.
BESIDE = {"annotations", "jpegimages", "images", "imgs", "labels", "xmls"}
FOLDER = "annotations"  # of the XML files, in lower case; they may also lie beside the pictures
LISTS = "ImageSets/Main"  # which pictures belong to a split
TAG = "annotation"  # the root of such a file
LOOK = 200  # XML files of a folder that are looked at to recognise the layout
START = 4096  # bytes, in which the root of an XML file begins
BEFORE = re.compile(rb"<\?.*?\?>|<!--.*?-->|<![^>]*>", re.DOTALL)  # what may stand before it
OPENED = re.compile(rb"<([^\s/>]+)")
STRAY = 0.01  # of the boxes: as many may begin at 0 by mistake where the first pixel is 1


@dataclass(frozen=True)
class VocOptions:
    """Settings of the reading of VOC's XML files."""

    origin: Literal["auto", "zero", "one"] = option(
        "auto",
        "What the first pixel is called: one in PASCAL VOC, zero in many tools; auto: zero where "
        "more than 1 % of the boxes begin there, two or more, and more than at one.",
    )


class VocBoxes(Reader):
    """``Annotations/*.xml`` beside ``JPEGImages``, or XML files beside their pictures.

    Splits are those of ``ImageSets/Main``. Objects that are difficult are in neither loss nor
    scores. Record: path of the picture, its boxes and classes.
    """

    name: ClassVar[str] = "voc-boxes"
    reads: ClassVar[str] = "boxes in an XML file for each picture (PASCAL VOC)"
    kind: ClassVar[str] = BOXED
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
            files = [folder / name for name in entries(folder)[1] if name.lower().endswith(".xml")]
            if any(root_tag(each) == TAG for each in files[:LOOK]):  # not any XML file
                return f"boxes in XML files in {folder.relative_to(root).as_posix()}"
        return None

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        root = descend(path)
        problems: list[Problem] = []
        files = list(walk(root, root, problems))
        pictures = Pictures(files)
        others: list[str] = []
        taken: dict[str, str] = {}
        xmls = [each for each in files if each.lower().endswith(".xml")]
        found: list[tuple[Annotated, list[tuple[str, tuple[float, ...], str, bool]]]] = []
        for name in xmls:
            try:
                told = read_file(root / name)
            except DataError as error:
                problems.append(Problem(name, str(error)))
                continue
            if told is None:
                others.append(name)
                continue
            try:
                image = pictures.find(name, told.filename)
            except DataError as error:
                problems.append(Problem(name, str(error)))
                continue
            if is_again(image, name, taken, problems):
                continue
            problems += [Problem(name, each) for each in told.problems]
            split = split_in(name) or "train"
            found.append((Annotated(image, split, [], name, told.size), told.objects))
        stems = {stem_of(each) for each in xmls}
        splits = splits_of_lists(root, LISTS, stems, "XML file", problems)
        notes = left_out(
            pictures.without(xmls, {each.image for each, _ in found}), "without an XML file"
        )
        if splits:
            for each, _ in found:
                each.split = splits.get(stem_of(each.source), "")
            spare = [each.image for each, _ in found if not each.split]
            notes += left_out(spare, f"in no list of {LISTS}")
            found = [(each, rows) for each, rows in found if each.split]
        notes += left_out(others, "of another kind", "XML file")
        classes = sorted({label for _, rows in found for label, _, _, _ in rows})
        numbers = {name: place for place, name in enumerate(classes)}
        first = self.first([box for _, rows in found for _, box, _, _ in rows])
        for each, rows in found:
            for _, box, where, _ in rows:
                if first and 0 <= min(box[:2]) < 1:
                    text = f"{where}: it begins at {min(box[:2]):g}, and the first pixel is 1"
                    notes.append(Problem(each.source, f"{text} (--origin): cut off", note=True))
            each.rows += [
                Row(numbers[label], (box[0] - first, box[1] - first, box[2], box[3]), where, aside)
                for label, box, where, aside in rows
            ]
        scanned = scan(root, [each.image for each, _ in found], self.name, progress)
        dataset = box_dataset(
            reader=self,
            path=path,
            root=root,
            scan=scanned,
            annotated=[each for each, _ in found],
            classes=classes,
            problems=problems,
            on_error=on_error,
            reading=f"boxes in XML files; the first pixel is {first} (--origin)",
            notes=notes,
        )
        dataset.reader_options["origin"] = "one" if first else "zero"  # of other data, too
        return dataset

    def first(self, boxes: list[tuple[float, ...]]) -> int:
        """Return what the first pixel is called in these boxes: where those at the edge begin."""
        if self.options.origin != "auto":
            return int(self.options.origin == "one")
        begins = [min(box[:2]) for box in boxes]
        zero, one = sum(each < 1 for each in begins), sum(1 <= each < 2 for each in begins)
        return int(zero < 2 or zero <= max(STRAY * len(boxes), one))


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
                self.by_stem.setdefault(stem_of(each), []).append(each)

    def find(self, xml: str, filename: str) -> str:
        """Return the picture of an XML file; raise ``DataError`` for none, or several.

        It lies at the same place, but for folders such as ``Annotations`` and ``JPEGImages``; or
        there is one of its name, or of the name that it tells, which is of no other split.
        """
        said = PurePosixPath(filename.replace("\\", "/"))
        found = self.by_key.get(key_of(xml), [])
        for stem in (stem_of(xml), nfc(said.name), nfc(said.stem)):
            if not found:
                own = split_in(xml)
                found = [
                    each
                    for each in self.by_stem.get(stem, [])
                    if not own or split_in(each) in ("", own)
                ]
        if len(found) > 1:
            found = [each for each in found if PurePosixPath(each).name == said.name] or found
        if not found:
            raise DataError(f"its picture {filename or PurePosixPath(xml).stem} is not there")
        if len(found) > 1:
            raise DataError(f"several pictures could be its: {listing(found)}")
        return found[0]

    def without(self, xmls: Sequence[str], found: Collection[str]) -> list[str]:
        """Return the pictures of no XML file: neither found by one, nor of the name of one."""
        stems = {stem_of(each) for each in xmls}
        return [
            each
            for stem, images in self.by_stem.items()
            if stem not in stems
            for each in images
            if each not in found
        ]


def left_out(names: Sequence[str], why: str, what: str = "picture") -> list[Problem]:
    """Return the one problem of files that are left out; none where there is no such file."""
    if not names:
        return []
    return [Problem(".", f"{counted(len(names), what)} {why}: left out: {listing(list(names))}")]


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


def root_tag(path: Path) -> str:
    """Return the name of the root of an XML file, damaged or not, in any usual encoding."""
    try:
        with path.open("rb") as opened:
            start = opened.read(START).replace(b"\0", b"")  # UTF-16
    except OSError:
        return ""
    found = OPENED.search(BEFORE.sub(b"", start))
    return found[1].decode("ascii", "replace") if found else ""


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
    if top.tag != TAG:
        return None
    sides = [top.findtext(f"size/{side}", "").strip() for side in ("height", "width")]
    height, width = (int(each) if each.isdecimal() else 0 for each in sides)
    found = Told(top.findtext("filename", "").strip(), [], [], (height, width))
    for place, each in enumerate(top.iterfind("object"), 1):
        name = nfc(each.findtext("name", "").strip())
        where = f"object {place} ({name or 'without a name'})"
        boxes = each.findall("bndbox")
        box = list(numbers_of(boxes[0] if boxes else None))
        if not name:
            found.problems.append(f"{where}: no class: left out")
        elif len(boxes) > 1:
            found.problems.append(f"{where}: {len(boxes)} boxes, not one: left out")
        elif len(box) < 4:
            found.problems.append(f"{where}: no box of four numbers: left out")
        elif box[2] <= box[0] or box[3] <= box[1]:
            size = f"{box[2] - box[0]:g} pixels wide and {box[3] - box[1]:g} high"
            found.problems.append(f"{where}: a box {size}: left out")
        else:
            aside = is_yes(each.findtext("difficult", "0"))
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
