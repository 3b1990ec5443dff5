"""Pictures with a mask each, which says of every pixel what it shows."""

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.class_names import told_classes
from torchfolio.data.dataset import Dataset, Problem, Progress, Reader
from torchfolio.data.folders import (
    SPLIT_OF,
    counted,
    descend,
    entries,
    given_splits,
    listing,
    require_some,
)
from torchfolio.data.kinds import MASKED
from torchfolio.data.mask_rules import FEW_INDICES, MaskRule, otsu, understand
from torchfolio.data.masks import BACKGROUND, FOREGROUND, MaskFacts, examine_mask
from torchfolio.data.pairing import (
    IMAGES,
    LISTS,
    LOOK,
    Pairs,
    Place,
    find_places,
    is_mask,
    is_picture,
    pair,
    pair_beside,
)
from torchfolio.data.readers.image_folder import walk
from torchfolio.data.records import digest, fingerprint
from torchfolio.data.scan import IGNORED, READERS, Scan, scan
from torchfolio.data.scenes import MaskFiles, SceneFiles
from torchfolio.data.voc_lists import splits_of_lists, stem_of
from torchfolio.errors import DataError, RequestError
from torchfolio.options import option, plain

COLOURED = 3  # channels: of pictures that have more, all must have as many
TOLD = 3  # places of pictures and masks that are said
LEAST_GROUPS = 5  # of names or folders of pictures, from which on they are groups
MOST_NAMES = 0.9  # of all: how many must be of a series
YEAR = re.compile(r"(19|20)\d\d$")  # alone it is no patient: 2007_000032 of VOC
SERIES = re.compile(r"^(.*\d.*?)[\W_]+(?:slice|frame)?[\W_]*\d+$", re.IGNORECASE)
TURNED = re.compile(r"^(?:(?:flipped|mirrored|rotated|augmented)[\W_]+)+", re.IGNORECASE)
BESIDE = "pictures beside their masks (NAME and NAME_mask)"


@dataclass(frozen=True)
class MaskOptions:
    """Settings of the reading of masks."""

    mask_values: str | None = option(
        None, "What the values of masks are: 0=background 255=tumour, or #ff0000=kidney."
    )
    class_names: str | None = option(
        None, "The names of the classes in the order of their indices, with commas."
    )
    group_pattern: str | None = option(
        None,
        "A regular expression: what it finds in a name is the group (patient); or none.",
    )


class ImageMasks(Reader):
    """Folders of pictures and of masks, or NAME beside NAME_mask.

    Pairs are told by names. What the values of masks mean is read off all of them, unless
    ``mask_values`` says it. Record: path of the picture, paths of its masks.
    """

    name: ClassVar[str] = "image-masks"
    reads: ClassVar[str] = "a folder of pictures and one of masks, or NAME beside NAME_mask"
    kind: ClassVar[str] = MASKED
    Options = MaskOptions
    options: MaskOptions

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        if not path.is_dir():
            return None
        root = descend(path)
        places = find_places(root)
        masks = (each for place in places[:LOOK] for each in walk(root / place.masks, root))
        if any(is_picture(each) for each in masks):
            return told_places(places)
        files = [each for each in walk(root, root) if is_picture(each)]
        if not any(is_mask(each) for each in files):
            return None
        pairs = pair_beside(files)  # a class may be called "mask", whose pictures have no partners
        return BESIDE if len(pairs.images) > len(pairs.alone) + len(pairs.spare) else None

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        root = descend(path)
        problems: list[Problem] = []
        found = sound_pairs(root, self.name, problems, progress)
        pairs, pictures, masks, keep = found.pairs, found.scan, found.masks, found.keep
        self.require(path, keep, problems, on_error)
        named = classes_by_file([pairs.parts[row] for row in keep])
        rule = self.rule(root, [each for row in keep for each in found.facts(row)], named)
        keep = found.fitting(rule, problems)
        self.require(path, keep, problems, on_error)
        parts = None
        if named:
            places = {name: place for place, name in enumerate(rule.names)}
            parts = [tuple(places[each] for each in pairs.parts[row]) for row in keep]
        rows = np.array(keep)
        groups = self.groups([pairs.images[row] for row in keep])
        records = SceneFiles(
            root,
            [pairs.images[row] for row in keep],
            pictures.digests[rows],
            pictures.sizes[rows],
            pictures.channels[rows],
            pictures.deep[rows],
            MaskFiles(
                root,
                [pairs.masks[row] for row in keep],
                [pairs.fields[row] for row in keep],
                rule,
                np.array([masks[row].digest for row in keep], np.uint64),
                parts,
                cut_of([each for row in keep for each in found.views(row)]),
            ),
        )
        splits = [pairs.splits[row] for row in keep]
        return self.dataset(path, records, splits, groups, found.how, problems)

    def require(
        self, path: Path, keep: Sequence[int], problems: list[Problem], on_error: str
    ) -> None:
        """Raise where no picture is left, or there are problems that should stop the reading."""
        what = f"no picture with a mask that can be read: {self.reads} was expected"
        require_some(keep, what, path, problems, on_error)

    def dataset(
        self,
        path: Path,
        records: SceneFiles,
        splits: Sequence[str],
        groups: NDArray[Any] | None,
        how: str,
        problems: list[Problem],
    ) -> Dataset:
        """Return the dataset of pictures with masks; ``how`` says where they were found."""
        masks = records.masks
        return Dataset(
            kind=MASKED,
            name=str(path),
            path=str(path),
            reader=self.name,
            records=records,
            given=given_splits(splits),
            fingerprint=fingerprint(
                *("\n".join(records.names), records.digests(), masks.digests),
                *(repr(masks.rule), repr(masks.parts)),
            ),
            classes=masks.rule.names,
            groups=groups,
            facts=records.facts(),
            problems=problems,
            reader_options=plain(self.options),
            reading="; ".join([how, f"masks: {masks.rule.reading}", *told_groups(groups)]),
        )

    def rule(
        self, root: Path, facts: Sequence[MaskFacts], of_files: Sequence[str] = ()
    ) -> MaskRule:
        """Return what the values of all masks mean; ``of_files`` are the classes of whole files."""
        if of_files:
            found = understand(facts)
            if found.names != (BACKGROUND, FOREGROUND):
                raise DataError(
                    f"the masks are named by classes ({listing(list(of_files))}), and each holds "
                    f"several ({listing(list(found.names))}): {found.reading}."
                )
            reading = f"a file for each of {listing(list(of_files))}, the smaller over the larger"
            return replace(found, names=(BACKGROUND, *of_files), reading=reading)
        return understand(facts, *told_classes(root, self.options))

    def groups(self, names: Sequence[str]) -> NDArray[Any] | None:
        """Return the group of each picture: what the pattern finds, or :func:`series` tells."""
        pattern = self.options.group_pattern
        return series(names) if pattern is None else groups_by(pattern, names)


def groups_by(text: str, names: Sequence[str]) -> NDArray[Any] | None:
    """Return what --group-pattern finds in each name; none for "none"; else ``RequestError``."""
    if text == "none":
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise RequestError(
            f"group-pattern is {text!r}, which is no regular expression: {error}."
        ) from error
    found = [pattern.search(each) for each in names]
    for name, match in zip(names, found, strict=True):
        if match is None:
            raise RequestError(
                f"group-pattern {text!r} finds nothing in {name}. It should find the group in the "
                "name of every picture."
            )
    return np.array([match[1] if match.groups() else match[0] for match in found if match], object)


def classes_by_file(parts: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the classes by which the files of masks are named; none where they are not.

    ``parts`` are what each picture's files are called, numbers left out: a class may have several.
    All have a name.
    """
    names = {each for row in parts for each in row}
    return sorted(names) if 1 < len(names) <= FEW_INDICES and "" not in names else []


def cut_of(views: Sequence[MaskFacts]) -> int:
    """Return the grey value above which fields of view are: the lowest, or 0 where it is alone.

    Those compressed with loss are cut between their two (Otsu, 1979).
    """
    counts: Counter[int] = Counter()
    for each in views:
        counts.update(each.as_kind("grey"))
    if any(each.lossy for each in views):
        return otsu(counts)
    return min(counts) if len(counts) > 1 else 0


def series(names: Sequence[str]) -> NDArray[Any] | None:
    """Return the patient, volume or film that pictures belong to, where their names tell.

    Names that are a number with another number behind it (10001_103, TCGA_CS_4941_12) are of one
    volume up to the latter, where nearly all are so; words for a turned copy before it are left
    out. Otherwise pictures that lie in many folders are of as many groups. None where neither is.
    """
    found = [SERIES.match(TURNED.sub("", PurePosixPath(each).stem)) for each in names]
    bodies = [match[1] for match in found if match and not YEAR.match(match[1])]
    if len(bodies) >= MOST_NAMES * len(names):
        groups = [
            name if match is None or YEAR.match(match[1]) else match[1]
            for name, match in zip(names, found, strict=True)
        ]
    else:
        groups = [str(PurePosixPath(each).parent) for each in names]
    return np.array(groups, object) if LEAST_GROUPS <= len(set(groups)) < len(names) else None


def told_groups(groups: NDArray[Any] | None) -> list[str]:
    """Return in words how many groups there are."""
    if groups is None:
        return []
    number = len(set(groups.tolist()))
    return [f"{number:,} groups, such as {groups[0]}, stay together (--group-pattern)"]


@dataclass(frozen=True)
class Examined:
    """What the files of one picture's masks, and its field of view, hold; and a number of that."""

    facts: list[MaskFacts]
    digest: int


@dataclass(frozen=True)
class Sound:
    """Pictures and their masks: ``keep`` are the rows of those that can be used.

    ``scan`` and ``masks`` have a row for each pair, ``how`` says where they were found.
    """

    pairs: Pairs
    how: str
    scan: Scan
    masks: list[Any]
    keep: list[int]

    def facts(self, row: int) -> list[MaskFacts]:
        """Return what the masks of a picture hold, without its field of view."""
        found: list[MaskFacts] = self.masks[row].facts[: len(self.pairs.masks[row])]
        return found

    def views(self, row: int) -> list[MaskFacts]:
        """Return what the field of view of a picture holds; none where it has none."""
        return list(self.masks[row].facts[len(self.pairs.masks[row]) :])

    def fitting(self, rule: MaskRule, problems: list[Problem]) -> list[int]:
        """Return the rows whose masks hold values of classes only; name the files of others."""
        found = []
        for row in self.keep:
            files = zip(self.pairs.masks[row], self.facts(row), strict=True)
            stray = [Problem(name, text) for name, each in files if (text := rule.stray(each))]
            problems += stray
            if not stray:
                found.append(row)
        return found


def sound_pairs(
    root: Path, reader: str, problems: list[Problem], progress: Progress | None
) -> Sound:
    """Find pictures and masks, and name in ``problems`` those that cannot be used."""
    pairs, how = find_pairs(root, problems)
    pictures = scan(root, pairs.images, reader, progress, bands=True)
    masks = examine_masks(root, pairs)
    most = int(pictures.channels.max(initial=0))
    keep = []
    for row, name in enumerate(pairs.images):
        error = pictures.errors[row]
        files = [*pairs.masks[row], *filter(None, [pairs.fields[row]])]
        if error:
            problems.append(Problem(name, "not a picture" if error == IGNORED else error))
        elif isinstance(masks[row], Problem):
            problems.append(masks[row])
        elif problem := differing(files, masks[row], pictures.sizes[row]):
            problems.append(problem)
        elif most > COLOURED and pictures.channels[row] != most:
            text = f"{pictures.channels[row]} channels; the others have {most}"
            problems.append(Problem(name, text))
        else:
            keep.append(row)
    return Sound(pairs, how, pictures, masks, keep)


def find_pairs(root: Path, problems: list[Problem]) -> tuple[Pairs, str]:
    """Return the pictures and masks below a folder, and how they were found."""
    places = find_places(root)
    if places:
        contents = []
        for place in places:
            images, masks, fields = (
                pictures_in(root, folder, problems)
                for folder in (place.images, place.masks, place.field)
            )
            contents.append((place, images, masks, fields))
        pairs, how = pair(contents), told_places(places)
    else:
        together = [each for each in walk(root, root, problems) if is_picture(each)]
        pairs, how = pair_beside(together), BESIDE
    problems += without_masks(root, places)
    for names, what in ((pairs.alone, "no mask"), (pairs.spare, "a mask without picture")):
        problems += [Problem(name, f"{what}: left out") for name in names]
    return pairs, how + told_by_lists(root, pairs, problems)


def without_masks(root: Path, places: Sequence[Place]) -> list[Problem]:
    """Name the folders of splits that have pictures and no masks, beside others that have both."""
    known = {PurePosixPath(each.images).parts[0] for each in places}
    found = []
    for name in entries(root)[0]:
        inner = {each.lower(): each for each in entries(root / name)[0]}
        images = next((inner[each] for each in IMAGES if each in inner), None)
        if places and name not in known and name.lower() in SPLIT_OF and images is not None:
            found.append(Problem(f"{name}/{images}", "no folder of masks beside it: left out"))
    return found


def pictures_in(root: Path, folder: str | None, problems: list[Problem]) -> list[str]:
    """Return the pictures below a folder, by their paths below the root."""
    if folder is None:
        return []
    return [each for each in walk(root / folder, root, problems) if is_picture(each)]


def told_places(places: Sequence[Place]) -> str:
    """Return in words where pictures and masks lie."""
    found = [
        f"pictures in {each.images}, masks in {each.masks}"
        + (f", fields of view in {each.field}" if each.field else "")
        for each in places[:TOLD]
    ]
    more = len(places) - TOLD
    return "; ".join(found) + (f"; and in {more:,} more folders" if more > 0 else "")


def told_by_lists(root: Path, pairs: Pairs, problems: list[Problem]) -> str:
    """Take the splits from VOC's lists of names, where there are any; tell what no list names."""
    names = [stem_of(each) for each in pairs.images]
    found: list[Problem] = []
    splits = splits_of_lists(root, LISTS, set(names), "picture with a mask", found)
    if not splits:
        return ""
    problems += found
    pairs.splits = [splits.get(name, "") for name in names]
    spare = [name for name in names if name not in splits]
    what = f"{counted(len(spare), 'picture')} in no list of {LISTS} left out ({listing(spare)})"
    return f"; {what}" if spare else ""


def examine_masks(root: Path, pairs: Pairs) -> list[Any]:
    """Return what the masks of each picture hold, or what is wrong with them, in threads."""

    def one(row: int) -> Examined | Problem:
        facts, content = [], b""
        for name in (*pairs.masks[row], pairs.fields[row]):
            if name is None:
                continue
            try:
                data = (root / name).read_bytes()
                found = examine_mask(data, PurePosixPath(name).suffix.lower())
            except OSError as error:
                return Problem(name, f"cannot be read: {error.strerror or error}")
            except DataError as error:
                return Problem(name, str(error))
            content += digest(data).to_bytes(8, "little")
            facts.append(found)
        return Examined(facts, digest(content))

    with ThreadPoolExecutor(READERS, thread_name_prefix="folio-masks") as pool:
        return list(pool.map(one, range(len(pairs.images))))


def differing(names: Sequence[str], found: Examined, size: NDArray[np.int64]) -> Problem | None:
    """Return the problem of a mask that has another size than its picture."""
    for name, facts in zip(names, found.facts, strict=True):
        if (facts.height, facts.width) != tuple(size.tolist()):
            return Problem(
                name,
                f"the mask has {facts.height} x {facts.width} pixels, its picture {size[0]} x "
                f"{size[1]}",
            )
    return None
