"""Maxout and the bound on the norm of each unit's weights."""

import torch
from torch import Tensor, nn


class Maxout(nn.Module):
    """The largest of several linear functions of the input (Goodfellow et al., 2013, Section 3).

    Shape: (..., in_features) -> (..., out_features)
    """

    def __init__(self, in_features: int, out_features: int, pieces: int = 2) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(in_features, out_features * pieces)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(-1, (-1, self.pieces)).amax(-1)


@torch.no_grad()
def bound_norms(weight: Tensor, largest: float) -> None:
    """Scale the weights of each unit down to a norm of at most ``largest``, in place.

    A unit's weights are one row of a linear layer, one kernel of a convolution.
    """
    weight.copy_(weight.renorm(p=2, dim=0, maxnorm=largest))
