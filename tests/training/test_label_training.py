"""Several labels a picture under the loop: resumed exactly, the same twice, frozen where frozen."""

from pathlib import Path
from typing import Any

import pytest
import torch
from toys import Listener, assert_same, label_loop, through_a_file, weights

from torchfolio.training.device import configure
from torchfolio.training.loop import Loop
from torchfolio.training.transfer import freeze

EVERYTHING: dict[str, Any] = {
    "augment": "crop-flip", "mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1,
    "class_weights": "balanced",
}  # fmt: skip


def loop(**settings: Any) -> Loop:
    """Everything that a training of labels may have at once, in three epochs of six updates."""
    many = {"epochs": 3, "batch_size": 12, "accumulate": 2, "ema": 0.8, "schedule": "plateau"}
    return label_loop("lenet5", EVERYTHING, **many | {"plateau_patience": 0} | settings)


@pytest.mark.parametrize("stop_after", [1, 6, 8])
def test_a_stopped_training_ends_as_one_left_alone(stop_after: int, tmp_path: Path) -> None:
    whole, first = loop(), loop()
    whole.run(Listener())
    assert first.run(Listener(stop_after)) == "stopped"
    state = through_a_file(first.state_dict(), tmp_path / "state")
    second = loop()
    torch.manual_seed(12345)  # another process has another generator
    second.load_state_dict(state)
    second.run(Listener())
    assert_same(weights(second), weights(whole))
    assert told(second) == told(whole)


def told(loop: Loop) -> list[dict[str, Any]]:
    """The history but for times."""
    kept = ("train_", "val_", "digest")
    return [
        {key: value for key, value in row.items() if key.startswith(kept)}
        for row in loop.progress.history
    ]


def test_the_same_training_twice_has_the_same_weights() -> None:
    one, other = loop(), loop()
    for each in (one, other):
        each.run(Listener())
    assert one.digest() == other.digest()
    assert loop(seed=1).plan(0)[0].tolist() != one.plan(0)[0].tolist()


def test_the_best_weights_are_those_of_the_best_average_precision() -> None:
    found = loop()
    found.run(Listener())
    values = [row["val_mean_average_precision"] for row in found.progress.history]
    assert found.monitor == "mean_average_precision"
    assert found.progress.best_value == max(values)


def test_what_is_frozen_stays_bit_equal() -> None:
    found = label_loop("resnet20", prepare=lambda network: freeze(network, "head"), epochs=1)
    before = weights(found)
    found.run(Listener())
    after = weights(found)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"network.linear.weight", "network.linear.bias"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("network", ["lenet5", "resnet20"])
def test_a_recorded_training_has_the_weights_of_one_that_is_not(network: str) -> None:
    found = []
    for graphs in (True, False):
        made = label_loop(
            network, EVERYTHING, device="cuda", graphs=graphs, epochs=3, batch_size=20, workers=2,
            precision="bf16",
        )  # fmt: skip
        configure(made.options)
        assert made.run(Listener()) == "finished"
        found.append(made)
    recorder = found[0].updater.recorder
    assert recorder is not None
    assert len(recorder.recorded) == 2  # the usual batch, and the last of an epoch
    assert_same(weights(found[0]), weights(found[1]))
