import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torchfolio.errors import RequestError
from torchfolio.networks import lenet, lenet_dense


def count(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def test_parameter_counts_are_those_of_section_2b() -> None:
    counts = {name: count(layer) for name, layer in lenet.LeNet5().named_children()}
    assert counts.pop("output") == 0
    assert counts == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164}
    assert sum(counts.values()) == 60_000


def test_the_codes_are_840_fixed_values() -> None:
    codes = lenet.LeNet5().output.codes
    assert codes.shape == (10, 84)
    assert not codes.requires_grad
    assert set(codes.unique().tolist()) == {-1.0, 1.0}


def test_the_ten_codes_are_pictures_far_from_each_other() -> None:
    codes = lenet.class_codes(10)
    differences = (codes[:, None] != codes[None]).sum(2) + 84 * torch.eye(10, dtype=torch.long)
    assert differences.min() >= 5
    one = codes[1].view(12, 7)
    assert (one[0] == -1).all()
    assert (one[1:11, 3] == 1).all()  # the stroke of the 1


def test_other_numbers_of_classes_have_the_same_random_codes_each_time() -> None:
    assert lenet.class_codes(26).shape == (26, 84)
    assert torch.equal(lenet.class_codes(26), lenet.class_codes(26))
    assert 0.4 < (lenet.class_codes(200) > 0).float().mean() < 0.6


def test_the_squash_maps_one_to_one() -> None:
    # Appendix A chooses the constants so that f(1) = 1 and f(-1) = -1.
    x = torch.tensor([-1.0, 0.0, 1.0, 100.0])
    torch.testing.assert_close(
        lenet.squash(x), torch.tensor([-1.0, 0.0, 1.0, 1.7159]), atol=1e-4, rtol=0
    )


def test_subsampling_sums_scales_and_shifts() -> None:
    part = lenet.Subsampling(2)
    with torch.no_grad():
        part.coefficient.copy_(torch.tensor([0.5, 2.0]).view(2, 1, 1))
        part.bias.copy_(torch.tensor([3.0, -1.0]).view(2, 1, 1))
    maps = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(1, 2, 2, 2)
    assert part(maps).flatten().tolist() == [0.5 * 10 + 3, 2 * 10 - 1]


def test_c3_reads_the_maps_of_table_1() -> None:
    table = [
        "012", "123", "234", "345", "045", "015", "0123", "1234", "2345", "0345", "0145", "0125",
        "0134", "1245", "0235", "012345",
    ]  # fmt: skip
    part = lenet.ConnectionTable()
    for c3, maps in enumerate(table):
        x = torch.randn(1, 6, 5, 5, requires_grad=True)
        part(x)[0, c3].sum().backward()
        read = [str(s2) for s2 in range(6) if x.grad[0, s2].abs().sum() > 0]
        assert "".join(read) == maps


def test_c3_is_the_sum_of_one_convolution_for_each_pair() -> None:
    part = lenet.ConnectionTable().double()
    maps = torch.randn(2, 6, 14, 14, dtype=torch.float64)
    expected = []
    for c3, reads in enumerate(lenet.C3_INPUTS):
        pairs = (part.feeds == c3).nonzero().flatten()  # in the order of the S2 maps
        kernels = part.pairs.weight[pairs].view(1, len(reads), 5, 5)
        expected.append(F.conv2d(maps[:, reads], kernels, part.bias[c3].view(1)))
    torch.testing.assert_close(part(maps), torch.cat(expected, 1))


def test_weights_start_within_the_bounds_of_appendix_a() -> None:
    network = lenet.LeNet5()
    bounds = {"c1": 2.4 / 25, "c5": 2.4 / 400, "f6": 2.4 / 120}
    for name, bound in bounds.items():
        largest = network.get_submodule(name).weight.abs().max().item()
        assert 0.9 * bound < largest <= bound, name
    for c3, maps in enumerate(lenet.C3_INPUTS):
        kernels = network.c3.pairs.weight[network.c3.feeds == c3]
        bound = 2.4 / (25 * len(maps))
        assert 0.8 * bound < kernels.abs().max().item() <= bound


def test_scores_are_negated_squared_distances_to_the_codes() -> None:
    part = lenet.RadialBasis(torch.tensor([[1.0, -1.0], [1.0, 1.0]]))
    assert part(torch.tensor([[1.0, -1.0], [0.0, 3.0]])).tolist() == [[0, -4], [-17, -5]]


def test_the_loss_is_equation_9() -> None:
    network = lenet.LeNet5(num_classes=2, j=0.5)
    distances = torch.tensor([[1.0, 2.0], [4.0, 3.0]])
    rivals = [math.exp(-0.5) + math.exp(-1) + math.exp(-2)]
    rivals += [math.exp(-0.5) + math.exp(-4) + math.exp(-3)]
    expected = ((1 + math.log(rivals[0])) + (3 + math.log(rivals[1]))) / 2
    loss = network.loss(-distances, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 28, 28), (1, 3, 32, 32), (1, 1, 32, 33), (1, 32, 32)])
def test_another_size_is_refused_with_the_legal_one(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match=r"takes images of 1x32x32 .* and no other size"):
        lenet.LeNet5()(torch.zeros(shape))
    with pytest.raises(RequestError, match=r"takes images of 1x32x32 .* and no other size"):
        lenet_dense.LeNet5()(torch.zeros(shape))


def test_the_form_of_today_has_its_known_counts() -> None:
    counts = {name: count(layer) for name, layer in lenet_dense.LeNet5().named_children()}
    assert counts == {
        "c1": 156, "s2": 0, "c3": 6 * 25 * 16 + 16, "s4": 0, "c5": 48_120, "f6": 10_164,
        "output": 850,
    }  # fmt: skip
    assert count(lenet_dense.LeNet5(num_classes=7, in_channels=3)) == 61_706 - 3 * 85 + 2 * 6 * 25


def test_the_form_of_today_is_a_plain_sequence_of_layers() -> None:
    network = lenet_dense.LeNet5()
    sequence = nn.Sequential(
        network.c1, nn.Tanh(), nn.AvgPool2d(2), network.c3, nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), network.c5, nn.Tanh(), network.f6, nn.Tanh(), network.output,
    )  # fmt: skip
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(network(images), sequence(images))
