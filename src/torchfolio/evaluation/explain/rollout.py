"""What the class token of a Vision Transformer has read: attention rollout.

Abnar, Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, arXiv 2005.00928, Section 3:
attention averaged over heads, half of each token passing by it (the shortcut), multiplied through
the layers.

The layers compute attention in one fused step, which keeps no weights: they are computed here
again, from each layer's input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.errors import FolioError
from torchfolio.evaluation.explain.heat import BATCH, Heat, between, spread
from torchfolio.layers.modes import evaluating

VALUES = 2**25  # weights of all layers kept at a time: 128 MiB


@dataclass(frozen=True)
class Patches:
    """How a picture is cut: rows and columns of patches, and their height and width in pixels."""

    rows: int
    columns: int
    height: int
    width: int


def attention_layers(network: nn.Module) -> list[Any]:
    """Return the layers of self-attention whose weights can be computed again.

    Such a layer has queries, keys and values in one projection (``in_proj_weight`` of (3 * width,
    width) and ``in_proj_bias``) and says the number of its ``heads``.
    """
    return [
        each
        for each in network.modules()
        if isinstance(getattr(each, "in_proj_weight", None), nn.Parameter)
        and isinstance(getattr(each, "heads", None), int)
    ]


def attention_weights(layer: Any, x: Tensor) -> Tensor:
    """Return how much each token reads of each: (batch, heads, tokens, tokens), rows sum to one.

    ``x`` (batch, tokens, width) is the layer's input.
    """
    batch, tokens, width = x.shape
    both = F.linear(x, layer.in_proj_weight[: 2 * width], layer.in_proj_bias[: 2 * width])
    split = both.reshape(batch, tokens, 2, layer.heads, -1).permute(2, 0, 3, 1, 4)
    queries, keys = split.unbind()  # each (batch, heads, tokens, width / heads)
    return (queries @ keys.transpose(-1, -2) * keys.shape[-1] ** -0.5).softmax(-1)


def rollout(attentions: Sequence[Tensor]) -> Tensor:
    """Return what each token has read of each after all layers: (batch, tokens, tokens).

    ``attentions`` (batch, tokens, tokens), the first layer's first, are averaged over heads. Rows
    sum to one, as theirs do.
    """
    passing = torch.eye(attentions[0].shape[-1]).to(attentions[0])
    read = passing
    for attention in attentions:
        mixed = 0.5 * attention + 0.5 * passing
        read = mixed / mixed.sum(-1, keepdim=True) @ read
    return read


def attention_rollout(network: nn.Module, images: Tensor) -> list[Heat]:
    """Return how much of each patch the class token has read, for each picture.

    ``images`` (batch, channels, height, width) are as the network takes them. The scale is in even
    shares, from the patch least read to the one most read; pixels at the right and the lower edge
    that fill no patch are not read. Raises ``FolioError`` for a network whose first token is not
    followed by those of the patches of a convolution.
    """
    heats: list[Heat] = []
    layers, at_once = len(attention_layers(network)), 1
    while len(heats) < len(images):
        some = images[len(heats) : len(heats) + at_once].detach()
        shares, patches = patch_shares(network, some)
        heats += [drawn(each, patches, some.shape[2], some.shape[3]) for each in shares]
        tokens = 1 + patches.rows * patches.columns
        at_once = max(1, min(BATCH, VALUES // (layers * tokens**2)))
    return heats


def patch_shares(network: nn.Module, images: Tensor) -> tuple[NDArray[np.float32], Patches]:
    """Return what the class token has read of each patch: (batch, rows, columns), 1 an even share.

    A mean of one over the patches of each picture.
    """
    attentions: list[Tensor] = []
    cuts: list[Patches] = []

    def attend(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        attentions.append(attention_weights(layer, inputs[0]).mean(1))

    def cut(layer: nn.Module, _: Any, output: Tensor) -> None:
        stride: Any = layer.stride
        cuts.append(Patches(output.shape[2], output.shape[3], stride[0], stride[1]))

    hooks = [each.register_forward_pre_hook(attend) for each in attention_layers(network)]
    hooks += [
        each.register_forward_hook(cut) for each in network.modules() if isinstance(each, nn.Conv2d)
    ]
    try:
        with evaluating(network), torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    tokens = attentions[0].shape[-1]
    if not cuts or tokens != 1 + cuts[-1].rows * cuts[-1].columns:
        raise FolioError(
            f"The network reads {tokens} tokens, which are not one and those of the patches of its "
            "last convolution, so rollout cannot say where they lie. Take occlusion."
        )
    read = rollout(attentions)[:, 0, 1:]  # by the class token, of the patches
    shares = read / read.mean(1, keepdim=True)
    return shares.reshape(len(images), cuts[-1].rows, -1).float().cpu().numpy(), cuts[-1]


def drawn(shares: NDArray[np.float32], patches: Patches, height: int, width: int) -> Heat:
    """Return the heat of one picture's shares (rows, columns)."""
    low, high = float(shares.min()), float(shares.max())
    scaled = (shares - low) / (high - low) if high > low else np.zeros_like(shares)
    rows = between(patches.rows, (np.arange(height) + 0.5) / patches.height - 0.5)
    columns = between(patches.columns, (np.arange(width) + 0.5) / patches.width - 0.5)
    values = spread(scaled[None], rows, columns)[0]
    values[patches.rows * patches.height :] = 0
    values[:, patches.columns * patches.width :] = 0
    return Heat(values, f"{low:.2f}", f"{high:.2f} even shares")
