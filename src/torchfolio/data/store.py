"""Pictures kept in memory after they were first made, up to a budget."""

import os
import threading
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from torchfolio.data.dataset import Indices


def memory_budget() -> int:
    """Return a quarter of the machine's memory in bytes, or 2 GiB where that is not known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (AttributeError, ValueError, OSError):
        return 2 * 2**30


class UniformStore:
    """Pictures of one size: (count, channels, height, width) in one tensor, filled as used.

    ``make(index)`` gives one picture. Where the whole would exceed the budget nothing is kept.
    """

    def __init__(
        self,
        make: Callable[[int], Tensor],
        count: int,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        budget: int | None = None,
    ) -> None:
        self.make = make
        size = count * int(np.prod(shape)) * dtype.itemsize
        keep = size <= (memory_budget() if budget is None else budget)
        with torch.inference_mode(False):  # else no thread could fill it outside that mode
            self.data = torch.empty((count, *shape), dtype=dtype) if keep else None
        self.ready = np.zeros(count, bool)

    def get(self, indices: Indices) -> Tensor:
        """Return pictures as one batch, owned by the caller."""
        if self.data is None:
            return torch.stack([self.make(int(index)) for index in indices])
        for index in np.unique(indices[~self.ready[indices]]):
            self.data[index] = self.make(int(index))
            self.ready[index] = True
        return self.data[torch.from_numpy(indices)]


class VariedStore:
    """Pictures of different sizes, each kept as long as the budget lasts."""

    def __init__(self, make: Callable[[int], Tensor], budget: int | None = None) -> None:
        self.make = make
        self.left = memory_budget() if budget is None else budget
        self.kept: dict[int, Tensor] = {}
        self._lock = threading.Lock()  # of ``left`` and ``kept``: several threads load

    def get(self, index: int) -> Tensor:
        """Return one picture; it must not be changed."""
        if index in self.kept:
            return self.kept[index]
        picture = self.make(index)
        size = picture.numel() * picture.element_size()
        with self._lock:
            if size <= self.left and index not in self.kept:
                self.left -= size
                self.kept[index] = picture
        return picture
