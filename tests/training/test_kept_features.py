"""What a frozen backbone makes of each example, computed once: the same weights, sooner."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import Listener, assert_same, digit_loop, options, row_loop, through_a_file, weights

import torchfolio
from torchfolio.errors import RequestError
from torchfolio.networks.catalogue import Card
from torchfolio.tasks.base import Parts
from torchfolio.tasks.image_classification import ImageClassification
from torchfolio.training.estimate import estimate
from torchfolio.training.features import Features, cut, resolve_features
from torchfolio.training.loop import Loop
from torchfolio.training.recording import Monitor
from torchfolio.training.start import Start, make_loop, prepare
from torchfolio.training.transfer import freeze

HARD = {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}
ROUNDING = 1e-5  # of the largest weight of a tensor, after the few updates of these tests


def frozen(network: nn.Module) -> None:
    """Freeze all but the head; norms have statistics that are not those of the beginning."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    freeze(network, "head")


def head_loop(network: str, kept: bool, **settings: Any) -> Loop:
    """A loop of the head alone; the last batch of an epoch is smaller than the others."""
    chosen = {"count": 60, "val": 12, "batch_size": 10, "epochs": 3, "ema": 0.9} | settings
    return digit_loop(network, HARD, prepare=frozen, cache_features=kept, **chosen)


def averaged(loop: Loop) -> dict[str, Tensor]:
    return loop.tensors(loop.usable_parts())


class Backbone(nn.Module):
    """A network whose head draws dropout, and normalises."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 5, stride=2), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.4), nn.BatchNorm1d(784), nn.Linear(784, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


class OwnNetwork(ImageClassification):
    """Pictures before a network of these tests."""

    make: Callable[[], nn.Module] = Backbone

    def parts(self, card: Card, **_: Any) -> Parts:
        return Parts(network=type(self).make())


def of(kind: Callable[[], nn.Module]) -> type[OwnNetwork]:
    return type("Own", (OwnNetwork,), {"make": staticmethod(kind)})


@pytest.mark.parametrize(
    "network",
    ["lenet5", "lenet_caffe", "mlp_bn", "resnet20", "mobilenet_v2_0.35", "densenet40_k12"],
)
def test_the_weights_are_those_of_a_training_without(network: str) -> None:
    loops = [head_loop(network, kept) for kept in (True, False)]
    for loop in loops:
        loop.run(Listener())
    with_features, without = loops
    assert with_features.features is not None
    for read in (weights, averaged):
        one, other = read(with_features), read(without)
        for name, value in other.items():
            difference = float((one[name] - value).abs().max())
            assert difference <= ROUNDING * float(value.abs().max()), name
    rows = [loop.progress.history for loop in loops]
    for one, other in zip(*rows, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-4)
        assert one["val_accuracy"] == other["val_accuracy"]


def test_a_head_draws_the_same_dropout_with_features_and_without() -> None:
    ends = []
    for kept in (True, False):
        loop = head_loop("lenet5", kept, task_kind=of(Backbone), accumulate=2, grad_clip=1.0)
        loop.run(Listener())
        ends.append(weights(loop))
    for name in ends[0]:
        torch.testing.assert_close(ends[0][name], ends[1][name], rtol=1e-4, atol=1e-6)


def test_batches_of_one_size_give_the_same_bits() -> None:
    """Convolutions compute a picture alike wherever it lies in a batch of the same size."""
    ends = []
    for kept in (True, False):
        loop = head_loop("resnet20", kept, count=60, val=20, batch_size=10, ema=None)
        loop.run(Listener())
        ends.append(weights(loop))
    assert_same(*ends)


def test_bf16_features_are_those_that_the_head_reads_in_bf16() -> None:
    losses = []
    for kept in (True, False):
        loop = head_loop("resnet20", kept, precision="bf16")
        listener = Listener()
        loop.run(listener)
        losses.append(listener.losses)
        if loop.features is not None:
            assert loop.features.values is not None
            assert loop.features.values.dtype == torch.bfloat16
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


def count_calls(module: nn.Module) -> list[int]:
    """The sizes of the batches that a module is called with, from now on."""
    sizes: list[int] = []
    module.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    return sizes


def test_the_backbone_sees_each_example_once_and_test_examples_never() -> None:
    loop = head_loop("resnet20", True, epochs=5)
    sizes = count_calls(loop.parts.network.conv1)
    loop.run(Listener())
    assert sum(sizes) == 60
    assert set(sizes) == {10}


@pytest.mark.parametrize("stop", [1, 5, 7])
def test_it_goes_on_exactly(stop: int, tmp_path: Path) -> None:
    whole, first, second = (head_loop("resnet20", True) for _ in range(3))
    whole.run(Listener())
    assert first.run(Listener(stop)) == "stopped"
    second.load_state_dict(through_a_file(first.state_dict(), tmp_path / "state"))
    second.run(Listener())
    ends = [loop.state_dict() for loop in (second, whole)]
    for end in ends:
        end["progress"].pop("seconds")
    assert_same(*ends)


def test_a_stop_while_they_are_computed_leaves_a_training_that_goes_on(tmp_path: Path) -> None:
    class Impatient(Listener):
        def should_stop(self) -> bool:
            return True

    whole, first, second = (head_loop("resnet20", True) for _ in range(3))
    whole.run(Listener())
    sizes = count_calls(first.parts.network.conv1)
    assert first.run(Impatient()) == "stopped"
    assert sizes == [10]
    assert first.progress.update == 0
    second.load_state_dict(through_a_file(first.state_dict(), tmp_path / "state"))
    second.run(Listener())
    assert_same(weights(second), weights(whole))


def test_a_finished_training_computes_none(tmp_path: Path) -> None:
    loop = head_loop("resnet20", True, epochs=1)
    loop.run(Listener())
    again = head_loop("resnet20", True, epochs=1)
    again.load_state_dict(through_a_file(loop.state_dict(), tmp_path / "state"))
    sizes = count_calls(again.parts.network.conv1)
    assert again.run(Listener()) == "finished"
    assert sizes == []


def test_an_estimate_counts_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = head_loop("lenet5", True, val=0, epochs=4)
    monkeypatch.setattr("torchfolio.training.estimate.seconds_of_features", lambda _: 7.0)
    monkeypatch.setattr("torchfolio.training.estimate.seconds_of_update", lambda *_: 0.5)
    assert estimate(loop).seconds == pytest.approx(7 + 4 * 6 * 0.5)


def test_an_estimate_computes_one_batch_of_them() -> None:
    loop = head_loop("lenet5", True, epochs=1)
    sizes = count_calls(loop.parts.network.c1)
    assert estimate(loop).seconds_an_epoch > 0
    assert sizes == [10, 10]  # one to warm up


# When it is done, and what is said


def asked(
    network: str = "lenet5",
    *,
    alone: bool = True,
    task_options: dict[str, Any] | None = None,
    **settings: Any,
) -> tuple[bool | None, list[str]]:
    """What is resolved for a training of the head of a network, and the lines."""
    loop = digit_loop(network, HARD, task_options, prepare=frozen, count=24, val=6)
    wanted = replace(loop.options, **settings)
    found, lines = resolve_features(
        loop.task, loop.parts, loop.dataset, loop.splits, wanted, alone=alone
    )
    return found.cache_features, lines


def test_it_is_done_where_it_can_be_and_said() -> None:
    # what the output of LeNet-5 reads: 84 float32 of each of 24 examples
    line = (
        "features: what output reads is computed once, before the first epoch (24 examples, 0.0 "
        "MiB; --no-cache-features overrules)"
    )
    assert asked() == (True, [line])
    assert asked(cache_features=True) == (True, [line])
    assert asked(cache_features=False) == (False, [])


def test_a_training_of_more_than_the_head_is_not_asked() -> None:
    loop = digit_loop("lenet5", HARD, prepare=lambda network: freeze(network, "last:2"))
    given = (loop.task, loop.parts, loop.dataset, loop.splits)
    assert resolve_features(*given, loop.options, alone=True)[1] == []
    with pytest.raises(RequestError, match=r"more than the head is trained \(--transfer head"):
        resolve_features(*given, options(cache_features=True), alone=True)
    assert asked(unfreeze=1) == (False, [])
    rows = row_loop()
    given = (rows.task, rows.parts, rows.dataset, rows.splits)
    assert resolve_features(*given, rows.options, alone=True)[1] == []


IN_EVERY_EPOCH = "features are computed in every epoch, not once: "


@pytest.mark.parametrize(
    ("network", "settings", "why"),
    [
        ("lenet5", {"task_options": {"augment": "shift"}}, "training pictures are changed at rand"),
        ("lenet5", {"task_options": {"mixup": 0.2}}, "training pictures are changed at random"),
        ("googlenet", {}, "what fc reads is random in training, as by dropout before it"),
        ("maxout_mlp", {}, "what y reads is random in training, as by dropout before it"),
        ("lenet5_original", {}, "what f6 gives is not yet what the network gives"),
        ("capsnet", {}, r"the head has several parts \(digitcaps, decoder\)"),
        ("lenet5", {"compile": True}, "--compile compiles the whole network"),
    ],
)
def test_why_it_is_not_done(network: str, settings: dict[str, Any], why: str) -> None:
    chosen, lines = asked(network, **settings)
    assert chosen is False
    assert [line.startswith(IN_EVERY_EPOCH) for line in lines] == [True]
    with pytest.raises(RequestError, match=f"Features cannot be computed once: {why}"):
        asked(network, cache_features=True, **settings)


def test_several_processes_go_on_without() -> None:
    expected = (False, [f"{IN_EVERY_EPOCH}several processes train"])
    assert asked(alone=False) == expected
    assert asked(alone=False, cache_features=True) == expected


def test_what_does_not_fit_into_memory_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = 24 * 84 * 4
    monkeypatch.setattr("torchfolio.training.features.memory_budget", lambda: budget)
    assert asked()[0] is True
    monkeypatch.setattr("torchfolio.training.features.memory_budget", lambda: budget - 1)
    for wanted in (None, True):
        chosen, (line,) = asked(cache_features=wanted)
        assert chosen is False
        assert line.startswith(f"{IN_EVERY_EPOCH}those of 24 examples take 0.0 MiB; they may take")


def test_looking_leaves_modes_and_statistics_as_they_were() -> None:
    loop = digit_loop("lenet5", HARD, prepare=frozen, task_kind=of(Backbone), count=24, val=6)
    before = weights(loop)
    modes = [module.training for module in loop.parts.network.modules()]
    size = cut(loop.task, loop.parts, loop.dataset, loop.splits["train"][:2], loop.options)
    assert size == 4 * 784
    assert_same(weights(loop), before)
    assert [module.training for module in loop.parts.network.modules()] == modes


class Twice(Backbone):
    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images)) + 0 * self.head(self.body(images))


class Pair(Backbone):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Bilinear(784, 784, 10)

    def forward(self, images: Tensor) -> Tensor:
        found = self.body(images).flatten(1)
        return self.head(found, found)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Twice, "the network runs 1 times and head 2 times"),
        (Pair, "head does not read one tensor with a row an example"),
    ],
)
def test_networks_that_are_no_backbone_and_head(kind: type[nn.Module], why: str) -> None:
    loop = digit_loop("lenet5", HARD, prepare=frozen, task_kind=of(kind), count=24, val=6)
    some = loop.splits["train"][:2]
    assert cut(loop.task, loop.parts, loop.dataset, some, loop.options) == why


# By the command's own path


QUICK: dict[str, Any] = {"threads": 1, "workers": 0, "device": "cpu", "report": False}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("source") / "run"
    return torchfolio.train("lenet5", "digits", epochs=1, batch_size=256, out=out, **QUICK).path


class Lines(Monitor):
    def prepared(self, start: Start, path: Path) -> None:
        self.lines = start.lines


def test_a_run_has_the_choice_in_its_recipe_and_the_same_figures(
    source: Path, tmp_path: Path
) -> None:
    settings = QUICK | {"weights": str(source), "transfer": "head", "augment": "none", "epochs": 2}
    watcher = Lines()
    kept = torchfolio.train("lenet5", "digits", out=tmp_path / "a", watcher=watcher, **settings)
    plain = torchfolio.train(
        "lenet5", "digits", out=tmp_path / "b", cache_features=False, **settings
    )
    assert any(line.startswith("features: what output reads is comp") for line in watcher.lines)
    assert kept.recipe.training.cache_features is True
    assert plain.recipe.training.cache_features is False
    assert kept.metrics["metrics"]["accuracy"] == plain.metrics["metrics"]["accuracy"]
    again = torchfolio.train(
        "lenet5", "digits", out=tmp_path / "c", recipe=kept.path / "recipe.toml", report=False
    )
    assert again.metrics["digest"] == kept.metrics["digest"]
    taught = torchfolio.create("lenet5", weights=source).state_dict()
    for name, value in kept.network.state_dict().items():
        assert torch.equal(value, taught[name]) != name.startswith("output."), name


def test_one_process_alone_keeps_features(source: Path) -> None:
    """What several do: test_processes.py."""
    settings = QUICK | {"weights": str(source), "transfer": "head", "augment": "none"}
    settings.pop("report")
    loop = make_loop(prepare("lenet5", "digits", settings))
    assert isinstance(loop.features, Features)
