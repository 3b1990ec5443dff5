"""FCN against our own calculation of the authors' Caffe files, and against torchvision."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation
from torchfolio.verification.criteria import Criteria, Form, from_torchvision
from torchfolio.verification.initialization import (
    Rule,
    batch_norm_rules,
    constant,
    fan_out,
    normal,
    torch_bound,
    uniform,
)
from torchfolio.verification.reference import CalculatedReference, ModuleReference, Reference

# voc-fcn8s/net.py: the convolutions of each stage and their maps.
STAGES = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
OFFSETS = {32: (19,), 16: (5, 27), 8: (5, 9, 31)}  # the crops, in the order in which they are made
IMAGE = (9, 16)


def criteria(card: Card, form: Form) -> Criteria:
    """Return the reference of an FCN."""
    if card.builder.endswith("FCNResNet"):
        return Criteria([lambda: of_torchvision(card, form)], (67, 45), of_resnet())
    stride = card.arguments["stride"]
    shapes = shapes_of(form, stride)
    fixed = {name for name in shapes if name.startswith("up")}
    title = "our own calculation of the authors' Caffe files (nothing can be installed)"

    def reference() -> Reference:
        return CalculatedReference(title, shapes, lambda c, x: scores(c, x, stride), fixed)

    return Criteria([reference], IMAGE, of_vgg(form), checks=[bilinear], batch=1)


def of_torchvision(card: Card, form: Form) -> ModuleReference:
    """Return torchvision's; of what it gives, the scores that ours gives."""
    name = card.reference.rpartition(".")[2]
    auxiliary = card.arguments.get("aux_loss", True)
    found = from_torchvision(name, form, weights_backbone=None, aux_loss=auxiliary)
    module: Any = found.module
    whole = module.forward

    def forward(images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        given = whole(images)
        if not (module.training and auxiliary):
            return given["out"]
        return given["out"], given["aux"]

    module.forward = forward
    return found


def of_resnet() -> list[Rule]:
    """Return how torchvision's FCN starts."""
    source = "as torchvision's"
    return [
        *batch_norm_rules(r"(backbone\..*(bn\d|downsample\.1)|(aux_)?classifier\.1)"),
        normal(
            r"backbone\..*\.weight",
            lambda values, name: (2 / fan_out(values, name)) ** 0.5,
            f"He et al. 2015, backward form, {source}",
            dims=4,
        ),
        uniform(r"(aux_)?classifier\.[04]\.(weight|bias)", torch_bound, source),
    ]


def of_vgg(form: Form) -> list[Rule]:
    """Return how an FCN on VGG16 starts."""
    return [
        constant(r"score_.*", 0, "Section 4.1"),
        normal(
            r"(conv\d_\d|fc\d)\.weight",
            lambda values, name: (2 / fan_out(values, name)) ** 0.5,
            "He et al. 2015, backward form, as torchvision's VGG",
            dims=4,
        ),
        constant(r"(conv\d_\d|fc\d)\.bias", 0, "as torchvision's VGG"),
    ]


def bilinear(network: Any) -> list[str]:
    """Return what is wrong with the kernels that enlarge."""
    wrong = []
    for name, layer in network.named_children():
        if not name.startswith("upscore"):
            continue
        kernel = layer.weight
        side = kernel.shape[-1]
        line = torch.tensor([1 - abs(i + 0.5 - side / 2) / (side / 2) for i in range(side)])
        wanted = torch.einsum("oi,h,w->oihw", torch.eye(len(kernel)), line, line)
        if not torch.allclose(kernel.float(), wanted, atol=1e-6):
            wrong.append(f"{name} does not start as bilinear interpolation, class by class")
    return wrong


def shapes_of(form: Form, stride: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all values by their names."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels, classes = form.in_channels, form.num_classes

    def layer(name: str, maps: int, read: int, side: int) -> None:
        shapes[f"{name}.weight"] = (maps, read, side, side)
        shapes[f"{name}.bias"] = (maps,)

    for stage, (number, maps) in enumerate(STAGES, 1):
        for place in range(1, number + 1):
            layer(f"conv{stage}_{place}", maps, channels, 3)
            channels = maps
    layer("fc6", 4096, 512, 7)
    layer("fc7", 4096, 4096, 1)
    layer("score_fr", classes, 4096, 1)
    if stride <= 16:
        layer("score_pool4", classes, 512, 1)
        shapes["upscore2.weight"] = (classes, classes, 4, 4)
    if stride == 8:
        layer("score_pool3", classes, 256, 1)
        shapes["upscore_pool4.weight"] = (classes, classes, 4, 4)
    last = "upscore" if stride == 32 else f"upscore{stride}"
    shapes[f"{last}.weight"] = (classes, classes, 2 * stride, 2 * stride)
    return shapes


def scores(c: Calculation, images: Tensor, stride: int) -> Tensor:
    """Return the scores of every pixel."""
    x = images
    pools = []
    for stage, (number, _) in enumerate(STAGES, 1):
        for place in range(1, number + 1):
            first = stage == place == 1
            x = c.affine_convolution(f"conv{stage}_{place}", x, padding=100 if first else 1)
            x = x * (x > 0)
        # not ``largest``: in the padded border all values of a window are equal, and it would share
        # the gradient among them
        x = F.max_pool2d(x, 2, ceil_mode=True)
        pools.append(x)
    for name in ("fc6", "fc7"):
        x = c.affine_convolution(name, x)
        x = F.dropout(x * (x > 0), 0.5, c.training)
    x = c.affine_convolution("score_fr", x)
    offsets = list(OFFSETS[stride])
    if stride <= 16:
        x = enlarged(c, "upscore2", x, 2)
        x = x + cropped(c.affine_convolution("score_pool4", pools[3]), x, offsets.pop(0))
    if stride == 8:
        x = enlarged(c, "upscore_pool4", x, 2)
        x = x + cropped(c.affine_convolution("score_pool3", pools[2]), x, offsets.pop(0))
    x = enlarged(c, "upscore" if stride == 32 else f"upscore{stride}", x, stride)
    return cropped(x, images, offsets.pop(0))


def enlarged(c: Calculation, name: str, x: Tensor, factor: int) -> Tensor:
    """Return what a transposed convolution gives: each place adds its kernel around it."""
    c.begin(name, x)
    return c.end(name, F.conv_transpose2d(x, c.values[f"{name}.weight"], stride=factor))


def cropped(x: Tensor, like: Tensor, offset: int) -> Tensor:
    """Return a window of the size of others."""
    return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]
