from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchfolio.data.dataset import Dataset, Problem
from torchfolio.data.folders import given_splits
from torchfolio.data.readers import open_dataset
from torchfolio.data.splits import NAMES, SplitOptions, make_splits
from torchfolio.data.units import allocate
from torchfolio.errors import DataError, RequestError


class Rows:
    """Records of which only the digests matter."""

    in_memory = True

    def __init__(self, digests: Sequence[int]) -> None:
        self._digests = np.array(digests, np.uint64)

    def __len__(self) -> int:
        return len(self._digests)

    def name(self, index: int) -> str:
        return str(index)

    def digests(self) -> np.ndarray:
        return self._digests


def data(
    labels: Sequence[int],
    digests: Sequence[int] | None = None,
    given: dict[str, Sequence[int]] | None = None,
    groups: Sequence[object] | None = None,
    times: Sequence[float] | None = None,
) -> Dataset:
    count = len(labels)
    rows = given if given is not None else {"train": range(count)}
    return Dataset(
        kind="image-classification",
        name="rows",
        path="rows",
        reader="none",
        records=Rows(range(count) if digests is None else digests),
        given={name: np.array(list(each), np.int64) for name, each in rows.items()},
        fingerprint="",
        classes=tuple(f"class {label}" for label in range(max(labels) + 1)),
        labels=np.array(labels, np.int64),
        groups=np.array(groups) if groups is not None else None,
        times=np.array(times) if times is not None else None,
    )


def sizes(splits) -> list[int]:
    return [len(splits.indices[name]) for name in NAMES]


def partition(splits, count: int) -> bool:
    return np.array_equal(np.sort(np.concatenate(list(splits.indices.values()))), np.arange(count))


def test_shares_are_exact_to_rounding_and_classes_in_proportion() -> None:
    dataset = data([0] * 100 + [1] * 300 + [2] * 600)
    splits = make_splits(dataset, SplitOptions(0.3, 0.2), 0)
    assert sizes(splits) == [500, 300, 200]
    assert partition(splits, 1000)
    counts = {
        name: np.bincount(dataset.labels[rows]).tolist() for name, rows in splits.indices.items()
    }
    assert counts == {"train": [50, 150, 300], "val": [30, 90, 180], "test": [20, 60, 120]}


def test_remainders_go_where_they_are_largest() -> None:
    # a tenth of 17, 14 and 29 is 1.7, 1.4 and 2.9; of the 6 that make a tenth of 60, one each to
    # 2.9 and 1.7, which lack .9 and .7
    counts = np.array([17, 14, 29])
    assert allocate(counts, 6, np.zeros(3, int), counts).tolist() == [2, 1, 3]


def test_every_class_of_three_is_on_each_side_and_a_single_one_in_train() -> None:
    dataset = data([0] * 200 + [1] * 3 + [2] * 1 + [3] * 2)
    splits = make_splits(dataset, SplitOptions(), 0)
    counts = [np.bincount(dataset.labels[splits.indices[name]], minlength=4) for name in NAMES]
    assert [count[1] for count in counts] == [1, 1, 1]
    assert [count[2] for count in counts] == [1, 0, 0]
    assert counts[0][3] >= 1
    assert sizes(splits) == [144, 31, 31]  # 0.15 * 206 = 30.9


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=8),
    st.floats(0.05, 0.4),
    st.floats(0.05, 0.4),
    st.integers(0, 5),
)
def test_a_split_is_a_partition_with_every_class(
    counts: list[int], val: float, test: float, seed: int
) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    dataset = data(labels)
    try:
        splits = make_splits(dataset, SplitOptions(val, test), seed)
    except DataError:
        assert sum(count - 1 for count in counts) < 2  # nothing to spare beside train
        return
    assert partition(splits, len(labels))
    held = np.array(
        [np.bincount(dataset.labels[splits.indices[name]], minlength=len(counts)) for name in NAMES]
    )
    assert (held[0] >= 1).all()
    large = np.array(counts) >= 3
    assert (held[:, large] >= 1).all()
    for row, share in ((1, val), (2, test)):
        wanted = max(1, round(share * len(labels)))
        least, most = large.sum(), sum(max(0, count - 1) for count in counts)
        if least <= wanted and wanted + held[3 - row].sum() <= most:
            assert held[row].sum() == wanted


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 25)), min_size=12, max_size=120))
def test_copies_are_never_parted(rows: list[tuple[int, int]]) -> None:
    labels = [label for label, _ in rows] + [0] * 10 + [1] * 10
    digests = [digest for _, digest in rows] + list(range(100, 120))
    dataset = data(labels, digests)
    splits = make_splits(dataset, SplitOptions(0.2, 0.2), 1)
    assert partition(splits, len(labels))
    held = [set(np.array(digests)[each].tolist()) for each in splits.indices.values()]
    assert not held[0] & held[1]
    assert not held[0] & held[2]
    assert not held[1] & held[2]


def test_copies_are_spread_in_proportion_and_sizes_stay_exact() -> None:
    pairs = [index for index in range(200) for _ in range(2)]
    dataset = data([0, 1] * 500, pairs + list(range(1000, 1600)))
    splits = make_splits(dataset, SplitOptions(0.2, 0.2), 0)
    assert sizes(splits) == [600, 200, 200]
    held = [int((splits.indices[name] < 400).sum()) for name in NAMES]
    assert held == pytest.approx([240, 80, 80], abs=4)
    apart = make_splits(dataset, SplitOptions(0.2, 0.2, "ignore"), 0)
    side = np.zeros(1000, int)
    for number, name in enumerate(NAMES):
        side[apart.indices[name]] = number
    parted = (side[0:400:2] != side[1:400:2]).sum()
    # two of three sides at random: 1 - (0.36 + 0.04 + 0.04) = 0.56 of 200 pairs
    assert 85 <= parted <= 140


def test_the_same_seed_gives_the_same_split_and_another_another() -> None:
    dataset = data([0, 1] * 100)
    first = make_splits(dataset, SplitOptions(), 0)
    assert make_splits(dataset, SplitOptions(), 0).digest == first.digest
    other = make_splits(dataset, SplitOptions(), 1)
    assert other.digest != first.digest
    shared = len(set(first.indices["test"].tolist()) & set(other.indices["test"].tolist()))
    assert shared < 15  # 30 of 200 at random share 4.5


def test_splits_of_the_data_are_kept() -> None:
    labels = [0, 1] * 20
    full = data(labels, given={"train": range(20), "val": range(20, 30), "test": range(30, 40)})
    splits = make_splits(full, SplitOptions(), 0)
    assert {name: rows.tolist() for name, rows in splits.indices.items()} == {
        "train": list(range(20)),
        "val": list(range(20, 30)),
        "test": list(range(30, 40)),
    }
    assert splits.rule == "test and val as given by the data."


def test_val_without_test_is_tested_on() -> None:
    dataset = data([0, 1] * 20, given={"train": range(30), "val": range(30, 40)})
    splits = make_splits(dataset, SplitOptions(0.2, 0.5), 0)
    assert splits.indices["test"].tolist() == list(range(30, 40))
    assert sizes(splits) == [24, 6, 10]  # a fifth of the 30 that are not set aside
    assert splits.rule.startswith("test is the val of the data; val drawn from train (val 0.2)")


def test_test_without_val_leaves_validation_to_train() -> None:
    dataset = data([0, 1] * 20, given={"train": range(30), "test": range(30, 40)})
    splits = make_splits(dataset, SplitOptions(0.2, 0.5), 0)
    assert splits.indices["test"].tolist() == list(range(30, 40))
    assert sizes(splits) == [24, 6, 10]


def test_a_share_of_nothing_is_an_empty_split() -> None:
    dataset = data([0, 1] * 20)
    assert sizes(make_splits(dataset, SplitOptions(0, 0.25), 0)) == [30, 0, 10]
    assert sizes(make_splits(dataset, SplitOptions(0, 0), 0)) == [40, 0, 0]


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), min_size=20, max_size=200), st.integers(0, 3))
def test_groups_are_never_parted(groups: list[int], seed: int) -> None:
    groups = [*groups, 20, 21, 22]
    dataset = data([group % 2 for group in groups[:-1]] + [1], groups=groups)
    splits = make_splits(dataset, SplitOptions(0.2, 0.2), seed)
    assert partition(splits, len(groups))
    assert min(sizes(splits)) >= 1
    held = [set(np.array(groups)[each].tolist()) for each in splits.indices.values()]
    assert not held[0] & held[1]
    assert not held[0] & held[2]
    assert not held[1] & held[2]


def test_groups_tied_by_copies_stay_together() -> None:
    # a chain: groups 0-1, 1-2, ... 8-9 share a copy each, so all ten are one
    chain = [each for group in range(10) for each in (group, group + 1)]
    groups = [group for group in range(10) for _ in range(2)] + [20] * 4 + [21] * 4
    digests = chain + list(range(100, 108))
    dataset = data([0, 1] * 14, digests, groups=groups)
    splits = make_splits(dataset, SplitOptions(0.15, 0.15), 0)
    assert splits.indices["train"].tolist() == list(range(20))
    assert sizes(splits) == [20, 4, 4]


def test_few_groups_reach_every_side() -> None:
    dataset = data([0, 1] * 15, groups=[row // 10 for row in range(30)])
    assert sizes(make_splits(dataset, SplitOptions(), 0)) == [10, 10, 10]
    with pytest.raises(DataError, match="has 2 groups, which are kept whole, to make train, val"):
        make_splits(data([0, 1] * 15, groups=["a", "b"] * 15), SplitOptions(), 0)


def test_time_goes_from_train_over_val_to_test() -> None:
    times = [9, 2, 5, 7, 1, 8, 3, 6, 0, 4]
    splits = make_splits(data([0, 1] * 5, times=times), SplitOptions(0.2, 0.3), 0)
    held = {name: sorted(np.array(times)[rows].tolist()) for name, rows in splits.indices.items()}
    assert held == {"train": [0, 1, 2, 3, 4], "val": [5, 6], "test": [7, 8, 9]}
    assert "in order of time" in splits.rule


def test_equal_times_stay_together() -> None:
    splits = make_splits(data([0, 1] * 5, times=[0] * 4 + [1] * 3 + [2] * 3), SplitOptions(), 0)
    assert sizes(splits) == [4, 3, 3]
    with pytest.raises(DataError, match="too few different times"):
        make_splits(data([0, 1] * 5, times=[0] * 5 + [1] * 5), SplitOptions(), 0)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (data([0] * 50), "one class only, 'class 0'"),
        (data([0, 1]), "has 2 examples to make train, val and test from; at least 3"),
        (data([0, 1, 2, 3]), "too few examples of each class"),
        (data([0, 1], given={"val": [0], "test": [1]}), "brings val and test and nothing to train"),
        (data([0, 1], given={"test": [0, 1]}), "brings test and nothing to train on"),
        (data([0, 1], given={"train": [], "test": [0, 1]}), "brings test and nothing to train on"),
        (data([0, 1], given={"train": [0], "test": [1]}), "has 1 examples to make train and val"),
        (
            data([0, 1] * 20, digests=[0, 1] * 20),
            "38 of the 40 examples are exact duplicates, which stay .* unless --duplicates ignore",
        ),
    ],
)
def test_too_little_is_an_error(dataset: Dataset, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_splits(dataset, SplitOptions(), 0)


def test_what_was_left_out_is_told_where_too_little_remains() -> None:
    dataset = data([0] * 12)
    dataset.problems = [Problem(f"dog/{index}.png", "empty file (0 bytes)") for index in range(12)]
    with pytest.raises(DataError, match=r"12 problems, the first: dog/0\.png: empty file \(0 byt"):
        make_splits(dataset, SplitOptions(), 0)
    dataset = data([0, 1])
    dataset.problems = [Problem(".", "not a picture, ignored (1): x.txt")]
    with pytest.raises(DataError, match="met 1 problem, the first: not a picture, ignored"):
        make_splits(dataset, SplitOptions(), 0)


def test_a_seed_below_zero_is_refused() -> None:
    with pytest.raises(RequestError, match="--seed is -1; it is 0 or more"):
        make_splits(data([0, 1] * 10), SplitOptions(), -1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SplitOptions(-0.1, 0.1), "--val-split is -0.1"),
        (SplitOptions(0.1, 1.0), "--test-split is 1.0"),
        (SplitOptions(0.5, 0.5), "leave nothing to train on"),
        (SplitOptions(duplicates="apart"), "--duplicates is 'apart'"),  # type: ignore[arg-type]
    ],
)
def test_shares_out_of_range_are_refused(options: SplitOptions, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make_splits(data([0, 1] * 10), options, 0)


def test_a_million_rows_of_many_classes_take_seconds() -> None:
    labels = np.arange(1_000_000) % 10_000
    digests = np.arange(1_000_000)
    digests[:50_000:10] = digests[10_000:60_000:10]
    dataset = data([0, 1])
    dataset.records = Rows(digests)
    dataset.labels = labels
    dataset.classes = tuple(map(str, range(10_000)))
    dataset.given = {"train": np.arange(1_000_000)}
    splits = make_splits(dataset, SplitOptions(), 0)
    assert sizes(splits) == [700_000, 150_000, 150_000]


@pytest.mark.slow
def test_notmnist_divides_as_published(public_data) -> None:
    dataset = open_dataset(public_data / "notmnist_small")
    assert dataset.classes == tuple("ABCDEFGHIJ")
    assert np.bincount(dataset.labels).tolist() == [1872, *[1873] * 4, *[1872] * 5]
    digests = dataset.records.digests()
    assert len(digests) - len(np.unique(digests)) == 492
    for duplicates, crossing in (("ignore", True), ("together", False)):
        splits = make_splits(dataset, SplitOptions(0.3, 0.2, duplicates), 0)
        assert sizes(splits) == [9362, 5617, 3745]  # 50, 30 and 20 % of 18,724
        shared = set(digests[splits.indices["train"]].tolist()) & set(
            digests[splits.indices["test"]].tolist()
        )
        assert bool(shared) == crossing


def test_one_split_is_none_and_has_only_its_own_records() -> None:
    def given(*names: str) -> dict[str, list[int]]:
        return {name: rows.tolist() for name, rows in given_splits(names).items()}

    assert given("train", "train") == {"train": [0, 1]}
    assert given("", "test", "", "test") == {"train": [1, 3]}  # of which splits are then drawn
    assert given("train", "", "val") == {"train": [0], "val": [2]}
