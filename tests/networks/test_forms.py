"""What holds for every registered network. Numbers: facts, sections 1 to 10."""

import inspect
import math
import statistics
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import get_weight, list_models

from torchfolio.errors import RequestError
from torchfolio.networks.build import build, builder, settings
from torchfolio.networks.catalogue import cards, find_card, recipe_file
from torchfolio.networks.summary import summarise
from torchfolio.tasks.base import Parts
from torchfolio.tasks.class_scores import page_loss
from torchfolio.training.optimizers import make_optimizer
from torchfolio.training.recipes import recipe_table

MAXOUT_CONV_MACS = 96 * 64 * 21**2 + 96 * 48 * 64 * 9**2 + 96 * 48 * 25 * 6**2 + 216 * 10
# Three blocks of twelve layers, each of 12 maps from all before it, and 1x1 between them.
DENSENET_40_MACS = (
    27 * 16 * 32**2
    + sum(108 * (16 + 12 * layer) * (32 >> layer // 12) ** 2 for layer in range(36))
    + 160**2 * 32**2
    + 304**2 * 16**2
    + 448 * 10
)
# Two convolutions of 9x9, the votes, and three rounds of sums, with agreement after two of them.
CAPSNET_MACS = 81 * 256 * 20**2 + 81 * 256**2 * 6**2 + 1152 * 10 * 8 * 16 + 5 * 1152 * 10 * 16
# The patches; twelve times queries, keys, values, two products of 50 by 50 tokens, a projection and
# the hidden layer; the head.
VIT_TI_32_MACS = (
    49 * 3 * 32**2 * 192 + 12 * (50 * 192**2 * (3 + 1 + 4 + 4) + 2 * 50**2 * 192) + 192 * 1000
)
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

COUNTS |= {
    "alexnet_2012": (60_965_224, 724_406_816),
    "alexnet_2012_ungrouped": (62_378_344, 1_135_256_096),
    "alexnet": (61_100_840, 714_188_480),
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg13": (133_047_848, 11_308_466_176),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg16_c": (133_638_952, 11_770_888_192),
    "vgg19": (143_667_240, 19_632_062_464),
    "vgg11_bn": (132_868_840, 7_609_090_048),
    "vgg13_bn": (133_053_736, 11_308_466_176),
    "vgg16_bn": (138_365_992, 15_470_264_320),
    # a scale and a shift of each of 2 x 64 + 2 x 128 + 3 x 256 + 6 x 512 channels
    "vgg16_c_bn": (133_638_952 + 2 * 4_224, 11_770_888_192),
    "vgg19_bn": (143_678_248, 19_632_062_464),
    "googlenet": (6_624_904, 1_498_376_192),
    "googlenet_aux": (13_004_888, 1_498_376_192),
    "googlenet_original": (6_998_552, 1_582_671_872),
    "googlenet_original_aux": (13_378_280, 1_582_671_872),
    "densenet121": (7_978_856, 2_834_161_664),
    "densenet161": (28_681_000, 7_727_907_072),
    "densenet169": (14_149_480, 3_359_843_328),
    "densenet201": (20_013_928, 4_291_365_888),
    "densenet264": (33_337_704, 5_751_653_376),
    "densenet40_k12": (1_019_722, DENSENET_40_MACS),
    "densenet100_k12_bc": (769_162, 287_929_692),
    "mobilenet_v1": (4_231_976, 568_740_352),
    "mobilenet_v1_relu6": (4_231_976, 568_740_352),
    "mobilenet_v1_0.75": (2_585_560, 325_400_448),
    "mobilenet_v1_0.5": (1_331_592, 149_497_088),
    "mobilenet_v1_0.25": (470_072, 41_030_272),
    "mobilenet_v2": (3_504_872, 300_774_272),
    "mobilenet_v2_0.35": (1_677_128, 59_285_808),
    "mobilenet_v2_0.5": (1_968_680, 97_131_840),
    "mobilenet_v2_0.75": (2_636_424, 209_069_792),
    "mobilenet_v2_1.3": (5_386_792, 509_374_560),
    "mobilenet_v2_1.4": (6_108_776, 582_195_824),
    "capsnet": (8_215_568, CAPSNET_MACS),
    "capsnet_official": (8_215_728, CAPSNET_MACS),
    "capsnet_no_decoder": (6_804_224, CAPSNET_MACS),
    "vit_ti_16": (5_717_416, 1_253_683_200),
    # other patches of 3 x 16 x 16 values than of 3 x 32 x 32, 1 + 49 positions for 1 + 196
    "vit_ti_32": (5_717_416 + 192 * 3 * (32**2 - 16**2) - 192 * (196 - 49), VIT_TI_32_MACS),
    "vit_s_16": (22_050_664, 4_598_882_304),
    "vit_s_32": (22_878_952, 1_142_909_952),
    "vit_b_16": (86_567_656, 17_563_828_224),
    "vit_b_32": (88_224_232, 4_409_186_304),
    "vit_l_16": (304_326_632, 61_554_712_576),
    "vit_l_32": (306_535_400, 15_377_539_072),
    "cifar_quick": (145_578, 75 * 32**3 + 800 * (32 * 16**2 + 64 * 8**2) + 1024 * 64 + 640),
}
COUNTS |= {"darknet19": (20_842_376, 2_790_989_824), "darknet53": (41_609_928, 9_285_115_904)}
# The authors' UNet16 layer by layer: VGG16, and (values read, maps) of each step up.
TERNAUS = [
    (9, 512, 3, 64), (9, 512, 64, 64), (9, 256, 64, 128), (9, 256, 128, 128), (9, 128, 128, 256),
    *[(9, 128, 256, 256)] * 2, (9, 64, 256, 512), *[(9, 64, 512, 512)] * 2,
    *[(9, 32, 512, 512)] * 3, (9, 16, 512, 512), (16, 16, 512, 256), (9, 32, 768, 512),
    (16, 32, 512, 256), (9, 64, 768, 512), (16, 64, 512, 256), (9, 128, 512, 256),
    (16, 128, 256, 64), (9, 256, 192, 128), (16, 256, 128, 32), (9, 512, 96, 32), (1, 512, 32, 1),
]  # fmt: skip
# Networks that give scores to every pixel: facts, sections 11 and 12.
SEGMENTERS = {
    "unet": (31_030_658, 192_384_335_872),
    "unet_2015": (31_030_658, 150_428_424_448),
    "unet_bn": (31_037_698, 192_686_325_760),
    "unet_bn_bilinear": (17_263_042, 159_937_200_128),
    "unet_vgg16": (23_748_241, 98_939_437_056),
    "unet_vgg16_bn": (23_756_689, 98_939_437_056),
    "unet_vgg16_plain": (24_892_437, 225_485_783_040),
    "unet_vgg16_ternaus": (
        sum(window * read * maps + maps for window, _, read, maps in TERNAUS),
        sum(window * side**2 * read * maps for window, side, read, maps in TERNAUS),
    ),
    "fcn32s": (136_152_917, 181_365_854_976),
    "fcn16s": (134_815_994, 181_448_086_272),
    "fcn8s": (134_489_759, 181_529_034_048),
    "fcn_resnet50": (35_322_218, 142_725_772_800),
    "fcn_resnet101": (54_314_346, 222_746_867_200),
}
# Networks that give boxes: facts, sections 13 and 14.
DETECTORS = {
    "yolov1": (271_703_550, 20_285_153_280),
    "yolov2": (50_962_889, 14_732_084_224),
    "yolov3": (61_949_149, 32_932_037_632),
    "yolov3_tiny": (8_852_366, 2_782_480_896),
    "fasterrcnn_vgg16": (137_078_239, 224_627_447_808),
    "fasterrcnn_resnet50_fpn": (41_808_406, 134_379_721_216),
}
COUNTS |= SEGMENTERS | DETECTORS
COUNTS |= {f"vgg{form}_paper": COUNTS[f"vgg{form}"] for form in ("11", "13", "16", "16_c", "19")}

SLOW = ("101", "152", "1202", "vgg", "161", "201", "264", "vit_l", "vit_b", "2012", "fcn", "rcnn")
LARGE = [name for name in COUNTS if any(word in name for word in SLOW)]
SMALLEST = [
    "softmax_regression", "mlp_plain", "mlp", "mlp_bn", "maxout_mlp", "maxout_conv_mnist",
    "lenet5_original", "lenet5", "lenet_caffe", "resnet18", "resnet18_plain", "resnet20",
    "resnet20_b", "alexnet", "vgg11_bn", "googlenet_aux", "googlenet_original_aux", "densenet121",
    "densenet40_k12", "densenet100_k12_bc", "mobilenet_v1_0.25", "mobilenet_v2_0.35", "capsnet",
    "capsnet_official", "capsnet_no_decoder", "vit_ti_16", "cifar_quick", "darknet19",
]  # fmt: skip
BY_HEART = [
    "softmax_regression", "mlp", "maxout_mlp", "lenet5_original", "lenet_caffe", "resnet20",
    "resnet18", "googlenet_aux", "densenet100_k12_bc", "mobilenet_v1_0.25", "mobilenet_v2_0.35",
    "capsnet", "vit_ti_16", "cifar_quick", "darknet19",
]  # fmt: skip
# By heart with the rate, the momentum and the bound on gradients of their recipes.
BY_RECIPE = ("vgg11", "alexnet", "googlenet_original_aux")
LONG = ("resnet18", "googlenet_aux")  # to learn by heart
ODD = [  # channels, height, width that are legal, if unusual
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
    ("alexnet", (1, 63, 77)),
    ("alexnet_2012", (2, 67, 99)),
    ("vgg11", (1, 35, 47)),
    ("vgg16_c_bn", (2, 33, 32)),
    ("googlenet", (1, 45, 33)),
    ("googlenet_original_aux", (4, 33, 51)),
    ("densenet121", (1, 33, 45)),
    ("densenet40_k12", (2, 9, 13)),
    ("mobilenet_v1_0.25", (1, 33, 7)),
    ("mobilenet_v2_0.35", (2, 5, 31)),
    ("capsnet", (3, 19, 24)),
    ("vit_ti_16", (1, 48, 80)),
    ("vit_ti_16", (1, 33, 50)),
    ("cifar_quick", (1, 8, 21)),
    ("darknet19", (1, 45, 67)),
    ("darknet53", (2, 33, 32)),
]


def smallest(name: str, **arguments: object) -> tuple[nn.Module, tuple[int, int, int]]:
    """Build a network for its smallest legal image."""
    channels, height, width = find_card(name).min_input
    return build(name, image_size=(height, width), **arguments), (channels, height, width)


def loss_of(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return page_loss(Parts(network=network), network(images), labels, F.cross_entropy)


def scores_of(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def test_the_catalogue_holds_these_networks() -> None:
    assert set(cards()) == set(COUNTS)


def test_half_of_the_pages_have_150_lines_or_less() -> None:
    pages = {Path(inspect.getfile(builder(card))) for card in cards().values()}
    lengths = [len(page.read_text(encoding="utf-8").splitlines()) for page in pages]
    assert statistics.median(lengths) <= 150


@pytest.mark.parametrize("names", [SMALLEST, [*BY_HEART, *BY_RECIPE], [name for name, _ in ODD]])
def test_every_family_is_among_those_that_are_tried(names: list[str]) -> None:
    classifiers = [card for card in cards().values() if "image-classification" in card.tasks]
    assert {find_card(each).family for each in names} == {card.family for card in classifiers}


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[pytest.mark.slow] if each in LARGE else []) for each in COUNTS],
)
def test_parameters_and_multiply_adds_are_the_published_ones(name: str) -> None:
    card = find_card(name)
    with torch.device("meta"):
        network = build(name)
    summary = summarise(network, card.input)
    assert (summary.parameters, summary.macs) == COUNTS[name]
    assert (card.parameters, card.macs) == COUNTS[name]
    assert sum(each.numel() for each in network.parameters()) == COUNTS[name][0]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(each, marks=[pytest.mark.slow] if each in LARGE else [])
        for each in COUNTS
        if each not in DETECTORS
    ],
)
def test_a_batch_of_the_smallest_images_gives_a_score_for_each_class(name: str) -> None:
    network, shape = smallest(name, num_classes=7)  # in train mode: without the statistics of
    with torch.no_grad():  # a batch, the values of 600 untrained blocks overflow
        scores = scores_of(network(torch.rand(3, *shape)))
    margin = getattr(network, "margin", 0)  # of scores of pixels, that they lack
    pixels = [side - 2 * margin for side in shape[1:]] if name in SEGMENTERS else []
    assert scores.shape == (3, 7, *pixels)
    assert scores.isfinite().all()


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_gives_boxes_and_a_score_for_each_class(name: str) -> None:
    network, shape = smallest(name, num_classes=7)
    images = torch.rand(3, *shape)
    targets = [(torch.tensor([[4.0, 4, 30, 28]]), torch.tensor([each])) for each in range(3)]
    told = [targets] if getattr(network, "needs_targets", False) else []
    loss = network.loss(network(images, *told), targets)
    loss.backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
    with torch.no_grad():
        found = network.scored(network.eval()(images))
    assert [len(each) for each in found] == [3, 3]
    for boxes, scores in zip(*found, strict=True):
        assert boxes.shape in ((len(scores), 4), (len(scores), 7, 4))
        assert scores.shape[1] == 7
        assert (scores >= 0).all()
        assert (scores <= 1).all()
        assert boxes.isfinite().all()


@pytest.mark.parametrize("name", SMALLEST)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    network, shape = smallest(name)
    for layer in network.modules():
        if isinstance(layer, nn.Linear) and not layer.weight.any():  # nothing passes a zero
            nn.init.normal_(layer.weight)
    loss_of(network, torch.rand(16, *shape), torch.arange(16) % 10).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", SMALLEST)
def test_a_step_is_taken_in_bf16(name: str) -> None:
    network, shape = smallest(name)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    *_, last = network.parameters()
    before = last.detach().clone()
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(network, torch.rand(2, *shape), torch.arange(2))
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert all(each.isfinite().all() for each in network.parameters())
    assert not torch.equal(last, before)


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[pytest.mark.slow] if each in LONG else []) for each in BY_HEART],
)
def test_eight_examples_are_learnt_by_heart(name: str) -> None:
    torch.manual_seed(1)
    shape = find_card(name).min_input
    if shape == (1, 1, 1):  # a picture of one pixel tells too little
        shape = (1, 8, 8)
    network = build(name, image_size=shape[1:])
    images, labels = torch.rand(8, *shape), torch.arange(8)
    if name.startswith("resnet"):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    else:
        gentle = dict.fromkeys(("capsnet", "vit_ti_16"), 0.0003)
        lr = (gentle | {"mobilenet_v2_0.35": 0.001}).get(name, 0.003)
        optimizer = torch.optim.Adam(network.parameters(), lr=lr, fused=True)
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


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_RECIPE)
def test_eight_examples_are_learnt_by_heart_as_the_recipe_trains(name: str) -> None:
    torch.manual_seed(1)
    card, (sheet, _) = find_card(name), recipe_table(find_card(name), "paper")
    network = build(name, num_classes=10)
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    images, labels = torch.randn(8, *card.min_input), torch.arange(8)
    given = dict(sheet["optimizer"]["network"])
    if card.fixed_size:  # AlexNet: its rate goes with the batch, its pixels are from 0 to 255
        given["lr"] *= 8 / sheet["training"]["reference_batch"]
        images *= 60
    optimizer = make_optimizer("network", network, given)
    longest = sheet["training"].get("grad_clip", math.inf)
    for update in range(1, 101):
        optimizer.zero_grad()
        loss_of(network.train(), images, labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), longest)
        optimizer.step()
        with torch.no_grad():
            if update % 10 == 0 and network.eval()(images).argmax(1).equal(labels):
                return
    pytest.fail("not learnt in 100 updates")


@pytest.mark.parametrize("name", SMALLEST)
def test_a_saved_network_answers_as_before(name: str, tmp_path: Path) -> None:
    network, shape = smallest(name)
    network.train()(torch.rand(4, *shape))  # moves the statistics of norms
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    other, _ = smallest(name)
    other.load_state_dict(load_file(tmp_path / "network.safetensors"))
    images = torch.rand(2, *shape)
    assert torch.equal(network.eval()(images), other.eval()(images))


@pytest.mark.parametrize(("name", "shape"), ODD)
def test_other_channels_and_odd_sizes_are_taken(name: str, shape: tuple[int, int, int]) -> None:
    network = build(name, num_classes=3, in_channels=shape[0], image_size=shape[1:]).eval()
    with torch.no_grad():
        assert network(torch.rand(2, *shape)).shape == (2, 3)


def of_one_size(name: str) -> bool:
    """Whether a network, once built, takes images of one size alone."""
    card = find_card(name)
    sized = "image_size" in settings(card) and not hasattr(builder(card), "adapted")
    return card.fixed_size or sized


@pytest.mark.parametrize("name", [each for each in COUNTS if of_one_size(each)])
def test_networks_of_one_size_refuse_every_other(name: str) -> None:
    channels, height, width = find_card(name).input
    with torch.device("meta"):
        network, images = build(name), torch.zeros(1, channels, height + 1, width)
    message = (
        rf"takes images of {channels}x{height}x{width} .* no other size; these are {channels}x"
    )
    with pytest.raises(RequestError, match=message):
        network(images)


@pytest.mark.parametrize("name", COUNTS)
def test_a_card_is_complete(name: str) -> None:
    card = find_card(name)
    assert all(side % card.step == 0 for side in card.input[1:])
    assert card.smallest == max(card.min_input[1:])
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
        ("googlenet", {"aux_logits": "no"}, "aux_logits of googlenet is true or false, not 'no'"),
        ("resnet18", {"shortcuts": 1}, "shortcuts of resnet18 is true or false, not 1"),
    ],
)
def test_what_a_network_does_not_take_is_refused(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        build(name, **arguments)
