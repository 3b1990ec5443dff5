"""TernausNet with VGG16 against our own calculation of the authors' UNet16."""

import torch
from torch import Tensor
from torch.nn import functional as F

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, largest
from torchfolio.verification.criteria import Criteria, Form
from torchfolio.verification.criteria.unet_vgg16 import VGG16
from torchfolio.verification.initialization import (
    Rule,
    constant,
    fan_out,
    normal,
    torch_bound,
    uniform,
)
from torchfolio.verification.reference import CalculatedReference

# Of each step up: maps read, of the convolution, and of the up-convolution.
UP = ((512, 512, 256), (768, 512, 256), (768, 512, 256), (512, 256, 64), (192, 128, 32))


def criteria(card: Card, form: Form) -> Criteria:
    """Return the reference of TernausNet."""
    title = "our own calculation of the authors' UNet16 (nothing can be installed)"
    shapes = shapes_of(form)
    return Criteria([lambda: CalculatedReference(title, shapes, scores)], (37, 70), initial())


def initial() -> list[Rule]:
    """Return how the weights start."""
    return [
        normal(
            r"encoder\.features\.\d+\.weight",
            lambda values, name: (2 / fan_out(values, name)) ** 0.5,
            "as torchvision's VGG",
            dims=4,
        ),
        constant(r"encoder\..*\.bias", 0, "as torchvision's VGG"),
        uniform(r"(up\.\d\.[02]|last\.0|head)\.(weight|bias)", torch_bound, "as PyTorch's"),
    ]


def shapes_of(form: Form) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all values by their names."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = form.in_channels
    for place, maps in places():
        shapes[f"encoder.features.{place}.weight"] = (maps, channels, 3, 3)
        shapes[f"encoder.features.{place}.bias"] = (maps,)
        channels = maps
    for step, (read, middle, maps) in enumerate(UP):
        shapes[f"up.{step}.0.weight"] = (middle, read, 3, 3)
        shapes[f"up.{step}.0.bias"] = (middle,)
        shapes[f"up.{step}.2.weight"] = (middle, maps, 4, 4)
        shapes[f"up.{step}.2.bias"] = (maps,)
    shapes |= {"last.0.weight": (32, 96, 3, 3), "last.0.bias": (32,)}
    return shapes | {"head.weight": (form.num_classes, 32, 1, 1), "head.bias": (form.num_classes,)}


def places() -> list[tuple[int, int]]:
    """Return where the convolutions of VGG16 stand among its layers, and their maps."""
    found, place = [], 0
    for maps in VGG16:
        if maps is not None:
            found.append((place, maps))
        place += 1 if maps is None else 2
    return found


def scores(c: Calculation, images: Tensor) -> Tensor:
    """Return the scores of every pixel."""
    height, width = images.shape[2:]
    rows = torch.arange(-(-height // 32) * 32).clamp_max(height - 1)
    columns = torch.arange(-(-width // 32) * 32).clamp_max(width - 1)
    x = images[:, :, rows][:, :, :, columns]
    kept, place = [], 0
    for maps in (*VGG16, None):
        if maps is None:
            kept.append(x)
            x = largest(x, window=2, stride=2, padding=0, round_up=False)
            place += 1
        else:
            x = c.affine_convolution(f"encoder.features.{place}", x, padding=1)
            x = x * (x > 0)
            place += 2
    for step in range(5):
        x = c.affine_convolution(f"up.{step}.0", x, padding=1)
        x = doubled(c, f"up.{step}.2", x * (x > 0))
        x = torch.cat([x * (x > 0), kept.pop()], 1)
    x = c.affine_convolution("last.0", x, padding=1)
    return c.affine_convolution("head", x * (x > 0))[:, :, :height, :width]


def doubled(c: Calculation, name: str, x: Tensor) -> Tensor:
    """Return what a 4x4 up-convolution gives: each place adds its kernel, two pixels apart.

    The outermost row and column on each side are cut off.
    """
    c.begin(name, x)
    whole = F.conv_transpose2d(x, c.values[f"{name}.weight"], stride=2)[:, :, 1:-1, 1:-1]
    return c.end(name, whole + c.values[f"{name}.bias"][:, None, None])
