"""What of a network follows the number of classes, and what follows the channels."""

import pytest
import torch
from test_forms import SMALLEST, smallest
from torch import nn

from torchfolio.networks.build import build, sized_by
from torchfolio.networks.catalogue import cards, find_card
from torchfolio.networks.weights import head_names, input_channels, load_weights

# The module that a new number of classes makes new, by the names that the papers' code gives.
CLASS_LAYERS = {
    "softmax_regression": {"linear"},
    "mlp": {"output"},
    "maxout_mlp": {"y"},
    "maxout_conv_mnist": {"y"},
    "lenet5_original": {"output"},  # the codes, which nothing trains
    "lenet5": {"output"},
    "lenet_caffe": {"ip2"},
    "resnet18": {"fc"},
    "resnet20": {"linear"},
    "alexnet": {"classifier.6"},
    "vgg11_bn": {"classifier.6"},
    "googlenet": {"fc"},
    "googlenet_aux": {"fc", "aux1.fc2", "aux2.fc2"},
    "densenet121": {"classifier"},
    "mobilenet_v1_0.25": {"classifier"},
    "mobilenet_v2_0.35": {"classifier.1"},
    "capsnet": {"digitcaps", "decoder.0"},
    "vit_ti_16": {"heads.head"},
    "cifar_quick": {"ip2"},
    "darknet19": {"out"},
    "darknet53": {"fc"},
}


SLOW = ("alexnet", "vgg11_bn", "densenet121", "densenet100_k12_bc")


def on_meta(name: str, **arguments: int) -> nn.Module:
    with torch.device("meta"):
        return build(name, **arguments)


@pytest.mark.parametrize("name", CLASS_LAYERS)
def test_the_layers_that_follow_the_number_of_classes(name: str) -> None:
    found = {tensor.rpartition(".")[0] for tensor in sized_by(name, "num_classes")}
    assert found == CLASS_LAYERS[name]


@pytest.mark.parametrize("name", [name for name in cards() if "1202" not in name])
def test_the_head_holds_every_parameter_that_follows_the_number_of_classes(name: str) -> None:
    network = on_meta(name)
    parameters = {key for key, _ in network.named_parameters()}
    sized = {key.split(".")[0] for key in sized_by(name, "num_classes") & parameters}
    if name == "lenet5_original":
        assert (sized, head_names(network)) == (set(), ["f6"])
    else:
        assert set(head_names(network)) == sized


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in SMALLEST
        if name != "softmax_regression"
    ],
)
def test_weights_for_other_classes_leave_these_layers_new_and_nothing_else(name: str) -> None:
    torch.manual_seed(0)
    source, _ = smallest(name, num_classes=5)
    torch.manual_seed(1)
    network, _ = smallest(name, num_classes=3)
    drawn = {key: each.clone() for key, each in network.state_dict().items()}
    report = load_weights(network, source.state_dict())
    assert set(report.new) == sized_by(name, "num_classes")
    for key, value in network.state_dict().items():
        expected = drawn[key] if key in report.new else source.state_dict()[key]
        assert torch.equal(value, expected), key


def test_auxiliary_heads_that_the_weights_lack_are_part_of_the_new_head() -> None:
    network = build("googlenet_aux", num_classes=3)
    report = load_weights(network, build("googlenet", num_classes=5).state_dict())
    assert {name.split(".")[0] for name in report.new} == {"aux1", "aux2", "fc"}


@pytest.mark.parametrize("name", SMALLEST)
def test_the_kernels_tell_the_channels_of_given_weights(name: str) -> None:
    card = find_card(name)
    for channels in (1,) if card.fixed_channels else (1, 3):
        weights = on_meta(name, in_channels=channels).state_dict()
        flat = name in ("softmax_regression", "mlp_plain", "mlp", "mlp_bn", "maxout_mlp")
        fixed = name == "lenet5_original"  # no argument: the paper fixes them
        expected = None if flat or fixed else channels
        assert input_channels(card, dict(reversed(weights.items())), {}) == expected


def test_arguments_that_fix_the_channels_tell_nothing() -> None:
    card = find_card("googlenet")
    assert input_channels(card, {}, {"transform_input": True}) is None
