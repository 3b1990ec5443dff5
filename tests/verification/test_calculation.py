"""Our own calculations against hand calculation, the papers' counts, and torch's functions."""

import math

import torch
from torch.nn import functional as F

from torchfolio.verification import residual
from torchfolio.verification.calculation import Calculation, largest, patches
from torchfolio.verification.criteria import Form, lenet, maxout
from torchfolio.verification.criteria.resnet import TABLE_1, plain
from torchfolio.verification.criteria.resnet_cifar import calculated


def count(shapes: dict[str, tuple[int, ...]], *names: str) -> int:
    statistics = ("running_mean", "running_var", "num_batches_tracked", "codes")
    return sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if not name.endswith(statistics) and (not names or name.startswith(names))
    )


def shapes_of(reference: object) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in reference.state().items()}


def test_normalization_by_hand() -> None:
    values = {
        "n.weight": torch.tensor([2.0]).double(),
        "n.bias": torch.tensor([1.0]).double(),
        "n.running_mean": torch.tensor([10.0]).double(),
        "n.running_var": torch.tensor([4.0]).double(),
        "n.num_batches_tracked": torch.tensor(3),
    }
    x = torch.tensor([1.0, 2.0, 6.0]).double().view(3, 1, 1, 1)
    # batch: mean 3, variance (4 + 1 + 9) / 3 = 14/3, unbiased 7; epsilon 1/3: deviation sqrt(5)
    c = Calculation(values, training=True)
    y = c.normalization("n", x, epsilon=1 / 3, momentum=0.1).flatten()
    expected = [2 * (v - 3) / math.sqrt(5) + 1 for v in (1, 2, 6)]
    assert torch.allclose(y, torch.tensor(expected).double())
    assert torch.allclose(c.buffers["n.running_mean"], torch.tensor([9.3]).double())
    assert torch.allclose(c.buffers["n.running_var"], torch.tensor([4.3]).double())
    assert c.buffers["n.num_batches_tracked"] == 4
    c = Calculation(values, training=False)
    y = c.normalization("n", x, epsilon=0.0, momentum=0.1).flatten()
    assert torch.allclose(y, torch.tensor([-8.0, -7.0, -3.0]).double())  # 2 (x - 10) / 2 + 1
    assert torch.equal(c.buffers["n.running_var"], values["n.running_var"])


def test_normalization_rounds_in_float32_as_it_does_in_float64_but_for_rounding() -> None:
    torch.manual_seed(0)
    values = {
        "n.weight": torch.rand(3) + 0.5,
        "n.bias": torch.randn(3),
        "n.running_mean": torch.randn(3),
        "n.running_var": torch.rand(3) + 0.1,
        "n.num_batches_tracked": torch.tensor(0),
    }
    x = torch.randn(4, 3, 5, 2)
    for training in (False, True):
        single = Calculation(values, training)
        double = Calculation({k: v.double() for k, v in values.items()}, training)
        a = single.normalization("n", x, 1e-3, 0.1).double()
        b = double.normalization("n", x.double(), 1e-3, 0.1)
        assert torch.allclose(a, b, atol=1e-5)
        for name in single.buffers:
            assert torch.allclose(single.buffers[name].double(), double.buffers[name].double())


def test_windows_round_up_or_down_as_torchs_do() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 34, 25)
    for window, stride, padding in [(3, 2, 1), (3, 2, 0), (4, 2, 0), (2, 2, 0), (2, 3, 1)]:
        for up in (False, True):
            expected = F.max_pool2d(x, window, stride, padding, ceil_mode=up)
            assert torch.equal(largest(x, window, stride, padding, up), expected)


def test_patches_make_a_convolution() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 9, 7).double(), torch.randn(5, 3, 3, 3).double()
    expected = F.conv2d(x, weight, padding=1)
    assert torch.allclose(torch.einsum("bchwij,ocij->bohw", patches(x, 3, 1), weight), expected)


def test_option_a_puts_the_zero_channels_on_both_sides() -> None:
    x = torch.arange(18.0).view(1, 2, 3, 3)
    y = residual.zero_padded(x, 4)
    assert y.shape == (1, 4, 2, 2)
    assert y[0, 0].eq(0).all()
    assert y[0, 3].eq(0).all()
    assert y[0, 1].tolist() == [[0, 2], [6, 8]]  # every second pixel of 0..8
    assert y[0, 2].tolist() == [[9, 11], [15, 17]]


def test_table_i_has_60_pairs_and_the_papers_columns() -> None:
    assert len(lenet.PAIRS) == 60
    columns = ["".join(str(s2) for s2, c3 in lenet.PAIRS if c3 == i) for i in range(16)]
    table = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"
    assert " ".join(columns) == table


def test_lenets_counts_are_those_of_section_2b() -> None:
    shapes = shapes_of(lenet.original(Form(10, 1, (32, 32))))
    counts = {name: count(shapes, name) for name in ("c1", "s2", "c3", "s4", "c5", "f6")}
    assert counts == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164}
    assert count(shapes) == 60_000
    assert math.prod(shapes["output.codes"]) == 840


def test_maxouts_counts_are_those_of_the_authors_settings() -> None:
    form = Form(10, 1, (28, 28))
    assert count(shapes_of(maxout.reference_mlp(form))) == 1_233_610
    assert count(shapes_of(maxout.reference_convolutional(form))) == 418_714


def test_cifar_counts_are_those_of_the_public_repository() -> None:
    form = Form(10, 3, (32, 32))
    published = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}
    for depth, expected in published.items():
        assert count(shapes_of(calculated(depth, "A", form))) == expected
        assert count(shapes_of(calculated(depth, "none", form))) == expected
    assert count(shapes_of(calculated(20, "B", form))) == 272_474
    assert count(shapes_of(calculated(56, "B", form))) == 855_770


def test_residual_counts_with_projections_are_torchvisions() -> None:
    form = Form(1000, 3, (224, 224))
    published = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}
    for depth, expected in published.items():
        blocks, bottleneck = TABLE_1[depth]
        layout = residual.Layout(blocks, (64, 128, 256, 512), bottleneck, "B", True, "fc")
        shapes = residual.shapes(layout, form)
        assert count(shapes) == expected
        without = {k: v for k, v in shapes.items() if "downsample" not in k}
        assert shapes_of(plain(depth, form)) == without


def test_squash_and_distance_by_hand() -> None:
    x = torch.tensor([-1.0, 0.0, 1.0]).double()
    # f(1) = 1 and f(-1) = -1: Appendix A's reason for the two constants
    assert torch.allclose(lenet.squash(x), x, atol=1e-4)


def test_the_calculation_with_projections_agrees_with_torchvision() -> None:
    """The same calculation serves the plain forms, for which there is nothing to compare with."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    theirs = resnet18(num_classes=5).double()
    for name, value in theirs.state_dict().items():
        if not name.endswith("tracked"):
            value.add_(0.1 * torch.rand_like(value))
    form = Form(5, 3, (224, 224))
    layout = residual.Layout((2, 2, 2, 2), (64, 128, 256, 512), False, "B", True, "fc")
    images = torch.randn(2, 3, 67, 49).double()
    for training in (False, True):
        c = Calculation({k: v.clone() for k, v in theirs.state_dict().items()}, training)
        ours = residual.forward(c, images, layout, form)
        assert torch.allclose(ours, theirs.train(training)(images), atol=1e-9)
    for name, value in theirs.named_buffers():
        assert torch.allclose(c.buffers[name].double(), value.double())
