"""Folded batch norms: the same outputs, and nothing folded that must not be."""

import copy

import pytest
import torch
from torch import Tensor, nn

from torchfolio.networks.build import build
from torchfolio.networks.catalogue import find_card
from torchfolio.networks.inference import TOLERANCE, agree, answering, with_part


def with_statistics(network: nn.Module) -> nn.Module:
    """Give every batch norm statistics and weights as a training leaves them."""
    draw = torch.Generator().manual_seed(1)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_(0, 0.2, generator=draw)
            norm.running_var.uniform_(0.5, 2, generator=draw)
            nn.init.normal_(norm.weight, 1, 0.2, generator=draw)
            nn.init.normal_(norm.bias, 0, 0.2, generator=draw)
    return network.eval()


class Twice(nn.Module):
    """A convolution whose output is read by a batch norm and by something else."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.norm(x) + x


class Shared(Twice):
    """One convolution in two places, only one of which is followed by the batch norm."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.conv(x)


class Undecided(Twice):
    """A forward pass that depends on its data."""

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            x = x + 1
        return self.norm(self.conv(x))


class AtTheEnd(Twice):
    """A network that also returns what the convolution makes."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(x)
        return self.norm(x), x


class Shrinking(Twice):
    """A batch norm that folds, after which almost nothing is left of large numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


@pytest.mark.parametrize(
    ("name", "size"), [("resnet18", 64), ("resnet50", 64), ("resnet20", 32), ("resnet34_plain", 64)]
)
def test_outputs_stay_and_every_batch_norm_goes(name: str, size: int) -> None:
    network = with_statistics(build(name, num_classes=5))
    images = torch.randn(2, 3, size, size)
    before = {key: each.clone() for key, each in network.state_dict().items()}
    with torch.no_grad():
        expected = network(images)
        fast = answering(network, images[:1])
        found = fast(images)
        assert torch.equal(network(images), expected)  # the network itself is left alone
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()
    assert not any(isinstance(each, nn.BatchNorm2d) for each in fast.modules())
    assert all(torch.equal(each, before[key]) for key, each in network.state_dict().items())
    assert not fast.training


@pytest.mark.parametrize(("name", "size"), [("unet_vgg16", 64), ("yolov3_tiny", 64)])
def test_so_it_is_with_masks_and_boxes(name: str, size: int) -> None:
    network = with_statistics(build(name, num_classes=3))
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        fast = answering(network, torch.zeros(1, 3, size, size))
        assert agree(network(images), fast(images))
    assert not any(isinstance(each, nn.BatchNorm2d) for each in fast.modules())


def test_of_two_stages_the_part_that_is_the_same_for_every_picture_is_folded() -> None:
    network = with_statistics(build("fasterrcnn_resnet50_fpn", num_classes=2))
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        fast = with_part(network, "backbone", torch.zeros(1, 3, 64, 64))
        expected, found = network.maps(images), fast.maps(images)  # type: ignore[operator]
    assert agree(expected, found)
    assert not any(isinstance(each, nn.BatchNorm2d) for each in fast.modules())
    assert any(isinstance(each, nn.BatchNorm2d) for each in network.modules())
    own = {id(each) for each in network.parameters()}
    assert all(id(each) in own for name, each in fast.named_parameters() if "backbone" not in name)


def test_what_is_not_folded_is_shared() -> None:
    network = with_statistics(build("resnet20", num_classes=5))
    fast = answering(network, torch.zeros(1, 3, 32, 32))
    own = {id(each) for each in network.parameters()}
    shared = [name for name, each in fast.named_parameters() if id(each) in own]
    assert shared == ["linear.weight", "linear.bias"]


def test_a_network_without_batch_norm_answers_itself() -> None:
    network = build("lenet5").eval()
    assert answering(network, torch.zeros(1, 1, 32, 32)) is network


@pytest.mark.parametrize("kind", [Twice, Shared, Undecided, AtTheEnd])
def test_what_cannot_be_folded_stays(kind: type[nn.Module]) -> None:
    network = with_statistics(kind())
    assert answering(network, torch.zeros(1, 3, 8, 8)) is network


def test_a_difference_beyond_rounding_keeps_the_network() -> None:
    network = with_statistics(Shrinking())
    assert answering(network, torch.zeros(1, 3, 8, 8)) is not network
    with torch.no_grad():  # 1e4 less 1e4: what is left is rounding, which folding changes
        network.conv.bias.fill_(1e4)
        network.norm.running_mean.fill_(1e4)
    assert answering(network, torch.zeros(1, 3, 8, 8)) is network


def test_folding_draws_nothing_from_the_generator() -> None:
    network = with_statistics(copy.deepcopy(build("resnet20", num_classes=5)))
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    answering(network, torch.zeros(1, 3, 32, 32))
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(("name", "size"), [("resnet20", 32), ("lenet_caffe", 28)])
def test_answers_in_bf16_are_near(name: str, size: int) -> None:
    network = with_statistics(build(name, num_classes=5))
    images = torch.randn(4, 1 if name == "lenet_caffe" else 3, size, size)
    before = {key: each.clone() for key, each in network.state_dict().items()}
    with torch.no_grad():
        expected = network(images)
        fast = answering(network, images[:1], bf16=True)
        found = fast(images)
    kinds = {name.rsplit(".")[-2]: each.dtype for name, each in fast.named_parameters()}
    assert set(kinds.values()) == {torch.bfloat16}
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() <= 0.05 * expected.abs().max()
    assert all(torch.equal(each, before[key]) for key, each in network.state_dict().items())


@pytest.mark.parametrize("name", ["mlp", "resnet20", "lenet5_original"])
def test_answers_in_bf16_are_those_of_autocast(name: str) -> None:
    network = build(name, num_classes=10).eval()
    images = torch.rand(4, *((1, 32, 32) if name == "lenet5_original" else find_card(name).input))
    with torch.no_grad():
        fast = answering(network, images[:1], bf16=True)
        with torch.autocast("cpu", torch.bfloat16):
            expected = network(images).float()
        found = fast(images)
    assert fast is not network
    if name == "resnet20":  # folded, so rounded elsewhere
        torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02 * expected.abs().max())
    else:
        assert torch.equal(found, expected)


class Offset(nn.Module):
    """Scores that lie close together far from zero, where bf16 has no digits for them."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)
        nn.init.constant_(self.linear.bias, 100)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def test_what_bf16_would_spoil_answers_in_float32() -> None:
    network = Offset().eval()
    assert answering(network, torch.zeros(1, 64), bf16=True) is network


class Common(nn.Module):
    """Scores that are all the same, and that bf16 spoils."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 1)
        nn.init.constant_(self.linear.bias, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return (self.linear(x) - 1000).expand(-1, 3)


def test_what_scores_have_in_common_counts_where_they_stand_alone() -> None:
    network, example = Common().eval(), torch.zeros(1, 64)
    assert answering(network, example, bf16=True) is not network  # a softmax takes it off
    assert answering(network, example, bf16=True, relative=False) is network
