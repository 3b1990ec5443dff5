"""Occlusion against loops of our own, and a network that reads one corner."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchfolio.evaluation.explain.occlusion import drops, occlusion, square


@pytest.mark.parametrize(
    ("side", "expected"), [(1, (1, 1)), (7, (1, 1)), (28, (4, 2)), (32, (5, 2)), (224, (32, 16))]
)
def test_the_square_is_a_seventh_and_moves_by_half(side: int, expected: tuple[int, int]) -> None:
    assert square(side) == expected


def asked(images: Tensor) -> Tensor:
    """Return two class probabilities that depend on the picture in a bent way."""
    weights = torch.linspace(-1, 1, images[0].numel(), dtype=torch.float64).view(images[0].shape)
    score = (images.double() * weights).tanh().sum((1, 2, 3))
    return torch.stack([score, -score], 1).softmax(1)


@pytest.mark.parametrize(("size", "at_once"), [(28, 64), (32, 7), (9, 1)])
def test_the_drops_are_those_of_loops(size: int, at_once: int) -> None:
    image = torch.rand(2, size, size, generator=torch.Generator().manual_seed(0))
    hidden = torch.full((1, 2, size, size), 0.25)
    found = drops(asked, image, 1, hidden, at_once)
    side, stride = square(size)
    total, count = np.zeros((size, size)), np.zeros((size, size))
    starts = range(0, size - side + stride, stride)  # the last may be cut off at the edge
    for top in starts:
        for left in starts:
            covered = image.clone()
            covered[:, top : top + side, left : left + side] = 0.25
            change = asked(image[None])[0, 1] - asked(covered[None])[0, 1]
            total[top : top + side, left : left + side] += float(change)
            count[top : top + side, left : left + side] += 1
    assert found == pytest.approx(total / count, abs=1e-6)


def test_a_network_that_reads_one_corner_is_said_to_rest_on_it() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 2, bias=False))
    weight = torch.zeros(2, 28, 28)
    weight[1, :6, 22:] = 0.2
    network[1].weight.data = weight.flatten(1)
    images = torch.rand(3, 1, 28, 28)
    found = occlusion(
        lambda some: network(some).double().softmax(1),
        images, torch.tensor([1, 1, 0]), torch.zeros(1, 1, 28, 28), 50,
    )  # fmt: skip
    for heat in found[:2]:
        assert heat.values.max() == 1
        assert heat.values[:8, 20:].sum() == pytest.approx(heat.values.sum(), rel=1e-4)
        assert heat.low == "0"
        assert heat.high.endswith(" percentage points less")
    assert (found[2].values == 0).all()  # hiding only raises class 0, but for rounding
    assert found[2].high == "0 percentage points less"


def test_the_scale_says_by_how_much_the_probability_falls() -> None:
    images = torch.ones(1, 1, 7, 7)  # squares of one pixel

    def ask(some: Tensor) -> Tensor:
        score = some[:, 0, 3, 3] * 0.4 + 0.1  # hiding the middle takes 40 points
        return torch.stack([score, 1 - score], 1)

    [found] = occlusion(ask, images, torch.tensor([0]), torch.zeros(1, 1, 7, 7), 10)
    assert found.high == "40 percentage points less"
    assert np.argwhere(found.values > 0).tolist() == [[3, 3]]
