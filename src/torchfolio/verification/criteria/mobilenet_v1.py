"""MobileNets against our own calculation, and pytorchcv's (ReLU) or timm's (ReLU6)."""

import importlib
import re
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, normalization_shapes
from torchfolio.verification.criteria import Criteria, Form, absent, installed
from torchfolio.verification.initialization import (
    batch_norm_rules,
    fan_out,
    normal,
    torch_bound,
    uniform,
)
from torchfolio.verification.reference import (
    CalculatedReference,
    ModuleReference,
    Reference,
    Rename,
)

# Table 1, each pair of convolutions: stage and place in it, width, stride.
PAIRS = (
    ("0.0", 64, 1), ("1.0", 128, 2), ("1.1", 128, 1), ("2.0", 256, 2), ("2.1", 256, 1),
    ("3.0", 512, 2), ("3.1", 512, 1), ("3.2", 512, 1), ("3.3", 512, 1), ("3.4", 512, 1),
    ("3.5", 512, 1), ("4.0", 1024, 2), ("4.1", 1024, 1),
)  # fmt: skip
PYTORCHCV = {1.0: "mobilenet_w1", 0.75: "mobilenet_w3d4", 0.5: "mobilenet_wd2",
             0.25: "mobilenet_wd4"}  # fmt: skip
IMAGE = (67, 45)  # (height, width): odd, not square


def criteria(card: Card, form: Form) -> Criteria:
    """Return the references of ``mobilenet_v1``, with a width or ``_relu6`` after it."""
    kind = card.name.removeprefix("mobilenet_v1").removeprefix("_")
    six, width = kind == "relu6", float(kind) if kind not in ("", "relu6") else 1.0
    result = Criteria(
        [partial(calculated, width, six, form)],
        IMAGE,
        [
            normal(
                r"(.*\.)?conv_\w+\.weight",
                lambda values, name: (2 / fan_out(values, name)) ** 0.5,
                "He et al. 2015, backward form",
            ),
            *batch_norm_rules(r"(.*\.)?bn\d"),
            uniform(r"classifier\.(weight|bias)", torch_bound, "torch's default"),
        ],
    )
    package, reference = (
        ("timm", from_timm) if six else ("pytorchcv", partial(from_pytorchcv, width))
    )
    if installed(package):
        result.references = [*result.references, partial(reference, form)]
    else:
        result.notes.append(absent(package))
    return result


def from_timm(form: Form) -> Reference:
    """Return timm's network, whose names are ours; its norms have the activation inside."""
    timm = importlib.import_module("timm")
    module = timm.create_model("mobilenetv1_100", pretrained=False, num_classes=form.num_classes)
    title = f"timm {installed('timm')} mobilenetv1_100"
    return ModuleReference(title, module, joined=r"(.*\.)?bn\d")


def from_pytorchcv(width: float, form: Form) -> Reference:
    """Return pytorchcv's network, its last pool made to fit any size."""
    networks = importlib.import_module("pytorchcv.models.mobilenet")
    name = PYTORCHCV[width]
    module = getattr(networks, name)(num_classes=form.num_classes)
    module.features.final_pool = nn.AdaptiveAvgPool2d(1)

    def place(found: re.Match[str]) -> str:
        """Its stages count from 1; the first, of one pair, is our stage 0."""
        stage, unit = (int(each) for each in found.groups())
        return f"blocks.{stage - 1}.{unit - 1}"

    names: list[Rename] = [
        (r"^features\.init_block\.conv", "conv_stem"),
        (r"^features\.init_block\.bn", "bn1"),
        (r"^features\.stage(\d+)\.unit(\d+)", place),
        (r"\.dw_conv\.conv", ".conv_dw"),
        (r"\.dw_conv\.bn", ".bn1"),
        (r"\.pw_conv\.conv", ".conv_pw"),
        (r"\.pw_conv\.bn", ".bn2"),
        (r"^output", "classifier"),
    ]
    return ModuleReference(f"pytorchcv {installed('pytorchcv')} {name}", module, names)


def calculated(width: float, six: bool, form: Form) -> Reference:
    """Return our own calculation of Table 1."""
    shapes: dict[str, tuple[int, ...]] = {}

    channels = int(32 * width)
    shapes["conv_stem.weight"] = (channels, form.in_channels, 3, 3)
    shapes |= normalization_shapes("bn1", channels)
    for place, maps, _ in PAIRS:
        block, wide = f"blocks.{place}", int(maps * width)
        shapes[f"{block}.conv_dw.weight"] = (channels, 1, 3, 3)
        shapes |= normalization_shapes(f"{block}.bn1", channels)
        shapes[f"{block}.conv_pw.weight"] = (wide, channels, 1, 1)
        shapes |= normalization_shapes(f"{block}.bn2", wide)
        channels = wide
    shapes |= {"classifier.weight": (form.num_classes, channels)}
    shapes |= {"classifier.bias": (form.num_classes,)}
    active: Callable[[Tensor], Tensor] = relu6 if six else relu
    title = "our own calculation of Table 1"
    return CalculatedReference(title, shapes, partial(forward, active))


def relu(x: Tensor) -> Tensor:
    """Return max(0, x)."""
    return x * (x > 0)


def relu6(x: Tensor) -> Tensor:
    """Return min(6, max(0, x)); its slope is zero from 6 on."""
    return x * ((x > 0) & (x < 6)) + 6.0 * (x >= 6)


def forward(active: Callable[[Tensor], Tensor], c: Calculation, images: Tensor) -> Tensor:
    """Return the scores (batch, num_classes)."""

    def layer(conv: str, norm: str, x: Tensor, stride: int, kernel: int, groups: int) -> Tensor:
        x = c.affine_convolution(conv, x, stride, kernel // 2, groups)
        return active(c.normalization(norm, x, epsilon=1e-5, momentum=0.1))

    x = layer("conv_stem", "bn1", images, 2, 3, 1)
    for place, _, stride in PAIRS:
        block = f"blocks.{place}"
        x = layer(f"{block}.conv_dw", f"{block}.bn1", x, stride, 3, x.shape[1])
        x = layer(f"{block}.conv_pw", f"{block}.bn2", x, 1, 1, 1)
    return c.linear("classifier", x.mean((2, 3)))
