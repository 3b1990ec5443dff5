import threading

import numpy as np
import pytest
import torch
from torch import Tensor

from torchfolio.data.store import UniformStore, VariedStore, memory_budget


class Maker:
    """Makes picture ``index`` filled with its number, and counts."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def __call__(self, index: int) -> Tensor:
        self.made.append(index)
        return torch.full((1, 2, 2), index, dtype=torch.uint8)


def test_each_picture_is_made_once() -> None:
    make = Maker()
    store = UniformStore(make, 10, (1, 2, 2), torch.uint8)
    assert store.get(np.array([3, 1, 3]))[:, 0, 0, 0].tolist() == [3, 1, 3]
    assert store.get(np.array([1, 2]))[:, 0, 0, 0].tolist() == [1, 2]
    assert sorted(make.made) == [1, 2, 3]


def test_a_batch_belongs_to_the_caller() -> None:
    store = UniformStore(Maker(), 4, (1, 2, 2), torch.uint8)
    store.get(np.array([1])).zero_()
    assert store.get(np.array([1])).unique().tolist() == [1]


def test_beyond_the_budget_nothing_is_kept() -> None:
    make = Maker()
    store = UniformStore(make, 10, (1, 2, 2), torch.uint8, budget=39)  # 10 x 4 bytes
    for _ in range(2):
        assert store.get(np.array([5, 6]))[:, 0, 0, 0].tolist() == [5, 6]
    assert make.made == [5, 6, 5, 6]
    assert UniformStore(make, 10, (1, 2, 2), torch.uint8, budget=40).data is not None


def test_pictures_of_different_sizes_are_kept_as_long_as_the_budget_lasts() -> None:
    made = []

    def make(index: int) -> Tensor:
        made.append(index)
        return torch.zeros(1, 1, index)

    store = VariedStore(make, budget=4 * 5)  # float32: the pictures 2 and 3 fit, 4 does not
    for _ in range(2):
        assert [store.get(index).shape[2] for index in (2, 4, 3)] == [2, 4, 3]
    assert made == [2, 4, 3, 4]
    assert store.left == 0


def test_threads_do_not_spend_the_budget_twice() -> None:
    together = threading.Barrier(4, timeout=5)

    def make(index: int) -> Tensor:
        together.wait()  # all four make the same picture
        return torch.zeros(10)

    store = VariedStore(make, budget=100)
    threads = [threading.Thread(target=store.get, args=(7,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.left == 60


def test_a_store_made_without_gradients_can_be_filled_later() -> None:
    with torch.inference_mode():
        store = UniformStore(Maker(), 4, (1, 2, 2), torch.uint8)
        store.get(np.array([0]))
    assert store.get(np.array([0, 1]))[:, 0, 0, 0].tolist() == [0, 1]


def test_the_budget_is_a_part_of_the_memory() -> None:
    assert 2**27 <= memory_budget() <= 2**44


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_the_type_is_kept(kind: torch.dtype) -> None:
    store = UniformStore(lambda index: torch.zeros(3, 2, 2, dtype=kind), 2, (3, 2, 2), kind)
    assert store.get(np.array([0, 1])).dtype == kind
