"""The exponential moving average of the weights."""

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


def moving_average(part: nn.Module, decay: float) -> AveragedModel:
    """Return the average of a part's parameters and buffers, to be updated after each update.

    The first update copies; then average = decay * average + (1 - decay) * value. Buffers that
    are no floating-point numbers (counters) are copied, so that what is frozen stays as it is.
    """

    @torch.no_grad()
    def follow(averages: Tensors, values: Tensors, _: object) -> None:
        if averages[0].is_floating_point() or averages[0].is_complex():
            torch._foreach_lerp_(averages, values, 1 - decay)
        else:
            for average, value in zip(averages, values, strict=True):
                average.copy_(value)

    return AveragedModel(part, multi_avg_fn=follow, use_buffers=True)
