"""Every network of the catalogue against its reference, and other people's networks as ours."""

import importlib.metadata
from dataclasses import replace

import pytest
import torch
from torch import nn

from torchfolio.errors import RequestError
from torchfolio.networks.build import build, settings
from torchfolio.networks.catalogue import find_card, list_networks
from torchfolio.verification import Verification, judge, verify
from torchfolio.verification.carrying import check_names
from torchfolio.verification.criteria import (
    Form,
    densenet,
    find_criteria,
    resnet,
    resnet_cifar,
    vit,
    yolov1,
)

# The suite compares the smaller forms of a family in full, and names and shapes of all of them;
# 'folio verify' compares every form in full, and docs/exactness.md is what it said.
DEPTHS = ("resnet18", "resnet50", "resnet56")
LARGE = (*DEPTHS, "alexnet", "vgg", "densenet121", "vit", "fcn", "unet", "fasterrcnn")
LEFT_OUT = (
    *("resnet", "vgg13", "vgg16", "vgg19", "densenet161", "densenet169", "densenet201"),
    *("densenet264", "vit_b", "vit_l", "vit_s", "alexnet_2012_ungrouped", "vgg11_paper"),
    *("vgg11_bn", "unet_2015"),
    *(
        "fcn8s",
        "fcn16s",
        "fcn32s",
        "fcn_resnet101",
        "unet_vgg16_bn",
        "unet_vgg16_plain",
        "unet_vgg16_ternaus",
        "yolov",
        "fasterrcnn_vgg16",
        "unet_bn",
        "fcn_resnet50",
    ),
)
KEPT = ("resnet20", "yolov3_tiny", *DEPTHS)
FULL = [
    pytest.param(name, marks=pytest.mark.slow if name.startswith(LARGE) else ())
    for name in list_networks()
    if not name.startswith(LEFT_OUT) or name.startswith(KEPT)
]


def agrees(verdict: Verification) -> None:
    assert verdict.failures == []
    assert verdict.passed
    assert verdict.max_difference is not None
    assert verdict.max_difference <= 1e-5
    assert verdict.max_difference_64 is not None
    assert verdict.max_difference_64 <= 1e-10
    assert len(verdict.layers) > 0


@pytest.mark.parametrize("name", FULL)
def test_networks_agree_with_their_references(name: str) -> None:
    agrees(verify(name))


def test_yolo_agrees_on_a_grid_of_two_cells() -> None:
    form = yolov1.OTHER_FORM  # in full it holds 272 million parameters
    sizes = {"num_classes": form.num_classes, "in_channels": form.in_channels}
    network = build("yolov1", image_size=form.image_size, **sizes)
    verdict = Verification("yolov1")
    judge.judge(network, find_criteria(find_card("yolov1"), form), form, verdict)
    assert verdict.failures == []
    assert verdict.max_difference <= 1e-5
    assert verdict.max_difference_64 <= 1e-10
    network.features[1].negative_slope = 0.01
    verdict = Verification("yolov1")
    judge.judge(network, find_criteria(find_card("yolov1"), form), form, verdict)
    assert any("the input of features.3 differs" in each for each in verdict.failures)


@pytest.mark.parametrize("name", list_networks())
def test_the_names_and_shapes_of_every_network_are_its_references(name: str) -> None:
    card = find_card(name)
    form = Form(settings(card)["num_classes"], card.input[0], (card.input[1], card.input[2]))
    with torch.device("meta"):  # sizes only
        network = build(name)
        references = [make() for make in find_criteria(card, form).references]
        assert all(check_names(network, reference) == [] for reference in references)
    assert sum(p.numel() for p in network.parameters()) == card.parameters


# What checks of their own look at: ``check_table_start`` and ``check_codes``.
ELSEWHERE = {
    "lenet5_original": {"c3.pairs.weight", "output.codes"},
    "fcn32s": {"upscore.weight"},
    "fcn16s": {"upscore2.weight", "upscore16.weight"},
    "fcn8s": {"upscore2.weight", "upscore_pool4.weight", "upscore8.weight"},
}


@pytest.mark.parametrize("name", list_networks())
def test_how_every_value_of_every_network_starts_is_checked(name: str) -> None:
    card = find_card(name)
    form = Form(settings(card)["num_classes"], card.input[0], (card.input[1], card.input[2]))
    rules = find_criteria(card, form).initial
    with torch.device("meta"):
        values = build(name).state_dict()
    unknown = {key for key, v in values.items() if not any(rule.knows(key, v) for rule in rules)}
    assert unknown == ELSEWHERE.get(name, set())


@pytest.mark.parametrize(
    "name", ["softmax_regression", "mlp", "lenet5", "lenet_caffe", "resnet20_b"]
)
def test_the_reference_is_named_with_its_version(name: str) -> None:
    package = "pytorchcv" if name == "resnet20_b" else "torch"
    assert f"{package} {importlib.metadata.version(package)}" in verify(name).reference


@pytest.mark.parametrize("name", ["lenet5_original", "maxout_mlp", "resnet20", "resnet20_plain"])
def test_where_nothing_can_be_installed_the_verdict_says_so(name: str) -> None:
    assert "our own calculation" in (reference := verify(name).reference)
    assert "nothing can be installed" in reference


@pytest.mark.slow
def test_torchvisions_own_network_passes_as_ours() -> None:
    from torchvision.models import resnet18

    torch.manual_seed(3)
    agrees(verify("resnet18", network=resnet18()))


@pytest.mark.slow
def test_timms_network_passes_but_for_its_initial_scales() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(3)
    verdict = verify("resnet18", network=timm.create_model("resnet18", zero_init_last=False))
    # timm starts its classifier otherwise than torchvision; all the rest agrees
    assert [each for each in verdict.failures if "starts wrong" not in each] == []


def test_a_network_of_another_width_is_told_by_its_shapes() -> None:
    verdict = verify("resnet20", network=build("resnet20", num_classes=3))
    assert not verdict.passed
    assert verdict.max_difference is None
    assert "linear.weight has the shape (3, 64), not (10, 64)" in verdict.failures


def test_another_network_altogether_is_told_by_its_names() -> None:
    verdict = verify("lenet5", network=nn.Linear(4, 2))
    assert verdict.failures[0] == "there are 10 parameters; its card says 61,706"
    assert "c1.weight is missing" in verdict.failures
    assert verdict.failures[-1] == "and 7 more of the kind"  # 5 of 10 missing, 2 too many


class Tuple(nn.Module):
    """A right layer that answers in a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(784, 10)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.linear(images.flatten(1)),)


def test_a_network_that_returns_no_tensor_is_a_failure_not_a_crash() -> None:
    verdict = verify("softmax_regression", network=Tuple())
    assert any("returns a tuple, not a tensor" in each for each in verdict.failures)


class Failing(Tuple):
    """A network that cannot run."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.linear(images),)


def test_a_network_that_fails_is_told_with_the_layer_it_failed_in() -> None:
    verdict = verify("softmax_regression", network=Failing())
    assert any("linear failed: RuntimeError" in each for each in verdict.failures)


class Shrinking(nn.Module):
    """A right layer whose weights every pass makes smaller, once it has answered."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(784, 10)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores = nn.functional.linear(
            images.flatten(1), self.linear.weight.clone(), self.linear.bias
        )
        self.linear.weight.data.mul_(0.5)
        return scores


def test_a_pass_that_changes_the_weights_is_a_failure() -> None:
    verdict = verify("softmax_regression", network=Shrinking())
    assert "a pass changes linear.weight (float64, eval mode)" in verdict.failures


def test_multiply_adds_that_are_not_the_cards_are_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert verify("lenet5").macs == 416_520
    assert verify("lenet5", network=build("lenet5")).macs is None
    wrong = replace(find_card("lenet5"), macs=416_521)
    monkeypatch.setattr(judge, "find_card", lambda name: wrong)
    failures = verify("lenet5").failures
    assert failures == ["there are 416,520 multiply-adds at 1x32x32; its card says 416,521"]


def test_vision_transformers_are_laid_beside_three_implementations_layer_by_layer() -> None:
    card, form = find_card("vit_ti_16"), Form(10, 3, (32, 32))
    ours = {name for name, each in build("vit_ti_16").named_modules() if not list(each.children())}
    ours -= {f"encoder.layers.encoder_layer_{n}.mlp.{k}" for n in range(12) for k in (1, 2, 4)}
    ours -= {"encoder.dropout"} | {f"encoder.layers.encoder_layer_{n}.dropout" for n in range(12)}
    references = [make() for make in find_criteria(card, form).references]
    assert [each.title.split()[0] for each in references] == ["torchvision", "timm", "transformers"]
    for reference in references:
        assert ours <= {reference.name(name) for name, _ in reference.module.named_modules()}


def test_an_unknown_name_is_a_wrong_request() -> None:
    with pytest.raises(RequestError, match=r"no network named 'resnet19'.*resnet18"):
        verify("resnet19")


def test_the_callers_random_numbers_are_left_alone() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    verify("maxout_mlp")
    assert torch.equal(torch.rand(3), expected)


def test_json_has_the_promised_keys_and_no_infinity() -> None:
    good, bad = verify("mlp").as_json(), verify("mlp", network=nn.Linear(2, 2)).as_json()
    for each in (good, bad):
        assert {"name", "passed", "reference", "max_difference"} <= set(each)
    assert good["passed"] is True
    assert bad["passed"] is False
    assert bad["max_difference"] is None


def test_without_the_extra_the_own_calculation_stands_in_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resnet_cifar, "installed", lambda package: "")
    verdict = verify("resnet20_b")
    agrees(verdict)
    assert "our own calculation of Section 4.2" in verdict.reference
    assert any("pytorchcv is not installed" in note for note in verdict.notes)


def test_a_missing_second_reference_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resnet, "installed", lambda package: "")
    for name, package in (("resnet18", "timm"), ("resnet50_v1", "pytorchcv")):
        card = find_card(name)
        form = Form(1000, 3, (224, 224))
        criteria = resnet.criteria(card, form)
        assert len(criteria.references) == 1
        assert any(f"{package}: it is not installed" in note for note in criteria.notes)


def test_pytorchcv_has_one_of_the_densenets_for_cifar(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytorchcv")
    form = Form(10, 3, (32, 32))

    def titles(name: str) -> list[str]:
        found = densenet.criteria(find_card(name), form)
        return [make().title for make in found.references] + found.notes

    [ours, theirs] = titles("densenet100_k12_bc")
    assert ours == "our own calculation of Section 3, for CIFAR"
    version = importlib.metadata.version("pytorchcv")
    assert theirs == f"pytorchcv {version} densenet100_k12_bc_cifar10"
    assert titles("densenet40_k12") == [ours]
    monkeypatch.setattr(densenet, "installed", lambda package: "")
    [_, note] = titles("densenet100_k12_bc")
    assert note.startswith("not compared with pytorchcv: it is not installed")


def test_missing_references_of_the_vision_transformer_are_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vit, "installed", lambda package: "")
    criteria = vit.criteria(find_card("vit_b_16"), Form(1000, 3, (224, 224)))
    assert len(criteria.references) == 1
    assert [note.split(":")[0] for note in criteria.notes] == [
        "not compared with timm",
        "not compared with transformers",
    ]
