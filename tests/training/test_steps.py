"""Several parts and several steps: the loop names no task."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from adversaries import Adversaries, Critics
from torch import Tensor
from toys import (
    Listener,
    Regression,
    RowBatch,
    row_loop,
    weights,
)

from torchfolio.errors import RequestError
from torchfolio.tasks.base import Parts, Step
from torchfolio.training.update import lock_step


def test_the_steps_of_the_pieces_advance_in_lock_step() -> None:
    task = Adversaries()
    loop = row_loop(task, epochs=1, count=16, val=0, accumulate=2)
    for name in ("discriminator", "generator"):
        loop.optimizers[name].optimizers[0].register_step_post_hook(
            lambda *_, name=name: task.events.append(f"update {name}")
        )
    loop.run(Listener())
    one_update = ["noise d of 4"] * 2 + ["judge"] * 2 + ["update discriminator"]
    one_update += ["noise g of 4"] * 2 + ["fool"] * 2 + ["update generator"]
    assert task.events == one_update * 2
    assert len(set(task.noises)) == len(task.noises) == 8  # fresh for each step and piece
    assert {"train_d_loss", "train_g_loss"} <= set(loop.progress.history[0])


def test_each_step_trains_its_parts_alone() -> None:
    task = Adversaries()
    loop = row_loop(task, epochs=1, count=8, val=0)
    changed: list[set[str]] = []
    before = weights(loop)

    def note(*_: Any) -> None:
        nonlocal before
        now = weights(loop)
        changed.append({key.split(".")[0] for key in now if not torch.equal(now[key], before[key])})
        before = now

    for group in loop.optimizers.values():
        group.optimizers[0].register_step_post_hook(note)
    loop.run(Listener())
    assert changed == [{"discriminator"}, {"generator"}]


def test_five_critic_steps_to_one_generator_step() -> None:
    task = Critics()
    adam = {"name": "adam", "lr": 0.01, "betas": [0.0, 0.9]}
    rates = {"generator": adam, "discriminator": adam | {"lr": 0.02}}
    loop = row_loop(task, rates, epochs=1, count=24, val=8)
    listener = Listener()
    loop.run(listener)
    steps = [event for event in task.events if not event.startswith("noise")]
    assert steps == (["critic"] * 5 + ["generator"]) * 2
    (row,) = loop.progress.history
    assert (row["lr_generator"], row["lr_discriminator"]) == (0.01, 0.02)
    assert "val_loss" in row
    assert loop.progress.best_epoch is None
    assert listener.best is None


class Now(Regression):
    """Two steps in every update, and a third in every other; each loss is a set number."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def steps(self, parts: Parts, batch: RowBatch) -> Iterator[Step]:
        def value(number: float) -> Tensor:
            return number + 0 * self.error(parts, batch)

        self.taken += 1
        yield Step(lambda: value(1.0), name="first")
        yield Step(lambda: value(3.0), name="first")
        if self.taken % 2 == 0:
            yield Step(lambda: value(self.taken), name="rare")


def test_a_figure_is_the_mean_over_the_steps_that_were_taken() -> None:
    loop = row_loop(Now(), epochs=1, count=40, val=8, batch_size=8)  # 4 updates of 8
    loop.run(Listener())
    assert loop.progress.history[0]["train_first"] == 2  # of 1 and 3
    assert loop.progress.history[0]["train_rare"] == 3  # of 2 and 4


def test_what_watches_a_metric_needs_one() -> None:
    with pytest.raises(RequestError, match=r"critics has no metric of its own that --patience"):
        row_loop(Critics(), patience=2)
    assert row_loop(Critics(), patience=2, monitor="loss").monitor == "loss"


def test_lock_step_refuses_pieces_of_different_lengths() -> None:
    step = Step(lambda: torch.zeros(()))
    with pytest.raises(ValueError, match="different numbers of steps"):
        list(lock_step([iter([step, step]), iter([step])]))
