"""Local response normalisation (Krizhevsky et al., 2012, Section 3.3)."""

from torch import Tensor, nn
from torch.nn import functional as F


class LocalResponseNorm(nn.Module):
    """Divide each value by (k + alpha * the sum of squares of its neighbours) ** beta.

    Neighbours are the ``size`` channels around its own, at its place. ``alpha`` is the paper's:
    torch's module divides it by ``size``.

    Shape: (batch, channels, height, width) -> the same
    """

    def __init__(self, size: int, alpha: float, beta: float, k: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha * self.size, self.beta, self.k)
