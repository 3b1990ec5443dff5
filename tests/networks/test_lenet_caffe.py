import math
import tomllib

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torchfolio.errors import RequestError
from torchfolio.networks.catalogue import find_card, recipe_file
from torchfolio.networks.lenet_caffe import LeNet
from torchfolio.training.schedules import Schedule


def count(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def test_parameter_counts_are_those_of_caffes_file() -> None:
    counts = {name: count(layer) for name, layer in LeNet().named_children()}
    assert counts == {
        "conv1": 520, "pool1": 0, "conv2": 25_050, "pool2": 0, "ip1": 400_500, "ip2": 5_010
    }  # fmt: skip
    assert sum(counts.values()) == 431_080
    assert count(LeNet(num_classes=7, in_channels=3)) == 431_080 - 3 * 501 + 2 * 20 * 25


def test_it_is_convolutions_maxima_and_one_relu() -> None:
    network = LeNet()
    images = torch.randn(2, 1, 28, 28)
    x = F.max_pool2d(F.conv2d(images, network.conv1.weight, network.conv1.bias), 2)
    x = F.max_pool2d(F.conv2d(x, network.conv2.weight, network.conv2.bias), 2)
    x = F.linear(x.reshape(2, 800), network.ip1.weight, network.ip1.bias)
    scores = F.linear(x.clamp(min=0), network.ip2.weight, network.ip2.bias)
    torch.testing.assert_close(network(images), scores)


def test_a_picture_goes_the_way_that_can_be_calculated_by_hand() -> None:
    network = LeNet()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.conv1.weight[3, 0, 2, 2] = -2.0  # map 3: minus twice the pixel
        network.conv2.weight[7, 3, 0, 0] = 1.0  # map 7: map 3, from the corner of each patch
        network.ip1.weight[11, 7 * 16 + 0] = 1.0  # the first place of map 7
        network.ip1.weight[12, 7 * 16 + 0] = -1.0  # and its negation
        network.ip2.weight[4, 11] = 5.0
        network.ip2.weight[9, 12] = 5.0
    images = torch.ones(1, 1, 28, 28)
    # Place (0, 0) of pool2 reads map 3 of pool1 at rows and columns 0 and 1, conv1 at 0 to 3, the
    # pixels at 2 to 5: sixteen of them, of which the smallest counts, for -2 is the largest.
    images[0, 0, 2:6, 2:6] = 3.0
    images[0, 0, 4, 5] = 0.25
    expected = torch.zeros(1, 10)
    expected[0, 9] = 5 * 2 * 0.25  # max is -0.5: unit 11 is cut off, unit 12 is 0.5
    assert torch.equal(network(images), expected)


def test_weights_start_as_caffes_fillers_have_it() -> None:
    network = LeNet()
    bounds = {"conv1": 25, "conv2": 500, "ip1": 800, "ip2": 500}  # what each output reads
    for name, reads in bounds.items():
        layer = network.get_submodule(name)
        bound = math.sqrt(3 / reads)
        assert 0.95 * bound < layer.weight.abs().max().item() <= bound, name
        assert layer.bias.abs().max().item() == 0, name


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (1, 3, 28, 28), (1, 1, 28, 29), (1, 28, 28)])
def test_another_size_is_refused_with_the_legal_one(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match=r"takes images of 1x28x28 .* and no other size"):
        LeNet()(torch.zeros(shape))


def test_the_steps_of_the_recipe_follow_caffes_rate() -> None:
    table = tomllib.loads(recipe_file(find_card("lenet_caffe")).read_text(encoding="utf-8"))
    training, optimizer = table["paper"]["training"], table["paper"]["optimizer"]["network"]
    shape = Schedule(
        training["schedule"], milestones=tuple(training["milestones"]), gamma=training["gamma"]
    )
    for update in range(10_001):  # lenet_solver.prototxt: inv, gamma 0.0001, power 0.75
        caffes = 0.01 * (1 + 0.0001 * update) ** -0.75
        ours = optimizer["lr"] * shape.factor(update / 10_000)
        assert ours == pytest.approx(caffes, rel=0.06)
    assert (optimizer["momentum"], optimizer["weight_decay"]) == (0.9, 5e-4)
    assert (training["batch_size"], training["epochs"]) == (64, math.ceil(10_000 * 64 / 60_000))
