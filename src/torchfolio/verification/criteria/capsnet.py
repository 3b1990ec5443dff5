"""CapsNet against our own calculation: none of its implementations can be installed."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation
from torchfolio.verification.criteria import Criteria, Form
from torchfolio.verification.initialization import constant, cut, normal, torch_bound, uniform
from torchfolio.verification.reference import CalculatedReference, Reference


def criteria(card: Card, form: Form) -> Criteria:
    """Return the reference of ``capsnet``, ``capsnet_official`` or ``capsnet_no_decoder``."""
    official, decoder = card.name.endswith("_official"), not card.name.endswith("_no_decoder")
    if official:
        source = "the authors' code"
        rules = [
            cut(r"conv1\.weight", lambda values, name: 0.05, source),
            cut(r".*\.weight", lambda values, name: 0.1, source),
            constant(r".*\.bias", 0.1, source),
        ]
    else:
        rules = [
            normal(r"digitcaps\.weight", lambda values, name: 0.01, "ours"),
            uniform(r".*\.(weight|bias)", torch_bound, "torch's default"),
        ]
    pixels = form.in_channels * form.image_size[0] * form.image_size[1]
    kinds = [(side - 17) // 2 + 1 for side in form.image_size]
    capsules, classes = 32 * kinds[0] * kinds[1], form.num_classes
    counts = {
        "conv1": 256 * (form.in_channels * 81 + 1),
        "primarycaps": 256 * (256 * 81 + 1),
        "digitcaps": capsules * classes * 8 * 16 + (classes * 16 if official else 0),
        "decoder": (512 * (classes * 16 + 1) + 1024 * 513 + pixels * 1025) * decoder,
    }
    references = [partial(calculated, official, decoder, capsules, pixels, form)]
    checks = [partial(check_loss, official=official, decoder=decoder, form=form)]
    return Criteria(references, form.image_size, rules, counts, checks)


def calculated(official: bool, decoder: bool, capsules: int, pixels: int, form: Form) -> Reference:
    """Return our own calculation of Sections 2 to 4."""
    classes = form.num_classes
    shapes: dict[str, tuple[int, ...]] = {
        "conv1.weight": (256, form.in_channels, 9, 9),
        "conv1.bias": (256,),
        "primarycaps.conv2d.weight": (256, 256, 9, 9),
        "primarycaps.conv2d.bias": (256,),
        "digitcaps.weight": (classes, capsules, 16, 8),
    }
    if decoder:
        for place, units, read in ((0, 512, classes * 16), (2, 1024, 512), (4, pixels, 1024)):
            shapes[f"decoder.{place}.weight"] = (units, read)
            shapes[f"decoder.{place}.bias"] = (units,)
    if official:
        shapes["digitcaps.bias"] = (classes, 16)
    title = "our own calculation of Sections 2 to 4 (nothing can be installed)"
    return CalculatedReference(title, shapes, partial(forward, official, decoder))


def check_loss(network: nn.Module, official: bool, decoder: bool, form: Form) -> list[str]:
    """Compare the loss, and with it the decoder, with Equation 4 and Section 4.1."""
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(3, form.in_channels, *form.image_size, generator=generator)
    labels = torch.tensor([0, form.num_classes - 1, 2])
    with torch.no_grad():
        outputs = network.train()(images)
        loss: Any = network.loss
        found, lengths = loss(outputs, labels), outputs[0] if decoder else outputs
        expected = torch.tensor(0.0)
        if decoder:
            x = drawn(network.state_dict(), outputs[1], labels)
            expected = 0.0005 * (x - images.flatten(1)).square().sum() / 3
        for n in range(3):
            for k in range(form.num_classes):
                length = lengths[n, k]
                is_here = k == labels[n]
                term = max(0.9 - length, 0) ** 2 if is_here else 0.5 * max(length - 0.1, 0) ** 2
                share = 0.5 / form.num_classes if official else 1.0  # a mean over the classes
                expected = expected + share * term / 3
    if torch.allclose(found, expected, rtol=1e-5):
        return []
    return [
        f"the loss is {float(found):.6g}; Equation 4 and Section 4.1 give {float(expected):.6g}"
    ]


def drawn(values: Mapping[str, Tensor], capsules: Tensor, labels: Tensor) -> Tensor:
    """Return the pixels (batch, pixels) that the decoder draws of the right capsules."""
    x = torch.stack([
        torch.cat([capsule * (k == label) for k, capsule in enumerate(each)])
        for each, label in zip(capsules, labels.tolist(), strict=True)
    ])  # fmt: skip
    for place in (0, 2, 4):
        weight, bias = (values[f"decoder.{place}.{kind}"] for kind in ("weight", "bias"))
        x = torch.einsum("bi,oi->bo", x, weight) + bias
        x = x * (x > 0) if place < 4 else 1 / (1 + torch.exp(-x))
    return x


def squash(x: Tensor) -> Tensor:
    """Return Equation 1, with 1e-8 under the root."""
    squares = (x * x).sum(-1)[..., None]
    lengths = (squares + 1e-8).sqrt()
    return x / (1 / lengths + squares / lengths)


def forward(
    official: bool, decoder: bool, c: Calculation, images: Tensor
) -> Tensor | tuple[Tensor, ...]:
    """Return the lengths, in training for a decoder with the capsules and the images."""
    x = c.affine_convolution("conv1", images)
    x = x * (x > 0)
    weight, bias = (c.values[f"primarycaps.conv2d.{kind}"] for kind in ("weight", "bias"))
    x = torch.nn.functional.conv2d(x, weight, stride=2) / (32 if official else 1)
    x = x + bias[:, None, None]
    batch, _, rows, columns = x.shape
    x = c.end("primarycaps", squash(x.reshape(batch, 32, 8, rows, columns).permute(0, 1, 3, 4, 2)
                                    .reshape(batch, -1, 8)))  # fmt: skip
    votes = torch.einsum("niok,bik->bino", c.values["digitcaps.weight"], x)
    agreement = torch.zeros(votes.shape[:3], dtype=x.dtype)
    for _ in range(3):  # Procedure 1
        shares = torch.exp(agreement) / torch.exp(agreement).sum(2, keepdim=True)
        total = (shares[..., None] * votes).sum(1)
        capsules = squash(total + c.values["digitcaps.bias"] if official else total)
        agreement = agreement + (votes * capsules[:, None]).sum(3)
    c.end("digitcaps", capsules)
    lengths = capsules.square().sum(-1).sqrt()
    return (lengths, capsules, images) if c.training and decoder else lengths
