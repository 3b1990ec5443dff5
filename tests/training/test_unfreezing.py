"""Gradual unfreezing: what trains when, exactly, and what it does not go together with."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toys import (
    Listener,
    Regression,
    assert_same,
    digit_loop,
    options,
    row_loop,
    small_network,
    through_a_file,
    weights,
)

import torchfolio
from torchfolio.checkpoint import read_tensors
from torchfolio.errors import RequestError
from torchfolio.tasks.base import Parts
from torchfolio.training.estimate import estimate
from torchfolio.training.loop import Loop
from torchfolio.training.recording import Monitor
from torchfolio.training.sharding import check_sharded
from torchfolio.training.start import Start, make_loop, prepare
from torchfolio.training.transfer import freeze

HARD = {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}


class Epochs(Listener):
    """Keeps the weights after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[dict[str, torch.Tensor]] = []

    def updated(self, loop: Loop, loss: float | None) -> None:
        self.updates.append(loop.progress.update)

    def epoch_ended(self, loop: Loop, row: dict[str, Any]) -> None:
        self.ends.append(weights(loop))


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The top-level modules of which anything changed, buffers included."""
    return {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}


def resnet(ema: float | None = None, **settings: Any) -> Loop:
    """ResNet-20 on a few digits; its norms have statistics that are not those of the beginning."""

    def prepared(network: nn.Module) -> None:
        torch.manual_seed(0)
        network(torch.rand(8, 1, 32, 32))

    settings = {"count": 40, "val": 8, "batch_size": 16, "epochs": 5, "unfreeze": 1} | settings
    return digit_loop("resnet20", HARD, prepare=prepared, ema=ema, **settings)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_group_more_trains_after_each_epoch_and_nothing_else_moves(ema: float | None) -> None:
    loop, listener = resnet(ema), Epochs()
    begun = weights(loop)
    loop.run(listener)
    groups = [{"linear"}, {"layer3"}, {"layer2"}, {"layer1"}, {"conv1", "bn1"}]
    before = begun
    for epoch, after in enumerate(listener.ends):
        assert moved(before, after) == set().union(*groups[: epoch + 1]), epoch
        before = after
    assert [row["trained_groups"] for row in loop.progress.history] == [1, 2, 3, 4, 5]


def test_averages_of_what_is_frozen_stay_bit_equal() -> None:
    loop = resnet(0.9, epochs=2)
    begun = weights(loop)
    loop.run(Listener())
    averaged = loop.tensors(loop.usable_parts())
    assert moved(begun, averaged) == {"linear", "layer3"}


def test_every_so_many_epochs_and_no_further_than_transfer_says() -> None:
    loop = resnet(epochs=6, unfreeze=2)
    freeze(loop.parts.network, "last:2")
    again = Loop(loop.task, loop.parts, loop.optimizers, loop.dataset, loop.splits, loop.options)
    listener = Epochs()
    begun = weights(again)
    again.run(listener)
    assert [row["trained_groups"] for row in again.progress.history] == [1, 1, 2, 2, 2, 2]
    assert moved(begun, listener.ends[-1]) == {"linear", "layer3"}


def mixed() -> Loop:
    return digit_loop(
        "resnet20",
        {"name": "adamw", "lr": 0.01, "weight_decay": 0.1, "layer_decay": 0.7},
        {"augment": "crop-flip"},
        count=40, val=8, epochs=4, batch_size=16, unfreeze=1, ema=0.9, accumulate=2,
        schedule="cosine",
    )  # fmt: skip


def with_muon() -> Loop:
    return row_loop(
        Regression(lambda: small_network(0.2)),
        {"network": {"name": "muon", "lr": 0.02}},
        epochs=3, unfreeze=1, grad_clip=1.0, warmup=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "stop"),  # before, at and after the end of an epoch, of two updates or of five
    [(mixed, 1), (mixed, 3), (mixed, 4), (with_muon, 4), (with_muon, 5), (with_muon, 11)],
)
def test_it_goes_on_exactly(make: Callable[[], Loop], stop: int, tmp_path: Path) -> None:
    whole, first, second = make(), make(), make()
    whole.run(Listener())
    assert first.run(Listener(stop)) == "stopped"
    second.load_state_dict(through_a_file(first.state_dict(), tmp_path / "state"))
    second.run(Listener())
    ends = [loop.state_dict() for loop in (second, whole)]
    for end in ends:
        end["progress"].pop("seconds")
    assert_same(*ends)


def test_what_is_called_and_recorded_is_made_anew_when_more_trains() -> None:
    loop = row_loop(epochs=2, unfreeze=1)
    made: list[object] = []
    loop.updater.call = made.append  # type: ignore[method-assign]
    loop.set_training_mode()
    assert made == []  # as it was made for the first epoch
    loop.progress.epoch = 1
    loop.set_training_mode()
    loop.set_training_mode()
    assert len(made) == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_is_unfrozen_as_another() -> None:
    ends = []
    for compiled in (False, True):
        loop = row_loop(epochs=3, unfreeze=1, compile=compiled)
        loop.run(Listener())
        ends.append(weights(loop))
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-4, atol=1e-5)


def test_an_estimate_reckons_with_what_trains_later(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = row_loop(epochs=4, unfreeze=1, val=0)  # 1, 2, 3 and 3 groups
    seconds = iter([1.0, 3.0])
    monkeypatch.setattr("torchfolio.training.estimate.seconds_of_update", lambda *_: next(seconds))
    # 1 s with the head alone, 3 s with all three groups: 1, 2, 3 and 3
    updates = len(loop.plan(0))
    assert estimate(loop).seconds == pytest.approx((1 + 2 + 3 + 3) * updates)


# What is said, and refused


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("source") / "run"
    return torchfolio.train("lenet5", "digits", out=out, report=False, **QUICK).path


QUICK: dict[str, Any] = {
    "epochs": 1, "batch_size": 256, "threads": 1, "workers": 0, "device": "cpu",
}  # fmt: skip


class Lines(Monitor):
    """Keeps what was decided."""

    def prepared(self, start: Start, path: Path) -> None:
        self.lines = start.lines


def test_the_lines_say_when_what_is_unfrozen(source: Path, tmp_path: Path) -> None:
    watcher = Lines()
    settings = QUICK | {"weights": str(source), "epochs": 5, "unfreeze": 2}
    run = torchfolio.train(
        "lenet5", "digits", out=tmp_path / "run", report=False, watcher=watcher, **settings
    )
    assert (
        "gradual unfreezing: output first, f6 from epoch 3, c5 from epoch 5; 5 epochs are too few "
        "for c3, c1: frozen to the end"
    ) in watcher.lines
    assert run.recipe.training.unfreeze == 2
    assert [row["trained_groups"] for row in run.history] == [1, 1, 2, 2, 3]
    kept = torchfolio.create("lenet5", weights=source).state_dict()
    after, _ = read_tensors(run.path / "weights" / "last.safetensors")
    assert {name for name in kept if torch.equal(kept[name], after[name])} == {
        "c1.weight", "c1.bias", "c3.weight", "c3.bias",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "no weights are given. Add --weights, or leave --unfreeze out"),
        ({"transfer": "none"}, "no weights are given. Add --weights, or leave --unfreeze out"),
        ({"transfer": "head"}, "transfer is head: besides the head there is nothing to unfreeze"),
        ({"optimizer": "lbfgs"}, r"L-BFGS \(network\) takes all parameters from the first update"),
    ],
)
def test_what_cannot_be_unfrozen_is_refused(
    settings: dict[str, Any], message: str, source: Path
) -> None:
    given = {} if settings == {} else {"weights": str(source)}
    with pytest.raises(RequestError, match=message):
        make_loop(prepare("lenet5", "digits", QUICK | given | settings | {"unfreeze": 1}))


def test_split_weights_are_not_unfrozen() -> None:
    with pytest.raises(RequestError, match="and --unfreeze needs whole ones"):
        check_sharded(Parts(network=nn.Linear(2, 1)), options(unfreeze=1), {})
