"""What is exported of an image classifier: from pictures as they are stored to probabilities."""

from collections.abc import Callable

from torch import Tensor, nn

from torchfolio.tasks.base import Parts


class Classifier(nn.Module):
    """A trained network with the normalisation before it and the probabilities after it.

    ``mean`` is subtracted from the pictures' values, then they are multiplied by ``factor``; both
    are (channels, 1, 1) or (channels, size, size). ``probabilities`` makes probabilities (batch,
    names) of the network's scores.

    Shape: (batch, channels, size, size), uint8, or float32 in [0, 1] where the pictures have more
    than 8 bits -> float32 (batch, names)
    """

    mean: Tensor
    factor: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Tensor,
        factor: Tensor,
        probabilities: Callable[[Parts, Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.network = network
        self.probabilities = probabilities
        self.register_buffer("mean", mean)
        self.register_buffer("factor", factor)

    def forward(self, images: Tensor) -> Tensor:
        scores = self.network((images.float() - self.mean) * self.factor)
        return self.probabilities(Parts(network=self.network), scores)
