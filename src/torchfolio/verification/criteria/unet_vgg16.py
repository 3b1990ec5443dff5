"""U-Net on VGG16: against segmentation-models-pytorch's; the plain form against our calculation."""

import torch
from torch import Tensor
from torch.nn import functional as F

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, largest
from torchfolio.verification.criteria import Criteria, Form, absent, installed
from torchfolio.verification.initialization import (
    Rule,
    batch_norm_rules,
    constant,
    fan_in,
    fan_out,
    normal,
    uniform,
)
from torchfolio.verification.reference import CalculatedReference, ModuleReference, Reference

LIBRARY = "segmentation-models-pytorch"
# VGG16 (configuration D): maps of each convolution; None is a pool. The fifth pool is left out.
VGG16 = (
    64, 64, None, 128, 128, None, 256, 256, 256, None, 512, 512, 512, None, 512, 512, 512,
)  # fmt: skip
EXPANSION = ((1024, 512), (768, 256), (384, 128), (192, 64))  # maps read, and maps


def criteria(card: Card, form: Form) -> Criteria:
    """Return the reference of a U-Net on VGG16."""
    if card.arguments.get("plain", False):
        shapes = shapes_of(form)
        title = "our own calculation (nothing can be installed)"
        return Criteria(
            [lambda: CalculatedReference(title, shapes, scores)], (37, 50), initial(plain=True)
        )
    if not installed(LIBRARY):
        return Criteria([], (64, 96), initial(plain=False), notes=[absent(LIBRARY)])
    encoder = "vgg16_bn" if card.arguments.get("batch_norm") else "vgg16"
    return Criteria([lambda: of_library(encoder, form)], (64, 96), initial(plain=False))


def of_library(encoder: str, form: Form) -> Reference:
    """Return the library's network."""
    import segmentation_models_pytorch as library

    module = library.Unet(
        encoder, encoder_weights=None, in_channels=form.in_channels, classes=form.num_classes
    )
    title = f"{LIBRARY} {installed(LIBRARY)} Unet({encoder!r})"
    return ModuleReference(title, module, ordered=True)


def initial(plain: bool) -> list[Rule]:
    """Return how the weights start."""
    source = "ours" if plain else f"as {LIBRARY}'s"
    return [
        normal(
            r"encoder\.features\.\d+\.weight",
            lambda values, name: (2 / fan_out(values, name)) ** 0.5,
            "as torchvision's VGG",
            dims=4,
        ),
        *batch_norm_rules(r"(encoder\.features\.\d+|decoder\..*\.1)"),
        uniform(
            r"decoder\..*\.0\.weight",
            lambda values, name: (6 / fan_in(values, name)) ** 0.5,
            f"He et al. 2015, {source}",
        ),
        uniform(
            r"segmentation_head\.0\.weight",
            lambda values, name: (6 / (fan_in(values, name) + fan_out(values, name))) ** 0.5,
            f"Glorot and Bengio 2010, {source}",
        ),
        constant(r".*\.bias", 0, source),
    ]


def shapes_of(form: Form) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the values of the plain form by their names."""
    shapes: dict[str, tuple[int, ...]] = {}
    place, channels = 0, form.in_channels
    for maps in VGG16:
        if maps is not None:
            shapes[f"encoder.features.{place}.weight"] = (maps, channels, 3, 3)
            shapes[f"encoder.features.{place}.bias"] = (maps,)
            channels = maps
            place += 1
        place += 1
    for block, (read, maps) in enumerate(EXPANSION):
        for name, given in (("conv1", read), ("conv2", maps)):
            shapes[f"decoder.blocks.{block}.{name}.0.weight"] = (maps, given, 3, 3)
            shapes[f"decoder.blocks.{block}.{name}.0.bias"] = (maps,)
    shapes["segmentation_head.0.weight"] = (form.num_classes, 64, 1, 1)
    shapes["segmentation_head.0.bias"] = (form.num_classes,)
    return shapes


def scores(c: Calculation, images: Tensor) -> Tensor:
    """Return the scores of every pixel by the plain form."""
    height, width = images.shape[2:]
    rows = torch.arange(-(-height // 16) * 16).clamp_max(height - 1)
    columns = torch.arange(-(-width // 16) * 16).clamp_max(width - 1)
    x = images[:, :, rows][:, :, :, columns]
    kept, place = [], 0
    for maps in VGG16:
        if maps is None:
            kept.append(x)
            x = largest(x, window=2, stride=2, padding=0, round_up=False)
        else:
            x = c.affine_convolution(f"encoder.features.{place}", x, padding=1)
            x = x * (x > 0)
            place += 1
        place += 1
    for block in range(4):
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        x = torch.cat([x, kept.pop()], 1)
        for name in ("conv1", "conv2"):
            x = c.affine_convolution(f"decoder.blocks.{block}.{name}.0", x, padding=1)
            x = x * (x > 0)
    return c.affine_convolution("segmentation_head.0", x)[:, :, :height, :width]
