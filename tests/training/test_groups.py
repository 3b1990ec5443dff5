"""Layers in groups, and their rates: by the pages' layers, and by the papers' rules."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn
from toys import Listener, Regression, assert_same, digit_loop, row_loop, through_a_file, weights

from torchfolio.errors import RequestError
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import cards
from torchfolio.training.groups import layer_groups, rates_by_layer
from torchfolio.training.loop import Loop
from torchfolio.training.optimizers import make_optimizer, rate_line
from torchfolio.training.schedules import Schedule

VIT = [f"encoder.layers.encoder_layer_{number}" for number in reversed(range(12))]
INCEPTIONS = [f"inception{name}" for name in ("5b", "5a", "4e", "4d", "4c", "4b", "4a", "3b", "3a")]
DENSE = [
    f"features.{name}"
    for name in ("denseblock3", "transition2", "denseblock2", "transition1", "denseblock1", "conv0")
]
# From the head to the input.
GROUPS = {
    "softmax_regression": ["linear"],
    "mlp": ["output", "layers"],
    "mlp_bn": ["output", "layers.6", "layers.3", "layers.0"],
    "maxout_mlp": ["y", "h1", "h0"],
    "maxout_conv_mnist": ["y", "h2", "h1", "h0"],
    "lenet5_original": ["f6", "c5", "s4", "c3", "s2", "c1"],
    "lenet5": ["output", "f6", "c5", "c3", "c1"],
    "lenet_caffe": ["ip2", "ip1", "conv2", "conv1"],
    "resnet18": ["fc", "layer4", "layer3", "layer2", "layer1", "conv1"],
    "resnet20": ["linear", "layer3", "layer2", "layer1", "conv1"],
    "alexnet": ["classifier", *(f"features.{number}" for number in (10, 8, 6, 3, 0))],
    "vgg11": ["classifier", *(f"features.{number}" for number in (18, 16, 13, 11, 8, 6, 3, 0))],
    "vgg11_bn": ["classifier", *(f"features.{number}" for number in (25, 22, 18, 15, 11, 8, 4, 0))],
    "googlenet": ["fc", *INCEPTIONS, "conv3", "conv2", "conv1"],
    "googlenet_aux": ["aux1+aux2+fc", *INCEPTIONS, "conv3", "conv2", "conv1"],
    "densenet40_k12": ["classifier", *DENSE],
    "mobilenet_v1": [
        "classifier",
        *(f"blocks.{number}" for number in (4, 3, 2, 1, 0)),
        "conv_stem",
    ],
    "mobilenet_v2": ["classifier", *(f"features.{number}" for number in reversed(range(19)))],
    "capsnet": ["digitcaps+decoder", "primarycaps", "conv1"],
    "vit_ti_16": ["heads", *VIT, "conv_proj"],
    "cifar_quick": ["ip2", "ip1", "conv3", "conv2", "conv1"],
}


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return build(name)


@pytest.mark.parametrize("name", GROUPS)
def test_the_groups_of_a_network(name: str) -> None:
    assert [group.name for group in layer_groups(on_meta(name))] == GROUPS[name]


@pytest.mark.parametrize("name", [name for name in cards() if "1202" not in name])
def test_every_parameter_is_in_one_group(name: str) -> None:
    network = on_meta(name)
    grouped = [each for group in layer_groups(network) for each in group.parameters]
    assert sorted(grouped) == sorted(each for each, _ in network.named_parameters())


def test_norms_go_with_the_layer_before_them_and_tokens_with_the_first() -> None:
    groups = {group.name: set(group.parameters) for group in layer_groups(on_meta("vit_ti_16"))}
    assert {"class_token", "encoder.pos_embedding", "conv_proj.bias"} <= groups["conv_proj"]
    assert "encoder.ln.weight" in groups["encoder.layers.encoder_layer_11"]
    groups = {group.name: set(group.parameters) for group in layer_groups(on_meta("resnet18"))}
    assert groups["conv1"] == {"conv1.weight", "bn1.weight", "bn1.bias"}


def test_the_rates_of_vit_are_those_of_beit() -> None:
    # Bao et al., 2022: layer i of 12 has decay ** (13 - i), the embeddings i = 0, the head 1.
    rates = rates_by_layer(on_meta("vit_ti_16"), 0.001, 0.75)
    expected = {
        "heads.head.weight": 0,
        "encoder.layers.encoder_layer_11.mlp.0.weight": 1,
        "encoder.layers.encoder_layer_0.ln_1.bias": 12,
        "encoder.pos_embedding": 13,
    }
    for name, steps in expected.items():
        assert rates[name] == (steps, pytest.approx(0.001 * 0.75**steps))


def three_layers() -> nn.Module:
    layers = [("one", nn.Linear(4, 6)), ("norm", nn.LayerNorm(6)), ("act", nn.Tanh())]
    layers += [("two", nn.Linear(6, 6)), ("three", nn.Linear(6, 1))]
    return nn.Sequential(OrderedDict(layers))


# Of the parameters of three_layers, by how many steps they are from the head.
STEPS = {"one": 2, "norm": 2, "two": 1, "three": 0}


def test_an_update_is_that_of_each_layers_rate() -> None:
    settings = {"name": "sgd", "lr": 0.1, "layer_decay": 0.5}
    loop = row_loop(Regression(three_layers), {"network": settings}, epochs=1, val=0)
    pieces = loop.load(loop.plan(0)[0])
    before = weights(loop)
    network = loop.parts.network
    gradients = torch.autograd.grad(
        loop.task.error(loop.parts, pieces[0]), list(network.parameters())
    )
    loop.take_update(pieces)
    for (name, parameter), gradient in zip(network.named_parameters(), gradients, strict=True):
        rate = 0.1 * 0.5 ** STEPS[name.split(".")[0]]
        expected = before[f"network.{name}"] - rate * gradient
        torch.testing.assert_close(parameter.detach(), expected)


@pytest.mark.parametrize("name", ["sgd", "adamw", "adafactor", "muon"])
def test_decay_spares_norms_within_each_layers_rate(name: str) -> None:
    settings = {"name": name, "lr": 0.1, "weight_decay": 0.5, "decay_norms": False}
    network = three_layers()
    made = make_optimizer("network", network, settings | {"layer_decay": 0.5})
    names = {id(each): key for key, each in network.named_parameters()}
    found = {
        names[id(each)]: (group["lr"], group["weight_decay"])
        for optimizer in made.optimizers
        for group in optimizer.param_groups
        for each in group["params"]
    }
    expected = {
        key: (0.1 * 0.5 ** STEPS[key.split(".")[0]], 0.5 if each.ndim > 1 else 0.0)
        for key, each in network.named_parameters()
    }
    assert found == expected
    assert made.rate == 0.1


def test_the_schedule_moves_every_rate_alike() -> None:
    settings = {"name": "adamw", "lr": 0.1, "layer_decay": 0.5}
    made = make_optimizer("network", three_layers(), settings)
    made.set_factor(Schedule("cosine").factor(0.5))
    rates = [group["lr"] for group in made.optimizers[0].param_groups]
    assert rates == pytest.approx([0.05, 0.025, 0.0125])
    assert made.rate == pytest.approx(0.05)


def test_a_decay_of_one_changes_nothing() -> None:
    ends = []
    for more in ({}, {"layer_decay": 1.0}):
        settings = {"name": "adamw", "lr": 0.01, "decay_norms": False} | more
        loop = row_loop(Regression(three_layers), {"network": settings}, schedule="cosine")
        loop.run(Listener())
        ends.append(weights(loop))
    assert_same(*ends)


@pytest.mark.parametrize("name", ["sgd", "muon"])
def test_rates_by_layer_go_on_exactly(name: str, tmp_path: Path) -> None:
    def make() -> Loop:
        settings = {"name": name, "lr": 0.02, "momentum": 0.9, "layer_decay": 0.6}
        return row_loop(Regression(three_layers), {"network": settings}, schedule="cosine")

    whole, first, second = make(), make(), make()
    whole.run(Listener())
    first.run(Listener(4))
    second.load_state_dict(through_a_file(first.state_dict(), tmp_path / "state"))
    second.run(Listener())
    assert_same(weights(second), weights(whole))


def test_the_history_has_the_rate_of_the_head() -> None:
    loop = digit_loop("lenet5", {"name": "muon", "lr": 0.02, "layer_decay": 0.5}, epochs=1)
    loop.run(Listener())
    assert loop.progress.history[0]["lr"] == 0.02


def test_frozen_layers_have_no_rate_and_the_others_keep_theirs() -> None:
    network = three_layers()
    network.one.requires_grad_(False)
    network.norm.requires_grad_(False)
    settings = {"name": "sgd", "lr": 0.1, "layer_decay": 0.5}
    made = make_optimizer("network", network, settings)
    assert [group["lr"] for group in made.optimizers[0].param_groups] == [0.1, 0.05]
    line = rate_line("network", network, settings)
    assert line == "rates of network by layer, as shares of the rate: three 1, two 0.5"


def test_a_network_without_modules_is_one_group() -> None:
    layer = nn.Linear(3, 2)
    made = make_optimizer("network", layer, {"name": "sgd", "lr": 0.1, "layer_decay": 0.5})
    assert [group["lr"] for group in made.optimizers[0].param_groups] == [0.1]


@pytest.mark.parametrize("decay", [0, -1, 1.5, "much", True, float("nan")])
def test_decays_that_are_none_are_refused(decay: object) -> None:
    with pytest.raises(RequestError, match="it should be a number above 0, and 1 at most"):
        make_optimizer("network", three_layers(), {"name": "sgd", "layer_decay": decay})


def test_lbfgs_has_one_rate() -> None:
    with pytest.raises(RequestError, match="lbfgs has one rate for all layers"):
        make_optimizer("network", three_layers(), {"name": "lbfgs", "layer_decay": 0.5})
