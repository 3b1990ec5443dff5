"""Scenes of several handwritten digits, with masks, made of those that come with the package."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.boxes import BoxArray, Objects, box_areas, told_objects
from torchfolio.data.dataset import Dataset, Progress, Reader
from torchfolio.data.kinds import BOXED, MASKED
from torchfolio.data.readers.digits import enlarge, read_digits
from torchfolio.data.records import fingerprint
from torchfolio.data.scenes import MaskArray, SceneArray

NAME = "digit-scenes"
SIDE = 96  # pixels of a scene
SEED = 0  # of places, sizes and noise: the scenes are always the same
FACTORS = (3, 4, 5)  # pixels of a digit's side are 8 times one of these
TRIES = 40  # of a place where a digit does not touch another; else the next scene begins
MOST = 5  # digits in a scene
INK = 96  # of 255: what a pixel must have to belong to a digit
CLASSES = ("background", *map(str, range(10)))


class DigitScenes(Reader):
    """The 1,797 digits of ``digits``, each in one scene of 96x96 pixels with up to four others.

    The digits are real; where they stand, their sizes and the noise around them are drawn. Masks
    have class 1 for a 0, and so on. No digit is in two scenes.
    """

    name: ClassVar[str] = NAME
    reads: ClassVar[str] = "the built-in scenes of handwritten digits, by the name 'digit-scenes'"
    kind: ClassVar[str] = MASKED

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        return None  # opened by its name, never by a path

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        pictures, masks, _ = scenes()
        records = SceneArray(pictures[..., None], [(NAME, len(pictures))], MaskArray(masks))
        return Dataset(
            kind=self.kind,
            name=NAME,
            path=NAME,
            reader=self.name,
            records=records,
            given={"train": np.arange(len(pictures))},
            fingerprint=fingerprint(NAME, pictures, masks),
            classes=CLASSES,
            facts=records.facts(),
            problems=[],
            reading="scenes of digits; masks: 0 is background, then the digits from 0 to 9",
        )


class DigitBoxes(Reader):
    """The scenes of :class:`DigitScenes` with a box around each digit."""

    name: ClassVar[str] = "digit-boxes"
    reads: ClassVar[str] = "boxes in the built-in scenes of digits, by the name 'digit-boxes'"
    kind: ClassVar[str] = BOXED

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        return None  # opened by its name, never by a path

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        pictures, _, objects = scenes()
        records = BoxArray(pictures[..., None], [(self.name, len(pictures))], objects)
        return Dataset(
            kind=self.kind,
            name=self.name,
            path=self.name,
            reader=self.name,
            records=records,
            given={"train": np.arange(len(pictures))},
            fingerprint=fingerprint(self.name, pictures, *told_objects(objects)),
            classes=CLASSES[1:],
            facts=records.facts(),
            problems=[],
            reading="scenes of digits, with a box around each",
        )


def scenes() -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[Objects]]:
    """Return the pictures and the classes of their pixels, both (scenes, 96, 96), and the boxes."""
    values, labels = read_digits()
    random = np.random.default_rng(SEED)
    bitmaps = {factor: enlarge(values, factor) for factor in FACTORS}
    ink: list[NDArray[np.uint8]] = []
    masks: list[NDArray[np.uint8]] = []
    rows: list[list[tuple[int, ...]]] = []
    count = MOST  # of the digits in the last scene
    wanted = 0
    for index in random.permutation(len(values)).tolist():
        bitmap = bitmaps[FACTORS[random.integers(len(FACTORS))]][index]
        place = free_place(masks[-1], len(bitmap), random) if count < wanted else None
        if place is None:
            ink.append(np.zeros((SIDE, SIDE), np.uint8))
            masks.append(np.zeros((SIDE, SIDE), np.uint8))
            rows.append([])
            count, wanted = 0, int(random.integers(1, MOST + 1))
            place = free_place(masks[-1], len(bitmap), random)
            assert place is not None  # a scene without digits has room
        window = (slice(place[0], place[0] + len(bitmap)), slice(place[1], place[1] + len(bitmap)))
        ink[-1][window] = np.maximum(ink[-1][window], bitmap)
        masks[-1][window][bitmap > INK] = labels[index] + 1
        row, column = np.nonzero(bitmap > INK)
        corners = column.min(), row.min(), column.max() + 1, row.max() + 1
        at = (place[1], place[0]) * 2
        rows[-1].append(
            (*(int(c) + a for c, a in zip(corners, at, strict=True)), int(labels[index]))
        )
        count += 1
    shape = (len(ink), SIDE, SIDE)
    paper = random.uniform(20, 90, (len(ink), 1, 1)) + random.normal(0, 12, shape)
    strength = random.uniform(0.5, 0.75, (len(ink), 1, 1))
    pictures = paper + strength * np.stack(ink)
    return pictures.clip(0, 255).round().astype(np.uint8), np.stack(masks), list(map(boxed, rows))


def boxed(rows: list[tuple[int, ...]]) -> Objects:
    """Return the objects of one scene: left, top, right, bottom and digit of each."""
    table = np.array(rows)
    aside = np.zeros(len(rows), bool)
    boxes, labels = table[:, :4].astype(np.float32), table[:, 4].astype(np.int64)
    return Objects(boxes, labels, aside, aside, box_areas(boxes))


def free_place(
    mask: NDArray[np.uint8], side: int, random: np.random.Generator
) -> tuple[int, int] | None:
    """Return where a digit stands that touches no other; none where no place was found."""
    for _ in range(TRIES):
        top, left = random.integers(0, SIDE - side + 1, 2).tolist()
        if not mask[top : top + side, left : left + side].any():
            return top, left
    return None
