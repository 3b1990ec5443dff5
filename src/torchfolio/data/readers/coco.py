"""COCO's JSON files: what they say of pictures, and boxes read from them."""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from torchfolio.data.dataset import Dataset, Problem, Progress, Reader
from torchfolio.data.folders import SPLIT_OF, descend, files_ending, listing, nfc, split_in
from torchfolio.data.kinds import BOXED
from torchfolio.data.pairing import IMAGES, is_picture
from torchfolio.data.readers.boxed import Annotated, Row, box_dataset, is_again, is_yes
from torchfolio.data.readers.image_folder import walk
from torchfolio.data.readers.voc_boxes import left_out, named
from torchfolio.data.scan import scan
from torchfolio.errors import DataError

FOLDER = "annotations"
KEYS = ("images", "annotations", "categories")
LOOKED = 64 * 2**20  # bytes: of a file that is larger the beginning and the end are looked at
END = 2**20  # bytes
NAMES = ("instances", "_annotations.coco")  # what such files are called
OTHERS = ("person_keypoints", "captions", "panoptic", "stuff")  # COCO's, of the same pictures


@dataclass(frozen=True)
class Thing:
    """One object as a file has it; ``shape`` is its "segmentation", ``where`` its place there.

    ``area`` is that of the shape in pixels, 0 where the file does not tell it; ``wrong`` says why
    it has no box.
    """

    category: str
    box: tuple[float, float, float, float] | None
    shape: Any
    crowd: bool
    where: str
    area: float
    wrong: str = ""


@dataclass
class Pictured:
    """One picture's file, the split and the JSON file that name it, its size, and its objects."""

    image: str
    split: str
    source: str
    height: int
    width: int
    things: list[Thing] = field(default_factory=list)


class CocoBoxes(Reader):
    """A JSON file of COCO's form for each split, and the pictures that they name.

    Crowds are in neither loss nor scores. Record: path of the picture, its boxes and classes.
    """

    name: ClassVar[str] = "coco-boxes"
    reads: ClassVar[str] = "boxes in JSON files (COCO)"
    kind: ClassVar[str] = BOXED

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        root, files = find_files(path)
        names = [each.relative_to(root).as_posix() for each in files]
        return f"boxes in {listing(names)}" if files else None

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        root, files = find_files(path)
        problems: list[Problem] = []
        held = Held(root, problems)
        pictures, classes = read_pictures(root, files, problems, held)
        spare = held.without({each.image for each in pictures}) if path.is_dir() else []
        numbers = {name: place for place, name in enumerate(classes)}
        annotated = []
        for each in pictures:
            problems += [
                Problem(each.source, f"{thing.where}: {thing.wrong}: left out")
                for thing in each.things
                if thing.wrong
            ]
            rows = [
                Row(
                    numbers[thing.category],
                    thing.box,
                    thing.where,
                    thing.crowd,
                    thing.crowd,
                    thing.area,
                )
                for thing in each.things
                if thing.box is not None
            ]
            size = (each.height, each.width)
            annotated.append(Annotated(each.image, each.split, rows, each.source, size))
        scanned = scan(root, [each.image for each in annotated], self.name, progress)
        return box_dataset(
            reader=self,
            path=path,
            root=root,
            scan=scanned,
            annotated=annotated,
            classes=classes,
            problems=problems,
            on_error=on_error,
            reading=f"boxes in {listing([each.name for each in files])}",
            notes=left_out(spare, "that no JSON file names"),
        )


def find_files(path: Path) -> tuple[Path, list[Path]]:
    """Return the folder of the data, and the JSON files of COCO's form in it.

    They lie in it, in "annotations", or in folders of splits; a path may be that of one file.
    """
    if path.is_file():
        root = path.parent.parent if path.parent.name.lower() == FOLDER else path.parent
        return root, [path] if path.suffix.lower() == ".json" and is_coco(path) else []
    if not path.is_dir():
        return path, []
    root = descend(path)
    splits = [root / name for name in sorted(SPLIT_OF) if (root / name).is_dir()]
    for folders in ([root, *named(root, FOLDER)], splits):
        files = [file for folder in folders for file in files_ending(folder, ".json")]
        found = [file for file in files if is_coco(file)]
        own = [file for file in found if not file.name.lower().startswith(OTHERS)]
        if found:
            return root, own or found
    return root, []


def is_coco(file: Path) -> bool:
    """Return whether a JSON file seems to be one of COCO's form, by its name or its keys."""
    if file.name.lower().startswith(NAMES):
        return True
    try:
        with file.open("rb") as opened:
            text = opened.read(LOOKED)
            if file.stat().st_size > LOOKED:  # its ends tell
                opened.seek(-END, os.SEEK_END)
                text += opened.read()
                return sum(f'"{key}"'.encode() in text for key in KEYS) > 1
    except OSError:
        return False
    return all(f'"{key}"'.encode() in text for key in (*KEYS, "bbox"))


def read_pictures(
    root: Path, files: Sequence[Path], problems: list[Problem], held: "Held | None" = None
) -> tuple[list[Pictured], list[str]]:
    """Return the pictures that JSON files name, and the classes in the order of their numbers.

    A file that lacks one of its lists is named and left out: its pictures would count as empty.
    """
    held = held or Held(root, problems)
    names: dict[int, str] = {}
    found: list[Pictured] = []
    for file in files:
        source = file.relative_to(root).as_posix()
        try:
            told = read_json(file)
        except DataError as error:
            problems.append(Problem(source, f"{error}: left out"))
            continue
        for each in entries_of(told, "categories", source, problems):
            number, name = each.get("id"), nfc(str(each.get("name") or "")).strip()
            if not isinstance(number, int) or not name:
                problems.append(Problem(source, f"a category without number or name: {each}"))
            elif names.setdefault(number, name) != name:
                raise DataError(
                    f"{source} calls category {number} {name!r}; before it was {names[number]!r}. "
                    "Give all files the same categories, or name one file."
                )
        found += pictures_of(told, file, source, names, held, problems)
    classes = list(dict.fromkeys(names[number] for number in sorted(names)))
    return found, classes


def read_json(file: Path) -> Mapping[str, Any]:
    """Read one file; raise ``DataError`` where it is damaged or of another form."""
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"no UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"damaged JSON in {where}: {error.msg}") from error
    except (RecursionError, ValueError) as error:  # too deep, or a number of too many digits
        raise DataError(f"damaged JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"holds a {type(found).__name__}, not an object with {', '.join(KEYS)}")
    lists = [key for key in KEYS if not isinstance(found.get(key), list)]
    if lists:
        raise DataError(f"has no list {' and no list '.join(map(repr, lists))}")
    return found


def entries_of(
    told: Mapping[str, Any], key: str, source: str, problems: list[Problem]
) -> Iterator[Mapping[str, Any]]:
    """Give the entries of one of the lists of a file; name those that are none."""
    for place, each in enumerate(told[key]):
        if isinstance(each, dict):
            yield each
        else:
            problems.append(Problem(source, f"{key}[{place}] is a {type(each).__name__}: left out"))


def pictures_of(
    told: Mapping[str, Any],
    file: Path,
    source: str,
    names: Mapping[int, str],
    held: "Held",
    problems: list[Problem],
) -> list[Pictured]:
    """Return the pictures of one file with their objects."""
    split = split_of(file) or "train"
    entries = list(entries_of(told, "images", source, problems))
    uses = Counter(number for each in entries if isinstance(number := each.get("id"), int | str))
    by_number: dict[Any, Pictured | None] = dict.fromkeys(uses)
    for each in entries:
        number, name = each.get("id"), str(each.get("file_name") or "")
        if not isinstance(number, int | str) or uses[number] > 1:  # whose are the annotations?
            text = f"{name}: its id {number} is none of its own: left out"
            problems.append(Problem(source, text))
            continue
        try:
            image = held.find(name, file)
        except DataError as error:
            problems.append(Problem(source, f"image {number}: {error}"))
            continue
        if is_again(image, source, held.taken, problems):
            continue
        height, width = (
            size if isinstance(size := each.get(side), int) else 0 for side in ("height", "width")
        )
        by_number[number] = Pictured(image, split, source, height, width)
    for place, each in enumerate(entries_of(told, "annotations", source, problems)):
        where = f"annotation {each.get('id', place)}"
        if not isinstance(each.get("image_id"), int | str) or each["image_id"] not in by_number:
            problems.append(Problem(source, f"{where}: there is no image {each.get('image_id')!r}"))
            continue
        picture = by_number[each["image_id"]]
        if picture is None:
            continue  # already named
        number = each.get("category_id")
        category = names.get(number) if isinstance(number, int) else None
        if category is None:
            text = f"{where}: there is no category {number!r}: left out"
            problems.append(Problem(source, text))
            continue
        box, wrong = None, ""  # masks need no box
        try:
            box = box_of(each)
        except DataError as error:
            wrong = str(error)
        crowd = is_yes(each.get("iscrowd", 0))
        shape, area = each.get("segmentation"), area_of(each)
        picture.things.append(Thing(category, box, shape, crowd, where, area, wrong))
    return [each for each in by_number.values() if each is not None]


def box_of(annotation: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of an annotation: of its box, else of its polygons."""
    box = annotation.get("bbox")
    if box is None:
        shape = annotation.get("segmentation")
        points = [
            number
            for polygon in (shape if isinstance(shape, list) else ())
            if isinstance(polygon, list)
            for number in polygon
        ]
        places = [number_of(each) for each in points]
        if len(places) < 6 or len(places) % 2 or not all(map(math.isfinite, places)):
            raise DataError("it has no bbox, and no polygon of three points to take one from")
        return min(places[::2]), min(places[1::2]), max(places[::2]), max(places[1::2])
    sides = [number_of(each) for each in box] if isinstance(box, list) else []
    if len(sides) != 4 or not all(map(math.isfinite, sides)):
        raise DataError(f"bbox is {box}, not four numbers (left, top, width, height)")
    left, top, width, height = sides
    return left, top, left + width, top + height


def area_of(annotation: Mapping[str, Any]) -> float:
    """Return the area in pixels that an annotation tells; 0 where it tells none."""
    area = number_of(annotation.get("area"))
    return area if math.isfinite(area) and area > 0 else 0.0


def number_of(value: Any) -> float:
    """Return a number of a file; no number (NaN) where it is none, or too large for one."""
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.nan


def split_of(file: Path) -> str:
    """Return the split that the name of a file, or its folder, tells; else ""."""
    for text in (file.stem, file.parent.name):
        for word in re.findall("[a-z]+", text.lower()):
            if word in SPLIT_OF:
                return SPLIT_OF[word]
    return ""


class Held:
    """The pictures below a folder, found by the names that JSON files give them."""

    def __init__(self, root: Path, problems: list[Problem]) -> None:
        self.root = root
        self.taken: dict[str, str] = {}  # the file that named a picture first
        self.images = [each for each in walk(root, root, problems) if is_picture(each)]
        self.by_tail: dict[str, list[str]] = {}  # by their names, and by those with one folder
        for each in self.images:
            for tail in tails_of(each):
                self.by_tail.setdefault(tail, []).append(each)

    def find(self, name: str, file: Path) -> str:
        """Return the picture of a name in a file: of several, that which lies nearest to it.

        It lies where the name says from the file's folder on; or its path ends with the whole name,
        it lies below the file's folder, or its folder is named in the name of the file (train2017
        in instances_train2017), or as one of pictures. One of another split is none. Raises
        ``DataError`` for none, and for several of which none is nearest.
        """
        if not name:
            raise DataError("it has no file_name")
        said = nfc(name.replace("\\", "/"))
        beside = nfc(file.parent.relative_to(self.root).as_posix())
        beside = "" if beside == "." else f"{beside}/"
        own = split_of(file)
        found: list[str] = []
        for tail in tails_of(said):
            listed = self.by_tail.get(tail, [])
            found = [each for each in listed if not own or split_in(each) in ("", own)]
            if found or (listed and split_in(said)):  # it is there, in the split that it names
                break
        if not found:
            raise DataError(f"{name} is not there")
        if len(found) == 1:
            return found[0]

        def near(path: str) -> tuple[bool, bool, bool, bool, bool, bool]:
            folder, own_path = PurePosixPath(path).parent, nfc(path)
            return (
                own_path == beside + said,
                own_path == said or own_path.endswith(f"/{said}"),
                bool(own) and split_in(path) == own,
                bool(folder.name) and folder.name in file.stem,
                bool(beside) and own_path.startswith(beside),
                any(each.lower() in IMAGES for each in folder.parts),
            )

        best = max(map(near, found))
        nearest = [each for each in found if near(each) == best]
        if len(nearest) > 1:
            raise DataError(f"several pictures could be {name}: {listing(nearest)}: left out")
        return nearest[0]

    def without(self, found: Collection[str]) -> list[str]:
        """Return the pictures that are not among those found."""
        return [each for each in self.images if each not in found]


def tails_of(path: str) -> list[str]:
    """Return the ends of a path by which a picture is looked up: with its folder, and its name."""
    parts = PurePosixPath(nfc(path)).parts
    return ["/".join(parts[-2:]), parts[-1]] if len(parts) > 1 else [*parts]
