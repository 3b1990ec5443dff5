"""What every reader of boxes ends with: a dataset of pictures and the objects in them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.boxes import BoxFiles, Objects, box_areas, told_objects
from torchfolio.data.dataset import Dataset, Problem, Reader
from torchfolio.data.folders import given_splits, stop_on, told
from torchfolio.data.kinds import BOXED
from torchfolio.data.records import fingerprint
from torchfolio.data.scan import IGNORED, Scan
from torchfolio.errors import DataError
from torchfolio.options import plain

LEAST = 1e-3  # pixels: a box that is narrower or lower holds nothing
BEYOND = 2.0  # pixels that a box may reach beyond its picture without being named
SHARE_BEYOND = 0.05  # of the side of the picture, where that is more
YES = ("1", "1.0", "true", "yes")  # how files say that an object is difficult, or a crowd


@dataclass(frozen=True)
class Row:
    """One object as a file has it: its class, its box, and ``where`` a person finds it.

    ``area`` is that of its shape in pixels, 0 where the file has none.
    """

    label: int
    box: tuple[float, float, float, float]
    where: str
    aside: bool = False
    crowd: bool = False
    area: float = 0.0


@dataclass
class Annotated:
    """One picture's file (relative to the root, with "/"), its split and its objects.

    ``source`` is the file that says them; ``size`` (height, width) is what it says of the picture,
    0 where it says nothing.
    """

    image: str
    split: str
    rows: list[Row]
    source: str
    size: tuple[int, int] = (0, 0)


def box_dataset(
    *,
    reader: Reader,
    path: Path,
    root: Path,
    scan: Scan,
    annotated: Sequence[Annotated],
    classes: Sequence[str],
    problems: list[Problem],
    on_error: str,
    reading: str,
    groups: NDArray[Any] | None = None,
    notes: Sequence[Problem] = (),
) -> Dataset:
    """Return the dataset of annotated pictures; ``scan`` and ``groups`` have a row for each.

    Pictures that do not open, and boxes that are none, are named in ``problems`` and left out. A
    picture without objects stays: it says that there is nothing. ``notes`` are problems that stop
    nothing; so are boxes that reach far beyond their pictures, which are cut off.
    """
    keep: list[int] = []
    objects: list[Objects] = []
    cut_off: list[Problem] = []
    for place, each in enumerate(annotated):
        error = scan.errors[place]
        if error:
            problems.append(Problem(each.image, "not a picture" if error == IGNORED else error))
            continue
        height, width = scan.sizes[place].tolist()
        if min(each.size) > 0 and each.size != (height, width):
            said = f"{each.size[1]} x {each.size[0]}"
            turned = " (it is shown turned)" if each.size == (width, height) else ""
            problems.append(
                Problem(
                    each.source,
                    f"{each.image} has {width} x {height} pixels{turned}, and its boxes are for "
                    f"{said}: left out",
                )
            )
            continue
        keep.append(place)
        objects.append(objects_of(sound(each, height, width, problems, cut_off)))
    stop_on(problems, on_error, path)
    if not keep or not classes:
        text = f"{path} has no picture with boxes that can be read: {reader.reads} was expected."
        raise DataError("\n".join([text, told([*problems, *notes])]).rstrip())
    rows = np.array(keep)
    names = [annotated[place].image for place in keep]
    records = BoxFiles(
        root,
        names,
        scan.digests[rows],
        scan.sizes[rows],
        scan.channels[rows],
        scan.deep[rows],
        objects,
    )
    return Dataset(
        kind=BOXED,
        name=str(path),
        path=str(path),
        reader=reader.name,
        records=records,
        given=given_splits([annotated[place].split for place in keep]),
        fingerprint=fingerprint(
            "\n".join(names), records.digests(), *told_objects(objects), classes
        ),
        classes=tuple(classes),
        groups=None if groups is None else groups[rows],
        facts=records.facts(),
        problems=[*problems, *cut_off, *notes],
        reader_options=plain(reader.options),
        reading=reading,
    )


def is_again(image: str, source: str, taken: dict[str, str], problems: list[Problem]) -> bool:
    """Return whether a picture is among those taken, each with its file; name it, or take it."""
    if image in taken:
        text = f"{image} was named before, in {taken[image]}: left out here"
        problems.append(Problem(source, text))
        return True
    taken[image] = source
    return False


def objects_of(rows: Sequence[Row]) -> Objects:
    """Return the objects that rows of a file say."""
    boxes = np.array([row.box for row in rows], np.float32).reshape(-1, 4)
    told = np.array([row.area for row in rows], np.float32)
    return Objects(
        boxes,
        np.array([row.label for row in rows], np.int64),
        np.array([row.aside for row in rows], bool),
        np.array([row.crowd for row in rows], bool),
        np.where(told > 0, told, box_areas(boxes)),
    )


def sound(
    picture: Annotated, height: int, width: int, problems: list[Problem], cut_off: list[Problem]
) -> list[Row]:
    """Return the boxes that hold something, cut off at the picture's edges; name the others.

    ``cut_off`` gets those that reach far beyond the edges.
    """
    found: list[Row] = []
    seen: dict[tuple[int, tuple[float, ...]], str] = {}
    for row in picture.rows:
        wrong = wrong_box(row, height, width)
        if not wrong and (row.label, row.box) in seen:
            wrong = f"the same box as {seen[row.label, row.box]}"
        if wrong:
            problems.append(Problem(picture.source, f"{row.where}: {wrong}: left out"))
            continue
        seen[row.label, row.box] = row.where
        left, top, right, bottom = row.box
        cut = (max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom))
        far = beyond(row, height, width)
        if cut != row.box or min(right - left, bottom - top) < 1:  # others still hold something
            wrong = wrong_box(Row(row.label, single(cut), row.where), height, width)
            row = replace(row, box=cut)
        if wrong:
            problems.append(Problem(picture.source, f"{row.where}: {wrong}: left out"))
            continue
        if far:
            cut_off.append(Problem(picture.source, f"{row.where}: {far}: cut off", note=True))
        found.append(row)
    return found


def is_yes(value: Any) -> bool:
    """Return whether a file's value, a number or text, says yes: 1, "1", true."""
    return str(value).strip().lower() in YES


def single(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Return a box in the precision in which it is kept."""
    left, top, right, bottom = np.array(box, np.float32).tolist()
    return left, top, right, bottom


def beyond(row: Row, height: int, width: int) -> str:
    """Return how far a box reaches beyond its picture; "" where it is little, or not at all."""
    left, top, right, bottom = row.box
    across, down = max(-left, right - width), max(-top, bottom - height)
    if across <= max(BEYOND, SHARE_BEYOND * width) and down <= max(BEYOND, SHARE_BEYOND * height):
        return ""
    return (
        f"the box ({left:g}, {top:g}, {right:g}, {bottom:g}) reaches {max(across, down):g} pixels "
        f"beyond its picture of {width} x {height} pixels"
    )


def wrong_box(row: Row, height: int, width: int) -> str:
    """Return what is wrong with a box; "" where nothing is."""
    left, top, right, bottom = row.box
    if not all(map(math.isfinite, row.box)):
        return "not every side is a number"
    if right - left < LEAST or bottom - top < LEAST:
        return f"a box {right - left:g} pixels wide and {bottom - top:g} high"
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        return (
            f"the box ({left:g}, {top:g}, {right:g}, {bottom:g}) lies outside its picture of "
            f"{width} x {height} pixels"
        )
    return ""
