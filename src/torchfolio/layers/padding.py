"""Padding of pictures whose sides a network cannot halve as often as it does."""

from torch import Tensor
from torch.nn import functional as F


def padded(images: Tensor, step: int) -> Tensor:
    """Return images (batch, channels, height, width) whose sides are multiples of a step.

    Below and to the right the last row and column are repeated, where it is needed.
    """
    down, across = -images.shape[-2] % step, -images.shape[-1] % step
    if not (down or across):
        return images
    return F.pad(images, (0, across, 0, down), mode="replicate")
