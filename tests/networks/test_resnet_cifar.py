import pytest
import torch
from torch import nn

from torchfolio.networks.resnet_cifar import Block, CifarResNet, subsample_and_pad


def test_option_a_takes_every_second_pixel_with_zero_channels_on_both_sides() -> None:
    x = torch.arange(2.0 * 3 * 5).view(1, 2, 3, 5)
    out = subsample_and_pad(x, 4)
    assert out.shape == (1, 4, 2, 3)
    assert out[0, 0].abs().sum() == 0
    assert out[0, 1].tolist() == [[0, 2, 4], [10, 12, 14]]
    assert out[0, 2].tolist() == [[15, 17, 19], [25, 27, 29]]
    assert out[0, 3].abs().sum() == 0


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 1), (2, 3)])
def test_option_a_fits_the_convolutions_at_any_size(size: tuple[int, int]) -> None:
    block = Block(16, 32, 2, "A").eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.randn(2, 16, *size)
    out = block(x)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2].relu())
    assert out[:, :8].abs().sum() + out[:, 24:].abs().sum() == 0


def test_option_b_projects_where_the_shape_changes_and_nowhere_else() -> None:
    with torch.device("meta"):
        keys = list(CifarResNet(20, shortcut="B").state_dict())
    projections = sorted({key.split(".downsample")[0] for key in keys if "downsample" in key})
    assert projections == ["layer2.0", "layer3.0"]


def test_the_plain_form_has_the_weights_of_option_a_and_no_shortcut() -> None:
    block = Block(16, 16, 1, "none").eval()
    nn.init.zeros_(block.bn2.weight)
    assert block(torch.randn(1, 16, 4, 4)).abs().max() == 0
    with torch.device("meta"):
        assert list(CifarResNet(20, shortcut="none").state_dict()) == list(
            CifarResNet(20).state_dict()
        )


def test_keys_are_those_of_the_public_weight_files() -> None:
    with torch.device("meta"):
        keys = list(CifarResNet(20).state_dict())
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    expected = ["conv1.weight", *(f"bn1.{each}" for each in norm)]
    for layer in (1, 2, 3):
        for block in (0, 1, 2):
            for number in (1, 2):
                expected.append(f"layer{layer}.{block}.conv{number}.weight")
                expected += [f"layer{layer}.{block}.bn{number}.{each}" for each in norm]
    assert keys == [*expected, "linear.weight", "linear.bias"]


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_the_depth_counts_the_layers_with_weights(depth: int) -> None:
    with torch.device("meta"):
        network = CifarResNet(depth)
    layers = [each for each in network.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth


def test_weights_start_with_the_variance_of_the_forward_pass() -> None:
    network = CifarResNet(56)
    convolutions = [block.conv1.weight for block in network.layer3[1:]]  # 64 -> 64, 3x3
    assert torch.stack(convolutions).std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.02)
    first = network.layer2[0].conv1.weight  # 16 -> 32: the two variances differ
    assert first.std().item() == pytest.approx((2 / 144) ** 0.5, rel=0.05)
    assert network.linear.bias.abs().max() == 0


@pytest.mark.parametrize("depth", [2, 19, 21, 0, -4])
def test_a_depth_that_is_not_6n_plus_2_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=r"depth is 6n \+ 2"):
        CifarResNet(depth)


def test_another_shortcut_is_refused() -> None:
    with pytest.raises(ValueError, match="shortcut is 'A', 'B' or 'none', not 'C'"):
        CifarResNet(20, shortcut="C")
