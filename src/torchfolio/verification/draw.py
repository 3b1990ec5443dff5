"""Values that show what a network does: drawn from a seed, so that nothing cancels.

Fresh batch-norm statistics (mean 0, variance 1, scale 1, shift 0) hide a wrong epsilon, momentum
or order. Here scales, shifts and statistics differ channel by channel, and the weights before a
batch norm are small in some channels, so that variances lie between about 1e-4 and 1: an epsilon
of 1e-3 where 1e-5 belongs then changes a channel threefold.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from torchfolio.verification.observation import Observation

# A chain of random layers, batch norms and ReLUs is chaotic: it multiplies rounding errors from
# layer to layer. So weights before a batch norm are mostly the identity, the more so the deeper the
# network is, and most of what a batch norm gives is positive.
NOISE, FEW = 0.25, 60  # a share of He's deviation, up to this many layers
SHIFT, SPREAD = 1.0, 0.3  # of the shifts of a batch norm
SMALLEST_SCALE = 0.01  # of the weights before a batch norm: a variance of 1e-4


def draw(shapes: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Return float32 values (so that both types hold the same) for named tensors."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(shape: torch.Size, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    def normal(shape: torch.Size, deviation: float) -> Tensor:
        return deviation * torch.randn(shape, generator=generator)

    normalised = _before_normalization(shapes)
    noise = NOISE * min(1.0, FEW / max(1, len(normalised)))
    result = {}
    for name, like in shapes.items():
        layer, _, kind = name.rpartition(".")
        shape = like.shape
        is_norm = f"{layer}.running_mean" in shapes
        if kind == "num_batches_tracked":
            value = torch.tensor(7)
        elif kind == "running_var" or (is_norm and kind == "weight"):
            value = uniform(shape, 0.5, 1.5)
        elif kind == "weight" and like.dim() >= 2:
            value = normal(shape, (2 / like[0].numel()) ** 0.5)
            if layer in normalised:
                value *= noise
                outputs = torch.arange(shape[0])  # mostly the identity
                centre = [n // 2 for n in shape[2:]]
                places: tuple[Any, ...] = (outputs, outputs % shape[1], *centre)
                value[places] += 1
                scales = SMALLEST_SCALE ** uniform(shape[:1], 0, 1)
                value *= scales.view(-1, *[1] * (like.dim() - 1))
        elif is_norm and kind == "bias":
            value = SHIFT + normal(shape, SPREAD)
        elif kind == "coefficient":
            value = uniform(shape, 0.1, 0.4)
        else:
            value = normal(shape, 0.2)
        result[name] = value
    return result


def _before_normalization(shapes: Mapping[str, Tensor]) -> set[str]:
    """Return the layers that a batch norm follows in the order of the names."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in shapes))
    return {layer for layer, following in pairwise(layers) if f"{following}.running_mean" in shapes}


def calibrate(values: dict[str, Tensor], seen: Observation, seed: int) -> None:
    """Set running statistics near those of the batch that was seen, in place.

    Near, not equal: so the network stays in scale in eval mode, and eval differs from train.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, mean in values.items():
        layer, _, kind = name.rpartition(".")
        if kind != "running_mean":
            continue
        x = seen.layers[layer, "input", 0].transpose(0, 1).flatten(1)  # (channels, values)
        deviation = x.std(1)
        noise = torch.randn(mean.shape, generator=generator)
        factor = torch.rand(mean.shape, generator=generator)
        mean.copy_(x.mean(1) + 0.2 * deviation * noise)
        values[f"{layer}.running_var"].copy_(deviation.square() * (0.75 + 0.6 * factor))
