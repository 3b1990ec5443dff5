import pytest
import torch
import torchvision
from torch import Tensor, nn

from torchfolio.networks.resnet import BasicBlock, Bottleneck, ResNet

# Parameters of the projections of Table 1's shortcuts: 1x1 kernels, and scale and shift a channel.
BASIC = sum(a * b + 2 * b for a, b in ((64, 128), (128, 256), (256, 512)))
WIDE = sum(a * b + 2 * b for a, b in ((64, 256), (256, 512), (512, 1024), (1024, 2048)))


def count(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def outputs_of(network: nn.Module, names: list[str], images: Tensor) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: shapes.__setitem__(name, tuple(output.shape[1:]))
        )
    network(images)
    return shapes


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("depth", [18, 50])
def test_the_same_seed_gives_the_weights_that_torchvision_gives(depth: int, zero: bool) -> None:
    torch.manual_seed(5)
    ours = ResNet(depth, zero_init_residual=zero)
    torch.manual_seed(5)
    theirs = getattr(torchvision.models, f"resnet{depth}")(zero_init_residual=zero)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_a_plain_network_whose_blocks_begin_as_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing of the input is left"):
        ResNet(18, shortcuts=False, zero_init_residual=True)


def test_outputs_and_gradients_equal_torchvision_in_training() -> None:
    ours, theirs = ResNet(18, num_classes=7), torchvision.models.resnet18(num_classes=7)
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 65, 49)
    weights = torch.randn(2, 7)
    for network in (ours, theirs):
        (network(images) * weights).sum().backward()
    torch.testing.assert_close(ours(images), theirs(images))
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, msg=lambda m, n=name: f"{n}: {m}")
    for mine, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(mine, other)


def test_v1_halves_the_map_in_the_first_convolution_and_v1_5_in_the_second() -> None:
    names = ["layer2.0.conv1", "layer2.0.conv2", "layer2.0.conv3"]
    images = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        later = outputs_of(ResNet(50).eval(), names, images)
        paper = outputs_of(ResNet(50, stride_in="1x1").eval(), names, images)
    assert list(later.values()) == [(128, 16, 16), (128, 8, 8), (512, 8, 8)]
    assert list(paper.values()) == [(128, 8, 8), (128, 8, 8), (512, 8, 8)]


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(18, 11_689_512 - BASIC), (34, 21_797_672 - BASIC), (50, 25_557_032 - WIDE)],
)
def test_the_plain_form_lacks_the_projections_and_nothing_else(depth: int, parameters: int) -> None:
    with torch.device("meta"):
        plain = ResNet(depth, shortcuts=False)
        residual = ResNet(depth)
    assert count(plain) == parameters
    kept = [name for name in residual.state_dict() if "downsample" not in name]
    assert list(plain.state_dict()) == kept


@pytest.mark.parametrize("kind", [BasicBlock, Bottleneck])
def test_a_block_adds_its_input_before_the_last_activation(kind: type[nn.Module]) -> None:
    arguments = ("3x3",) if kind is Bottleneck else ()
    channels = 4 * kind.expansion
    x = torch.randn(2, channels, 5, 5)
    block = kind(channels, 4, 1, True, *arguments).eval()
    plain = kind(channels, 4, 1, False, *arguments).eval()
    last = block.bn3 if kind is Bottleneck else block.bn2
    nn.init.zeros_(last.weight)
    torch.testing.assert_close(block(x), x.relu())
    plain.load_state_dict(block.state_dict())
    assert plain(x).abs().max() == 0


def test_a_block_projects_its_input_where_the_shape_changes() -> None:
    block = BasicBlock(2, 3, 2, True).eval()
    nn.init.zeros_(block.bn2.weight)
    with torch.no_grad():
        block.downsample[0].weight.copy_(torch.tensor([[1.0, 0], [0, 1], [1, 1]]).view(3, 2, 1, 1))
    x = torch.rand(1, 2, 5, 5)
    expected = torch.stack([x[0, 0], x[0, 1], x[0].sum(0)])[:, ::2, ::2]
    torch.testing.assert_close(block(x)[0], expected, rtol=1e-4, atol=1e-5)  # eps of the norm


def test_weights_start_with_the_variance_of_the_backward_pass() -> None:
    network = ResNet(18)
    weight = network.layer3[0].conv1.weight  # 128 -> 256 channels, 3x3
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("depth", [19, 20, 0])
def test_a_depth_outside_table_1_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=r"depth is one of \[18, 34, 50, 101, 152\]"):
        ResNet(depth)


def test_a_stride_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="stride_in is '3x3' or '1x1', not '5x5'"):
        ResNet(50, stride_in="5x5")
