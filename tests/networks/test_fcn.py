"""FCN: bilinear kernels, any size of picture, weights of the network that classifies."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torchfolio.networks.build import build
from torchfolio.networks.fcn import Bilinear, scoring
from torchfolio.networks.weights import load_weights
from torchfolio.training.transfer import freeze


@pytest.mark.parametrize("factor", [2, 8, 32])
@torch.no_grad()
def test_enlarging_is_bilinear_interpolation(factor: int) -> None:
    scores = torch.randn(1, 3, 6, 5)
    found = Bilinear(3, factor)(scores)
    assert found.shape == (1, 3, factor * 7, factor * 6)
    half = factor // 2  # beyond the outer centres it fades to zero; interpolation stays
    inside = found[..., half : half + 6 * factor, half : half + 5 * factor]
    wanted = F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)
    cut = (..., slice(half, -half), slice(half, -half))
    assert torch.allclose(inside[cut], wanted[cut], atol=1e-5)


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
def test_scores_have_the_size_of_the_picture(name: str) -> None:
    with torch.device("meta"):
        network = build(name).eval()
        for size in ((1, 1), (500, 333), (97, 64)):
            assert network(torch.zeros(1, 3, *size)).shape == (1, 21, *size)


def test_layers_that_score_start_at_zero() -> None:
    layer = scoring(512, 21)
    assert layer.kernel_size == (1, 1)
    assert not layer.weight.any()
    assert not layer.bias.any()


@pytest.mark.parametrize("transfer", ["head", "last:4", "all"])
def test_kernels_that_enlarge_stay_as_they_are_whatever_trains(transfer: str) -> None:
    with torch.device("meta"):
        network = build("fcn8s")
    freeze(network, transfer)
    for name, parameter in network.named_parameters():
        if name.startswith("upscore"):
            assert not parameter.requires_grad
    assert network.score_fr.weight.requires_grad


@torch.no_grad()
def test_resnets_keep_an_eighth_of_the_size() -> None:
    with torch.device("meta"):
        network = build("fcn_resnet50").eval()
        maps: list[torch.Size] = []
        network.backbone["layer4"].register_forward_hook(lambda _, __, out: maps.append(out.shape))
        assert network(torch.zeros(1, 3, 65, 130)).shape == (1, 21, 65, 130)
    assert maps == [(1, 2048, 9, 17)]


@torch.no_grad()
def test_the_auxiliary_head_counts_half_in_training() -> None:
    torch.manual_seed(0)
    network = build("fcn_resnet50", num_classes=3)
    outputs = network.train()(torch.randn(2, 3, 32, 32))
    targets = torch.zeros(2, 32, 32, dtype=torch.long)
    found = network.loss(outputs, targets, F.cross_entropy)
    wanted = F.cross_entropy(outputs[0], targets) + 0.5 * F.cross_entropy(outputs[1], targets)
    assert torch.equal(found, wanted)
    assert isinstance(network.eval()(torch.randn(1, 3, 32, 32)), torch.Tensor)


@torch.no_grad()
def test_a_resnet_that_classifies_gives_its_weights() -> None:
    network, resnet = build("fcn_resnet50"), build("resnet50", num_classes=2)
    report = load_weights(network, resnet.state_dict())
    assert report.ignored == ["backbone.fc.weight", "backbone.fc.bias"]
    assert torch.equal(network.backbone["layer4"][2].conv3.weight, resnet.layer4[2].conv3.weight)


@pytest.mark.slow
@torch.no_grad()
def test_a_vgg16_that_classifies_gives_its_weights() -> None:
    network = build("fcn32s")
    weights = {
        name: torch.full((1,), 0.5).expand(shape)
        for name, shape in {
            "features.0.weight": (64, 3, 3, 3),
            "features.28.bias": (512,),
            "classifier.0.weight": (4096, 25088),
            "classifier.3.weight": (4096, 4096),
            "classifier.6.weight": (1000, 4096),
        }.items()
    }
    report = load_weights(network, weights)
    assert set(report.loaded) >= {"conv1_1.weight", "conv5_3.bias", "fc6.weight", "fc7.weight"}
    assert (network.fc6.weight == 0.5).all()
    kernel = torch.arange(512 * 7 * 7, dtype=torch.float32)  # order: maps, rows, columns
    adapted = network.adapted(
        {"classifier.0.weight": kernel.expand(4096, -1), "classifier.0.bias": kernel[:1]}
    )
    assert adapted["fc6.weight"][0, 3, 2, 1] == 3 * 49 + 2 * 7 + 1


@pytest.mark.parametrize(("depth", "pixels"), [(50, 229), (101, 501)])
def test_scores_on_a_resnet_look_as_far_as_its_convolutions(depth: int, pixels: int) -> None:
    """By hand at a depth of 50, from the first score of a part down, in pixels.

    8 for enlarging, 8 for the head, 8 * (4 + 4 + 2) in layer4, 8 * (5 * 2 + 1) in layer3, 8 * 3 + 4
    in layer2, 4 * 3 in layer1, 2 for the pool and 3 for conv1; at 101 layer3 has 22 * 2 + 1.
    """
    network = build(f"fcn_resnet{depth}", num_classes=1, in_channels=1, aux_loss=False).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 1 / layer.in_channels)
    # The pool hands on the leftmost of each window, which is the largest.
    images = torch.linspace(2, 1, 528).expand(1, 1, 8, 528).clone().requires_grad_()
    network(images)[..., 512:].sum().backward()
    assert images.grad is not None
    seen = images.grad.abs().sum((0, 1, 2)).nonzero().flatten()
    assert 512 - int(seen[0]) == pixels == network.reach
