from typing import Any

import pytest
import torch
from adversaries import Slow, normed_network
from torch import Tensor
from toys import (
    SGD,
    Listener,
    Regression,
    assert_same,
    digit_loop,
    row_loop,
    small_network,
    weights,
)

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.training.estimate import estimate


def test_measuring_leaves_every_module_in_its_mode() -> None:
    loop = row_loop(Regression(normed_network))
    loop.parts.network.train()
    loop.parts.network[1].eval()
    loop.validate()
    assert [each.training for each in loop.parts.network] == [True, False, True]


def test_bf16_trains() -> None:
    loop = digit_loop(precision="bf16", epochs=2, task_options={"class_weights": "balanced"})
    loop.run(Listener())
    history = loop.progress.history
    assert history[1]["train_loss"] < history[0]["train_loss"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    def trained(seed: int) -> dict[str, Tensor]:
        loop = row_loop(Regression(lambda: small_network(0.5)), seed=seed)
        loop.run(Listener())
        return weights(loop)

    first, again, other = trained(0), trained(0), trained(1)
    assert_same(first, again)
    assert not torch.equal(first["network.0.weight"], other["network.0.weight"])


def test_the_history_has_the_mean_of_what_the_steps_report() -> None:
    listener = Listener()
    loop = row_loop(epochs=1, count=30, val=8, batch_size=8, optimizers={"network": SGD})
    loop.run(listener)  # 22: 8, 8 and 6
    losses = [loss or 0.0 for loss in listener.losses]
    mean = (8 * losses[0] + 8 * losses[1] + 6 * losses[2]) / 22
    assert loop.progress.history[0]["train_loss"] == pytest.approx(mean)


def test_the_estimate_counts_updates_and_validation() -> None:
    loop = row_loop(Slow(), epochs=3)  # 5 updates and one batch of validation, 0.02 s each
    found = estimate(loop)
    assert 0.12 <= found.seconds_an_epoch < 1.0
    assert found.seconds == pytest.approx(3 * found.seconds_an_epoch)
    # Linear(4, 8), Linear(8, 8), Linear(8, 1): 40 + 72 + 9
    assert found.parameters == 121


def test_training_examples_are_read_ahead_once_before_the_first_batch() -> None:
    told: list[tuple[str, list[int]]] = []

    class Ahead(Regression):
        def read_ahead(self, dataset: Dataset, split: Indices) -> None:
            told.append(("ahead", split.tolist()))

        def load(self, dataset: Dataset, indices: Indices, epoch: int | None, seed: int) -> Any:
            told.append(("load", []))
            return super().load(dataset, indices, epoch, seed)

    loop = row_loop(Ahead(small_network), epochs=2, count=20, val=4)
    loop.run(Listener())
    assert told[0] == ("ahead", list(range(16)))
    assert {what for what, _ in told[1:]} == {"load"}
