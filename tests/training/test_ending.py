"""What ends a training, and which weights are kept."""

import math
import time
from itertools import pairwise
from typing import Any

import pytest
from adversaries import Slow
from torch import Tensor
from toys import (
    Listener,
    MeanLoss,
    Regression,
    RowBatch,
    assert_same,
    row_loop,
)

from torchfolio.errors import RequestError
from torchfolio.tasks.base import Meter, Parts
from torchfolio.training.loop import Loop


class Scripted(Regression):
    """Its validation follows a script, one value an epoch."""

    monitor = "score"
    higher_is_better = {"loss": False, "score": True, "error": False}  # noqa: RUF012

    def __init__(self, script: list[float]) -> None:
        super().__init__()
        self.script = script
        self.asked = 0

    def meter(self) -> Meter:
        task = self

        class Script(MeanLoss):
            def compute(self) -> dict[str, float]:
                value = task.script[task.asked]
                task.asked += 1
                return super().compute() | {"score": value, "error": -value}

        return Script()


@pytest.mark.parametrize("monitor", ["score", "error"])
def test_patience_ends_and_the_best_weights_are_kept(monitor: str) -> None:
    task = Scripted([0.1, 0.5, 0.4, 0.5, 0.45, 0.9])
    listener = Listener()
    loop = row_loop(task, epochs=6, patience=3, monitor=monitor)
    assert loop.run(listener) == "patience"
    # 0.4, 0.5 (equal is no improvement) and 0.45 follow epoch 2; 0.5 comes again with less loss
    assert loop.progress.epoch == 5
    losses = [row["val_loss"] for row in loop.progress.history]
    assert losses[3] < losses[1]
    assert loop.progress.best_epoch == 4
    assert loop.progress.best_value == (0.5 if monitor == "score" else -0.5)
    assert listener.best is not None
    best = {f"network.{name}": each for name, each in listener.best["network"].items()}
    assert_same(best, listener.weights[4 * loop.updates_an_epoch - 1])


def test_a_metric_that_is_no_number_is_no_best() -> None:
    loop = row_loop(Scripted([math.nan, 0.3, math.nan, 0.4]), epochs=4)
    assert loop.run(Listener()) == "finished"
    assert (loop.progress.best_epoch, loop.progress.best_value) == (4, 0.4)


class Unmeasured(Scripted):
    """Its score is never a number, and its validation loss follows the script."""

    def meter(self) -> Meter:
        task = self

        class Script(MeanLoss):
            def compute(self) -> dict[str, float]:
                loss = task.script[task.asked]
                task.asked += 1
                return {"loss": loss, "score": math.nan, "error": math.nan}

        return Script()


@pytest.mark.parametrize("monitor", ["score", "error"])
def test_where_the_metric_is_never_a_number_the_loss_is_watched(monitor: str) -> None:
    """Of losses 3, 1, 2, 2, 0 the second is best; two epochs without a better one follow."""

    class Told(Listener):
        def epoch_ended(self, loop: Loop, row: dict[str, Any]) -> None:
            lines.append(loop.unmeasured())

    lines: list[str] = []
    listener = Told()
    loop = row_loop(Unmeasured([3, 1, 2, 2, 0]), epochs=5, patience=2, monitor=monitor)
    assert loop.run(listener) == "patience"
    assert loop.progress.epoch == 4
    assert loop.progress.best_epoch == 2
    assert loop.chosen_by() == ("loss", 1)
    told = f"{monitor} cannot be measured on the 8 validation examples: until it can, the loss "
    assert lines[0].startswith(told)
    assert lines[1:] == ["", "", ""]
    assert listener.best is not None
    best = {f"network.{name}": each for name, each in listener.best["network"].items()}
    assert_same(best, listener.weights[2 * loop.updates_an_epoch - 1])


def test_the_rate_falls_by_the_loss_where_the_metric_is_never_a_number() -> None:
    """After the third epoch no loss is lower: the fourth is forgiven, the fifth is not."""
    settings = {"schedule": "plateau", "plateau_patience": 1, "gamma": 0.5}
    loop = row_loop(Unmeasured([3, 2, 1, 1, 1]), epochs=5, **settings)
    loop.run(Listener())
    assert [row["lr"] for row in loop.progress.history] == [0.05] * 5
    assert loop.plateau.factor == 0.5


def test_a_metric_that_becomes_a_number_is_watched_from_then_on() -> None:
    loop = row_loop(Scripted([math.nan, 0.3, 0.2]), epochs=3)
    loop.run(Listener())
    assert (loop.progress.best_epoch, loop.chosen_by()) == (2, ("score", 0.3))


def test_an_unknown_metric_is_refused_before_training_with_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"no metric named 'scores'.*score"):
        row_loop(Scripted([]), monitor="scores")


def test_what_watches_the_validation_needs_one() -> None:
    for settings, name in (
        ({"patience": 2}, "--patience"),
        ({"schedule": "plateau"}, "--schedule plateau"),
        ({"monitor": "loss"}, "--monitor"),
    ):
        with pytest.raises(RequestError, match=f"no validation examples, which {name} would"):
            row_loop(val=0, **settings)


def test_without_validation_nothing_is_best() -> None:
    loop = row_loop(val=0, epochs=1)
    assert loop.run(Listener()) == "finished"
    assert loop.best is None
    assert "val_loss" not in loop.progress.history[0]


def test_a_budget_of_minutes_ends_the_training() -> None:
    loop = row_loop(Slow(), epochs=1_000_000, minutes=0.01, schedule="linear")
    listener = Listener()
    started = time.monotonic()
    assert loop.run(listener) == "minutes"
    assert time.monotonic() - started >= 0.6
    assert 0.6 <= loop.progress.seconds < 3
    assert loop.progress.history[-1]["updates"] == loop.progress.update == len(listener.updates)
    # linear in time: the rate fell from update to update, to a small rest
    assert all(first > second for first, second in pairwise(listener.rates))
    assert listener.rates[-1] < 0.2 * listener.rates[0]


def test_the_budget_counts_validation() -> None:
    class SlowToMeasure(Regression):
        def predict(self, parts: Parts, batch: RowBatch) -> Tensor:
            time.sleep(0.35)
            return super().predict(parts, batch)

    loop = row_loop(SlowToMeasure(), epochs=1_000_000, minutes=0.01)
    loop.run(Listener())
    assert loop.progress.epoch == 2


def test_a_stop_keeps_the_place() -> None:
    loop = row_loop(epochs=2)
    assert loop.run(Listener(stop_after=3)) == "stopped"
    assert (loop.progress.epoch, loop.progress.batch, loop.progress.update) == (0, 3, 3)
