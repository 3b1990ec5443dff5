"""GoogLeNet: its auxiliary heads, and the input transform of torchvision's weights."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models import googlenet

from torchfolio.networks.build import build
from torchfolio.networks.googlenet import SHARE, renormalised


@pytest.mark.parametrize("name", ["googlenet_aux", "googlenet_original_aux"])
def test_the_heads_are_for_training_alone(name: str) -> None:
    network = build(name, num_classes=4)
    images = torch.rand(2, 3, 64, 64)
    outputs = network.train()(images)
    assert [each.shape for each in outputs] == [(2, 4)] * 3
    assert isinstance(network.eval()(images), Tensor)


def test_each_head_counts_three_tenths() -> None:
    network, targets = build("googlenet_aux"), torch.tensor([0, 2])
    outputs = tuple(torch.randn(2, 4) for _ in range(3))
    losses = [F.cross_entropy(each, targets) for each in outputs]
    expected = losses[0] + 0.3 * losses[1] + 0.3 * losses[2]
    assert SHARE == 0.3
    assert torch.allclose(network.loss(outputs, targets, F.cross_entropy), expected)
    assert torch.equal(network.loss(outputs[0], targets, F.cross_entropy), losses[0])


@torch.no_grad()
def test_the_input_transform_is_torchvisions() -> None:
    images = torch.randn(2, 3, 32, 32)
    theirs = googlenet(weights=None, init_weights=False, transform_input=True)
    assert torch.allclose(renormalised(images), theirs._transform_input(images), atol=1e-6)
    ours, without = build("googlenet", transform_input=True).eval(), build("googlenet").eval()
    without.load_state_dict(ours.state_dict())
    assert torch.equal(ours(images), without(renormalised(images)))


def test_the_original_starts_as_caffes_fillers_have_it() -> None:
    torch.manual_seed(0)
    network = build("googlenet_original_aux")
    reads = {"conv1.conv": 3 * 49, "inception4a.branch3.1.conv": 16 * 25, "aux2.fc1": 2048}
    for name, count in reads.items():  # U(-sqrt(3 / n), sqrt(3 / n)), n what each output reads
        bound, layer = math.sqrt(3 / count), network.get_submodule(name)
        assert 0.99 * bound < layer.weight.abs().max().item() <= bound, name
        assert torch.equal(layer.bias, torch.full_like(layer.bias, 0.2)), name
    for name in ("fc", "aux1.fc2", "aux2.fc2"):  # loss1 to loss3/classifier of train_val.prototxt
        layer = network.get_submodule(name)
        assert 0.99 * math.sqrt(3 / 1024) < layer.weight.abs().max().item() <= math.sqrt(3 / 1024)
        assert not layer.bias.any(), name


def test_heads_pool_as_printed_where_maps_are_as_printed() -> None:
    head = build("googlenet_original_aux").aux1.eval()
    maps = torch.rand(1, 512, 14, 14)
    printed = head.conv(F.avg_pool2d(maps, 5, stride=3)).flatten(1)
    assert torch.equal(head(maps), head.fc2(F.relu(head.fc1(printed))))
