"""Batches side by side: in order, without gradients, and torch's threads as they were."""

import threading

import pytest
import torch

from torchfolio.tasks.base import Context
from torchfolio.tasks.outputs import batch_size, outputs

CPU = torch.device("cpu")


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 7, 30])
def test_outputs_come_in_order_and_leave_torch_as_it_was(workers: int, count: int) -> None:
    before = torch.get_num_threads()
    weight = torch.ones(2, requires_grad=True)

    def compute(x: torch.Tensor) -> tuple[int, bool, bool]:
        return int(x[0]), (x * weight).requires_grad, torch.is_inference_mode_enabled()

    context = Context(CPU, workers=workers)
    found = []
    for row in outputs(lambda item: torch.full((2,), float(item)), compute, range(count), context):
        found.append(row)
        assert not torch.is_inference_mode_enabled()  # between two, the caller is as before
    assert found == [(item, False, True) for item in range(count)]
    assert torch.get_num_threads() == before


def test_on_the_cpu_threads_compute_with_a_share_of_torchs_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    given: dict[str, int] = {}
    monkeypatch.setattr(
        torch, "set_num_threads", lambda n: given.update({threading.current_thread().name: n})
    )
    list(outputs(lambda item: item, lambda item: item, range(2), Context(CPU, workers=1)))
    assert given.pop(threading.current_thread().name) == 4  # back to all
    assert set(given.values()) == {2}


def test_an_error_of_a_batch_is_the_callers() -> None:
    def load(item: int) -> int:
        if item == 3:
            raise ValueError("the third")
        return item

    rows = outputs(load, lambda item: item, range(6), Context(CPU, workers=2))
    assert [next(rows) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(rows)


def test_batches_of_large_pictures_are_small_on_the_cpu_alone() -> None:
    context = Context(CPU, batch_size=64)
    assert batch_size(context, 3 * 224 * 224) == 8
    assert batch_size(context, 3 * 2000 * 2000) == 1
    assert batch_size(context, 28 * 28) == 64
    assert batch_size(Context(torch.device("meta"), batch_size=64), 3 * 224 * 224) == 64
