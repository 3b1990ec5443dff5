"""Pictures and their masks in one file: a half of it each, as pix2pix has them."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from torchfolio.data.dataset import Dataset, Problem, Progress
from torchfolio.data.folders import SPLIT_OF, descend, entries, split_in, stop_on, told
from torchfolio.data.masks import STEP, MaskFacts, Raw, calm, channels, examine_values, read_mask
from torchfolio.data.pairing import is_picture
from torchfolio.data.readers.image_folder import walk
from torchfolio.data.readers.image_masks import ImageMasks
from torchfolio.data.scan import IGNORED, READERS, scan
from torchfolio.data.scenes import HalfMasks, HalfScenes, half_of
from torchfolio.errors import DataError

LOOK = 12  # files that are looked at to recognise the layout
MOST = 16  # colours, coarsely, that make up a half that is a mask
SHARE = 0.97  # of it: how much of its calm pixels they are


class MaskHalves(ImageMasks):
    """Files twice as wide as their pictures: one half the picture, the other its mask.

    They lie in one folder, or in folders of splits. The half that has few colours is the mask.
    Record: path of the file.
    """

    name: ClassVar[str] = "mask-halves"
    reads: ClassVar[str] = "files whose one half is a picture, the other its mask (pix2pix)"

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        if not path.is_dir():
            return None
        root = descend(path)
        files = pictures_of(root, [])
        return told_side(mask_side(root, files)) if files else None

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        root = descend(path)
        problems: list[Problem] = []
        files = pictures_of(root, problems)
        right = mask_side(root, files)
        scanned = scan(root, files, self.name, progress)
        facts = [None] * len(files) if right is None else self.facts(root, files, right)
        keep: list[int] = []
        held: list[MaskFacts] = []
        for row, name in enumerate(files):
            error, found = scanned.errors[row], facts[row]
            if error:
                problems.append(Problem(name, "not a picture" if error == IGNORED else error))
            elif isinstance(found, Problem):
                problems.append(found)
            elif scanned.sizes[row, 1] % 2:
                text = f"{scanned.sizes[row, 1]} pixels wide, which are no two halves"
                problems.append(Problem(name, text))
            elif found is not None:
                keep.append(row)
                held.append(found)
        stop_on(problems, on_error, path)
        if not keep or right is None:
            raise DataError(
                f"{path} has no file that can be read: {self.reads} was expected, and a mask has "
                f"few colours.\n{told(problems)}"
            )
        rule = self.rule(root, held)
        texts = [rule.stray(each) for each in held]
        problems += [
            Problem(files[row], text) for row, text in zip(keep, texts, strict=True) if text
        ]
        keep = [row for row, text in zip(keep, texts, strict=True) if not text]
        self.require(path, keep, problems, on_error)
        rows, names = np.array(keep), [files[row] for row in keep]
        masks = HalfMasks(
            root, [(name,) for name in names], [None] * len(names), rule, scanned.digests[rows]
        )
        masks.right = right
        records = HalfScenes(
            root,
            names,
            scanned.digests[rows],
            scanned.sizes[rows] // [1, 2],
            scanned.channels[rows],
            scanned.deep[rows],
            masks,
        )
        splits = [split_in(name) or "train" for name in names]
        how = told_side(right) or ""
        return self.dataset(path, records, splits, self.groups(names), how, problems)

    @staticmethod
    def facts(root: Path, files: Sequence[str], right: bool) -> list[Any]:
        """Return what the masks hold, or what is wrong with them, in threads."""

        def one(name: str) -> MaskFacts | Problem:
            try:
                found = read_mask((root / name).read_bytes(), suffix_of(name))
                return examine_values(replace(found, values=half_of(found.values, right)))
            except OSError as error:
                return Problem(name, f"cannot be read: {error.strerror or error}")
            except DataError as error:
                return Problem(name, str(error))

        with ThreadPoolExecutor(READERS, thread_name_prefix="folio-masks") as pool:
            return list(pool.map(one, files))


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name in lower case."""
    return PurePosixPath(name).suffix.lower()


def pictures_of(root: Path, problems: list[Problem]) -> list[str]:
    """Return the pictures in a folder, or in its folders of splits; none where it has others."""
    folders, _ = entries(root)
    if any(name.lower() not in SPLIT_OF or entries(root / name)[0] for name in folders):
        return []
    return [each for each in walk(root, root, problems) if is_picture(each)]


def mask_side(root: Path, files: Sequence[str]) -> bool | None:
    """Return whether the right halves are masks; ``None`` where neither are."""
    shares = []
    for name in files[:: -(-len(files) // LOOK)]:
        try:
            values = read_mask((root / name).read_bytes(), suffix_of(name), "colour").values
        except (OSError, DataError):
            continue
        if values.shape[1] % 2 == 0 and values.shape[1] > values.shape[0]:
            shares.append([flat(half_of(values, side)) for side in (False, True)])
    if not shares:
        return None
    left, right = np.median(shares, axis=0)
    if max(left, right) < SHARE or min(left, right) >= SHARE:
        return None
    return bool(right > left)


def flat(values: Raw) -> float:
    """Return what share of the calm pixels, those away from edges, is of the commonest colours."""
    some = calm(values, "colour")
    cells = ((channels(some) + STEP // 2) // STEP).tolist()
    counts = Counter(map(tuple, cells))
    return sum(number for _, number in counts.most_common(MOST)) / len(cells)


def told_side(right: bool | None) -> str | None:
    """Return in words which half is which."""
    if right is None:
        return None
    sides = ("left", "right") if right else ("right", "left")
    return f"pictures in the {sides[0]} halves of the files, masks in the {sides[1]}"
