"""What is exported of a segmentation network: from pixels as they are stored to scores."""

from typing import Any

from torch import Tensor, nn


class Segmenter(nn.Module):
    """A trained network with the normalisation before it.

    Shape: (batch, channels, height, width), uint8, or float32 in [0, 1] where the pictures have
    more than 8 bits -> float32 scores (batch, classes, height, width), which lack the network's
    ``margin`` on each side where it has one. Sides are those of :func:`sides_of`.
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, factor: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("factor", factor)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.network((images.float() - self.mean) * self.factor)
        return found.float()


def sides_of(network: Any) -> list[int]:
    """Return which sides a network's pictures have: a step, what is left over it, and the least.

    Networks that pad pictures to a multiple of their step are exported without: whoever asks them
    pads, and cuts the scores.
    """
    step = int(getattr(network, "step", 1))
    if getattr(network, "margin", 0):
        least = int(network.input_side(1))
        return [step, least % step, least]
    return [step, 0, step]
