import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torchfolio.errors import RequestError
from torchfolio.networks.linear import SoftmaxRegression
from torchfolio.networks.mlp import MLP

FUNCTIONS = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "relu": lambda x: max(x, 0.0),
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
}


def test_softmax_regression_is_one_affine_map_that_starts_at_zero() -> None:
    network = SoftmaxRegression(num_classes=3, in_channels=2, image_size=(2, 1))
    images = torch.arange(4.0).view(1, 2, 2, 1)
    assert network(images).tolist() == [[0, 0, 0]]
    with torch.no_grad():
        network.linear.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 2], [1, 1, 1, 1]]))
        network.linear.bias.copy_(torch.tensor([5.0, 0, 0]))
    assert network(images).tolist() == [[5.0, 7.0, 6.0]]


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_the_activated_form_applies_its_function_to_the_hidden_layer(activation: str) -> None:
    network = MLP(widths=[1], activation=activation, num_classes=1, image_size=(1, 1))
    with torch.no_grad():
        network.layers[0].weight.fill_(2.0)
        network.layers[0].bias.fill_(-0.5)
        network.output.weight.fill_(3.0)
        network.output.bias.fill_(1.0)
    for pixel in (-1.0, 0.0, 0.4, 2.0):
        expected = 3 * FUNCTIONS[activation](2 * pixel - 0.5) + 1
        assert network(torch.full((1, 1, 1, 1), pixel)).item() == pytest.approx(expected, abs=1e-6)


def test_maxout_takes_the_larger_of_two_linear_functions() -> None:
    network = MLP(widths=[4], activation="maxout", image_size=(3, 3))
    x = torch.randn(5, 9)
    pieces = F.linear(x, network.layers[0].linear.weight, network.layers[0].linear.bias)
    hidden = torch.maximum(pieces[:, 0::2], pieces[:, 1::2])
    torch.testing.assert_close(network(x.view(5, 1, 3, 3)), network.output(hidden))


def test_the_plain_form_is_an_affine_map_whatever_its_depth() -> None:
    network = MLP(widths=[8, 8], form="plain", image_size=(4, 4)).double()
    a, b = torch.randn(2, 1, 1, 4, 4, dtype=torch.float64)
    zero = network(torch.zeros_like(a))
    torch.testing.assert_close(network(a + b) - zero, network(a) + network(b) - 2 * zero)


def test_the_batch_normalised_form_normalises_before_the_activation() -> None:
    network = MLP([5, 6], "sigmoid", "batch-normalised", image_size=(2, 2))
    kinds = [type(layer) for layer in network.layers]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.Sigmoid] * 2
    means = []
    network.layers[1].register_forward_hook(lambda *each: means.append(each[2].mean(0)))
    network(torch.randn(32, 1, 2, 2))
    torch.testing.assert_close(means[0], torch.zeros(5), atol=1e-5, rtol=0)


def test_any_widths_give_the_count_of_their_weights_and_biases() -> None:
    network = MLP(widths=[512, 512])
    total = sum(each.numel() for each in network.parameters())
    assert total == 669_706  # facts: mlp_784_512_512_10
    none = MLP(widths=[], num_classes=4, image_size=(3, 5))
    assert [each.shape for each in none.parameters()] == [(4, 15), (4,)]


def test_dropout_drops_its_share_of_hidden_units_in_training_only() -> None:
    network = MLP(widths=[1000], dropout=0.3, image_size=(2, 2))
    seen = []
    network.layers[-1].register_forward_hook(lambda *each: seen.append(each[2]))
    images = torch.rand(4, 1, 2, 2)
    network.train()(images)
    network.eval()(images)
    active = seen[1] > 0
    assert (seen[0][active] == 0).float().mean().item() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "normal"}, "form is one of plain, activated, batch-normalised"),
        ({"activation": "swish"}, "activation is one of sigmoid, tanh, relu, elu, leaky_relu"),
        ({"widths": [10, 0]}, r"widths are positive, not \[10, 0\]"),
    ],
)
def test_a_form_that_does_not_exist_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLP(**arguments)


def test_images_of_another_size_are_refused_with_the_legal_one() -> None:
    for network in (MLP(image_size=(4, 6)), SoftmaxRegression(image_size=(4, 6))):
        with pytest.raises(RequestError, match="takes images of 1x4x6"):
            network(torch.zeros(1, 1, 6, 4))
