"""Splits: made once, by seed; what the data set aside stays set aside."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.folders import counted
from torchfolio.data.folds import parted, read_fold
from torchfolio.data.records import fingerprint
from torchfolio.data.stratify import stratify
from torchfolio.data.units import assign, fill_empty, make_units, shares_of
from torchfolio.errors import DataError, RequestError
from torchfolio.options import option

NAMES = ("train", "val", "test")
Drawn = dict[str, float]  # the splits that are drawn, with their shares of the rows


@dataclass(frozen=True)
class SplitOptions:
    """How examples are divided into training, validation and test."""

    val_split: float = option(
        0.15, "Share of validation, of examples that the data give to no split.", low=0
    )
    test_split: float = option(
        0.15, "Share of test, of examples that the data give to no split.", low=0
    )
    duplicates: Literal["together", "ignore"] = option(
        "together", "Keep exact duplicates on one side, or divide them like any others."
    )
    fold: str | None = option(
        None, "Test on one fold of so many, such as 3/5, instead of --test-split."
    )
    split_seed: int | None = option(
        None, "Seed of the split alone; that of the training unless given.", low=0
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
    (:mod:`torchfolio.data.stratify`). With ``fold`` the test is that fold of train and val together
    (:mod:`torchfolio.data.folds`), and a test split that the data bring stays out.

    Raises ``DataError`` where there is too little to divide.
    """
    seed = seed if options.split_seed is None else options.split_seed
    together = options.duplicates == "together"
    drawn = _check(options, seed)
    given = {name: rows for name, rows in dataset.given.items() if len(rows)}
    _require_train(dataset, given)
    kept: dict[str, Indices] = {}
    notes = []
    source, purpose = "train", "split"
    if options.fold is not None:
        fold = read_fold(options.fold)
        kept["test"], given["train"], note = parted(dataset, given, fold, together, seed)
        notes.append(note)
        source, purpose = "the other folds", f"split within fold {fold[0]}"
    elif "test" in given:
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
    rows = np.sort(given.get("train", np.zeros(0, np.int64)))
    sides = 1 + len(drawn)
    if len(rows) < sides:
        raise DataError(
            f"{dataset.path} has {len(rows):,} examples to make {_and(['train', *drawn])} from; "
            f"at least {sides} are needed. {_left_out(dataset)}Add examples, or set a share to 0 "
            "(--val-split 0)."
        )
    if drawn:
        parts, how = _draw(dataset, rows, drawn, together, purpose, seed)
        shares = ", ".join(f"{name} {share:.4g}" for name, share in drawn.items())
        source = source if kept else "all examples"
        notes.append(f"{_and(list(drawn))} drawn from {source} ({shares}) {how}")
    else:
        parts = {"train": rows}
    indices = {name: np.sort({**parts, **kept}.get(name, rows[:0])) for name in NAMES}
    return Splits(indices, "; ".join(notes) + ".", fingerprint(*(indices[name] for name in NAMES)))


def _require_train(dataset: Dataset, given: dict[str, Indices]) -> None:
    """Raise unless there are two classes, where there are classes, and something to train on."""
    if dataset.labels is not None and dataset.classes and len(dataset.classes) < 2:
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
    dataset: Dataset, rows: Indices, drawn: Drawn, together: bool, purpose: str, seed: int
) -> tuple[dict[str, Indices], str]:
    """Return the rows of train and of each drawn split, and how they were drawn."""
    if dataset.times is not None:
        return _by_time(dataset.times[rows], rows, drawn), "in order of time"
    units = make_units(dataset, rows, together)
    if units.groups is not None and units.groups <= len(drawn):
        raise DataError(
            f"{dataset.path} has {units.groups} groups, which are kept whole, to make "
            f"{_and(['train', *drawn])} from. Add groups, or set a share to 0 (--val-split 0)."
        )
    shares = list(drawn.values())
    if dataset.targets is not None:
        side = stratify(units.of, dataset.targets[rows], shares, seed)
    else:
        side = assign(units, shares_of(units.labels, shares), purpose, seed)
    if units.groups is not None and units.count > len(drawn):
        fill_empty(units.of, side, 1 + len(drawn))
    if len(np.unique(side)) <= len(drawn):
        alike = (
            f"{units.copies:,} of the {len(rows):,} examples are exact duplicates, which stay "
            "beside the original unless --duplicates ignore is given. "
        )
        few = "examples of each class" if dataset.targets is None else "examples"
        alone = "classes with one example stay in train. " if dataset.targets is None else ""
        raise DataError(
            f"{dataset.path} has too few {few} to make {_and(['train', *drawn])} from: "
            f"{alone}{alike if units.copies else ''}"
            f"{_left_out(dataset)}Add examples, or set a share to 0 (--val-split 0)."
        )
    how = ", ".join([f"by seed {seed}", *units.how])
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
