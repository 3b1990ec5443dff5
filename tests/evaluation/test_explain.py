"""Grad-CAM against a case worked out by hand and against Equations 1 and 2."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18, vgg11

from torchfolio.errors import FolioError
from torchfolio.evaluation.explain import grad_cam, last_convolution, overlay


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
    found = grad_cam(network, picture.repeat(2, 1, 1, 1), torch.tensor([0, 1]), "conv")
    assert found[0] == pytest.approx(np.array([[0.25, 0.5], [0, 1]]))
    assert found[1] == pytest.approx(np.array([[0, 0], [1, 0]]))


def test_where_nothing_speaks_for_a_class_the_map_is_zero() -> None:
    found = grad_cam(Tiny([[1.0, 1.0]]), torch.ones(1, 1, 3, 3), torch.tensor([0]), "conv")
    assert (found == 0).all()


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
    found = grad_cam(network, images, torch.tensor([2, 2, 2]), layer)
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
    found = grad_cam(
        nn.Sequential(conv, nn.ReLU(inplace=True), *head), images, torch.tensor([1, 1]), "0"
    )
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


def test_an_overlay_keeps_the_picture_where_it_is_cold() -> None:
    picture = np.full((4, 4, 3), 100, np.uint8)
    heat = np.zeros((4, 4))
    heat[0, 0] = 1
    found = overlay(picture, heat)
    assert found.dtype == np.uint8
    assert (found[1:] == 100).all()
    # 75 % of (250, 245, 120), 25 % of 100
    assert found[0, 0].tolist() == [round(0.75 * each + 25) for each in (250, 245, 120)]


def test_an_overlay_takes_grey_pictures_and_stretches_heat() -> None:
    assert overlay(np.zeros((6, 8), np.uint8), np.ones((3, 4))).shape == (6, 8, 3)
    assert overlay(np.zeros((6, 8, 1), np.uint8), np.ones((6, 8))).shape == (6, 8, 3)
    green = np.zeros((2, 2, 3), np.uint8)
    green[..., 1] = 200
    assert (overlay(green, np.zeros((2, 2))) == round(0.587 * 200)).all()
