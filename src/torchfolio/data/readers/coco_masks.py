"""Masks from COCO's JSON files: polygons and run lengths, as classes of pixels."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Problem, Progress, Reader
from torchfolio.data.folders import given_splits, listing, require_some
from torchfolio.data.kinds import MASKED
from torchfolio.data.masks import BACKGROUND, IGNORE
from torchfolio.data.readers.coco import (
    Pictured,
    Thing,
    find_files,
    number_of,
    read_pictures,
)
from torchfolio.data.readers.image_masks import groups_by, series, told_groups
from torchfolio.data.records import digest, fingerprint
from torchfolio.data.scan import IGNORED, scan
from torchfolio.data.scenes import Classes, SceneFiles
from torchfolio.errors import DataError
from torchfolio.options import option, plain

POINTS = 3  # of a polygon, at least
FAR = 2  # of the longer side: points farther away are none (drawing them would fill the memory)


@dataclass(frozen=True)
class CocoMaskOptions:
    """Settings of the reading of masks in COCO's form."""

    group_pattern: str | None = option(
        None,
        "A regular expression: what it finds in a name is the group (patient); or none.",
    )


class CocoMasks(Reader):
    """A JSON file of COCO's form for each split: the pixels of each object as its class.

    Background is class 0. Smaller objects lie over larger ones; crowds count neither in the loss
    nor in figures. Record: path of the picture, shapes of its objects.
    """

    name: ClassVar[str] = "coco-masks"
    reads: ClassVar[str] = "masks in JSON files (COCO polygons and run lengths)"
    kind: ClassVar[str] = MASKED
    Options = CocoMaskOptions
    options: CocoMaskOptions

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        root, files = find_files(path)
        names = [each.relative_to(root).as_posix() for each in files]
        return f"masks in {listing(names)}" if files else None

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        root, files = find_files(path)
        problems: list[Problem] = []
        pictures, names = read_pictures(root, files, problems)
        if len(names) >= IGNORE:
            raise DataError(
                f"{path} has {len(names)} categories; up to {IGNORE - 1} are read as classes of "
                "pixels. Leave out those that are not needed."
            )
        numbers = {name: place for place, name in enumerate(names, 1)}
        scanned = scan(root, [each.image for each in pictures], self.name, progress)
        keep: list[int] = []
        shapes: list[list[Shape]] = []
        for place, picture in enumerate(pictures):
            if error := scanned.errors[place]:
                text = "not a picture" if error == IGNORED else error
                problems.append(Problem(picture.image, text))
                continue
            height, width = scanned.sizes[place].tolist()
            said = (picture.height, picture.width)
            if min(said) > 0 and said != (height, width):
                turned = " (it is shown turned)" if said == (width, height) else ""
                text = (
                    f"{picture.image} has {width} x {height} pixels{turned}, and its shapes are "
                    f"for {picture.width} x {picture.height}: left out"
                )
                problems.append(Problem(picture.source, text))
                continue
            keep.append(place)
            shapes.append(shapes_of(picture, numbers, height, width, problems))
        what = f"no picture with shapes that can be read: {self.reads} was expected"
        require_some(keep if names else (), what, path, problems, on_error)
        rows = np.array(keep)
        sizes = scanned.sizes[rows]
        images = [pictures[place].image for place in keep]
        pattern = self.options.group_pattern
        groups = series(images) if pattern is None else groups_by(pattern, images)
        records = SceneFiles(
            root,
            images,
            scanned.digests[rows],
            sizes,
            scanned.channels[rows],
            scanned.deep[rows],
            ShapeMasks(shapes, sizes),  # type: ignore[arg-type]  # asked as files of masks are
        )
        return Dataset(
            kind=self.kind,
            name=str(path),
            path=str(path),
            reader=self.name,
            records=records,
            given=given_splits([pictures[place].split for place in keep]),
            fingerprint=fingerprint(
                "\n".join(records.names), records.digests(), records.masks.digests, names
            ),
            classes=(BACKGROUND, *names),
            groups=groups,
            facts=records.facts(),
            problems=problems,
            reader_options=plain(self.options),
            reading="; ".join(
                [
                    f"masks in {listing([each.name for each in files])}: polygons and run lengths",
                    *told_groups(groups),
                ]
            ),
        )


class Shape:
    """One object: its class (``IGNORE`` for a crowd), and its pixels as COCO's run lengths."""

    def __init__(self, label: int, runs: Mapping[str, Any], area: float) -> None:
        self.label = label
        self.runs = runs
        self.area = area


class ShapeMasks:
    """The masks of pictures, drawn from the shapes of their objects when they are asked for."""

    def __init__(self, shapes: Sequence[Sequence[Shape]], sizes: NDArray[np.int64]) -> None:
        self.shapes = [sorted(each, key=lambda shape: -shape.area) for each in shapes]
        self.sizes = sizes
        self.digests = np.array([digest_of(each) for each in self.shapes], np.uint64)
        self.table: Classes | None = None

    def get(self, index: int) -> Classes:
        """Return the class of every pixel of a picture."""
        from faster_coco_eval import mask as tools

        height, width = self.sizes[index].tolist()
        found = np.zeros((height, width), np.uint8)
        for shape in self.shapes[index]:
            found[tools.decode(shape.runs).astype(bool)] = shape.label
        return found if self.table is None else self.table[found]

    def objects(self, index: int) -> NDArray[np.int32]:
        """Return the number of the object that each pixel is of, 0 for none."""
        from faster_coco_eval import mask as tools

        found = np.zeros(self.sizes[index].tolist(), np.int32)
        for number, shape in enumerate(self.shapes[index], 1):
            found[tools.decode(shape.runs).astype(bool)] = number
        return found

    def renumbered(self, table: Classes) -> "ShapeMasks":
        """Return the same masks with other classes: those of ``table`` (256,)."""
        found = copy.copy(self)
        found.table = table if self.table is None else table[self.table]
        return found


def digest_of(shapes: Sequence[Shape]) -> int:
    """Return a number that tells the content of a picture's shapes."""
    return digest(repr([(each.label, each.runs) for each in shapes]).encode())


def shapes_of(
    picture: Pictured,
    numbers: Mapping[str, int],
    height: int,
    width: int,
    problems: list[Problem],
) -> list[Shape]:
    """Return the shapes of a picture's objects; name those that are none."""
    found = []
    for thing in picture.things:
        try:
            runs, area = runs_of(thing, height, width)
        except DataError as error:
            problems.append(Problem(picture.source, f"{thing.where}: {error}: left out"))
            continue
        label = IGNORE if thing.crowd else numbers[thing.category]
        found.append(Shape(label, runs, area))
    return found


def runs_of(thing: Thing, height: int, width: int) -> tuple[Mapping[str, Any], float]:
    """Return an object's pixels as run lengths, and how many they are; raise ``DataError``."""
    from faster_coco_eval import mask as tools

    shape = thing.shape
    if isinstance(shape, dict):
        runs = told_runs(shape, height, width)
    else:
        runs = tools.merge(tools.frPyObjects(polygons(shape, height, width), height, width))
    area = float(tools.area(runs))
    if not area:
        raise DataError("its shape covers no pixel")
    return runs, area


def told_runs(shape: Mapping[str, Any], height: int, width: int) -> Mapping[str, Any]:
    """Return run lengths, a list or a string of them, that fill a picture; else ``DataError``."""
    from faster_coco_eval import mask as tools

    size, counts = shape.get("size"), shape.get("counts")
    if size != [height, width]:
        raise DataError(f"its run lengths are of {size}, its picture {height} x {width}")
    if isinstance(counts, list):
        if not all(isinstance(each, int) and each >= 0 for each in counts):
            raise DataError("its run lengths are no list of whole numbers")
        if sum(counts) != height * width:
            raise DataError(
                f"its run lengths are of {sum(counts)} pixels, its picture of {height * width}"
            )
        found: Mapping[str, Any] = tools.frPyObjects(shape, height, width)
        return found
    if not isinstance(counts, str):
        raise DataError("its segmentation has no run lengths (counts)")
    try:
        tools.decode(shape)
    except Exception as error:  # of the library, of several kinds
        raise DataError(f"its run lengths cannot be read ({error})") from error
    return shape


def polygons(shape: Any, height: int, width: int) -> list[list[float]]:
    """Return the polygons of an object; raise ``DataError`` for what is none."""
    if not isinstance(shape, list) or not shape:
        raise DataError("it has no shape (segmentation)")
    for place, polygon in enumerate(shape):
        values = [number_of(each) for each in polygon] if isinstance(polygon, list) else [math.nan]
        if any(map(math.isnan, values)) or len(values) % 2:
            raise DataError(f"polygon {place} is no list of pairs of numbers")
        if len(polygon) < 2 * POINTS:
            raise DataError(f"polygon {place} has {len(polygon) // 2} points, not {POINTS} or more")
        far = max(values, key=abs)
        if abs(far) > FAR * max(height, width):
            raise DataError(
                f"polygon {place} has a point at {far:g}, far outside its picture of {width} x "
                f"{height} pixels"
            )
    return shape
