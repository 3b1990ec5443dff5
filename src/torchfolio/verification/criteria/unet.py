"""U-Net against our own calculation of Figure 1, as printed or padded."""

import torch
from torch import Tensor
from torch.nn import functional as F

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, largest, normalization_shapes
from torchfolio.verification.criteria import Criteria, Form
from torchfolio.verification.initialization import Rule, batch_norm_rules, constant, fan_in, normal
from torchfolio.verification.reference import CalculatedReference

WIDTHS = (64, 128, 256, 512, 1024)  # Figure 1
IMAGES = {True: (53, 44), False: (204, 188)}  # padded or not: (height, width)


def criteria(card: Card, form: Form) -> Criteria:
    """Return the reference of a U-Net."""
    given = card.arguments
    padded = given.get("padded", True)
    batch_norm, bilinear = given.get("batch_norm", False), given.get("bilinear", False)
    dropout = given.get("dropout", 0.0)
    shapes = shapes_of(form, batch_norm, bilinear)

    def forward(c: Calculation, images: Tensor) -> Tensor:
        return scores(c, images, padded, batch_norm, bilinear, dropout)

    title = "our own calculation of Figure 1 (nothing can be installed)"
    return Criteria(
        [lambda: CalculatedReference(title, shapes, forward)],
        IMAGES[padded],
        initial(),
        batch=2 if padded else 1,
    )


def initial() -> list[Rule]:
    """Return how the weights start: variance 2 / N (Section 3)."""
    section = "Section 3: variance 2 / N"
    return [
        normal(r"up\.\d\.weight", lambda values, name: (2 / values[name].shape[0]) ** 0.5, section),
        *batch_norm_rules(r"(down|merge)\.\d\.[14]"),
        normal(
            r".*\.weight", lambda values, name: (2 / fan_in(values, name)) ** 0.5, section, dims=4
        ),
        constant(r".*\.bias", 0, "ours"),
    ]


def blocks(bilinear: bool) -> dict[str, tuple[int, int]]:
    """Return the maps between and after the two convolutions of each block."""
    found = {f"down.{level}": (width, width) for level, width in enumerate(WIDTHS)}
    if bilinear:
        found["down.4"] = (WIDTHS[4] // 2, WIDTHS[4] // 2)
    for place, width in enumerate(reversed(WIDTHS[:4])):
        found[f"merge.{place}"] = (width, width // 2 if bilinear and place < 3 else width)
    return found


def shapes_of(form: Form, batch_norm: bool, bilinear: bool) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all values by their names."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = form.in_channels
    for name, (middle, width) in blocks(bilinear).items():
        if name.startswith("merge."):
            level = 3 - int(name[-1])
            channels = 2 * WIDTHS[level]
            if not bilinear:
                shapes[f"up.{name[-1]}.weight"] = (channels, channels // 2, 2, 2)
                shapes[f"up.{name[-1]}.bias"] = (channels // 2,)
        for number, (maps, read) in enumerate(((middle, channels), (width, middle))):
            place = number * (3 if batch_norm else 2)
            shapes[f"{name}.{place}.weight"] = (maps, read, 3, 3)
            if batch_norm:
                shapes |= normalization_shapes(f"{name}.{place + 1}", maps)
            else:
                shapes[f"{name}.{place}.bias"] = (maps,)
        channels = width
    shapes["head.weight"] = (form.num_classes, WIDTHS[0], 1, 1)
    shapes["head.bias"] = (form.num_classes,)
    return shapes


def scores(
    c: Calculation, images: Tensor, padded: bool, batch_norm: bool, bilinear: bool, dropout: float
) -> Tensor:
    """Return the scores of every place."""
    height, width = images.shape[2:]
    x = images
    if padded:  # the last row and column again, until both sides can be halved four times
        rows = torch.arange(-(-height // 16) * 16).clamp_max(height - 1)
        columns = torch.arange(-(-width // 16) * 16).clamp_max(width - 1)
        x = images[:, :, rows][:, :, :, columns]
    kept = []
    for level in range(5):
        if level:
            x = largest(x, window=2, stride=2, padding=0, round_up=False)
        x = block(c, f"down.{level}", x, padded, batch_norm)
        if level >= 3:
            x = F.dropout(x, dropout, c.training)
        kept.append(x)
    for place in range(4):
        skip = kept[3 - place]
        x = doubled(x) if bilinear else up_convolution(c, f"up.{place}", x)
        lost = (skip.shape[2] - x.shape[2]) // 2, (skip.shape[3] - x.shape[3]) // 2
        skip = skip[:, :, lost[0] : lost[0] + x.shape[2], lost[1] : lost[1] + x.shape[3]]
        x = block(c, f"merge.{place}", torch.cat([skip, x], 1), padded, batch_norm)
    found = c.affine_convolution("head", x)
    return found[:, :, :height, :width] if padded else found


def block(c: Calculation, name: str, x: Tensor, padded: bool, batch_norm: bool) -> Tensor:
    """Return two 3x3 convolutions with their ReLUs."""
    for number in range(2):
        place = number * (3 if batch_norm else 2)
        if batch_norm:
            x = c.convolution(f"{name}.{place}", x, padding=int(padded))
            x = c.normalization(f"{name}.{place + 1}", x, epsilon=1e-5, momentum=0.1)
        else:
            x = c.affine_convolution(f"{name}.{place}", x, padding=int(padded))
        x = x * (x > 0)
    return x


def up_convolution(c: Calculation, name: str, x: Tensor) -> Tensor:
    """Return each place spread over a 2x2 patch of its own."""
    c.begin(name, x)
    weight, bias = c.values[f"{name}.weight"], c.values[f"{name}.bias"]
    patches = torch.einsum("bihw,iokl->bohkwl", x, weight)
    batch, maps, height, _, width, _ = patches.shape
    y = patches.reshape(batch, maps, 2 * height, 2 * width) + bias.view(1, -1, 1, 1)
    return c.end(name, y)


def doubled(x: Tensor) -> Tensor:
    """Return maps of twice the size, bilinearly, the corners where they were."""
    for axis in (2, 3):
        side = x.shape[axis]
        places = torch.arange(2 * side, dtype=x.dtype) * ((side - 1) / (2 * side - 1))
        low = places.floor().long().clamp_max(side - 1)
        high = (low + 1).clamp_max(side - 1)
        shape = [1] * 4
        shape[axis] = -1
        share = (places - low).view(shape)
        x = x.index_select(axis, low) * (1 - share) + x.index_select(axis, high) * share
    return x
