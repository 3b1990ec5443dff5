"""Implementations from elsewhere: right ones pass, of others the layer and the cause are named."""

from collections.abc import Callable

import pytest
import torch
import tutorials
from torch import nn

from torchfolio.verification.grading import grade

RIGHT = [
    (lambda: tutorials.FirstLeNet(act=nn.Tanh, pool="mean"), "lenet5"),
    (lambda: tutorials.Perceptron(), "mlp"),
    (lambda: tutorials.CifarNet("A"), "resnet20"),
    (lambda: tutorials.CifarNet("B"), "resnet20_b"),
    (lambda: tutorials.textbook_resnet18(right=True), "resnet18"),
    (lambda: tutorials.DenseNet(), "densenet100_k12_bc"),
    (lambda: tutorials.MobileNet(), "mobilenet_v2"),
    (lambda: tutorials.ResNet50(), "resnet50"),
    (lambda: tutorials.ResNet50(first=True), "resnet50_v1"),
]
RIGHT_AND_SLOW = [
    (lambda: tutorials.ViT(), "vit_ti_16"),
    (lambda: tutorials.ViT(fused=False), "vit_ti_16"),
    (lambda: tutorials.looped_vgg11(), "vgg11"),
]
# The module, the network, the layer that is named, what of it, and the causes.
WRONG = [
    (lambda: tutorials.FirstLeNet(), "lenet5", "conv2", "input", ["lenet-relu", "lenet-maximum"]),
    (lambda: tutorials.FirstLeNet(act=nn.Tanh), "lenet5", "conv2", "input", ["lenet-maximum"]),
    (lambda: tutorials.FirstLeNet(act=nn.Sigmoid, pool="mean"), "lenet5", "conv2", "input",
     ["function"]),
    (lambda: tutorials.Perceptron("yes"), "mlp", "classifier", "outputs", ["softmax-inside"]),
    (lambda: tutorials.Perceptron("log"), "mlp", "classifier", "outputs", ["function"]),
    (lambda: tutorials.Perceptron(drop=0.5), "mlp", "classifier", "input", ["mlp-dropout"]),
    (lambda: tutorials.Perceptron(norm=True), "mlp", "norm", "extra", ["layer"]),
    (lambda: tutorials.lazy_lenet(nn.Sigmoid), "lenet5", "0", "output",
     ["function", "lenet-padding", "size"]),
    (lambda: tutorials.CifarNet("B"), "resnet20", "stage2.0.shortcut.0", "extra",
     ["shortcut-b-for-a"]),
    (lambda: tutorials.CifarNet("A"), "resnet20_b", "stage2.1.conv1", "input",
     ["shortcut-a-for-b"]),
    (lambda: tutorials.CifarNet(eps=1e-3), "resnet20", "bn1", "output", ["epsilon"]),
    (lambda: tutorials.CifarNet(eps=2e-5), "resnet20", "bn1", "output", ["epsilon"]),
    (lambda: tutorials.textbook_resnet18(), "resnet18", "b3.1.conv1", "input",
     ["bias-added", "projection-without-norm"]),
    (lambda: tutorials.DenseNet(newest=True), "densenet100_k12_bc", "dense.0.1.bn1", "input",
     ["densenet-order"]),
    (lambda: tutorials.MobileNet(nn.ReLU), "mobilenet_v2", "features.1.conv.0", "input",
     ["mobilenet-relu"]),
    (lambda: tutorials.MobileNet(linear=False), "mobilenet_v2", "features.2.conv.0", "input",
     ["mobilenet-projection"]),
    (lambda: tutorials.ResNet50(first=True), "resnet50", "conv3_x.0.residual_function.0",
     "output", ["v1-for-v1.5"]),
    (lambda: tutorials.ResNet50(), "resnet50_v1", "conv3_x.0.residual_function.0", "output",
     ["v1.5-for-v1"]),
    (lambda: tutorials.ResNet50(act_last=False), "resnet50", "conv2_x.1.residual_function.0",
     "input", ["relu-last-missing"]),
]  # fmt: skip
WRONG_AND_SLOW = [
    (lambda: tutorials.ViT(eps=1e-5), "vit_ti_16", "blocks.0.norm", "output", ["vit-epsilon"]),
    (lambda: tutorials.ViT(eps=1e-12), "vit_ti_16", "blocks.0.norm", "output", ["epsilon"]),
    (lambda: tutorials.ViT(order="(h qkv d)"), "vit_ti_16", "blocks.0.fn.to_out", "input",
     ["vit-heads"]),
    (lambda: tutorials.ViT(pool="mean"), "vit_ti_16", "mlp_head", "input", ["function"]),
    (lambda: tutorials.looped_vgg11(nn.AvgPool2d), "vgg11", "3", "input", ["vgg-average"]),
]  # fmt: skip


def made(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return make()


def marked(cases: list[tuple], slow: list[tuple]) -> list[object]:
    return [
        *(pytest.param(*case, id="-".join(map(str, (case[1], number)))) for number, case in
          enumerate(cases)),
        *(pytest.param(*case, id=f"{case[1]}-slow-{number}", marks=pytest.mark.slow)
          for number, case in enumerate(slow)),
    ]  # fmt: skip


@pytest.mark.parametrize(("make", "network"), marked(RIGHT, RIGHT_AND_SLOW))
def test_right_implementations_pass(make: Callable[[], nn.Module], network: str) -> None:
    found = grade(made(make), network)
    assert found.passed, found.failures
    assert found.cause == found.layer == ""


@pytest.mark.parametrize(
    ("make", "network", "layer", "side", "causes"), marked(WRONG, WRONG_AND_SLOW)
)
def test_of_others_the_first_layer_and_the_cause_are_named(
    make: Callable[[], nn.Module], network: str, layer: str, side: str, causes: list[str]
) -> None:
    found = grade(made(make), network)
    assert not found.passed
    assert (found.layer, found.side) == (layer, side)
    assert found.causes == causes, found.cause
    assert found.explained, found.notes


# Networks of libraries, under their own names

LIBRARIES = [
    ("torchvision.models", "resnet34()", "resnet34"),
    ("torchvision.models", "mobilenet_v2()", "mobilenet_v2"),
    ("torchvision.models", "vit_b_32()", "vit_b_32"),
    ("torchvision.models", "googlenet(aux_logits=False, init_weights=False)", "googlenet"),
    ("torchvision.models", "googlenet(init_weights=False)", "googlenet_aux"),
    ("torchvision.models", "alexnet()", "alexnet"),
    ("timm", "create_model('resnet18')", "resnet18"),
    ("timm", "create_model('mobilenetv1_100')", "mobilenet_v1_relu6"),  # activations in its norms
    ("timm", "create_model('mobilenetv2_050', drop_rate=0.2)", "mobilenet_v2_0.5"),
    ("timm", "create_model('densenet121')", "densenet121"),
    ("timm", "create_model('vit_tiny_patch16_224')", "vit_ti_16"),  # tokens outside layers
    ("pytorchcv.models.densenet_cifar", "densenet100_k12_bc_cifar10()", "densenet100_k12_bc"),
    ("pytorchcv.models.mobilenet", "mobilenet_wd4()", "mobilenet_v1_0.25"),
    ("pytorchcv.models.resnet", "resnet50()", "resnet50_v1"),
    ("pytorchcv.models.resnet_cifar", "resnet20_cifar10()", "resnet20_b"),
]
# The layer that is named, what of it, and the causes: as the libraries' code has it. Others are
# graded by tools/collected.py.
OTHERS = [
    ("timm", "create_model('mobilenetv1_100')", "mobilenet_v1", "blocks.0.0.conv_dw", "input",
     ["mobilenet-relu6"]),
    # seen in the pool of maxima behind the activation
    ("timm", "create_model('resnet18', act_layer='leaky_relu')", "resnet18", "layer1.0.conv1",
     "input", ["function"]),
    # dilation and the padding that it asks for, in several layers
    ("timm", "create_model('resnet18', output_stride=16)", "resnet18", "layer4.0.conv1", "output",
     ["stride", "dilation"]),
    # a projection beside a whole attention
    ("timm", "create_model('vit_tiny_patch16_224', qkv_bias=False)", "vit_ti_16",
     "blocks.0.attn.qkv", "values", ["bias"]),
    ("pytorchcv.models.resnet_cifar", "resnet20_cifar10()", "resnet20",
     "features.stage2.unit1.identity_conv.conv", "extra", ["shortcut-b-for-a"]),
]  # fmt: skip


def of_library(library: str, call: str) -> nn.Module:
    return eval(f"made.{call}", {"made": pytest.importorskip(library)})


@pytest.mark.slow
@pytest.mark.parametrize(("library", "call", "network"), LIBRARIES)
def test_other_libraries_networks_pass_under_their_own_names(
    library: str, call: str, network: str
) -> None:
    found = grade(of_library(library, call), network)
    assert found.passed, found.failures


@pytest.mark.slow
@pytest.mark.parametrize(("library", "call", "network", "layer", "side", "causes"), OTHERS)
def test_other_libraries_networks_are_told_apart_from_what_they_are_not(
    library: str, call: str, network: str, layer: str, side: str, causes: list[str]
) -> None:
    found = grade(of_library(library, call), network)
    assert not found.passed
    assert (found.layer, found.side) == (layer, side)
    assert found.causes == causes, found.cause
    assert found.explained


@pytest.mark.slow
def test_of_a_network_that_differs_in_many_places_the_first_layer_is_named() -> None:
    # three 3x3 convolutions stand for the 7x7 one, and averages before the projections
    found = grade(of_library("timm", "create_model('resnet18d')"), "resnet18", seconds=5.0)
    assert not found.passed
    assert found.layer == "conv1.0"


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1e-6, 1e-12])
def test_the_transformer_of_transformers(epsilon: float) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768,
        num_labels=1000, layer_norm_eps=epsilon,
    )  # fmt: skip
    found = grade(transformers.ViTForImageClassification(config), "vit_ti_16")
    assert found.passed == (epsilon == 1e-6), found.failures
    if not found.passed:  # 1e-12 is the library's own
        assert found.layer == "vit.layers.0.layernorm_before"
        assert found.causes == ["epsilon"]
        assert "epsilon 1e-12 for 1e-06" in found.cause
