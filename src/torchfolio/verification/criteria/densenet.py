"""DenseNets against torchvision's; those for CIFAR, our own calculation and pytorchcv's with BC."""

import importlib
import re
from functools import partial

import torch
from torch import Tensor, nn

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, normalization_shapes
from torchfolio.verification.criteria import (
    Criteria,
    Form,
    absent,
    from_torchvision,
    installed,
)
from torchfolio.verification.initialization import (
    batch_norm_rules,
    constant,
    fan_in,
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

IMAGE = (67, 49)  # (height, width): odd, not square, still 2x1 at the end
SMALL = (33, 21)


def criteria(card: Card, form: Form) -> Criteria:
    """Return the references of ``densenet<depth>``, or of ``densenet<depth>_k<growth>[_bc]``."""
    found = re.match(r"densenet(\d+)(_k(\d+))?(_bc)?$", card.name)
    assert found is not None
    depth, growth, bottleneck = int(found[1]), found[3], bool(found[4])
    rules = [
        normal(
            r".*conv\d?\.weight",
            lambda values, name: (2 / fan_in(values, name)) ** 0.5,
            "He et al. 2015, forward form, as torchvision's",
        ),
        *batch_norm_rules(r".*norm\d?"),
        uniform(r"classifier\.weight", torch_bound, "torch's default"),
        constant(r"classifier\.bias", 0, "as torchvision's"),
    ]
    if growth:
        result = Criteria([partial(calculated, depth, int(growth), bottleneck, form)], SMALL, rules)
        if bottleneck and installed("pytorchcv"):
            result.references = [*result.references, partial(from_pytorchcv, depth, growth, form)]
        elif bottleneck:
            result.notes.append(absent("pytorchcv"))
        return result
    if depth == 264:
        return Criteria([partial(deepest, form)], IMAGE, rules)
    return Criteria([partial(from_torchvision, card.name, form)], IMAGE, rules)


def deepest(form: Form) -> Reference:
    """Return torchvision's modules put together as Table 1's DenseNet-264."""
    import torchvision

    module = torchvision.models.DenseNet(32, (6, 12, 64, 48), 64, num_classes=form.num_classes)
    title = f"torchvision {torchvision.__version__} DenseNet(32, (6, 12, 64, 48), 64)"
    return ModuleReference(title, module, ordered=True)


def from_pytorchcv(depth: int, growth: str, form: Form) -> Reference:
    """Return pytorchcv's network with bottleneck and compression, for any size and classes.

    Its networks without them have another stem than the paper's, and compression all the same.
    """
    networks = importlib.import_module("pytorchcv.models.densenet_cifar")
    name = f"densenet{depth}_k{growth}_bc_cifar10"
    module = getattr(networks, name)(in_channels=form.in_channels)
    module.features.final_pool = nn.AdaptiveAvgPool2d(1)
    module.output = nn.Linear(module.output.in_features, form.num_classes)

    def transition(found: re.Match[str]) -> str:
        """Its transitions open a stage; ours stand before it."""
        return f"features.transition{int(found[1]) - 1}."

    names: list[Rename] = [
        (r"^features\.init_block", "features.conv0"),
        (r"^features\.stage(\d+)\.trans\d+\.conv\.(?=bn|conv)", transition),
        (r"^features\.stage(\d+)\.unit(\d+)\.conv(\d)\.bn",
         r"features.denseblock\1.denselayer\2.norm\3"),
        (r"^features\.stage(\d+)\.unit(\d+)\.conv(\d)\.conv",
         r"features.denseblock\1.denselayer\2.conv\3"),
        (r"^(features\.transition\d+)\.bn", r"\1.norm"),
        (r"^features\.post_activ\.bn", "features.norm4"),
        (r"^output", "classifier"),
    ]  # fmt: skip
    title = f"pytorchcv {installed('pytorchcv')} {name}"
    return ModuleReference(title, module, names, joined="features")  # its last ReLU and pool


def calculated(depth: int, growth: int, bottleneck: bool, form: Form) -> Reference:
    """Return our own calculation of Section 3 for CIFAR: three blocks of equal depth."""
    layers = (depth - 4) // (6 if bottleneck else 3)
    shapes: dict[str, tuple[int, ...]] = {}

    channels = 2 * growth if bottleneck else 16
    shapes["features.conv0.weight"] = (channels, form.in_channels, 3, 3)
    for block in (1, 2, 3):
        for number in range(1, layers + 1):
            layer = f"features.denseblock{block}.denselayer{number}"
            shapes |= normalization_shapes(f"{layer}.norm1", channels)
            if bottleneck:
                shapes[f"{layer}.conv1.weight"] = (4 * growth, channels, 1, 1)
                shapes |= normalization_shapes(f"{layer}.norm2", 4 * growth)
                shapes[f"{layer}.conv2.weight"] = (growth, 4 * growth, 3, 3)
            else:
                shapes[f"{layer}.conv1.weight"] = (growth, channels, 3, 3)
            channels += growth
        if block < 3:
            left = channels // 2 if bottleneck else channels
            shapes |= normalization_shapes(f"features.transition{block}.norm", channels)
            shapes[f"features.transition{block}.conv.weight"] = (left, channels, 1, 1)
            channels = left
    shapes |= normalization_shapes("features.norm4", channels)
    shapes["classifier.weight"] = (form.num_classes, channels)
    shapes["classifier.bias"] = (form.num_classes,)
    title = "our own calculation of Section 3, for CIFAR"
    return CalculatedReference(title, shapes, partial(forward, layers, bottleneck))


def forward(layers: int, bottleneck: bool, c: Calculation, images: Tensor) -> Tensor:
    """Return the scores (batch, num_classes)."""

    def active(name: str, x: Tensor) -> Tensor:
        y = c.normalization(name, x, epsilon=1e-5, momentum=0.1)
        return y * (y > 0)

    maps = [c.convolution("features.conv0", images, padding=1)]
    for block in (1, 2, 3):
        for number in range(1, layers + 1):
            layer = f"features.denseblock{block}.denselayer{number}"
            x = active(f"{layer}.norm1", torch.cat(maps, 1))
            x = c.convolution(f"{layer}.conv1", x, padding=0 if bottleneck else 1)
            if bottleneck:
                x = c.convolution(f"{layer}.conv2", active(f"{layer}.norm2", x), padding=1)
            maps.append(x)
        if block < 3:
            transition = f"features.transition{block}"
            x = active(f"{transition}.norm", torch.cat(maps, 1))
            x = c.convolution(f"{transition}.conv", x)
            height, width = (side // 2 * 2 for side in x.shape[2:])
            x = x[:, :, :height, :width]
            corners = [x[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
            maps = [torch.stack(corners).mean(0)]
    x = active("features.norm4", torch.cat(maps, 1))
    return c.linear("classifier", x.mean((2, 3)))
