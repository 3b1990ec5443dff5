"""ResNets for ImageNet against torchvision's, timm's and pytorchcv's.

timm has the form of torchvision ("v1.5"), pytorchcv's ``resnet50`` is the paper's own ("v1"). The
plain networks are calculated from Table 1.
"""

import importlib
import re
from functools import partial

from torch import nn

from torchfolio.networks.catalogue import Card
from torchfolio.verification import residual
from torchfolio.verification.criteria import Criteria, Form, absent, from_torchvision, installed
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

# Table 1: blocks of each stage, and whether they are bottlenecks.
TABLE_1 = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
IMAGE = (67, 49)  # (height, width): odd, not square, still 3x2 at the end


def criteria(card: Card, form: Form) -> Criteria:
    """Return the references of ``resnet<depth>``, ``_v1`` or ``_plain``."""
    found = re.match(r"resnet(\d+)(.*)", card.name)
    assert found is not None
    depth, kind = int(found[1]), found[2]
    result = Criteria(
        [],
        IMAGE,
        initial=[
            normal(
                r"(.*\.)?(conv\d|downsample\.0)\.weight",
                lambda values, name: (2 / fan_out(values, name)) ** 0.5,
                "He et al. 2015, backward form, as torchvision's",
            ),
            *batch_norm_rules(r"(.*\.)?(bn\d|downsample\.1)"),
            uniform(r"fc\.(weight|bias)", torch_bound, "torch's default"),
        ],
        checks=[partial(residual.check_depth, depth=depth)],
    )
    if kind == "_plain":
        result.references = [partial(plain, depth, form)]
    elif kind == "_v1":
        result.references = [partial(from_torchvision_v1, depth, form)]
        if installed("pytorchcv"):
            result.references = [*result.references, partial(from_pytorchcv, depth, form)]
        else:
            result.notes.append(absent("pytorchcv"))
    else:
        result.references = [partial(from_torchvision, card.name, form)]
        if installed("timm"):
            result.references = [*result.references, partial(from_timm, card.name, form)]
        else:
            result.notes.append(absent("timm"))
    return result


def from_torchvision_v1(depth: int, form: Form) -> Reference:
    """Return torchvision's network with the paper's strides: in the first 1x1 convolution."""
    reference = from_torchvision(f"resnet{depth}", form)
    for stage in (2, 3, 4):
        block = reference.module.get_submodule(f"layer{stage}.0")
        block.get_submodule("conv1").stride = (2, 2)  # type: ignore[assignment]
        block.get_submodule("conv2").stride = (1, 1)  # type: ignore[assignment]
    reference.title += " with stride 2 moved to the first 1x1 convolution"
    return reference


def from_timm(name: str, form: Form) -> Reference:
    """Return timm's network."""
    timm = importlib.import_module("timm")
    module = timm.create_model(name, pretrained=False, num_classes=form.num_classes)
    return ModuleReference(f"timm {installed('timm')} {name}", module)


def from_pytorchcv(depth: int, form: Form) -> Reference:
    """Return pytorchcv's network, its last pool made to fit any size."""
    resnet = importlib.import_module("pytorchcv.models.resnet")
    module = getattr(resnet, f"resnet{depth}")(num_classes=form.num_classes)
    module.features.final_pool = nn.AdaptiveAvgPool2d(1)
    title = f"pytorchcv {installed('pytorchcv')} resnet{depth}"
    return ModuleReference(title, module, pytorchcv_names(r"features\.init_block\.conv", "fc"))


def pytorchcv_names(stem: str, head: str) -> list[Rename]:
    """Return the patterns that turn pytorchcv's names into ours.

    ``stem`` is the pattern of its first block, ``head`` our name of the last layer. Its units count
    from 1.
    """
    return [
        (rf"^{stem}\.conv(?=\.|$)", "conv1"),
        (rf"^{stem}\.bn(?=\.|$)", "bn1"),
        (r"^features\.stage", "layer"),
        (r"\.unit(\d+)\b", lambda found: f".{int(found[1]) - 1}"),
        (r"\.body\.conv(\d)\.conv(?=\.|$)", r".conv\1"),
        (r"\.body\.conv(\d)\.bn(?=\.|$)", r".bn\1"),
        (r"\.identity_conv\.conv(?=\.|$)", ".downsample.0"),
        (r"\.identity_conv\.bn(?=\.|$)", ".downsample.1"),
        (r"^output(?=\.|$)", head),
    ]


def plain(depth: int, form: Form) -> Reference:
    """Return our own calculation of Table 1 without shortcuts."""
    blocks, bottleneck = TABLE_1[depth]
    layout = residual.Layout(blocks, (64, 128, 256, 512), bottleneck, "none", True, "fc")
    title = "our own calculation of Table 1, without shortcuts (nothing can be installed)"
    return CalculatedReference(
        title,
        residual.shapes(layout, form),
        lambda c, images: residual.forward(c, images, layout, form),
    )
