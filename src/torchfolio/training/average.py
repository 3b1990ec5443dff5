"""The exponential moving average of the weights."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """torch's average of a part's parameters and buffers, without waiting for a GPU.

    It is updated after each update of the part. The first update copies; then average = decay *
    average + (1 - decay) * value. Buffers that are no floating-point numbers (counters) are copied,
    so that what is frozen stays as it is.
    """

    def __init__(self, part: nn.Module, decay: float) -> None:
        super().__init__(part, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, part: nn.Module) -> None:
        pairs = list(zip(tensors(self.module), tensors(part), strict=True))
        first = not self.n_averaged
        copied = [pair for pair in pairs if first or not is_fractional(pair[0])]
        averaged = [pair for pair in pairs if not first and is_fractional(pair[0])]
        for average, value in copied:
            average.copy_(value)
        if averaged:
            averages, values = zip(*averaged, strict=True)
            torch._foreach_lerp_(averages, values, 1 - self.decay)
        self.n_averaged += 1


def is_fractional(tensor: Tensor) -> bool:
    """Return whether a tensor's values can lie between two others."""
    return tensor.is_floating_point() or tensor.is_complex()


def tensors(part: nn.Module) -> list[Tensor]:
    """Return parameters and buffers."""
    return [*part.parameters(), *part.buffers()]
