"""Folds: every example is tested once, by a network that was trained on the other folds.

What is divided is train and validation of the data together, or everything where the data bring no
splits; a test split that they bring stays out. The folds of one number and seed are the same
whichever of them is asked for.
"""

import re

import numpy as np

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.stratify import stratify
from torchfolio.data.units import Units, assign, fill_empty, make_units
from torchfolio.errors import DataError, RequestError


def read_fold(text: str) -> tuple[int, int]:
    """Return which fold "3/5" means, from 1, and how many there are."""
    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    number, folds = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= folds or folds < 2:
        raise RequestError(
            f"--fold is {text!r}; it is one of two folds or more, such as 3/5: the third of five."
        )
    return number, folds


def parted(
    dataset: Dataset, given: dict[str, Indices], fold: tuple[int, int], together: bool, seed: int
) -> tuple[Indices, Indices, str]:
    """Return the examples of one fold, those of the others, and a sentence on both.

    ``given`` are the splits that the data bring, ``fold`` is what :func:`read_fold` returned;
    ``together`` keeps exact duplicates in one fold.
    """
    number, folds = fold
    names = [name for name in ("train", "val") if name in given]
    rows = np.sort(np.concatenate([given[name] for name in names] or [np.zeros(0, np.int64)]))
    side, how = divide(dataset, rows, folds, together, seed)
    source = " and ".join(names) if len(given) > 1 else "all examples"
    note = f"test is fold {number} of {folds} of {source}, made {how}"
    if "test" in given:
        note += f"; the data's own test split ({len(given['test']):,} examples) stays out"
    return rows[side == number - 1], rows[side != number - 1], note


def divide(
    dataset: Dataset, rows: Indices, folds: int, together: bool, seed: int
) -> tuple[Indices, str]:
    """Return the fold of each row, from 0 to ``folds - 1``, and how they were made.

    Stratified: of each class, and of all, the folds have the same number of rows, or one more;
    groups, and with ``together`` exact duplicates, are in one fold, and sizes then as near to that
    as they allow.
    """
    if dataset.times is not None:
        raise DataError(
            f"The examples of {dataset.path} are in order of time: a network would be trained on "
            "what comes after the fold that it is tested on. Train without folds, which tests on "
            "the latest; --repeats says how much the seed of the training changes."
        )
    if not len(rows):
        raise DataError(f"{dataset.path} has no examples to make folds from. Add some.")
    units = make_units(dataset, rows, together)
    if units.count < folds:
        raise DataError(
            f"{dataset.path} has {things(units, len(rows))} to make {folds} folds from. Take fewer "
            "folds, or add examples."
        )
    if dataset.targets is not None:
        side = stratify(units.of, dataset.targets[rows], [1 / folds] * (folds - 1), seed)
    else:
        ordered = np.sort(units.labels)
        classes = int(ordered[-1]) + 1
        # Dealt out in the order of the classes, like cards.
        hands = [np.bincount(ordered[each::folds], minlength=classes) for each in range(folds)]
        side = assign(units, np.stack(hands), "folds", seed)
    fill_empty(units.of, side, folds)
    remarks = rare(dataset, units, rows, side, folds)
    return side, ", ".join([f"by seed {seed}", *units.how, *remarks])


def things(units: Units, rows: int) -> str:
    """Return in words how many units there are, and what they are."""
    if units.groups is not None:
        return f"{units.count:,} groups, which are kept whole,"
    return f"{rows:,} examples" + (f", {units.count:,} of them different," if units.copies else "")


def rare(dataset: Dataset, units: Units, rows: Indices, side: Indices, folds: int) -> list[str]:
    """Return a remark on the classes or labels that are not in every fold, if there are any."""
    if dataset.targets is not None:
        one, many = "label", "labels"
        held, where = np.nonzero(dataset.targets[rows].T)
        places = np.unique(held * folds + side[where]) // folds  # once for each of its folds
    elif dataset.labels is not None:
        one, many = "class", "classes"
        places = np.unique(units.labels * folds + side) // folds
    else:
        return []
    counts = np.bincount(places)
    few = np.flatnonzero((counts > 0) & (counts < folds))
    if not len(few):
        return []
    fewest = few[counts[few].argmin()]
    name = repr(dataset.classes[fewest]) if dataset.classes else str(fewest)
    told = f"{one} {name} in {counts[fewest]} of the {folds} alone"
    return [told if len(few) == 1 else f"{len(few):,} {many} not in every fold, {told}"]
