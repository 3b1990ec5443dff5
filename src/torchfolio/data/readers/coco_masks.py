"""Masks from COCO's JSON files: polygons and run lengths, as classes of pixels."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Problem, Progress, Reader
from torchfolio.data.folders import given_splits, listing, stop_on, told
from torchfolio.data.masks import BACKGROUND, IGNORE
from torchfolio.data.readers.coco import Pictured, Thing, find_files, read_pictures
from torchfolio.data.records import digest, fingerprint
from torchfolio.data.scan import IGNORED, scan
from torchfolio.data.scenes import Classes, SceneFiles
from torchfolio.errors import DataError

POINTS = 3  # of a polygon, at least


class CocoMasks(Reader):
    """A JSON file of COCO's form for each split: the pixels of each object as its class.

    Background is class 0. Smaller objects lie over larger ones; crowds count neither in the loss
    nor in figures. Record: path of the picture, shapes of its objects.
    """

    name: ClassVar[str] = "coco-masks"
    reads: ClassVar[str] = "masks in JSON files (COCO polygons and run lengths)"
    kind: ClassVar[str] = "semantic-segmentation"

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
            keep.append(place)
            shapes.append(shapes_of(picture, numbers, height, width, problems))
        stop_on(problems, on_error, path)
        if not keep or not names:
            raise DataError(
                f"{path} has no picture with shapes that can be read: {self.reads} was expected.\n"
                + told(problems)
            )
        rows = np.array(keep)
        sizes = scanned.sizes[rows]
        records = SceneFiles(
            root,
            [pictures[place].image for place in keep],
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
            facts=records.facts(),
            problems=problems,
            reading=f"masks in {listing([each.name for each in files])}: polygons and run lengths",
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
        if list(shape.get("size", ())) != [height, width]:
            raise DataError(
                f"its run lengths are of {shape.get('size')}, its picture {height} x {width}"
            )
        runs = (
            tools.frPyObjects(shape, height, width)
            if isinstance(shape.get("counts"), list)
            else shape
        )
    else:
        if not isinstance(shape, list) or not shape:
            raise DataError("it has a box and no shape (segmentation)")
        for place, polygon in enumerate(shape):
            numbers = isinstance(polygon, list) and all(
                isinstance(each, int | float) and np.isfinite(each) for each in polygon
            )
            if not numbers or len(polygon) % 2:
                raise DataError(f"polygon {place} is no list of pairs of numbers")
            if len(polygon) < 2 * POINTS:
                raise DataError(
                    f"polygon {place} has {len(polygon) // 2} points, not {POINTS} or more"
                )
        runs = tools.merge(tools.frPyObjects(shape, height, width))
    return runs, float(tools.area(runs))
