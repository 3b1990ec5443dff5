"""ResNets for CIFAR against pytorchcv's (option B) and our own calculation of Section 4.2."""

import importlib
import re
from functools import partial

from torch import nn

from torchfolio.networks.catalogue import Card
from torchfolio.verification import residual
from torchfolio.verification.criteria import Criteria, Form, installed
from torchfolio.verification.criteria.resnet import pytorchcv_names
from torchfolio.verification.initialization import batch_norm_rules, constant, fan_in, normal
from torchfolio.verification.reference import CalculatedReference, ModuleReference, Reference

MILLIONS = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7, 1202: 19.4}  # Table 6
SHORTCUTS = {"": "A", "_b": "B", "_plain": "none"}


def criteria(card: Card, form: Form) -> Criteria:
    """Return the references of ``resnet<6n + 2>``, ``_b`` or ``_plain``."""
    found = re.match(r"resnet(\d+)(.*)", card.name)
    assert found is not None
    depth, shortcut = int(found[1]), SHORTCUTS[found[2]]
    source = "He et al. 2015, Section 2.2: 2 / fan-in"
    notes: list[str] = []
    checks = [partial(residual.check_depth, depth=depth)]
    if shortcut != "B":  # Table 6 has option A, and a plain network has as many
        checks.append(partial(check_millions, millions=MILLIONS[depth]))
    reference = partial(calculated, depth, shortcut, form)
    if shortcut == "B":
        if installed("pytorchcv"):
            reference = partial(from_pytorchcv, depth, form)
        else:
            notes.append(
                "compared with our own calculation: pytorchcv is not installed (the extra 'verify' "
                "brings it)"
            )
    return Criteria(
        [reference],
        (31, 29) if depth < 1000 else (17, 13),
        [
            normal(
                r".*(conv\d|downsample\.0|linear)\.weight",
                lambda values, name: (2 / fan_in(values, name)) ** 0.5,
                source,
            ),
            constant(r"linear\.bias", 0, source),
            *batch_norm_rules(r"(.*\.)?(bn\d|downsample\.1)"),
        ],
        checks=checks,
        notes=notes,
    )


def calculated(depth: int, shortcut: str, form: Form) -> Reference:
    """Return our own calculation of Section 4.2."""
    n = (depth - 2) // 6
    layout = residual.Layout((n, n, n), (16, 32, 64), False, shortcut, False, "linear")
    return CalculatedReference(
        "the count of Table 6, and our own calculation of Section 4.2"
        + ("" if shortcut == "B" else " (nothing can be installed)"),
        residual.shapes(layout, form),
        lambda c, images: residual.forward(c, images, layout, form),
    )


def from_pytorchcv(depth: int, form: Form) -> Reference:
    """Return pytorchcv's network, which has projections, its last pool made to fit any size."""
    library = importlib.import_module("pytorchcv.models.resnet_cifar")
    module = library.get_resnet_cifar(
        num_classes=form.num_classes, blocks=depth, bottleneck=False, in_channels=form.in_channels
    )
    module.features.final_pool = nn.AdaptiveAvgPool2d(1)
    title = f"pytorchcv {installed('pytorchcv')} CIFAR ResNet of {depth} layers"
    return ModuleReference(title, module, pytorchcv_names(r"features\.init_block", "linear"))


def check_millions(network: nn.Module, millions: float) -> list[str]:
    """Compare the number of parameters with the paper's, rounded to two or three digits."""
    count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    digits = len(str(millions).split(".")[1])
    if round(count, digits) == millions:
        return []
    return [f"there are {count:.3f} million parameters, in Table 6 {millions}"]
