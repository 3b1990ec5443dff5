"""U-Net: the sizes of Figure 1, other depths, any size of picture, weights of a VGG16."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torchfolio import create
from torchfolio.networks.build import build
from torchfolio.networks.weights import load_weights


def test_maps_have_the_sizes_of_figure_1() -> None:
    with torch.device("meta"):
        network, images = build("unet_2015"), torch.zeros(1, 1, 572, 572)
    seen: list[tuple[int, ...]] = []
    for block in [*network.down, *network.merge]:
        block.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[1:])))
    assert network(images).shape == (1, 2, 388, 388)
    assert seen == [
        (64, 568, 568), (128, 280, 280), (256, 136, 136), (512, 64, 64), (1024, 28, 28),
        (512, 52, 52), (256, 100, 100), (128, 196, 196), (64, 388, 388),
    ]  # fmt: skip


def count(depth: int, width: int, in_channels: int, num_classes: int) -> int:
    """The parameters of a U-Net, layer by layer."""
    widths = [width * 2**level for level in range(depth + 1)]
    total, channels = 0, in_channels
    for maps in widths:
        total += 9 * channels * maps + maps + 9 * maps * maps + maps
        channels = maps
    for maps in reversed(widths[:-1]):
        total += 4 * (2 * maps) * maps + maps
        total += 9 * (2 * maps) * maps + maps + 9 * maps * maps + maps
    return total + width * num_classes + num_classes


@pytest.mark.parametrize(
    ("depth", "width", "channels"), [(4, 64, 1), (3, 64, 3), (2, 5, 4), (1, 2, 1)]
)
def test_depth_and_width_are_arguments(depth: int, width: int, channels: int) -> None:
    with torch.device("meta"):
        network = build("unet", depth=depth, width=width, in_channels=channels, num_classes=3)
    found = sum(each.numel() for each in network.parameters())
    assert found == count(depth, width, channels, 3)


@pytest.mark.parametrize(("depth", "pixels"), [(1, 8), (2, 22), (3, 46)])
def test_a_part_from_a_multiple_of_the_step_on_looks_so_far_beyond_it(
    depth: int, pixels: int
) -> None:
    """By hand at a depth of 2: 64 - 2 = 62, 31 - 2 = 29, 14 - 2 = 12, 24 - 2 = 22, 44 - 2 = 42."""
    network = create("unet", depth=depth, width=2).double().eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.ones_(layer.weight)
    images = torch.ones(1, 1, 8, 128, dtype=torch.float64, requires_grad=True)
    network(images)[..., 64:].sum().backward()
    assert images.grad is not None
    seen = images.grad.abs().sum((0, 1, 2)).nonzero().flatten()
    assert 64 - int(seen[0]) == pixels <= network.reach


@pytest.mark.parametrize(("name", "pixels"), [("unet_vgg16", 218), ("unet_vgg16_ternaus", 186)])
def test_a_part_on_vgg16_looks_so_far_beyond_it(name: str, pixels: int) -> None:
    """By hand, from the first score of a part down, in pixels of the maps of each size.

    unet_vgg16: 1 + 2 = 3; 2 + 2 = 4 at each of four sizes, 2 + 2 = 4 at the smallest;
    8 + 3 = 11, 22 + 3 = 25, 50 + 3 = 53, 106 + 2 = 108, 216 + 2 = 218. TernausNet: 1; 1 + 1 = 2,
    2 + 1 = 3 at each of four sizes; 6 + 3 = 9, 18 + 3 = 21, 42 + 3 = 45, 90 + 2, 184 + 2 = 186.
    """
    network = build(name, num_classes=1, in_channels=1).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.constant_(layer.weight, 1 / layer.in_channels)
    # Pools hand on the leftmost of each window, which is the largest.
    images = torch.linspace(2, 1, 288).expand(1, 1, 32, 288).clone().requires_grad_()
    network(images)[..., 256:].sum().backward()
    assert images.grad is not None
    seen = images.grad.abs().sum((0, 1, 2)).nonzero().flatten()
    assert 256 - int(seen[0]) == pixels <= network.reach


@pytest.mark.parametrize("name", ["unet", "unet_bn", "unet_bn_bilinear"])
@pytest.mark.parametrize("size", [(1, 1), (37, 50), (64, 16)])
@torch.no_grad()
def test_scores_have_the_size_of_the_picture(name: str, size: tuple[int, int]) -> None:
    network = create(name, depth=3, width=4).eval()
    images = torch.randn(2, network.down[0][0].in_channels, *size)
    scores = network(images)
    assert scores.shape == (2, 2, *size)
    down, across = -size[0] % 8, -size[1] % 8
    whole = network(F.pad(images, (0, across, 0, down), mode="replicate"))
    assert torch.equal(scores, whole[..., : size[0], : size[1]])


def test_a_side_that_does_not_fit_is_named_with_the_next_that_does() -> None:
    network = build("unet_2015", width=2)
    assert network.input_side(573) == 588
    assert network.input_side(1) == 188
    with pytest.raises(ValueError, match=r"images are 570x572; .* 572x572 is the next"):
        network(torch.zeros(1, 1, 570, 572))


def test_first_weights_have_a_variance_of_two_over_the_values_read() -> None:
    torch.manual_seed(0)
    for layer in build("unet", depth=2, width=32).modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) and layer.in_channels > 8:
            assert layer.weight.std().item() == pytest.approx(
                (2 / (9 * layer.in_channels)) ** 0.5, rel=0.05
            )
        if isinstance(layer, nn.ConvTranspose2d):
            assert layer.weight.std().item() == pytest.approx(
                (2 / layer.in_channels) ** 0.5, rel=0.05
            )


@pytest.mark.parametrize(
    "name", ["unet_vgg16", "unet_vgg16_bn", "unet_vgg16_plain", "unet_vgg16_ternaus"]
)
@torch.no_grad()
def test_the_contracting_path_takes_the_weights_of_a_vgg16(name: str) -> None:
    network = build(name).eval()
    vgg = build("vgg16_bn" if name.endswith("_bn") else "vgg16", num_classes=1)
    features = {k: v for k, v in vgg.state_dict().items() if k.startswith("features.")}
    report = load_weights(network, features)
    assert all(each.startswith("encoder.") for each in report.loaded)
    assert not report.ignored
    images = torch.randn(1, 3, 64, 64)
    last = network.encoder(images)[-1]
    layers = vgg.features.eval()
    wanted = layers(images) if name != "unet_vgg16_plain" else layers[:-1](images)
    assert torch.allclose(last, wanted)
