"""Masks of objects turned into boxes: one around each object."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from torchfolio.connected import objects
from torchfolio.data.dataset import Dataset, Problem, Progress
from torchfolio.data.folders import counted, descend
from torchfolio.data.kinds import BOXED
from torchfolio.data.mask_rules import MaskRule, numbered, understand
from torchfolio.data.masks import IGNORE, MaskFacts, read_mask
from torchfolio.data.readers.boxed import Annotated, Row, box_dataset
from torchfolio.data.readers.image_masks import (
    ImageMasks,
    MaskOptions,
    classes_by_file,
    sound_pairs,
)
from torchfolio.options import option

OBJECT = "object"  # the class of objects that masks only number


@dataclass(frozen=True)
class MaskBoxOptions(MaskOptions):
    """Settings of the turning of masks into boxes."""

    objects: Literal["auto", "numbers", "files", "groups"] = option(
        "auto",
        "What one object is: pixels with one number, the foreground of a file, or pixels of a "
        "class that touch.",
    )


class MaskBoxes(ImageMasks):
    """The boxes around the objects that masks show: one number an object, or a file.

    Pictures and masks are paired as ``image-masks`` pairs them. Masks whose values go from 1 on
    without a gap number objects; of several masks a picture, or several of one class, each is an
    object; else pixels of a class that touch are one. Record: path of the picture, its boxes and
    classes.
    """

    name: ClassVar[str] = "mask-boxes"
    reads: ClassVar[str] = "pictures and masks as of image-masks, a box around each object"
    kind: ClassVar[str] = BOXED
    Options = MaskBoxOptions
    options: MaskBoxOptions

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        root = descend(path)
        problems: list[Problem] = []
        found = sound_pairs(root, self.name, problems, progress)
        pairs = found.pairs
        facts = [each for row in found.keep for each in found.facts(row)]
        self.require(path, found.keep, problems, "skip")
        of_files = [pairs.parts[row] for row in found.keep]
        named = classes_by_file(of_files)
        how, keep = self.options.objects, found.keep
        told = self.options.mask_values is not None or self.options.class_names is not None
        if how == "auto" and told:
            how = "groups"  # values have been given a meaning
        elif how == "auto":
            how = self.told_by(facts, of_files, named)
        classes: Sequence[str] = (OBJECT,)
        rule: MaskRule | None = None
        if how != "numbers":
            meant = how == "groups" or told or named
            rule = self.rule(root, facts, named) if meant else understand(facts)
            keep = found.fitting(rule, problems)
            self.require(path, keep, problems, on_error)
            if how == "groups" or named:
                classes = rule.names[1:]
        annotated = []
        for row in keep:
            each = Annotated(pairs.images[row], pairs.splits[row], [], pairs.masks[row][0])
            for place, name in enumerate(pairs.masks[row]):
                data = (root / name).read_bytes()
                raw = read_mask(
                    data, Path(name).suffix.lower(), rule.kind if rule else "grey"
                ).values
                if rule is None:
                    parts = numbers_of(raw)
                else:
                    inside = rule.classes_of(raw)
                    parts = whole(inside) if how == "files" else groups_of(inside)
                    if named:
                        own = named.index(pairs.parts[row][place])
                        parts = ((own, mask, text) for _, mask, text in parts)
                each.rows += [
                    Row(label, box, f"{name}: {text}") for label, box, text in boxes_of(parts)
                ]
            annotated.append(each)
        words = {
            "numbers": "one number an object",
            "files": "a file for each object",
            "groups": f"pixels of a class that touch, {counted(len(classes), 'class')}",
        }
        return box_dataset(
            reader=self,
            path=path,
            root=root,
            scan=found.scan.chosen(keep).in_colours(),
            annotated=annotated,
            classes=classes,
            problems=problems,
            on_error=on_error,
            groups=self.groups([pairs.images[row] for row in keep]),
            reading=f"{found.how}; boxes around objects: {words[how]} (--objects)",
        )

    @staticmethod
    def told_by(
        facts: Sequence[MaskFacts], of_files: Sequence[tuple[str, ...]], named: Sequence[str]
    ) -> Literal["numbers", "files", "groups"]:
        """Return what one object is, as the masks tell.

        ``of_files`` are what each picture's files are called, ``named`` the classes among that.
        """
        if any(len(each) > (len(set(each)) if named else 1) for each in of_files):
            return "files"
        several = max((max(each.values, default=0) for each in facts), default=0) > 1
        grey = all(each.kind == "grey" and not each.lossy for each in facts)
        return "numbers" if grey and several and numbered(facts) else "groups"


Part = tuple[int, NDArray[np.bool_], str]  # class, pixels, and how it is named


def numbers_of(raw: NDArray[np.int32]) -> Iterator[Part]:
    """Give the objects that a mask numbers; 0 is none, nor is 255 behind a gap (VOC's borders)."""
    values = [each for each in np.unique(raw).tolist() if each]
    if IGNORE in values and IGNORE - 1 not in values:
        values.remove(IGNORE)
    for value in values:
        yield 0, raw == value, f"object {value}"


def whole(classes: NDArray[np.uint8]) -> Iterator[Part]:
    """Give the one object of a mask: all of a class but the first."""
    inside = (classes > 0) & (classes != IGNORE)
    if inside.any():
        yield 0, inside, "object"


def groups_of(classes: NDArray[np.uint8]) -> Iterator[Part]:
    """Give the groups of touching pixels of each class but the first."""
    for label in np.unique(classes).tolist():
        if label in (0, IGNORE):
            continue
        numbers, count = objects(classes == label)
        for place in range(1, count + 1):
            yield label - 1, numbers == place, f"object {place}"


def boxes_of(
    parts: Iterator[Part],
) -> Iterator[tuple[int, tuple[float, float, float, float], str]]:
    """Give class, box and name of each part."""
    for label, mask, text in parts:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        yield (
            label,
            (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)),
            text,
        )
