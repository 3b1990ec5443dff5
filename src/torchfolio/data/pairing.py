"""Pictures and their masks, told by the names of folders and files."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from torchfolio.data.bands import ARRAY
from torchfolio.data.folders import SPLIT_OF, entries, nfc
from torchfolio.data.images import SUFFIXES

# Names of folders, in lower case, in the order in which they are looked for.
IMAGES = ("images", "imgs", "image", "img", "img_dir", "jpegimages")
MASKS = (
    "segmentationclass", "1st_manual", "masks", "mask", "labels", "label", "annotations",
    "ann_dir", "gt",
)  # fmt: skip
MANUAL, FIELD = "1st_manual", "mask"  # beside the former, the latter is the field of view
LOOK = 20  # folders without pictures and masks, after which no further ones are looked into
LISTS = "ImageSets/Segmentation"  # of VOC: which pictures belong to a split
# Words in the names of files that say what a file is, not which example it belongs to.
MASK_WORDS = frozenset(
    (
        "mask", "masks", "label", "labels", "labelids", "labeltrainids", "seg", "segmentation",
        "gt", "gtfine", "groundtruth", "annotation", "annotated", "manual", "manual1", "manual2",
        "matte", "l",
    )
)  # fmt: skip
IMAGE_WORDS = frozenset(
    ("image", "images", "img", "volume", "leftimg8bit", "training", "train", "test", "sat", "photo")
)
TOKEN = re.compile(r"[^\W_]+")
Key = Callable[[str], str]


@dataclass(frozen=True)
class Place:
    """Folders whose files belong together; ``field`` holds fields of view, if there are any."""

    split: str
    images: str  # relative to the root, with "/"
    masks: str
    field: str | None = None
    single: bool = False  # a folder of one example: all masks are of its picture


@dataclass
class Pairs:
    """The masks of each picture, all paths relative to the root, in the order of the pictures.

    ``parts`` says of each mask which class it is of, where files or folders are named by classes;
    else "".
    """

    images: list[str] = field(default_factory=list)
    masks: list[tuple[str, ...]] = field(default_factory=list)
    parts: list[tuple[str, ...]] = field(default_factory=list)
    fields: list[str | None] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)  # pictures without mask
    spare: list[str] = field(default_factory=list)  # masks without picture

    def add(
        self, split: str, image: str, masks: Sequence[tuple[str, str]], of_view: str | None
    ) -> None:
        """Note the masks of one picture, each with its class."""
        self.images.append(image)
        self.masks.append(tuple(path for path, _ in masks))
        self.parts.append(tuple(part for _, part in masks))
        self.fields.append(of_view)
        self.splits.append(split)


def find_places(root: Path) -> list[Place]:
    """Return the folders of pictures beside folders of masks: in the root, or in its splits.

    Splits may also lie inside the folders of pictures and of masks, and each example may have a
    folder of its own with both. There are none where no such two folders stand side by side.
    """
    below = lowered(root)
    found = beside(below, "")
    if found is not None:
        within = {SPLIT_OF.get(name): given for name, given in lowered(root / found.images).items()}
        named = lowered(root / found.masks)
        splits = [
            Place(split, f"{found.images}/{name}", f"{found.masks}/{named[name.lower()]}")
            for split, name in within.items()
            if split is not None and name.lower() in named
        ]
        return splits or [found]
    places: list[Place] = []
    for key, name in below.items():
        split = SPLIT_OF.get(key)
        if split is not None:
            place = beside(lowered(root / name), f"{name}/", split)
            places += [place] if place is not None else of_examples(root, f"{name}/", split)
    if any(each.field for each in places):  # elsewhere such a folder is no folder of masks either
        places = [each for each in places if PurePosixPath(each.masks).name.lower() != FIELD]
    return places or of_examples(root, "", "train")


def of_examples(root: Path, top: str, split: str) -> list[Place]:
    """Return the places of a folder in which each example, or class, has a folder of its own."""
    names = entries(root / top)[0]
    places: list[Place] = []
    for count, name in enumerate(names):
        if count == LOOK and not places:
            break  # a large folder of something else
        place = beside(lowered(root / top / name), f"{top}{name}/", split)
        places += [replace(place, single=True)] if place is not None else []
    return places if len(places) * 2 > len(names) else []


def lowered(folder: Path) -> dict[str, str]:
    """Return the folders in a folder by their names in lower case."""
    return {name.lower(): name for name in entries(folder)[0]}


def beside(names: dict[str, str], top: str, split: str = "train") -> Place | None:
    """Return the folders of pictures and masks among folders, by their names in lower case."""
    images = next((names[each] for each in IMAGES if each in names), None)
    masks = next((each for each in MASKS if each in names), None)
    if images is None or masks is None:
        return None
    of_view = names.get(FIELD) if masks == MANUAL else None
    return Place(
        split, top + images, top + names[masks], None if of_view is None else top + of_view
    )


def pair(
    places: Iterable[tuple[Place, Sequence[str], Sequence[str], Sequence[str]]],
) -> Pairs:
    """Pair the files of places: each with its pictures, its masks, and its fields of view.

    Files belong together that have the same name but for the suffix; else those whose names are the
    same up to words such as "mask"; else those with the same name in folders of masks that are
    named by classes. Where a place has one picture, all its masks belong to that.
    """
    found = Pairs()
    for place, images, masks, fields in places:
        names = {image: within(image, place.images) for image in images}
        ways = [
            Way(exactly, exactly, part_of),
            Way(key_of, key_of, part_of),
            Way(exactly, lambda path: exactly(below_first(path)), first_folder),
            Way(key_of, lambda path: key_of(below_first(path)), first_folder),
        ]
        own_names = {mask: within(mask, place.masks) for mask in masks}
        tables = [(way, matched(way, list(names.values()), own_names)) for way in ways]
        way, table = max(tables, key=lambda each: sum(map(bool, each[1].values())))
        views = grouped(fields, place.field or "", key_of)
        if place.single and len(images) == 1 and not any(table.values()):
            table = {way.of_image(names[images[0]]): list(masks)}
        spare = set(masks)
        for image, name in names.items():
            own = table.get(way.of_image(name), [])
            if not own:
                found.alone.append(image)
                continue
            view = views.get(key_of(name), [])
            parts = [(each, way.part(own_names[each])) for each in own]
            found.add(place.split, image, parts, view[0] if view else None)
            spare -= set(own)
        found.spare += sorted(spare)
    return found


@dataclass(frozen=True)
class Way:
    """How pictures and masks are paired: by a key of each; and what says the class of a mask."""

    of_image: Key
    of_mask: Key
    part: Key


def matched(way: Way, images: Sequence[str], masks: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the masks of each picture by its key; none for a key that several pictures have.

    ``masks`` gives the name of each file of a mask, by which it is paired. One whose key no picture
    has is of the picture whose key it has without what follows the word for its role: a number, or,
    where no other mask fits that picture, the name of a class.
    """
    counts = Counter(way.of_image(each) for each in images)
    table: dict[str, list[str]] = {key: [] for key, count in counts.items() if count == 1}
    further: dict[str, list[str]] = {}
    for mask, name in masks.items():
        key = way.of_mask(name)
        if key in table:
            table[key].append(mask)
        elif way.of_mask is not exactly and (short := way.of_mask(cut_off(name))) in table:
            further.setdefault(short, []).append(mask)
    for key, rest in further.items():
        several = not table[key]
        table[key] += [each for each in rest if several or not part_of(masks[each])]
    return table


def pair_beside(files: Sequence[str]) -> Pairs:
    """Pair files of one tree: NAME and NAME_mask in the same folder."""
    images = [each for each in files if not is_mask(each)]
    masks = {each: each for each in files if is_mask(each)}
    table = matched(Way(key_of, key_of, part_of), images, masks)
    found = Pairs()
    spare = set(masks)
    for image in images:
        own = table.get(key_of(image), [])
        if own:
            found.add("train", image, [(each, part_of(each)) for each in own], None)
            spare -= set(own)
        else:
            found.alone.append(image)
    found.spare = sorted(spare)
    return found


def is_picture(path: str) -> bool:
    """Return whether a file is named as a picture."""
    suffix = PurePosixPath(path).suffix.lower()
    return suffix in SUFFIXES or suffix == ARRAY


def is_mask(path: str) -> bool:
    """Return whether a file that lies among pictures is named as a mask of one."""
    tokens = [each.lower() for each in TOKEN.findall(PurePosixPath(path).stem)]
    return any(each in MASK_WORDS - {"l"} for each in tokens[1:])


def within(path: str, folder: str) -> str:
    """Return a path below a folder, without it."""
    return path.removeprefix(f"{folder}/") if folder else path


def grouped(paths: Sequence[str], folder: str, key: Key) -> dict[str, list[str]]:
    """Return the paths by a key of what is below a folder."""
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(key(within(path, folder)), []).append(path)
    return found


def exactly(path: str) -> str:
    """Return a path without its suffix."""
    return str(PurePosixPath(nfc(path)).with_suffix(""))


def key_of(path: str) -> str:
    """Return what names an example in a path: its folder, and its name without words for its role.

    "b/21_manual1.gif" and "b/21_training.tif" give "b/21"; "cell_img_07" and "cell_mask_07" give
    "cell_07".
    """
    path_ = PurePosixPath(nfc(path))
    tokens = [each.lower() for each in TOKEN.findall(path_.stem)]
    roles = set(roles_of(tokens, MASK_WORDS | IMAGE_WORDS))
    kept = [each for place, each in enumerate(tokens) if place not in roles]
    return f"{path_.parent}/{'_'.join(kept)}"


def cut_off(path: str) -> str:
    """Return a path without what follows the first word for a mask in its name.

    "7_mask_2.png" gives "7_mask.png".
    """
    path_ = PurePosixPath(nfc(path))
    tokens = TOKEN.findall(path_.stem)
    roles = roles_of([each.lower() for each in tokens], MASK_WORDS)
    kept = tokens[: roles[0] + 1] if roles and roles[0] > 0 else tokens
    return str(path_.with_name("_".join(kept) + path_.suffix))


def roles_of(tokens: Sequence[str], words: frozenset[str]) -> list[int]:
    """Return which parts of a name are words for a role: not a split's in front, "l" only last."""
    return [
        place
        for place, each in enumerate(tokens)
        if each in words
        and (place > 0 or each not in SPLIT_OF)
        and (each != "l" or place == len(tokens) - 1)
    ]


def below_first(path: str) -> str:
    """Return a path without its first folder."""
    return path.partition("/")[2] or path


def first_folder(path: str) -> str:
    """Return the first folder of a path; "" where it has none."""
    return nfc(path).partition("/")[0] if "/" in path else ""


def part_of(path: str) -> str:
    """Return what follows the word for a mask in its name, where it is a word: a class, perhaps."""
    tokens = TOKEN.findall(PurePosixPath(nfc(path)).stem)
    roles = roles_of([each.lower() for each in tokens], MASK_WORDS)
    after = tokens[roles[-1] + 1 :] if roles and roles[-1] > 0 else []
    return "_".join(each for each in after if not each.isdigit())
