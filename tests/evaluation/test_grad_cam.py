"""Grad-CAM against a case worked out by hand, Equations 1 and 2, and captum, for every family."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18, vgg11

from torchfolio.errors import FolioError
from torchfolio.evaluation.explain.grad_cam import (
    grad_cam,
    laid,
    last_convolution,
    weighted_maps,
)
from torchfolio.evaluation.explain.heat import Heat
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import find_card


def values(heats: Sequence[Heat]) -> np.ndarray:
    return np.stack([each.values for each in heats])


class Tiny(nn.Module):
    """Two maps, the picture and its negative; the score of class c is a weighted mean of both."""

    def __init__(self, weights: list[list[float]]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, kernel_size=1, bias=False)
        self.head = nn.Linear(2, len(weights), bias=False)
        self.conv.weight.data = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1)
        self.head.weight.data = torch.tensor(weights)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.conv(images).mean((2, 3)))


def test_a_case_by_hand() -> None:
    picture = torch.tensor([[[[1.0, 2.0], [-3.0, 4.0]]]])
    # Class 0: gradient of both means is 3/4 and 1/4 a position, so the map is
    # relu(3/4 x - 1/4 x) = relu(x / 2) = [.5, 1, 0, 2], scaled by its largest.
    # Class 1: relu(-x / 2) = [0, 0, 1.5, 0].
    network = Tiny([[3.0, 1.0], [1.0, 3.0]])
    found = values(grad_cam(network, picture.repeat(2, 1, 1, 1), torch.tensor([0, 1]), "conv"))
    assert found[0] == pytest.approx(np.array([[0.25, 0.5], [0, 1]]))
    assert found[1] == pytest.approx(np.array([[0, 0], [1, 0]]))


def test_where_nothing_speaks_for_a_class_the_map_is_zero() -> None:
    [found] = grad_cam(Tiny([[1.0, 1.0]]), torch.ones(1, 1, 3, 3), torch.tensor([0]), "conv")
    assert (found.values == 0).all()


def by_equations(network: nn.Module, layer: nn.Module, images: Tensor, target: int) -> np.ndarray:
    """Equations 1 and 2 with hooks of our own; the network must not overwrite the layer's maps."""
    kept = {}

    def keep(module: nn.Module, inputs: object, maps: Tensor) -> None:
        maps.retain_grad()
        kept["maps"] = maps

    hook = layer.register_forward_hook(keep)
    network(images)[:, target].sum().backward()
    hook.remove()
    maps = kept["maps"]
    alpha = maps.grad.mean((2, 3), keepdim=True)
    heat = F.relu((alpha * maps).sum(1, keepdim=True))
    heat = F.interpolate(heat, images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return (heat / heat.amax((1, 2), keepdim=True)).detach().numpy()


@pytest.mark.parametrize("layer", ["layer4", "layer4.1.conv2", "layer3.0.bn1"])
def test_resnet_with_overwriting_activations(layer: str) -> None:
    torch.manual_seed(0)
    network = resnet18(num_classes=5).eval()
    images = torch.randn(3, 3, 64, 64)
    found = values(grad_cam(network, images, torch.tensor([2, 2, 2]), layer))
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    expected = by_equations(network, network.get_submodule(layer), images, 2)
    assert found == pytest.approx(expected, abs=1e-5)
    assert found.shape == (3, 64, 64)


def test_a_convolution_right_before_an_overwriting_activation() -> None:
    torch.manual_seed(1)
    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)]
    conv = nn.Conv2d(3, 4, 3)
    images = torch.randn(2, 3, 8, 8)
    network = nn.Sequential(conv, nn.ReLU(inplace=True), *head)
    found = values(grad_cam(network, images, torch.tensor([1, 1]), "0"))
    expected = by_equations(nn.Sequential(conv, nn.ReLU(), *head), conv, images, 1)
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_network_is_left_as_it_was() -> None:
    network = resnet18(num_classes=2).train()
    network.layer1.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.inference_mode():
        images = torch.randn(1, 3, 32, 32)
        grad_cam(network, images, torch.tensor([0]), "layer3")
    assert network.training
    assert network.layer2.training
    assert not network.layer1.training
    assert all((value == before[name]).all() for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


class SixteenMaps(nn.Module):
    """In the manner of LeNet-5's C3 (one convolution a map) and C5 (one position)."""

    def __init__(self) -> None:
        super().__init__()
        self.c3 = nn.ModuleList(nn.Conv2d(1, 1, 5) for _ in range(4))
        self.s4 = nn.AvgPool2d(2)
        self.c5 = nn.Conv2d(4, 8, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.cat([conv(images) for conv in self.c3], 1)
        return self.c5(self.s4(maps)).flatten(1)


@pytest.mark.parametrize(
    ("network", "size", "expected"),
    [
        (resnet18(num_classes=2), (3, 64, 64), "layer4"),
        (vgg11(num_classes=2), (3, 64, 64), "features.19"),  # the ReLU before the last pooling
        (vgg11(num_classes=2), (3, 112, 112), "features.19"),  # average "pooled" from 3x3 to 7x7
        (SixteenMaps(), (1, 12, 12), "s4"),
        (nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), (1, 3, 3), None),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4, 2)), (1, 3, 3), None),
    ],
)
def test_the_last_maps_are_found(network: nn.Module, size: tuple, expected: str | None) -> None:
    assert last_convolution(network, torch.zeros(2, *size)) == expected
    assert not any(module._forward_hooks for module in network.modules())


def test_an_unknown_layer_is_an_error() -> None:
    with pytest.raises(FolioError, match="no layer 'layer9'"):
        grad_cam(Tiny([[1.0, 1.0]]), torch.ones(1, 1, 2, 2), torch.tensor([0]), "layer9")


def test_the_maps_are_those_of_captum() -> None:
    from captum.attr import LayerGradCam

    torch.manual_seed(0)
    network = resnet18(num_classes=5).eval()
    images, classes = torch.randn(2, 3, 64, 96), torch.tensor([1, 4])
    theirs = LayerGradCam(network, network.layer4).attribute(images, classes)
    found = weighted_maps(network, images, classes, "layer4")
    assert found == pytest.approx(theirs[:, 0].clamp_min(0).detach().numpy(), abs=1e-6)


# The last stage at the usual size, with more than one place in its maps.
LAYERS = {
    "maxout_conv_mnist": "h2.conv",
    "lenet5_original": "c3",
    "lenet5": "c3",
    "lenet_caffe": "conv2",
    "cifar_quick": "conv3",
    "darknet19": "out",
    "darknet53": "backbone.stages.4",
    "resnet20": "layer3",
    "resnet20_b": "layer3",
    "resnet20_plain": "layer3",
    "resnet18": "layer4",
    "resnet18_plain": "layer4",
    "alexnet": "features.11",
    "alexnet_2012": "conv5",
    "vgg11_bn": "features.27",
    "googlenet": "inception5b",
    "googlenet_aux": "inception5b",
    "googlenet_original": "inception5b",
    "googlenet_original_aux": "inception5b",
    "densenet121": "features",
    "densenet40_k12": "features",
    "densenet100_k12_bc": "features",
    "mobilenet_v1_0.25": "blocks",
    "mobilenet_v2_0.35": "features",
    "capsnet": "primarycaps.conv2d",
    "capsnet_official": "primarycaps.conv2d",
}
SLOW = ("alexnet_2012", "vgg11_bn")


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[pytest.mark.slow] if each in SLOW else []) for each in LAYERS],
)
def test_the_last_stage_of_every_family_is_found_at_its_usual_size(name: str) -> None:
    channels, height, width = find_card(name).input
    network = build(name, image_size=(height, width)).eval()
    assert last_convolution(network, torch.zeros(1, channels, height, width)) == LAYERS[name]


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[pytest.mark.slow] if each in SLOW else []) for each in LAYERS],
)
def test_every_family_is_explained_at_its_smallest_size(name: str) -> None:
    torch.manual_seed(0)
    channels, height, width = find_card(name).min_input
    network = build(name, image_size=(height, width)).train()
    images = torch.rand(4, channels, height, width)
    with torch.no_grad():
        network(images)  # norms of a batch, so that deep ones have values of usual size
    layer = last_convolution(network, images)
    assert layer is not None
    classes = torch.arange(4)
    found = values(grad_cam(network, images, classes, layer))
    assert found.shape == (4, height, width)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert (found.max((1, 2)) > found.min((1, 2))).any()  # for some classes nothing may speak


def test_a_network_that_tells_by_one_corner_is_said_to_look_there() -> None:
    """Pictures of noise; the class is the colour of a spot in the upper left corner, or none."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    )
    classes = torch.arange(33) % 3
    images = 0.3 * torch.rand(33, 1, 24, 24).repeat(1, 3, 1, 1)
    images[classes == 0, 0, 2:7, 2:7] = 1
    images[classes == 1, 1, 2:7, 2:7] = 1
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(network(images), classes).backward()
        optimizer.step()
    assert network(images).argmax(1).equal(classes)
    spotted = classes < 2  # where there is no spot, all of the noise speaks for that
    found = values(grad_cam(network, images[spotted], classes[spotted], "4"))
    inside = found[:, :10, :10].sum((1, 2)) / found.sum((1, 2))
    assert inside.min() > 0.8  # of an area of 17 %


@pytest.mark.parametrize(
    ("cells", "pixels", "looks"),
    [
        (7, 224, (0, 32)),  # ResNet's last stage: stretched at 15.5, less than half a cell off
        (2, 15, (14, 16)),  # GoogLeNet's at 15: windows that reach beyond the edge
        (4, 8, (3.5, 0)),  # gathered
        (4, 8, None),
    ],
)
def test_cells_tile_the_picture_unless_they_look_elsewhere(
    cells: int, pixels: int, looks: tuple[float, float] | None
) -> None:
    found = laid(cells, pixels, looks)
    ones = torch.eye(cells)[:, None]
    expected = F.interpolate(ones, pixels, mode="linear", align_corners=False)[:, 0].T
    assert found == pytest.approx(expected.numpy(), abs=1e-6)


def test_cells_without_padding_count_where_they_look() -> None:
    # LeNet-5's C3 on 32 pixels: ten cells, at 6.5, 8.5, ... 24.5; stretched they would be at 1.1
    found = laid(10, 32, (6.5, 2))
    assert found[10].tolist() == [0, 0.25, 0.75, 0, 0, 0, 0, 0, 0, 0]  # 1.75 cells from the first
    assert found[3].tolist() == [0.5] + [0] * 9  # halfway to the edge, at -0.5
    assert found[31, 9] == pytest.approx(0.5 / 7)


def test_a_map_is_laid_where_its_cells_look() -> None:
    # four cells at 2, 3, 4, 5 of eight pixels, which see what is there
    picture = torch.arange(8.0).expand(1, 1, 8, 8)
    network = nn.Sequential(nn.Conv2d(1, 1, 5, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    nn.init.zeros_(network[0].weight)
    network[0].weight.data[0, 0, 2, 2] = 1
    [found] = grad_cam(network, picture, torch.tensor([0]), "0", ((2.0, 1.0), (2.0, 1.0)))
    # cells of 2, 3, 4, 5; from the outermost to the edges, at -0.5 and 7.5, it falls to nothing
    expected = np.array([0.2 * 2, 0.6 * 2, 2, 3, 4, 5, 0.6 * 5, 0.2 * 5]) / 5
    assert found.values[4] == pytest.approx(expected)
