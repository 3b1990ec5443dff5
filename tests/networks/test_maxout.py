import pytest
import torch
from torch.nn import functional as F

from torchfolio.errors import RequestError
from torchfolio.networks.maxout import MaxoutConv, MaxoutConvNet, MaxoutMLP


def test_the_convolutional_layers_have_the_sizes_of_the_authors() -> None:
    network = MaxoutConvNet()
    sizes = [layer.out_size for layer in (network.h0, network.h1, network.h2)]
    assert sizes == [(10, 10), (4, 4), (3, 3)]  # pooling rounds up: 21 -> 10, 9 -> 4, 6 -> 3
    x = torch.zeros(1, 1, 28, 28)
    for layer, channels in ((network.h0, 48), (network.h1, 48), (network.h2, 24)):
        x = layer(x)
        assert x.shape == (1, channels, *layer.out_size)


def test_a_convolutional_layer_pools_after_the_maximum_over_pieces() -> None:
    layer = MaxoutConv(1, 1, 2, kernel=1, padding=0, window=2, size=(2, 2), untied=False)
    with torch.no_grad():
        layer.conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        layer.bias.copy_(torch.tensor([0.0, 0.5]).view(2, 1, 1))
    image = torch.tensor([[[[1.0, 2.0], [3.0, -4.0]]]])
    # max(x, 0.5 - x) is 1, 2, 3, 4.5
    assert layer(image).tolist() == [[[[4.5]]]]


def test_consecutive_channels_are_the_pieces_of_a_map() -> None:
    layer = MaxoutConv(1, 3, 2, kernel=1, padding=0, window=1, size=(1, 1), untied=False)
    with torch.no_grad():
        layer.conv.weight.zero_()
        layer.bias.copy_(torch.tensor([1.0, 6.0, 3.0, 2.0, 5.0, 4.0]).view(6, 1, 1))
    assert layer(torch.zeros(1, 1, 1, 1)).flatten().tolist() == [6, 3, 5]


def test_untied_biases_stand_at_their_location() -> None:
    layer = MaxoutConv(1, 1, 1, kernel=1, padding=0, window=1, size=(2, 3), untied=True)
    with torch.no_grad():
        layer.conv.weight.zero_()
        layer.bias.copy_(torch.arange(6.0).view(1, 2, 3))
    seen = layer(torch.zeros(1, 1, 2, 3))
    assert seen.tolist() == [[[[0, 2]]]]  # stride 2: columns 0 and 2 of the first row


def test_untied_biases_add_one_parameter_for_each_location() -> None:
    total = sum(each.numel() for each in MaxoutConvNet(untied=True).parameters())
    assert total == 471_994  # facts, section 1


def test_constraining_bounds_every_norm_and_leaves_small_ones() -> None:
    network = MaxoutMLP()
    before = network.y.weight.clone()
    network.constrain()
    torch.testing.assert_close(network.y.weight, before)
    with torch.no_grad():
        for each in network.parameters():
            each.mul_(1000)
    network.constrain()
    for layer in (network.h0.linear, network.h1.linear, network.y):
        norms = layer.weight.norm(dim=1)
        torch.testing.assert_close(norms, torch.full_like(norms, 1.9365))


def test_constraining_bounds_the_kernels() -> None:
    network = MaxoutConvNet()
    with torch.no_grad():
        for each in network.parameters():
            each.mul_(1000)
    network.constrain()
    for layer, bound in ((network.h0, 0.9), (network.h1, 1.9365), (network.h2, 1.9365)):
        norms = layer.conv.weight.flatten(1).norm(dim=1)
        torch.testing.assert_close(norms, torch.full_like(norms, bound))
    torch.testing.assert_close(network.y.weight.norm(dim=1), torch.full((10,), 1.9365))


def test_weights_start_within_a_two_hundredth() -> None:
    for network in (MaxoutMLP(), MaxoutConvNet()):
        for name, each in network.named_parameters():
            largest = each.abs().max().item()
            assert largest == 0 if name.endswith("bias") else 0.0045 < largest <= 0.005, name


def test_dropout_keeps_four_fifths_of_the_input_and_half_of_the_rest() -> None:
    network = MaxoutMLP(image_size=(60, 60)).train()
    seen = []
    for layer in (network.h0, network.h1, network.y):
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network.h0.linear.bias.fill_(1.0)  # so that no unit is zero by itself
        network.h1.linear.bias.fill_(1.0)
    network(torch.ones(20, 1, 60, 60))
    shares = [(each == 0).float().mean().item() for each in seen]
    assert shares == [
        pytest.approx(0.2, abs=0.01), pytest.approx(0.5, abs=0.05), pytest.approx(0.5, abs=0.05)
    ]  # fmt: skip
    assert seen[0].max().item() == pytest.approx(1 / 0.8)


def test_the_convolutional_network_drops_the_same_shares() -> None:
    network = MaxoutConvNet(image_size=(40, 40)).train()
    seen = []
    for layer in (network.h0, network.h1, network.h2, network.y):
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        for layer in (network.h0, network.h1, network.h2):
            layer.bias.fill_(1.0)  # so that no unit is zero by itself
    network(torch.ones(20, 1, 40, 40))
    shares = [(each == 0).float().mean().item() for each in seen]
    assert shares == [pytest.approx(share, abs=0.02) for share in (0.2, 0.5, 0.5, 0.5)]


def test_the_mlp_in_eval_mode_is_two_maxout_layers_and_a_linear_one() -> None:
    network = MaxoutMLP(units=4, pieces=3, image_size=(2, 2)).eval()
    x = torch.randn(6, 4)
    hidden = F.linear(x, network.h0.linear.weight, network.h0.linear.bias).view(6, 4, 3).amax(2)
    hidden = network.h1.linear(hidden).view(6, 4, 3).amax(2)
    torch.testing.assert_close(network(x.view(6, 1, 2, 2)), network.y(hidden))


def test_the_smallest_image_is_16x16() -> None:
    assert MaxoutConvNet(image_size=(16, 16))(torch.zeros(1, 1, 16, 16)).shape == (1, 10)
    for size in ((15, 16), (16, 15), (1, 1)):
        with pytest.raises(ValueError, match="the smallest is 16x16"):
            MaxoutConvNet(image_size=size)


def test_another_size_than_it_was_built_for_is_refused() -> None:
    with pytest.raises(RequestError, match="takes images of 1x28x28"):
        MaxoutMLP()(torch.zeros(1, 1, 32, 32))
