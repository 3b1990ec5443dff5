import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from torchfolio.errors import RequestError
from torchfolio.networks.blocks import blocks
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import find_card
from torchfolio.networks.summary import Layer, Summary, summarise


def layers_of(name: str, **arguments: object) -> dict[str, Layer]:
    summary = summarise(build(name, **arguments), find_card(name).input)
    return {layer.name: layer for layer in summary.layers}


def columns_seen(network: nn.Module, layer: str, height: int, width: int, channels: int) -> int:
    """Count the columns of the image that the middle output of a layer depends on.

    A value that is no number spoils every output that sees it. Columns up to a limit are spoilt,
    and the limit is moved until the output is.
    """
    network = network.double().eval()
    outputs: list[Tensor] = []
    hook = network.get_submodule(layer).register_forward_hook(lambda *each: outputs.append(each[2]))

    def spoilt(columns: slice) -> bool:
        images = torch.zeros(1, channels, height, width, dtype=torch.float64)
        images[..., columns] = float("nan")
        outputs.clear()
        with torch.no_grad():
            network(images)
        return bool(outputs[0][..., outputs[0].shape[-1] // 2].isnan().any())

    low, high = 0, width  # the first column seen
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if spoilt(slice(0, middle + 1)) else (middle + 1, high)
    first = low
    low, high = 0, width  # the number of columns behind the last one seen
    while low < high:
        middle = (low + high) // 2
        found = spoilt(slice(width - middle - 1, width))
        low, high = (low, middle) if found else (middle + 1, high)
    hook.remove()
    return width - low - first


def test_lenet_sees_what_can_be_calculated_by_hand() -> None:
    layers = layers_of("lenet5_original")
    fields = {name: layer.receptive_field for name, layer in layers.items()}
    assert fields == {
        "c1": (5, 5), "s2": (6, 6), "c3": (14, 14), "s4": (16, 16), "c5": (32, 32),
        "f6": None, "output": None,
    }  # fmt: skip
    strides = [layer.stride for layer in layers.values()]
    assert strides == [(1, 1), (2, 2), (2, 2), (4, 4), (4, 4), None, None]


def test_a_layer_has_its_shape_parameters_and_multiply_adds() -> None:
    layers = layers_of("lenet5_original")
    assert [layer.output for layer in layers.values()] == [
        (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120, 1, 1), (84,), (10,)
    ]  # fmt: skip
    assert [layer.parameters for layer in layers.values()] == [156, 12, 1516, 32, 48120, 10164, 0]
    connections = [150 * 784, 0, 1500 * 100, 0, 48000, 10080, 0]  # without those of the biases
    assert [layer.macs for layer in layers.values()] == connections
    assert [layer.words for layer in layers.values()] == [
        "conv 5x5", "subsampling", "connection table 5x5", "subsampling", "conv 5x5", "linear",
        "radial basis",
    ]  # fmt: skip
    assert layers["c1"].activation == "tanh"


@pytest.mark.parametrize(
    ("depth", "convolutions", "known"),
    [(18, (4, 4, 4, 4), 435), (34, (6, 8, 12, 6), 899), (50, (3, 4, 6, 3), 427)],
)
def test_resnet_fields_follow_from_the_kernels_and_strides(
    depth: int, convolutions: tuple[int, ...], known: int
) -> None:
    size, step = 7 + (3 - 1) * 2, 4  # after the 7x7 convolution and the 3x3 pooling, both /2
    for stage, count in enumerate(convolutions):  # of the 3x3 convolutions in each stage
        for number in range(count):
            size += (3 - 1) * step
            step *= 2 if stage > 0 and number == 0 else 1
    assert size == known
    layers = list(layers_of(f"resnet{depth}").values())
    assert max(each.receptive_field or (0, 0) for each in layers) == (known, known)
    assert layers[-1].receptive_field is None


@pytest.mark.parametrize(
    ("name", "layer", "height", "width"),
    [
        ("lenet5", "s4", 32, 32),
        ("lenet_caffe", "pool2", 28, 28),
        ("resnet20", "layer3.2.bn2", 8, 128),
        ("resnet20", "layer3.0", 8, 128),
        ("resnet20_b", "layer3.0", 8, 128),
        ("resnet50", "layer2.1.conv3", 16, 128),
        ("resnet50_v1", "layer2.1.conv3", 16, 160),
        ("maxout_conv_mnist", "h1", 28, 44),
    ],
)
def test_the_field_is_what_spoilt_pixels_show(
    name: str, layer: str, height: int, width: int
) -> None:
    channels = find_card(name).input[0]
    network = build(name, image_size=(height, width))
    if name in ("resnet50", "resnet50_v1"):
        network.layer3 = network.layer4 = nn.Identity()
        network.fc = nn.Linear(512, 3)
    summary = summarise(network, (channels, height, width))
    found = {each.name: each for each in summary.layers}
    if layer in found:
        expected = found[layer].receptive_field
    else:  # a block: its last layers, whose sum it is
        inside = [each for each in summary.layers if each.name.startswith(f"{layer}.")]
        expected = max(each.receptive_field or (0, 0) for each in inside)
    assert expected is not None
    assert columns_seen(network, layer, height, width, channels) == expected[1]


class Unusual(nn.Module):
    """Dilation, unequal sides, padding, slices and a shortcut around a wider kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, (3, 5), stride=(2, 1), dilation=(2, 1))
        self.pool = nn.AvgPool2d((1, 3), stride=2)
        self.last = nn.Conv2d(2, 2, 3, padding=1)
        self.end = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.first(F.pad(x, (2, 2, 1, 0))))
        return self.end(x + self.last(x))[:, :, ::2, 1:]


def test_dilation_unequal_sides_padding_and_shortcuts_are_followed() -> None:
    summary = summarise(Unusual(), (1, 32, 40))
    layers = {layer.name: layer for layer in summary.layers}
    assert layers["first"].receptive_field == (5, 5)  # 2 * 2 + 1 rows, 5 columns
    assert layers["pool"].receptive_field == (5, 7)
    assert layers["pool"].stride == (4, 2)
    assert layers["last"].receptive_field == (5 + 2 * 4, 7 + 2 * 2)
    assert layers["end"].receptive_field == layers["last"].receptive_field
    assert set(summary.joins) == {""}
    assert columns_seen(Unusual(), "end", 32, 40, 1) == 11


@pytest.mark.parametrize("name", ["lenet5_original", "maxout_conv_mnist", "mlp_bn", "resnet18"])
def test_the_sums_are_those_of_torch_s_own_counter(name: str) -> None:
    network, shape = build(name).eval(), find_card(name).input
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *shape))
    summary = summarise(network, shape)
    assert summary.macs == counter.get_total_flops() // 2
    assert summary.parameters == sum(each.numel() for each in network.parameters())
    assert summary.macs == sum(layer.macs for layer in summary.layers)


def test_the_network_is_left_as_it_was() -> None:
    network = build("resnet20").train()
    network.layer1.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    summarise(network, (3, 32, 32))
    assert network.training
    assert not network.layer1[0].training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in network.modules())


def test_shared_and_idle_parameters_are_counted_once() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.once = nn.Linear(4, 4)
            self.idle = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.once(self.once(x.flatten(1)))

    summary = summarise(Shared(), (1, 2, 2))
    assert summary.parameters == 20 + 10
    assert summary.macs == 2 * 16
    assert [layer.output for layer in summary.layers] == [(4,), ()]


def test_parameters_beside_deeper_children_are_a_layer_of_their_own() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))
            self.body = nn.Sequential(nn.Sequential(nn.Linear(4, 3)))

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * self.body(x.flatten(1))

    summary = summarise(Beside(), (1, 2, 2))
    assert [(layer.name, layer.parameters) for layer in summary.layers] == [
        ("", 3),
        ("body.0.0", 15),
    ]


def test_an_image_that_does_not_fit_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 5))
    with pytest.raises(
        RequestError, match=r"Sequential does not take images of 3x4x9: .*ernel size"
    ):
        summarise(network, (3, 4, 9))
    with pytest.raises(RequestError, match="takes images of 1x32x32"):
        summarise(build("lenet5"), (1, 28, 28))


def test_equal_blocks_are_folded() -> None:
    summary = summarise(build("resnet34"), (3, 64, 64))
    folded = {block.name: len(block.repeats) for block in blocks(summary)}
    assert folded == {
        "conv1": 0, "bn1": 0, "maxpool": 0, "layer1.0": 2, "layer2.0": 0, "layer2.1": 2,
        "layer3.0": 0, "layer3.1": 4, "layer4.0": 0, "layer4.1": 1, "avgpool": 0, "fc": 0,
    }  # fmt: skip


def test_folding_keeps_every_layer() -> None:
    summary = summarise(build("resnet20_b"), (3, 32, 32))
    found = [
        layer
        for block in blocks(summary)
        for each in (block, *block.repeats)
        for layer in each.layers
    ]
    assert found == summary.layers


def test_the_shortcuts_are_named_with_the_function_behind_them() -> None:
    summary = summarise(build("resnet20"), (3, 32, 32))
    assert summary.joins == {f"layer{n}.{block}": "relu" for n in (1, 2, 3) for block in (0, 1, 2)}
    assert summarise(build("resnet20_plain"), (3, 32, 32)).joins == {}


def test_an_empty_summary_has_no_parameters() -> None:
    assert (Summary((1, 1, 1), []).parameters, Summary((1, 1, 1), []).macs) == (0, 0)


def test_an_image_that_the_memory_cannot_hold_is_refused() -> None:
    with pytest.raises(RequestError, match="An image of 3x10000000000x10000000000 is too large"):
        summarise(build("resnet18"), (3, 10**10, 10**10))
