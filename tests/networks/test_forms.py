"""What holds for every registered network. Numbers: facts, sections 1, 2 and 6."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import get_weight, list_models

from torchfolio.errors import RequestError
from torchfolio.networks.build import build, builder
from torchfolio.networks.catalogue import cards, find_card, recipe_file
from torchfolio.networks.summary import summarise

MAXOUT_CONV_MACS = 96 * 64 * 21**2 + 96 * 48 * 64 * 9**2 + 96 * 48 * 25 * 6**2 + 216 * 10
COUNTS = {  # parameters, multiply-adds
    "softmax_regression": (7_850, 7_840),
    "mlp_plain": (203_530, 203_264),
    "mlp": (203_530, 203_264),
    "mlp_bn": (100_310, 99_400),
    "maxout_mlp": (1_233_610, 1_231_200),
    "maxout_conv_mnist": (418_714, MAXOUT_CONV_MACS),
    "lenet5_original": (60_000, 325_680),
    "lenet5": (61_706, 416_520),
    "lenet_caffe": (431_080, 2_293_000),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "resnet50_v1": (25_557_032, 3_857_973_248),
    "resnet101_v1": (44_549_160, 7_570_194_432),
    "resnet152_v1": (60_192_808, 11_282_415_616),
    "resnet20": (269_722, 40_551_040),
    "resnet32": (464_154, 68_862_592),
    "resnet44": (658_586, 97_174_144),
    "resnet56": (853_018, 125_485_696),
    "resnet110": (1_727_962, 252_887_680),
    "resnet1202": (19_421_274, 2_829_238_912),
    "resnet20_b": (272_474, 40_813_184),
    "resnet56_b": (855_770, 125_747_840),
    "resnet110_b": (1_730_714, 253_149_824),
    "resnet1202_b": (19_424_026, 2_829_501_056),
}
# The projections of option B at 16x16 and 8x8, kernels and norms: 2,752 parameters.
for depth in (32, 44):
    parameters, macs = COUNTS[f"resnet{depth}"]
    COUNTS[f"resnet{depth}_b"] = (
        parameters + 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64,
        macs + 16 * 32 * 16**2 + 32 * 64 * 8**2,
    )
# Without shortcuts: nothing lost by option A, the projections by the others.
for depth in (20, 32, 44, 56, 110, 1202):
    COUNTS[f"resnet{depth}_plain"] = COUNTS[f"resnet{depth}"]
BASIC = [(64, 128, 28), (128, 256, 14), (256, 512, 7)]  # channels in, out; side of the map
WIDE = [(64, 256, 56), (256, 512, 28), (512, 1024, 14), (1024, 2048, 7)]
for depth in (18, 34, 50, 101, 152):
    parameters, macs = COUNTS[f"resnet{depth}"]
    for a, b, side in BASIC if depth < 50 else WIDE:
        parameters, macs = parameters - a * b - 2 * b, macs - a * b * side**2
    COUNTS[f"resnet{depth}_plain"] = (parameters, macs)

LARGE = [name for name in COUNTS if any(depth in name for depth in ("101", "152", "1202"))]
SMALLEST = [
    "softmax_regression", "mlp_plain", "mlp", "mlp_bn", "maxout_mlp", "maxout_conv_mnist",
    "lenet5_original", "lenet5", "lenet_caffe", "resnet18", "resnet18_plain", "resnet20",
    "resnet20_b",
]  # fmt: skip


def smallest(name: str, **arguments: object) -> tuple[nn.Module, tuple[int, int, int]]:
    """Build a network for its smallest legal image."""
    channels, height, width = find_card(name).min_input
    return build(name, image_size=(height, width), **arguments), (channels, height, width)


def loss_of(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    criterion = getattr(network, "loss", F.cross_entropy)
    return criterion(network(images), labels)


def test_the_catalogue_holds_these_networks() -> None:
    assert set(cards()) >= set(COUNTS)


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[pytest.mark.slow] if each in LARGE else []) for each in COUNTS],
)
def test_parameters_and_multiply_adds_are_the_published_ones(name: str) -> None:
    network, card = build(name), find_card(name)
    summary = summarise(network, card.input)
    assert (summary.parameters, summary.macs) == COUNTS[name]
    assert (card.parameters, card.macs) == COUNTS[name]
    assert sum(each.numel() for each in network.parameters()) == COUNTS[name][0]


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[pytest.mark.slow] if each in LARGE else []) for each in COUNTS],
)
def test_a_batch_of_the_smallest_images_gives_a_score_for_each_class(name: str) -> None:
    network, shape = smallest(name, num_classes=7)  # in train mode: without the statistics of
    with torch.no_grad():  # a batch, the values of 600 untrained blocks overflow
        scores = network(torch.rand(3, *shape))
    assert scores.shape == (3, 7)
    assert scores.isfinite().all()


@pytest.mark.parametrize("name", SMALLEST)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    network, shape = smallest(name)
    loss_of(network, torch.rand(16, *shape), torch.arange(16) % 10).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", SMALLEST)
def test_a_step_can_be_taken_in_bf16(name: str) -> None:
    network, shape = smallest(name)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(network, torch.rand(2, *shape), torch.arange(2))
    loss.backward()
    assert loss.isfinite()


@pytest.mark.parametrize(
    "name",
    [
        "softmax_regression",
        "mlp",
        "maxout_mlp",
        "lenet5_original",
        "lenet_caffe",
        "resnet20",
        pytest.param("resnet18", marks=pytest.mark.slow),
    ],
)
def test_eight_examples_are_learnt_by_heart(name: str) -> None:
    torch.manual_seed(1)
    shape = find_card(name).min_input
    if shape == (1, 1, 1):  # a picture of one pixel tells too little
        shape = (1, 8, 8)
    network = build(name, image_size=shape[1:])
    images, labels = torch.rand(8, *shape), torch.arange(8)
    if name.startswith("resnet"):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    else:
        optimizer = torch.optim.Adam(network.parameters(), lr=0.003)
    for update in range(1, 401):
        optimizer.zero_grad()
        loss_of(network.train(), images, labels).backward()
        optimizer.step()
        if hasattr(network, "constrain"):
            network.constrain()
        with torch.no_grad():
            if update % 10 == 0 and network.eval()(images).argmax(1).equal(labels):
                return
    pytest.fail("not learnt in 400 updates")


@pytest.mark.parametrize("name", SMALLEST)
def test_a_saved_network_answers_as_before(name: str, tmp_path: Path) -> None:
    network, shape = smallest(name)
    network.train()(torch.rand(4, *shape))  # moves the statistics of norms
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    other, _ = smallest(name)
    other.load_state_dict(load_file(tmp_path / "network.safetensors"))
    images = torch.rand(2, *shape)
    assert torch.equal(network.eval()(images), other.eval()(images))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("softmax_regression", (2, 5, 7)),
        ("mlp", (3, 1, 9)),
        ("mlp_bn", (1, 11, 3)),
        ("maxout_mlp", (4, 3, 3)),
        ("maxout_conv_mnist", (3, 17, 31)),
        ("lenet5", (5, 32, 32)),
        ("lenet_caffe", (3, 28, 28)),
        ("resnet18", (1, 33, 47)),
        ("resnet50_v1", (2, 45, 35)),
        ("resnet18_plain", (4, 1, 1)),
        ("resnet20", (1, 13, 31)),
        ("resnet20_b", (2, 9, 1)),
        ("resnet20_plain", (6, 7, 5)),
    ],
)
def test_other_channels_and_odd_sizes_are_taken(name: str, shape: tuple[int, int, int]) -> None:
    network = build(name, num_classes=3, in_channels=shape[0], image_size=shape[1:]).eval()
    with torch.no_grad():
        assert network(torch.rand(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize("name", COUNTS)
def test_a_card_is_complete(name: str) -> None:
    card = find_card(name)
    assert recipe_file(card).is_file()
    assert card.summary.endswith(".")
    assert len(card.summary) <= 100
    assert all(small <= usual for small, usual in zip(card.min_input, card.input, strict=True))
    if card.weights:
        assert get_weight(f"{card.weights}.IMAGENET1K_V1").url
    else:  # where torchvision has a network, it has weights for it
        assert name not in list_models()
    assert (card.loss == "the page's") == hasattr(builder(card), "loss")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet18", {"num_classes": 0}, "num_classes of resnet18 takes numbers from 1 on, not 0"),
        ("resnet18", {"in_channels": -1}, "in_channels of resnet18 takes numbers from 1 on"),
        ("mlp", {"image_size": (0, 4)}, r"image_size of mlp takes numbers from 1 on, not \(0, 4\)"),
        ("mlp", {"width": [3]}, "no argument of mlp named 'width'. The nearest: widths"),
        ("mlp", {"activation": "x"}, "mlp cannot be built with .*activation is one of sigmoid"),
        ("lenet5_original", {"in_channels": 3}, "takes images of 1 channel"),
        ("maxout_conv_mnist", {"image_size": (8, 8)}, "the smallest is 16x16"),
        ("resnet18", {"depth": 19}, "depth is one of"),
    ],
)
def test_what_a_network_does_not_take_is_refused(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        build(name, **arguments)
