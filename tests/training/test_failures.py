"""What goes wrong in a training, and what is said of it."""

import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from adversaries import Adversaries, Broken
from torch import Tensor
from toys import (
    Listener,
    Regression,
    RowBatch,
    digit_loop,
    options,
    row_loop,
)

from torchfolio.errors import FolioError
from torchfolio.tasks.base import Parts, Step
from torchfolio.training.device import configure


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_exploding_loss_stops_with_place_settings_and_advice() -> None:
    loop = digit_loop(optimizer={"name": "sgd", "lr": 1e6}, epochs=2)
    with pytest.raises(FolioError) as caught:
        loop.run(Listener())
    text = str(caught.value)
    for part in (
        r"at update [23] \(epoch 1\)",
        r"learning rate 1e\+06 \(network\)",
        "batch size 8",
        "precision fp32",
        "lower --lr",
        "last good state",
    ):
        assert re.search(part, text), (part, text)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e9])
def test_a_loss_that_is_no_number_stops_at_its_update(value: float) -> None:
    with pytest.raises(FolioError, match=r"The loss became (nan|inf|.*e\+0\d) at update 4 "):
        row_loop(Broken(value, 3)).run(Listener())


def test_every_loss_of_several_steps_is_watched() -> None:
    class HalfBroken(Adversaries):
        def steps(self, parts: Parts, batch: RowBatch) -> Iterator[Step]:
            for step in super().steps(parts, batch):
                factor = math.nan if step.name == "g_loss" else 1.0
                loss = step.closure
                yield Step(lambda loss=loss, by=factor: loss() * by, step.trains, step.name)

    with pytest.raises(FolioError, match="The g_loss became nan at update 1 "):
        row_loop(HalfBroken()).run(Listener())


def test_a_loss_that_begins_at_nought_may_grow() -> None:
    class Growing(Regression):
        taken = 0

        def error(self, parts: Parts, batch: RowBatch) -> Tensor:
            self.taken += 1
            return super().error(parts, batch) * 0 + 30.0 * (self.taken - 1)  # as a critic's may

    loop = row_loop(Growing(), epochs=4, val=0)
    assert loop.run(Listener()) == "finished"


def test_weights_that_are_not_finite_are_neither_measured_nor_saved() -> None:
    class Steep(Regression):
        def error(self, parts: Parts, batch: RowBatch) -> Tensor:
            return 1000 * super().error(parts, batch)

    sections = {"network": {"name": "sgd", "lr": 1e38}}
    loop = row_loop(Steep(), sections, epochs=1, count=8, val=4)
    with pytest.raises(FolioError, match=r"network\.\S+ is no longer finite at update 1 "):
        loop.run(Listener())  # the only loss was finite
    assert loop.best is None
    with pytest.raises(FolioError, match="no longer finite"):
        loop.state_dict()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    ],
)
@pytest.mark.parametrize("where", ["error", "load", "predict"])
def test_running_out_of_memory_says_what_to_do(error: Exception, where: str) -> None:
    class Large(Regression):
        pass

    def fail(*_: Any) -> Any:
        raise error

    setattr(Large, where, fail)
    loop = row_loop(Large(), accumulate=2, batch_size=16, count=24, val=8)
    advice = (
        r"Out of memory on cpu at update \d with batch size 16 in 2 piece.*--accumulate 4.*kept"
    )
    with pytest.raises(FolioError, match=advice):
        loop.run(Listener())


def test_other_errors_pass_unchanged() -> None:
    class Wrong(Regression):
        def error(self, parts: Parts, batch: RowBatch) -> Tensor:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        row_loop(Wrong()).run(Listener())


def test_operations_that_are_not_deterministic_are_refused() -> None:
    class Undeterministic(Regression):
        def error(self, parts: Parts, batch: RowBatch) -> Tensor:
            places = torch.zeros(2, dtype=torch.long)
            torch.zeros(3).put_(places, torch.ones(2), accumulate=False)  # has no fixed order
            return super().error(parts, batch)

    configure(options(deterministic=True))
    try:
        with pytest.raises(FolioError, match=r"--deterministic refuses .* update 1: put_ does not"):
            row_loop(Undeterministic(), deterministic=True).run(Listener())
    finally:
        configure(options())
