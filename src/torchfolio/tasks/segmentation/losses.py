"""Losses of pixels: cross-entropy, weighted or not, focal, Dice, and sums of them.

``scores`` are (batch, classes, height, width), ``truth`` (batch, height, width) with class indices,
``counted`` the same with ones for the pixels that count and zeros for the others.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

SMOOTH = 1.0  # pixels added to both sides of Dice's fraction: a class that is absent is no loss
NAMES = ("cross-entropy", "focal", "dice")


def cross_entropy(scores: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of the pixels' cross-entropy, each with its weight.

    ``weights`` (batch, height, width) are zero where a pixel does not count; the mean is over those
    that do, whatever they weigh.
    """
    losses = F.cross_entropy(scores, truth, reduction="none")
    return (losses * weights).sum() / number(weights)


def focal(scores: Tensor, truth: Tensor, weights: Tensor, gamma: float) -> Tensor:
    """Return the focal loss: (1 - p) ** gamma times cross-entropy (Lin et al., 2017, Section 3)."""
    losses = F.cross_entropy(scores, truth, reduction="none")
    return ((1 - torch.exp(-losses)) ** gamma * losses * weights).sum() / number(weights)


def dice(scores: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """Return 1 - Dice of probabilities, the mean over classes; each summed over the batch.

    Dice is (2 sum(p g) + s) / (sum(p) + sum(g) + s) with s = 1 (Milletari et al., 2016, Section 3,
    have squares below).
    """
    probabilities = scores.float().softmax(1) * counted.unsqueeze(1)
    wanted = F.one_hot(truth, scores.shape[1]).movedim(-1, 1) * counted.unsqueeze(1)
    axes = (0, 2, 3)
    both = 2 * (probabilities * wanted).sum(axes) + SMOOTH
    return 1 - (both / (probabilities.sum(axes) + wanted.sum(axes) + SMOOTH)).mean()


def number(weights: Tensor) -> Tensor:
    """Return how many pixels count, at least one."""
    return (weights > 0).sum().clamp_min(1)
