"""Pictures, in files or in memory, with masks that say of every pixel what it shows."""

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.images import Pixels
from torchfolio.data.mask_rules import MaskRule
from torchfolio.data.masks import IGNORE, Kind, Raw, read_mask
from torchfolio.data.records import ImageArray, ImageFiles, digest
from torchfolio.errors import DataError

Classes = NDArray[np.uint8]  # (height, width): class indices, or IGNORE


class MaskFiles:
    """The masks of pictures, in files, read as classes by one rule.

    ``parts`` say of each file which class its foreground is, where each file has one class (else
    none). Of several masks of one picture the later ones lie over the earlier, and the smaller
    over the larger where each has one class, where they are not background. Outside the field of
    view, which is what lies above ``cut`` where there is a file of it, nothing counts. ``table``
    (256,) gives classes other numbers.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[tuple[str, ...]],
        fields: Sequence[str | None],
        rule: MaskRule,
        digests: NDArray[np.uint64],
        parts: Sequence[tuple[int, ...]] | None = None,
        cut: int = 0,
    ) -> None:
        self.root = root
        self.names = list(names)
        self.fields = list(fields)
        self.rule = rule
        self.digests = digests
        self.parts = parts
        self.cut = cut
        self.table: Classes | None = None

    def get(self, index: int) -> Classes:
        """Return the class of every pixel of a picture; raise ``DataError``."""
        layers: Iterable[Classes] = map(self.classes_of, self.names[index])
        if self.parts is not None:
            layers = largest_first(layers, self.parts[index])
        found: Classes | None = None
        for over in layers:
            inside = (over > 0) & (over != IGNORE)
            found = over if found is None else np.where(inside, over, found)
        assert found is not None  # a picture has at least one mask
        if self.table is not None:
            found = self.table[found]
        view = self.fields[index]
        if view is not None:
            found = np.where(self.values_of(view, "grey") > self.cut, found, np.uint8(IGNORE))
        return found

    def objects(self, index: int) -> NDArray[np.int32] | None:
        """Return the number of the object that each pixel is of, 0 for none, where files tell.

        They do where they number objects of one class, or where a picture has several of one class:
        each holds one object then.
        """
        names, rule = self.names[index], self.rule
        if len(names) > (1 if self.parts is None else len(set(self.parts[index]))):
            inside = [self.classes_of(name) % IGNORE > 0 for name in names]
            found = np.zeros(inside[0].shape, np.int32)
            for number, each in enumerate(inside, 1):
                found[each] = number
            return found
        return self.values_of(names[0], rule.kind) if rule.numbered else None

    def classes_of(self, name: str) -> Classes:
        """Return the classes that one file holds; raise ``DataError`` with its name."""
        try:
            return self.rule.classes_of(self.values_of(name, self.rule.kind))
        except DataError as error:
            raise DataError(f"{self.root / name}: {error}") from error

    def renumbered(self, table: Classes) -> "MaskFiles":
        """Return the same masks with other classes: those of ``table`` (256,)."""
        found = copy.copy(self)
        found.table = table if self.table is None else table[self.table]
        return found

    def values_of(self, name: str, kind: Kind) -> Raw:
        """Return the values of a file."""
        path = self.root / name
        return read_mask(path.read_bytes(), path.suffix.lower(), kind).values


def largest_first(layers: Iterable[Classes], parts: Sequence[int]) -> list[Classes]:
    """Return masks with a foreground, 1, as masks of a class each, by falling foreground.

    Those that cover as much stay in their order.
    """
    pairs = sorted(zip(layers, parts, strict=True), key=lambda each: -np.sum(each[0] == 1))
    return [np.where(layer == 1, np.uint8(part), layer) for layer, part in pairs]


class SceneFiles(ImageFiles):
    """Pictures in files below one folder, with their masks."""

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        digests: NDArray[np.uint64],
        sizes: NDArray[np.int64],
        channels: NDArray[np.int64],
        deep: NDArray[np.bool_],
        masks: MaskFiles,
    ) -> None:
        super().__init__(root, names, digests, sizes, channels, deep)
        self.masks = masks

    def renumbered(self, table: Classes) -> "SceneFiles":
        """Return the same pictures with other classes of their masks' pixels."""
        found = copy.copy(self)
        found.masks = self.masks.renumbered(table)
        return found


def half_of(values: Any, right: bool) -> Any:
    """Return the left or the right half of a picture or mask, (height, width, ...)."""
    middle = values.shape[1] // 2
    return values[:, middle:] if right else values[:, :middle]


class HalfMasks(MaskFiles):
    """Masks that are one half of each file, the right one unless ``right`` is false."""

    right = True

    def values_of(self, name: str, kind: Kind) -> Raw:
        """Return the values of a file's half."""
        found: Raw = half_of(super().values_of(name, kind), self.right)
        return found


class HalfScenes(SceneFiles):
    """Pictures that are one half of each file, beside their masks; ``sizes`` are of the halves."""

    masks: HalfMasks

    def pixels(self, index: int, depth: int | None = None) -> Pixels:
        return np.ascontiguousarray(half_of(super().pixels(index, depth), not self.masks.right))


class MaskArray:
    """The masks of pictures of one size in memory: ``array`` (count, height, width)."""

    def __init__(self, array: Classes) -> None:
        self.array = array
        self.digests = np.array([digest(each.tobytes()) for each in array], np.uint64)

    def get(self, index: int) -> Classes:
        """Return the class of every pixel of a picture."""
        return self.array[index]

    def renumbered(self, table: Classes) -> "MaskArray":
        """Return the same masks with other classes: those of ``table`` (256,)."""
        return MaskArray(table[self.array])


class SceneArray(ImageArray):
    """Pictures of one size in memory, with their masks."""

    def __init__(self, array: Pixels, sources: Sequence[tuple[str, int]], masks: MaskArray) -> None:
        super().__init__(array, sources)
        self.masks = masks
        self.channels = array.shape[3]

    def unchanged(self, index: int) -> bool:
        """Return whether a picture is what it was when the data were read."""
        return True

    def renumbered(self, table: Classes) -> "SceneArray":
        """Return the same pictures with other classes of their masks' pixels."""
        found = copy.copy(self)
        found.masks = self.masks.renumbered(table)
        return found
