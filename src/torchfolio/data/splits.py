"""Splits: made once, by seed; what the data set aside stays set aside."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.draws import uniforms
from torchfolio.data.folders import counted
from torchfolio.data.records import fingerprint
from torchfolio.data.stratify import stratify
from torchfolio.errors import DataError, RequestError
from torchfolio.options import option

NAMES = ("train", "val", "test")
Drawn = dict[str, float]  # the splits that are drawn, with their shares of the rows


@dataclass(frozen=True)
class SplitOptions:
    """How examples are divided into training, validation and test."""

    val_split: float = option(0.15, "Share of validation, of what the data leave free.", low=0)
    test_split: float = option(0.15, "Share of test, of what the data leave free.", low=0)
    duplicates: Literal["together", "ignore"] = option(
        "together", "Keep exact duplicates on one side, or divide them like any others."
    )


@dataclass(frozen=True)
class Splits:
    """The records of "train", "val" and "test", the rule in a sentence, and a digest."""

    indices: dict[str, Indices]
    rule: str
    digest: str


def make_splits(dataset: Dataset, options: SplitOptions, seed: int) -> Splits:
    """Divide a dataset into training, validation and test.

    Splits that the data bring are kept; a validation split without a test split becomes the
    test. What is missing is drawn from the rest: chronologically where there are times,
    otherwise by seed, stratified by class, with groups and (under ``duplicates="together"``)
    exact duplicates on one side. Shares are exact to rounding; each class with three examples
    or more is on each side, one with a single example in training, unless groups or
    duplicates forbid it. Of several labels an example, each is in proportion on each side
    (:mod:`torchfolio.data.stratify`).

    Raises ``DataError`` where there is too little to divide.
    """
    drawn = _check(options, seed)
    given = {name: rows for name, rows in dataset.given.items() if len(rows)}
    kept: dict[str, Indices] = {}
    notes = []
    if "test" in given:
        kept["test"] = given["test"]
        if "val" in given:
            kept["val"] = given["val"]
        notes.append(f"{' and '.join(sorted(kept))} as given by the data")
    elif "val" in given:
        kept["test"] = given["val"]
        notes.append("test is the val of the data")
    drawn = {name: share for name, share in drawn.items() if name not in kept}
    if sum(drawn.values()) >= 1:
        raise RequestError(
            f"--val-split {options.val_split} and --test-split {options.test_split} leave nothing "
            "to train on: together they should be below 1."
        )
    if dataset.targets is None and dataset.classes and len(dataset.classes) < 2:
        raise DataError(
            f"{dataset.path} has one class only, {dataset.classes[0]!r}: telling classes apart "
            f"needs two. {_left_out(dataset)}Add the pictures of another class in a folder of "
            "their own."
        )
    if given and "train" not in given:
        raise DataError(
            f"{dataset.path} brings {_and(list(given))} and nothing to train on. "
            f"{_left_out(dataset)}Add examples of train, or take the names of splits away: then "
            "all splits are drawn."
        )
    rows = np.sort(given.get("train", np.zeros(0, np.int64)))
    sides = 1 + len(drawn)
    if len(rows) < sides:
        raise DataError(
            f"{dataset.path} has {len(rows):,} examples to make {_and(['train', *drawn])} from; "
            f"at least {sides} are needed. {_left_out(dataset)}Add examples, or set a share to 0 "
            "(--val-split 0)."
        )
    if drawn:
        parts, how = _draw(dataset, rows, drawn, options.duplicates == "together", seed)
        shares = ", ".join(f"{name} {share:.4g}" for name, share in drawn.items())
        source = "train" if kept else "all examples"
        notes.append(f"{_and(list(drawn))} drawn from {source} ({shares}) {how}")
    else:
        parts = {"train": rows}
    indices = {name: np.sort({**parts, **kept}.get(name, rows[:0])) for name in NAMES}
    return Splits(indices, "; ".join(notes) + ".", fingerprint(*(indices[name] for name in NAMES)))


def _left_out(dataset: Dataset) -> str:
    """Return a sentence on what was left out or noted when the data were read, if anything was."""
    found = dataset.problems
    if not found:
        return ""
    first = found[0].problem if found[0].path == "." else f"{found[0].path}: {found[0].problem}"
    return f"Reading met {counted(len(found), 'problem')}, the first: {first}. "


def _check(options: SplitOptions, seed: int) -> Drawn:
    if seed < 0:
        raise RequestError(f"--seed is {seed}; it is 0 or more.")
    shares = {"val": options.val_split, "test": options.test_split}
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise RequestError(f"--{name}-split is {share}; it is a share from 0 to below 1.")
    if options.duplicates not in ("together", "ignore"):
        raise RequestError(f"--duplicates is {options.duplicates!r}; it is together or ignore.")
    return {name: share for name, share in shares.items() if share > 0}


def _draw(
    dataset: Dataset, rows: Indices, drawn: Drawn, together: bool, seed: int
) -> tuple[dict[str, Indices], str]:
    """Return the rows of train and of each drawn split, and how they were drawn."""
    if dataset.times is not None:
        return _by_time(dataset.times[rows], rows, drawn), "in order of time"
    labels = dataset.labels[rows] if dataset.labels is not None else np.zeros(len(rows), np.int64)
    how = f"by seed {seed}"
    if dataset.labels is not None:
        how += ", stratified by class"
    if dataset.targets is not None:
        how += ", stratified by label"
    units = np.arange(len(rows))
    copies = 0
    if together:
        units = np.unique(dataset.records.digests()[rows], return_inverse=True)[1]
        copies = len(rows) - int(units.max()) - 1
        if copies:
            how += f", {counted(copies, 'exact duplicate')} beside the original"
    if dataset.groups is not None:
        groups = np.unique(dataset.groups[rows], return_inverse=True)[1]
        if groups.max() < len(drawn):
            raise DataError(
                f"{dataset.path} has {int(groups.max()) + 1} groups, which are kept whole, to make "
                f"{_and(['train', *drawn])} from. Add groups, or set a share to 0 (--val-split 0)."
            )
        units = _join(groups, units)
        how += ", each group kept whole"
    if dataset.targets is not None:
        side = stratify(units, dataset.targets[rows], list(drawn.values()), seed)
    else:
        side = _assign(units, labels, list(drawn.values()), seed)
    if dataset.groups is not None and units.max() >= len(drawn):
        _fill_empty(units, side, 1 + len(drawn))
    if len(np.unique(side)) <= len(drawn):
        alike = (
            f"{copies:,} of the {len(rows):,} examples are exact duplicates, which stay beside the "
            "original unless --duplicates ignore is given. "
        )
        few = "examples of each class" if dataset.targets is None else "examples"
        alone = "classes with one example stay in train. " if dataset.targets is None else ""
        raise DataError(
            f"{dataset.path} has too few {few} to make {_and(['train', *drawn])} from: "
            f"{alone}{alike if copies else ''}"
            f"{_left_out(dataset)}Add examples, or set a share to 0 (--val-split 0)."
        )
    return {name: rows[side == number] for number, name in enumerate(("train", *drawn))}, how


def _by_time(times: NDArray[np.generic], rows: Indices, drawn: Drawn) -> dict[str, Indices]:
    """Train on the past, validate on what follows, test on the latest; equal times together."""
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    counts = [max(1, round(share * len(rows))) for share in reversed(drawn.values())]
    cuts = (len(rows) - np.cumsum(counts))[::-1]
    starts = [int(np.searchsorted(ordered, ordered[cut], "left")) for cut in cuts]
    if 0 in starts or len(set(starts)) < len(starts):
        raise DataError(
            "There are too few different times to divide the data in order of time. Choose other "
            "shares (--val-split, --test-split)."
        )
    pieces = np.split(rows[order], starts)
    return dict(zip(("train", *drawn), pieces, strict=True))


def _join(first: Indices, second: Indices) -> Indices:
    """Return the component of each row; rows of equal numbers in either array are tied."""
    component = first
    while True:  # each round passes the smallest number on, through one array, then the other
        before = component
        for tie in (second, first):
            smallest = np.full(int(tie.max()) + 1, np.iinfo(np.int64).max)
            np.minimum.at(smallest, tie, component)
            component = smallest[tie]
        if np.array_equal(component, before):
            return np.unique(component, return_inverse=True)[1]


def _assign(units: Indices, labels: Indices, shares: list[float], seed: int) -> Indices:
    """Return the side of each row: 0 for train, then 1 for each share in order.

    Units of several rows go first, the largest before the others; single rows then fill each
    class of each side exactly.
    """
    counts = np.bincount(labels)
    targets = np.zeros((len(shares) + 1, len(counts)), np.int64)
    for number, share in enumerate(shares, 1):
        later = len(shares) - number  # sides that still need one of each class
        free = counts - targets.sum(0)
        high = np.maximum(free - 1 - later * (counts > 2), 0)
        low = np.minimum((counts > 2).astype(np.int64), high)
        spare = int(np.maximum(free - 1, 0).sum()) - later
        total = max(1, min(round(share * len(labels)), spare))
        targets[number] = allocate(counts, total, low, high)
    targets[0] = counts - targets[1:].sum(0)
    keys = uniforms("split", seed, 0, np.arange(len(units)), 1)[:, 0]
    several = np.bincount(units)[units] > 1
    side: Indices = np.zeros(len(units), np.int64)
    if several.any():
        side[several], targets = _place_units(
            units[several], labels[several], keys[several], targets
        )
    singles = np.flatnonzero(~several)
    singles = singles[np.argsort(keys[singles], kind="stable")]
    narrow = labels[singles].astype(np.min_scalar_type(len(counts)))  # sorted by radix: quick
    singles = singles[np.argsort(narrow, kind="stable")]
    classes = labels[singles]
    held = np.bincount(classes, minlength=len(counts))
    rank = np.arange(len(singles)) - (np.cumsum(held) - held)[classes]  # within the class
    bound: Indices = np.zeros(len(counts), np.int64)
    for number in range(1, len(targets)):
        taken = (rank >= bound[classes]) & (rank < (bound + targets[number])[classes])
        side[singles[taken]] = number
        bound += targets[number]
    return side


def allocate(counts: Indices, total: int, low: Indices, high: Indices) -> Indices:
    """Return how many of each class make ``total``, in proportion to ``counts``.

    By largest remainder (Hamilton), each class held between ``low`` and ``high``.
    """
    wanted = counts * (total / int(counts.sum()))
    ready = np.clip(np.floor(wanted).astype(np.int64), low, high)
    left = total - int(ready.sum())
    while left:
        step = 1 if left > 0 else -1
        open_ = np.flatnonzero(ready < high if step > 0 else ready > low)
        if not len(open_):
            break
        order = open_[np.argsort(-step * (wanted - ready)[open_], kind="stable")][: abs(left)]
        ready[order] += step
        left -= step * len(order)
    return ready


def _place_units(
    units: Indices, labels: Indices, keys: NDArray[np.float64], targets: Indices
) -> tuple[Indices, Indices]:
    """Return the side of each unit's rows, and what of ``targets`` (sides, classes) is left.

    A unit goes where, with half of it, its classes would be fullest least (the divisors of
    Sainte-Lague), so that units of every size spread over the sides in proportion.
    """
    pairs, counts = np.unique(units * targets.shape[1] + labels, return_counts=True)
    owner, classes = np.divmod(pairs, targets.shape[1])
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    ends = np.append(starts[1:], len(owner))
    rows_of = np.bincount(units)[owner[starts]]
    first = np.unique(units, return_index=True)[1]
    order = np.lexsort((keys[first], -rows_of))
    # Plain lists: one unit at a time, numpy would be slower.
    wanted: list[list[float]] = np.maximum(targets, 0.5).T.tolist()
    placed = [[0.0] * len(targets) for _ in wanted]
    held = list(zip(classes.tolist(), counts.tolist(), strict=True))
    chosen = np.zeros(len(starts), np.int64)
    for unit, start, end in zip(
        order.tolist(), starts[order].tolist(), ends[order].tolist(), strict=True
    ):
        fullness = [0.0] * len(targets)
        for each, n in held[start:end]:
            pairing = zip(fullness, placed[each], wanted[each], strict=True)
            fullness = [full + n * (have + n / 2) / want for full, have, want in pairing]
        best = fullness.index(min(fullness))
        for each, n in held[start:end]:
            placed[each][best] += n
        chosen[unit] = best
    left = targets - np.array(placed).T.astype(np.int64)
    return chosen[np.searchsorted(owner[starts], units)], np.maximum(left, 0)


def _fill_empty(units: Indices, side: Indices, sides: int) -> None:
    """Give a side that got nothing the smallest unit of the side with most units."""
    for number in range(sides):
        if (side == number).any():
            continue
        first = np.unique(units, return_index=True)[1]
        rich = np.bincount(side[first], minlength=sides).argmax()
        there, sizes = np.unique(units[side == rich], return_counts=True)
        side[units == there[sizes.argmin()]] = number


def _and(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


def as_ranges(splits: dict[str, Indices]) -> dict[str, list[int]] | None:
    """Return [first, end) of each split, or ``None`` if any is not a run of neighbours.

    Chronological splits are such runs: ten million rows need no list of ten million lines.
    """
    ranges = {}
    for name, indices in splits.items():
        if len(indices) and (np.diff(indices) != 1).any():
            return None
        ranges[name] = [int(indices[0]), int(indices[-1]) + 1] if len(indices) else [0, 0]
    return ranges
