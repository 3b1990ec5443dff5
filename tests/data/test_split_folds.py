"""Folds: each example is tested once, classes in proportion, and what belongs together stays so."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold
from test_splits import data, partition, sizes

from torchfolio.data.dataset import Dataset
from torchfolio.data.splits import SplitOptions, make_splits
from torchfolio.errors import DataError, RequestError


def folds_of(dataset: Dataset, folds: int, seed: int = 0, **options: object) -> list[np.ndarray]:
    """What each fold tests, of all of them."""
    found = []
    for number in range(1, folds + 1):
        chosen = SplitOptions(fold=f"{number}/{folds}", **options)  # type: ignore[arg-type]
        found.append(make_splits(dataset, chosen, seed).indices["test"])
    return found


def shares(labels: Sequence[int], tested: list[np.ndarray]) -> np.ndarray:
    """How many of each class (folds, classes) each fold tests."""
    return np.stack(
        [np.bincount(np.array(labels)[rows], minlength=max(labels) + 1) for rows in tested]
    )


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.integers(2, 7), st.integers(0, 3))
def test_every_example_is_in_one_fold_and_folds_differ_by_one(
    counts: list[int], folds: int, seed: int
) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)] + [0, 1] * 10
    tested = folds_of(data(labels), folds, seed, val_split=0.0)
    assert sorted(np.concatenate(tested).tolist()) == list(range(len(labels)))
    held = shares(labels, tested)
    assert np.ptp(held, axis=0).max() <= 1  # of each class
    assert np.ptp(held.sum(1)) <= 1  # of all


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_the_shares_of_the_classes_are_those_of_scikit_learn(folds: int) -> None:
    labels = [0] * 23 + [1] * 41 + [2] * 17
    held = shares(labels, folds_of(data(labels), folds))
    theirs = StratifiedKFold(folds, shuffle=True, random_state=0).split(labels, labels)
    assert held.tolist() == shares(labels, [rows for _, rows in theirs]).tolist()


def test_the_others_train_and_validate() -> None:
    labels = [0] * 100 + [1] * 300
    splits = make_splits(data(labels), SplitOptions(val_split=0.2, fold="2/5"), 0)
    assert sizes(splits) == [256, 64, 80]  # a fifth of the 320 that are not tested
    assert partition(splits, 400)
    counts = {name: np.bincount(np.array(labels)[rows]) for name, rows in splits.indices.items()}
    assert counts["val"].tolist() == [16, 48]
    assert counts["test"].tolist() == [20, 60]
    assert splits.rule == (
        "test is fold 2 of 5 of all examples, made by seed 0, stratified by class; val drawn from "
        "the other folds (val 0.2) by seed 0, stratified by class."
    )


def test_validation_is_drawn_anew_in_every_fold() -> None:
    dataset = data([0, 1] * 10)
    shared = 0
    for seed in range(200):
        first, second = (
            make_splits(dataset, SplitOptions(0.25, fold=fold), seed).indices["val"]
            for fold in ("1/5", "2/5")
        )
        assert len(first) == len(second) == 4
        shared += len(np.intersect1d(first, second))
    # of each class 2 of 8, and 6 are in both: 2 * 6 * (2 / 8)**2 = 0.75 in common by chance
    assert 0.55 < shared / 200 < 0.95


def test_folds_are_fixed_by_their_seed_alone() -> None:
    dataset = data([0, 1] * 100)
    first = folds_of(dataset, 4, seed=3)
    again = folds_of(dataset, 4, seed=9, split_seed=3)
    other = folds_of(dataset, 4, seed=4)
    assert [rows.tolist() for rows in again] == [rows.tolist() for rows in first]
    shared = [
        len(set(one.tolist()) & set(two.tolist())) for one, two in zip(first, other, strict=True)
    ]
    assert max(shared) < 25  # of 50; at random a quarter


def test_the_seed_of_the_split_leaves_an_ordinary_one_as_it_is() -> None:
    dataset = data([0, 1] * 100)
    plain = make_splits(dataset, SplitOptions(), 3)
    assert make_splits(dataset, SplitOptions(split_seed=3), 8).digest == plain.digest
    assert make_splits(dataset, SplitOptions(split_seed=8), 3).digest != plain.digest


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 40)), min_size=30, max_size=150),
    st.integers(2, 5),
    st.booleans(),
)
def test_groups_and_copies_are_never_parted(
    rows: list[tuple[int, int]], folds: int, grouped: bool
) -> None:
    groups = [group for group, _ in rows] + [50, 51, 52, 53, 54]
    digests = [digest for _, digest in rows] + [90, 91, 92, 93, 94]
    labels = [digest % 2 for digest in digests]
    dataset = data(labels, digests, groups=groups if grouped else None)
    tested = folds_of(dataset, folds, val_split=0.0)
    assert sorted(np.concatenate(tested).tolist()) == list(range(len(labels)))
    assert min(map(len, tested)) >= 1
    for numbers in [digests, *([groups] if grouped else [])]:
        held = [set(np.array(numbers)[each].tolist()) for each in tested]
        assert sum(map(len, held)) == len(set(numbers))


def test_copies_may_be_parted_where_that_is_asked_for() -> None:
    pairs = [index for index in range(100) for _ in range(2)]
    dataset = data([0, 1] * 100, pairs)
    together = folds_of(dataset, 5)
    apart = folds_of(dataset, 5, duplicates="ignore")
    assert all(len({pairs[row] for row in rows}) == len(rows) / 2 for rows in together)
    assert any(len({pairs[row] for row in rows}) > len(rows) / 2 for rows in apart)


def test_a_test_split_of_the_data_stays_out_and_validation_joins_in() -> None:
    labels = [0, 1] * 40
    brought = {"train": range(40), "val": range(40, 60), "test": range(60, 80)}
    dataset = data(labels, given=brought)
    assert sorted(np.concatenate(folds_of(dataset, 4)).tolist()) == list(range(60))
    splits = make_splits(dataset, SplitOptions(fold="1/4"), 0)
    assert sizes(splits) == [38, 7, 15]
    assert splits.rule.startswith("test is fold 1 of 4 of train and val, made by seed 0, strat")
    assert "; the data's own test split (20 examples) stays out; val drawn from the" in splits.rule
    without = data(labels, given={"train": range(40), "val": range(40, 80)})
    assert sorted(np.concatenate(folds_of(without, 4)).tolist()) == list(range(80))


def test_classes_that_are_not_in_every_fold_are_named() -> None:
    one = make_splits(data([0] * 20 + [1] * 20 + [2] * 3), SplitOptions(fold="1/5"), 0)
    assert "stratified by class, class 'class 2' in 3 of the 5 alone; val" in one.rule
    two = make_splits(data([0] * 20 + [1] * 2 + [2]), SplitOptions(0.1, fold="1/5"), 0)
    assert "2 classes not in every fold, class 'class 2' in 1 of the 5 alone" in two.rule


def test_examples_in_order_of_time_have_no_folds() -> None:
    dataset = data([0, 1] * 10, times=list(range(20)))
    with pytest.raises(DataError, match="in order of time: a network would be trained on what com"):
        make_splits(dataset, SplitOptions(fold="1/2"), 0)


@pytest.mark.parametrize(
    ("dataset", "folds", "message"),
    [
        (data([0, 1] * 2), 5, r"rows has 4 examples to make 5 folds from\. Take fewer folds"),
        (
            data([0, 1] * 10, groups=["a", "b", "c", "d"] * 5),
            5,
            "has 4 groups, which are kept whole, to make 5 folds",
        ),
        (
            data([0, 1] * 10, digests=[0, 1] * 10),
            3,
            "has 20 examples, 2 of them different, to make 3 folds",
        ),
        (data([0] * 20), 2, "one class only, 'class 0'"),
        (data([0, 1], given={"test": [0, 1]}), 2, "brings test and nothing to train on"),
        (data([0, 1], given={}), 2, "has no examples to make folds from"),
        (data([0, 1]), 2, "has 1 examples to make train and val from"),
    ],
)
def test_too_little_for_folds_is_an_error(dataset: Dataset, folds: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_splits(dataset, SplitOptions(fold=f"1/{folds}"), 0)


@pytest.mark.parametrize("fold", ["0/5", "6/5", "1/1", "3", "three/5", "-1/5", "1/5/5", ""])
def test_what_is_no_fold_is_refused(fold: str) -> None:
    with pytest.raises(RequestError, match=f"--fold is {fold!r}; it is one of two folds or more"):
        make_splits(data([0, 1] * 10), SplitOptions(fold=fold), 0)
