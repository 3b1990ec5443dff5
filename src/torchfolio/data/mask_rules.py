"""What the values of masks mean: one rule for all masks of a dataset, read off what they hold.

Class indices, a palette, two values (0 and 255, or one bit), colours, or, where files were
compressed with loss, values around those (:func:`understand`); unless the person says it.
"""

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.folders import counted, listing
from torchfolio.data.masks import (
    BACKGROUND,
    COLOUR,
    FOREGROUND,
    IGNORE,
    MOST_COLOURS,
    STEP,
    Kind,
    MaskFacts,
    Raw,
    channels,
    shown,
)
from torchfolio.errors import DataError, RequestError

FEW_INDICES = 64  # class indices without names are below this
SHARE = 0.005  # of all pixels: what a colour in masks with loss must cover to be a class
CHROMA = 60  # between the channels of a colour that is meant
BETWEEN = 8  # values between two extremes, from which on a mask was resized
EXTREME = 0.95  # of the pixels: what the extremes must hold then
VALLEY = 0.1  # of the pixels of a peak: how many lie midway to the next, at most
VOID = frozenset(("void", "ignore", "ignored", "unlabelled", "unlabeled", "dontcare", "unknown"))
NOTHING = VOID | {BACKGROUND, "bg", "none", "class0", "value0"}


@dataclass(frozen=True)
class MaskRule:
    """How the values of files become classes; ``reading`` says so in words.

    A "table" has a class for each value, "threshold" the class 1 for what lies above its only
    value, and "nearest" takes the class of the nearest colour. Classes are indices into ``names``,
    or ``IGNORE``. Where files are ``numbered``, each value but 0 is an object.
    """

    how: Literal["table", "threshold", "nearest"]
    kind: Kind
    values: tuple[int, ...]
    classes: tuple[int, ...]
    names: tuple[str, ...]
    reading: str
    numbered: bool = field(default=False, repr=False)  # fingerprints are of the repr

    def stray(self, facts: MaskFacts) -> str:
        """Return what a mask holds that is of no class, as :meth:`classes_of` tells it; else ""."""
        if self.how != "table":
            return ""
        held = facts.as_kind(self.kind)
        wrong = sorted(held.keys() - set(self.values))
        return self.unknown(wrong[0], sum(held[each] for each in wrong)) if wrong else ""

    def unknown(self, value: int, pixels: int) -> str:
        """Return in words that a value, and so many pixels, are of no class."""
        values = listing([shown(each, self.kind) for each in self.values])
        return (
            f"the mask holds {shown(value, self.kind)} in {counted(pixels, 'pixel')}, which is of "
            f"no class: known are {values}"
        )

    def classes_of(self, raw: Raw) -> NDArray[np.uint8]:
        """Return the class of each value; raise ``DataError`` for a value that has none."""
        if self.how == "threshold":
            return (raw > self.values[0]).astype(np.uint8)
        table = np.array(self.classes, np.uint8)
        if self.how == "nearest":
            found, places = np.unique(raw, return_inverse=True)
            far = (channels(found)[:, None] - channels(np.array(self.values))) ** 2
            return table[far.sum(2).argmin(1)][places].reshape(raw.shape)
        order = np.argsort(self.values)
        known = np.array(self.values)[order]
        place = np.minimum(np.searchsorted(known, raw), len(known) - 1)
        wrong = raw[known[place] != raw]
        if wrong.size:
            raise DataError(self.unknown(int(wrong.min()), wrong.size))
        return table[order][place]


def understand(
    facts: Sequence[MaskFacts], names: Sequence[str] = (), table: Mapping[int, str] | None = None
) -> MaskRule:
    """Return the rule for masks that hold this; raise ``DataError`` where no rule fits.

    ``names`` are those of the classes in the order of their indices; ``table`` names the class of
    each value, as the person or a file beside the masks says.
    """
    lossy = any(each.lossy for each in facts)
    kinds = {each.kind for each in facts}
    coloured = len({hue for each in facts if each.kind == "colour" for hue in hues(each)}) > 1
    plain = kinds == {"grey"} or (lossy and kinds != {"colour"} and not coloured)
    kind: Kind = "grey" if plain else "colour"
    counts: Counter[int] = Counter()
    for each in facts:
        counts.update(each.as_kind(kind))
    if table:
        return by_table(table, names, lossy)
    if lossy and kind == "grey" and (found := by_peaks(counts, names)):
        return found
    if lossy:
        return with_loss(counts, kind, names)
    if kind == "colour":
        return by_colour(counts, names)
    if len(names) in (0, 2) and blurred(counts):
        return with_loss(counts, kind, names)
    found = by_value(facts, names)
    if found is None and (usual := without_strays(facts, len(names))):
        found = by_value(usual, names)
    if found is None:
        values = [str(each) for each in sorted(counts)]
        raise DataError(
            f"the masks hold {len(values)} values ({listing(values, 12)}) for "
            f"{counted(len(names), 'class')}. Say what they are by --mask-values."
        )
    return found


def without_strays(facts: Sequence[MaskFacts], classes: int) -> list[MaskFacts]:
    """Return the masks whose values are those of so many classes, if most are so; else none.

    Those are their indices, or the values that the most masks hold.
    """
    held = Counter(value for each in facts for value in each.values)
    telling = [each for each in facts if len(each.values) > 1]
    common = {value for value, _ in held.most_common(classes)}
    for values in ({*range(classes), IGNORE}, common):
        found = [each for each in telling if each.values.keys() <= values]
        if len(found) > len(telling) / 2:
            return found
    return []


def hues(facts: MaskFacts) -> set[tuple[int, ...]]:
    """Return the colours that stand out of a mask, coarsely; tinted greys are none."""
    levels = channels(np.array(list(facts.values), np.int64))
    counts = np.array(list(facts.values.values()))
    strong = np.ptp(levels, axis=1) > CHROMA
    cells: Counter[tuple[int, ...]] = Counter()
    for cell, number in zip((levels[strong] // (4 * STEP)).tolist(), counts[strong], strict=True):
        cells[tuple(cell)] += int(number)
    return {cell for cell, number in cells.items() if number > SHARE * counts.sum()}


def blurred(counts: Mapping[int, int]) -> bool:
    """Return whether values are two, and many between them: a mask that was resized, or a JPEG."""
    low, high = min(counts), max(counts)
    near = (high - low) / 10
    between = [each for each in counts if low + near < each < high - near]
    extreme = sum(n for each, n in counts.items() if not low + near < each < high - near)
    many = len(counts) - 2 > BETWEEN and high - low >= 100
    return many and extreme >= EXTREME * sum(counts.values()) and len(between) >= BETWEEN // 2


def numbered(facts: Sequence[MaskFacts]) -> bool:
    """Return whether masks number objects: in each, values go from 1 on without a gap."""
    every = [sorted(each.values.keys() - {0}) for each in facts]
    return all(values == list(range(1, len(values) + 1)) for values in every)


def by_value(facts: Sequence[MaskFacts], names: Sequence[str]) -> MaskRule | None:
    """Return the rule for whole numbers: two values, class indices, or a class for each value.

    Beside small numbers 255 is ignored; beside one alone only if about as many masks hold that.
    ``None`` where names are not as many as values.
    """
    held = Counter(value for each in facts for value in each.values)
    values = sorted(held)
    others = [each for each in values if each != IGNORE]
    most = max(others, default=0)
    lone = len(values) == 3 and len(others) == 2 and len(names) in (0, 2)
    ignored = IGNORE in held and (not lone or 2 * held[most] >= held[IGNORE])
    if len(values) <= 2 and len(names) in (0, 2) and values != [0, 1]:
        return two_values(values, names)
    if lone and ignored and most < FEW_INDICES:
        return two_values(values, names)
    indices = names or len(others) > 2 or others == [0, 1]
    if most < (len(names) or FEW_INDICES) and indices and (ignored or not lone):
        return by_index(most, ignored, names)
    if len(values) <= FEW_INDICES:
        given = names or [f"value {each}" for each in values]
        if len(given) == len(values):
            reading = (
                f"a class for each of the values {listing([str(each) for each in values], 12)}"
            )
            return made("table", "grey", values, list(range(len(values))), given, reading)
        return None
    if most < IGNORE and not numbered(facts):
        return by_index(most, ignored, names)
    reading = f"numbers of objects (0 to {most}): 0 is background, all else {FOREGROUND}"
    found = made("threshold", "grey", [0], [1], names or (BACKGROUND, FOREGROUND), reading)
    return replace(found, numbered=True)


def by_index(most: int, ignored: bool, names: Sequence[str]) -> MaskRule:
    """Return the rule for class indices up to ``most``; 255 is ignored where no class has it."""
    if not names:
        names = (BACKGROUND, FOREGROUND) if most < 2 else [f"class {i}" for i in range(most + 1)]
    values = list(range(len(names)))
    reading = f"class indices, 0 to {len(names) - 1}"
    if ignored and len(names) <= IGNORE:
        values.append(IGNORE)
        names = [*names, "void"]
        reading += "; 255 is ignored"
    return made("table", "grey", values, list(range(len(values))), names, reading)


def two_values(values: Sequence[int], names: Sequence[str]) -> MaskRule:
    """Return the rule for two values, of which the lower is background; or for one value alone.

    A third is 255, and ignored.
    """
    names = names or (BACKGROUND, FOREGROUND)
    if len(values) == 1:
        known = [0, max(1, values[0])] if values[0] == 0 else [0, values[0]]
        known = [0, 255] if values[0] == 0 else known
        return made("table", "grey", known, [0, 1], names, f"{values[0]} everywhere")
    reading = f"two values: {values[0]} is {names[0]}, {values[1]} {names[1]}"
    if len(values) == 3:
        return made(
            "table", "grey", values, [0, 1, 2], [*names, "void"], f"{reading}; 255 is ignored"
        )
    return made("table", "grey", values, [0, 1], names, reading)


def by_colour(counts: Mapping[int, int], names: Sequence[str]) -> MaskRule:
    """Return the rule for colours without loss: black first, then by how much they cover."""
    if names and len(counts) > 2:
        raise DataError(
            f"the masks hold {len(counts)} colours, and the classes are named without them "
            f"({listing(list(names))}). Say which is which by --mask-values."
        )
    if len(counts) > MOST_COLOURS:
        raise DataError(
            f"the masks hold {len(counts):,} colours, so they are no masks of classes. Name the "
            "colours of the classes by --mask-values, or the masks by their folder."
        )
    values = sorted(counts, key=lambda each: (each != 0, -counts[each], each))
    given = names or [BACKGROUND if each == 0 else shown(each, "colour") for each in values]
    if len(given) != len(values):
        raise DataError(
            f"the masks hold {len(values)} colours for {counted(len(names), 'class')}. Say which "
            "is which by --mask-values."
        )
    reading = f"a class for each of {len(values)} colours"
    return made("table", "colour", values, list(range(len(values))), given, reading)


def by_peaks(counts: Mapping[int, int], names: Sequence[str]) -> MaskRule | None:
    """Return the rule for grey masks with loss of three classes or more; ``None`` for two.

    There are so many where so many values stand out clearly, or so many names are given.
    """
    values = sorted(outstanding(counts))
    if len(names) > 2 and len(values) != len(names):
        raise DataError(
            f"the masks were compressed with loss, and {counted(len(values), 'value')} stand out "
            f"in them ({listing([str(each) for each in values])}), for {len(names)} classes. Say "
            "what they are by --mask-values."
        )
    if len(names) == 2 or len(values) < 3 or (not names and not parted(counts, values)):
        return None
    given = names or [f"value {each}" for each in values]
    reading = f"compressed with loss: the nearest of {listing([str(each) for each in values], 12)}"
    return made("nearest", "grey", values, list(range(len(values))), given, reading)


def parted(counts: Mapping[int, int], peaks: Sequence[int]) -> bool:
    """Return whether few values lie midway between peaks, beside the lower one's own."""

    def within(low: float, high: float) -> int:
        return sum(number for value, number in counts.items() if low <= value <= high)

    for one, two in itertools.pairwise(peaks):
        third = (two - one) / 3
        own = min(within(each - third, each + third) for each in (one, two))
        if within(one + third, two - third) > VALLEY * own:
            return False
    return True


def with_loss(counts: Mapping[int, int], kind: Kind, names: Sequence[str]) -> MaskRule:
    """Return the rule for masks compressed with loss: what each class's values lie around.

    Two classes of grey values are parted where their variance within is least (Otsu, 1979).
    """
    if kind == "grey":
        cut = otsu(counts)
        reading = f"compressed with loss: above {cut} is {(names or ('', FOREGROUND))[1]}"
        return made("threshold", "grey", [cut], [1], names or (BACKGROUND, FOREGROUND), reading)
    values = outstanding(counts)
    values.sort(key=lambda each: int(channels(np.array([each])).sum()))
    given = names or named_by_colour(values)
    if len(given) != len(values) or (names and len(values) > 2):
        raise DataError(
            f"the masks were compressed with loss, and {len(values)} colours stand out in them, "
            f"for {counted(len(names), 'class')}. Say which is which by --mask-values."
        )
    reading = f"compressed with loss: the nearest of {len(values)} colours"
    return made("nearest", "colour", values, list(range(len(values))), given, reading)


def named_by_colour(values: Sequence[int]) -> list[str]:
    """Return names of colours: black is background, and the only other one foreground."""
    dark = [int(channels(np.array([each])).max()) <= STEP for each in values]
    if dark == [True, False]:
        return [BACKGROUND, FOREGROUND]
    pairs = zip(values, dark, strict=True)
    return [BACKGROUND if black else shown(each, "colour") for each, black in pairs]


def outstanding(counts: Mapping[int, int]) -> list[int]:
    """Return the colours around which those of masks with loss lie, the commonest first.

    They are counted in cells; what lies within a cell's side of a commoner colour belongs to it.
    """
    cells: dict[tuple[int, ...], Counter[int]] = {}
    for value, number in counts.items():
        cell = tuple((channels(np.array([value]))[0] + STEP // 2) // STEP)
        cells.setdefault(cell, Counter())[value] += number
    totals: dict[int, int] = {}
    for each in sorted(cells.values(), key=lambda each: -each.total()):
        colour = each.most_common(1)[0][0]
        known = np.array(list(totals), np.int64)
        far = np.abs(channels(known) - channels(np.array([colour]))).max(1)
        near = known[far.argmin()] if far.size and far.min() <= STEP else colour
        totals[int(near)] = totals.get(int(near), 0) + each.total()
    least = SHARE * sum(counts.values())
    return [each for each, total in totals.items() if total >= least]


def otsu(counts: Mapping[int, int]) -> int:
    """Return the value halfway between two groups of values, parted where they vary least.

    Halfway, so that what loss leaves around edges is on the side of most of its neighbours.
    """
    values = np.array(sorted(counts), np.float64)
    weights = np.array([counts[int(each)] for each in values], np.float64)
    below, total = np.cumsum(weights)[:-1], weights.sum()
    if not below.size:
        return int(values[0]) if values.size and values[0] < 128 else 127
    sums, whole = np.cumsum(weights * values)[:-1], (weights * values).sum()
    between = (whole * below / total - sums) ** 2 / (below * (total - below))
    cut = int(between.argmax())
    low, high = sums[cut] / below[cut], (whole - sums[cut]) / (total - below[cut])
    return int((low + high) / 2)


def by_table(table: Mapping[int, str], names: Sequence[str], lossy: bool) -> MaskRule:
    """Return the rule that the person gave: a name for each value."""
    kind: Kind = "colour" if max(table) >= COLOUR else "grey"
    table = {value % COLOUR: name for value, name in table.items()}
    order = list(dict.fromkeys(names or table.values()))
    places = {name: place for place, name in enumerate(order)}
    for name in table.values():
        places.setdefault(name, len(places))
    values = list(table)
    reading = "values as given"
    how: Literal["table", "nearest"] = "nearest" if lossy else "table"
    if lossy and kind == "grey":
        values = [each * 0x010101 for each in values]
        kind = "colour"
    return made(how, kind, values, [places[each] for each in table.values()], list(places), reading)


def made(
    how: Literal["table", "threshold", "nearest"],
    kind: Kind,
    values: Sequence[int],
    classes: Sequence[int],
    names: Sequence[str],
    reading: str,
) -> MaskRule:
    """Return a rule, in which classes that are called void are ignored and have no index."""
    kept = [name for name in names if not is_void(name)]
    twice = [name for name, number in Counter(kept).items() if number > 1]
    if twice:
        raise DataError(
            f"the class {twice[0]!r} is named twice; each class needs a name of its own."
        )
    if len(kept) < 2:
        raise DataError(
            f"the masks have {counted(len(kept), 'class')} ({', '.join(kept)}); two are needed. "
            "Say what their values are by --mask-values."
        )
    if len(kept) > IGNORE:
        raise DataError(f"the masks have {len(kept)} classes; up to {IGNORE} are read.")
    index = {name: kept.index(name) if name in kept else IGNORE for name in names}
    classes = [index[names[each]] for each in classes]
    return MaskRule(how, kind, tuple(values), tuple(classes), tuple(kept), reading)


def is_void(name: str) -> bool:
    """Return whether a class is called void, ignored or the like."""
    return re.sub(r"\W|_", "", name.lower()) in VOID


def is_background(name: str) -> bool:
    """Return whether a class is called background, or what nothing in particular is called.

    "class 0" and "value 0" are names that we give (:func:`by_index`, :func:`by_value`).
    """
    return re.sub(r"\W|_", "", name.lower()) in NOTHING


def read_values(text: str) -> dict[int, str]:
    """Read --mask-values: "0=background 255=tumour", "#ff0000=kidney"; raise ``RequestError``.

    Colours are ``COLOUR`` + red * 65536 + green * 256 + blue.
    """
    table: dict[int, str] = {}
    for part in re.split(r"[\s,;]+", text.strip()):
        value, equals, name = part.partition("=")
        number = re.fullmatch(r"#([0-9a-fA-F]{6})|(\d+)", value)
        if not equals or not name or number is None:
            raise RequestError(
                f"mask-values has {part!r}; it should be VALUE=CLASS pairs such as 0=background "
                "255=tumour, or #ff0000=kidney."
            )
        key = COLOUR + int(number[1], 16) if number[1] else int(number[2])
        table[key] = name.replace("_", " ")
    return table
