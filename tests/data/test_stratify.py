"""Splits of several labels an example: exact sizes, labels in proportion, what hangs together."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_splits import Rows, partition, sizes

from torchfolio.data.dataset import Dataset
from torchfolio.data.splits import NAMES, SplitOptions, make_splits
from torchfolio.data.stratify import room_of, stratify, wanted_of
from torchfolio.errors import DataError


def data(
    targets: NDArray[Any], digests: NDArray[Any] | None = None, groups: NDArray[Any] | None = None
) -> Dataset:
    count = len(targets)
    return Dataset(
        kind="multilabel-classification",
        name="rows",
        path="rows",
        reader="none",
        records=Rows(np.arange(count) if digests is None else digests),
        given={"train": np.arange(count)},
        fingerprint="",
        classes=tuple(f"label {number}" for number in range(targets.shape[1])),
        targets=targets.astype(np.uint8),
        groups=groups,
    )


def drawn(count: int, shares: list[float], seed: int = 0) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    return (random.random((count, len(shares))) < shares).astype(np.uint8)


def held(dataset: Dataset, splits: Any) -> NDArray[np.int64]:
    """How many examples of each label each side has (sides, labels)."""
    assert dataset.targets is not None
    return np.array([dataset.targets[splits.indices[name]].sum(0, int) for name in NAMES])


def test_sizes_are_exact_and_labels_in_proportion() -> None:
    dataset = data(drawn(1000, [0.5, 0.3, 0.1, 0.05, 0.02]))
    splits = make_splits(dataset, SplitOptions(0.2, 0.1), 0)
    assert sizes(splits) == [700, 200, 100]
    assert partition(splits, 1000)
    assert "stratified by label" in splits.rule
    counts = held(dataset, splits)
    wanted = np.outer([0.7, 0.2, 0.1], counts.sum(0))
    # drawn without regard to labels, the third side would miss by 5 of 50 in the mean
    assert np.abs(counts - wanted).max() <= 1.5
    assert counts.sum(0).tolist() == dataset.targets.sum(0).tolist()


def test_rare_labels_are_on_each_side() -> None:
    targets = drawn(400, [0.6, 0.4])
    rare = np.zeros((400, 4), np.uint8)
    for label, count in enumerate((3, 4, 1, 2)):
        rare[label * 10 : label * 10 + count, label] = 1
    dataset = data(np.concatenate([targets, rare], 1))
    for seed in range(5):
        counts = held(dataset, make_splits(dataset, SplitOptions(), seed))[:, 2:]
        assert counts[:, 0].tolist() == [1, 1, 1]
        assert (counts[:, 1] >= 1).all()
        assert counts[:, 2].tolist() == [1, 0, 0]  # a single one is for training
        assert counts[0, 3] >= 1


def test_many_rare_labels_are_all_on_each_side() -> None:
    """Sixty labels of about five examples: without a rule of their own some would miss a side."""
    targets = (np.random.default_rng(0).random((400, 60)) < 0.012).astype(np.uint8)
    enough = targets.sum(0) >= 3
    dataset = data(targets)
    for seed in range(3):
        counts = held(dataset, make_splits(dataset, SplitOptions(), seed))
        assert (counts[:, enough] >= 1).all()


def test_the_label_that_comes_last_is_in_proportion_too() -> None:
    """Ten labels of equal size, two or three an example: sizes must not be made up by one label."""
    random = np.random.default_rng(4)
    targets = np.zeros((1500, 10), np.uint8)
    for row in targets:
        row[random.choice(10, random.integers(1, 5))] = 1
    dataset = data(targets)
    for seed in range(3):
        splits = make_splits(dataset, SplitOptions(), seed)
        assert sizes(splits) == [1050, 225, 225]
        counts = held(dataset, splits)
        wanted = np.outer([0.7, 0.15, 0.15], counts.sum(0))
        assert np.abs(counts - wanted).max() <= 2.5


def test_examples_without_a_label_fill_the_sides() -> None:
    targets = drawn(300, [0.2, 0.1])
    dataset = data(targets)
    splits = make_splits(dataset, SplitOptions(0.2, 0.2), 3)
    assert sizes(splits) == [180, 60, 60]
    bare = [int((targets[splits.indices[name]].sum(1) == 0).sum()) for name in NAMES]
    share = (targets.sum(1) == 0).mean()
    assert np.abs(np.array(bare) - share * np.array([180, 60, 60])).max() <= 2


def test_the_split_follows_the_seed_alone() -> None:
    dataset = data(drawn(200, [0.4, 0.2, 0.1]))
    first, again, other = (make_splits(dataset, SplitOptions(), seed).digest for seed in (1, 1, 2))
    assert first == again != other


def test_duplicates_and_groups_stay_together() -> None:
    targets = drawn(240, [0.4, 0.2, 0.1])
    groups = np.arange(240) // 4
    dataset = data(targets, groups=groups.astype(str))
    splits = make_splits(dataset, SplitOptions(0.2, 0.2), 0)
    sides = [set(groups[rows]) for rows in splits.indices.values()]
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert sizes(splits) == [144, 48, 48]
    counts = held(dataset, splits)
    assert np.abs(counts - np.outer([0.6, 0.2, 0.2], counts.sum(0))).max() <= 6
    digests = np.where(np.arange(240) % 3 == 0, np.arange(240), np.arange(240) // 3 * 3)
    dataset = data(targets, digests=digests)
    splits = make_splits(dataset, SplitOptions(0.2, 0.2), 0)
    sides = [set(digests[rows]) for rows in splits.indices.values()]
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert "160 exact duplicates beside the original" in splits.rule


def test_a_huge_group_leaves_something_for_the_others() -> None:
    targets = drawn(60, [0.5])
    groups = np.where(np.arange(60) < 50, "a", np.arange(60).astype(str))
    splits = make_splits(data(targets, groups=groups), SplitOptions(0.1, 0.1), 0)
    assert all(len(rows) for rows in splits.indices.values())
    with pytest.raises(DataError, match="has 2 groups, which are kept whole"):
        make_splits(data(targets, groups=(np.arange(60) < 50).astype(str)), SplitOptions(), 0)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.floats(0.05, 0.45),
    st.floats(0.05, 0.45),
    st.integers(0, 3),
)
def test_sizes_are_exact_and_labels_on_each_side_whatever_the_counts(
    counts: list[int], val: float, test: float, seed: int
) -> None:
    targets = np.repeat(np.eye(len(counts), dtype=np.uint8), counts, axis=0)
    if len(targets) < 3:
        return
    side = stratify(np.arange(len(targets)), targets, [val, test], seed)
    room = room_of(len(targets), [val, test])
    assert [int((side == number).sum()) for number in range(3)] == room
    found = np.array([targets[side == number].sum(0) for number in range(3)])
    for label, count in enumerate(counts):
        # rounding may give a side one more of each other label, and so take this one's place
        if count * min(val, test, 1 - val - test) >= len(counts):
            assert (found[:, label] >= 1).all()


def test_what_the_sides_want() -> None:
    assert wanted_of(100, [0.2, 0.1]) == [70, 20, 10]
    assert wanted_of(3, [0.15, 0.15]) == [1, 1, 1]
    assert wanted_of(1, [0.6, 0.2]) == [1, 0.6, 0.2]
    assert wanted_of(4, [0.9, 0.05]) == [1, 2, 1]
    assert room_of(10, [0.15, 0.15]) == [6, 2, 2]
    assert room_of(3, [0.8, 0.1]) == [1, 1, 1]
    assert room_of(100, [0.25]) == [75, 25]


def test_labels_that_are_not_in_every_fold_are_named() -> None:
    targets = drawn(60, [0.5, 0.4, 0.0, 0.0])
    targets[:3, 2] = 1
    rules = []
    for rarest in (0, 1):
        targets[10 : 10 + rarest, 3] = 1
        dataset = data(targets)
        splits = [
            make_splits(dataset, SplitOptions(fold=f"{number}/5"), 0) for number in range(1, 6)
        ]
        held = np.array([targets[each.indices["test"]].any(0) for each in splits])
        assert held[:, :2].all()
        assert held[:, 2].sum() == 3
        rules.append(splits[0].rule)
    assert "stratified by label, label 'label 2' in 3 of the 5 alone; val" in rules[0]
    assert "2 labels not in every fold, label 'label 3' in 1 of the 5 alone; val" in rules[1]
