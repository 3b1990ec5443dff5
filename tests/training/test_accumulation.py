"""Updates in pieces, clipping, and the moving average."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from adversaries import normed_network
from torch import Tensor
from toys import (
    Listener,
    Regression,
    RowBatch,
    assert_same,
    digit_loop,
    row_loop,
    weights,
)

from torchfolio.tasks.base import Parts, Step


@pytest.mark.parametrize("pieces", [2, 3, 8])
def test_pieces_add_up_to_the_batch(pieces: int) -> None:
    one, several = row_loop(val=6), row_loop(val=6, accumulate=pieces)  # 42: a last batch of 2
    one.run(Listener())
    several.run(Listener())
    whole, parts = weights(one), weights(several)
    assert all(torch.allclose(whole[name], parts[name], atol=1e-6) for name in whole)
    columns = ("train_loss", "val_loss")
    for first, second in zip(one.progress.history, several.progress.history, strict=True):
        assert [first[key] for key in columns] == pytest.approx([second[key] for key in columns])


@pytest.mark.parametrize("weighing", ["none", "balanced"])
def test_pieces_add_up_under_smoothing_and_class_weights(weighing: str) -> None:
    settings = {"label_smoothing": 0.1, "class_weights": weighing}
    one = digit_loop("lenet5", task_options=settings, epochs=1)
    several = digit_loop("lenet5", task_options=settings, epochs=1, accumulate=4)
    one.run(Listener())
    several.run(Listener())
    whole, parts = weights(one), weights(several)
    assert all(torch.allclose(whole[name], parts[name], atol=1e-6) for name in whole)


def test_a_smaller_last_batch_has_fewer_pieces_not_smaller_ones() -> None:
    loop = row_loop(count=100, val=8, batch_size=40, accumulate=4)  # 92: 40, 40 and 12
    sizes = [[len(piece) for piece in loop.load(rows)] for rows in loop.plan(0)]
    assert sizes == [[10, 10, 10, 10], [10, 10, 10, 10], [6, 6]]


class ByLength(Regression):
    """Cuts its own batches, of many short examples or of few long ones, as a translator does."""

    def batches(self, *_: Any) -> list[Any]:
        return [np.arange(0, 24), np.arange(24, 30), np.arange(30, 40)]


def test_batches_of_a_tasks_own_making_are_taken_whole() -> None:
    task = ByLength()
    loop = row_loop(task, batch_size=8, accumulate=2, epochs=1)
    sizes = [[len(piece) for piece in loop.load(rows)] for rows in loop.plan(0)]
    assert sizes == [[12, 12], [3, 3], [5, 5]]
    listener = Listener()
    loop.run(listener)
    assert listener.updates == [1, 2, 3]
    assert loop.progress.history[0]["updates"] == 3


@dataclass
class Sentences(RowBatch):
    """Rows that count by their number: row 0 as one token, row 1 as two, and so on."""

    @property
    def weight(self) -> float:
        return float((self.rows + 1).sum())


class ByTokens(Regression):
    """The loss is a mean over tokens, not over examples."""

    def load(self, *arguments: Any) -> Sentences:
        return Sentences(**vars(super().load(*arguments)))

    def steps(self, parts: Parts, batch: RowBatch) -> Iterator[Step]:
        tokens = torch.from_numpy(batch.rows + 1)[:, None]

        def loss() -> Tensor:
            errors = (parts.network(batch.inputs) - batch.targets).square()
            return (errors * tokens).sum() / tokens.sum()

        yield Step(loss)


@pytest.mark.parametrize("pieces", [2, 4])
def test_pieces_count_by_their_weight(pieces: int) -> None:
    one, several = row_loop(ByTokens()), row_loop(ByTokens(), accumulate=pieces)
    one.run(Listener())
    several.run(Listener())
    whole, parts = weights(one), weights(several)
    assert all(torch.allclose(whole[name], parts[name], atol=1e-6) for name in whole)
    losses = [row["train_loss"] for row in one.progress.history]
    assert [row["train_loss"] for row in several.progress.history] == pytest.approx(losses)


def test_no_batch_is_left_with_one_example() -> None:
    loop = row_loop(count=25, val=0, batch_size=8, epochs=1)
    assert [len(rows) for rows in loop.plan(0)] == [8, 8, 9]


def test_gradients_are_clipped_to_their_norm() -> None:
    free, clipped = (
        row_loop(epochs=1, count=8, val=0),
        row_loop(epochs=1, count=8, val=0, grad_clip=0.01),
    )
    norms = []
    gradients = []
    for loop in (free, clipped):
        loop.run(Listener())  # one update
        found = [each.grad for each in loop.parts.network.parameters() if each.grad is not None]
        gradients.append(torch.cat([each.flatten() for each in found]))
        norms.append(math.sqrt(sum(value * value for value in gradients[-1].tolist())))
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(0.01, rel=1e-4)
    direction = gradients[0] / norms[0]
    assert torch.allclose(gradients[1] / norms[1], direction, atol=1e-5)


def test_the_moving_average_follows_its_formula() -> None:
    listener = Listener()
    loop = row_loop(Regression(normed_network), epochs=1, count=24, val=0, ema=0.75)
    loop.run(listener)
    first, second, third = listener.weights
    average = loop.tensors(loop.usable_parts())
    for name in first:
        if not first[name].is_floating_point():
            assert average[name] == third[name] == 3  # counters are copied
            continue
        expected = 0.75 * (0.75 * first[name] + 0.25 * second[name]) + 0.25 * third[name]
        assert torch.allclose(average[name], expected, atol=1e-6), name
    assert not torch.equal(average["network.1.running_mean"], third["network.1.running_mean"])


def test_the_average_is_what_is_validated_and_kept() -> None:
    listener = Listener()
    loop = row_loop(Regression(normed_network), epochs=1, ema=0.9)
    loop.run(listener)
    assert listener.best is not None
    average = loop.averages["network"].module.state_dict()
    assert_same(dict(listener.best["network"]), dict(average))
    assert not torch.equal(average["0.weight"], loop.parts.network.state_dict()["0.weight"])
