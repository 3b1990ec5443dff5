"""What is exported of a detector: from squares as they are stored to all boxes and scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.evaluation.matching import Detections
from torchfolio.tasks.detection.suppression import MOST

BEYOND = (-1.0, 2.0)  # shares of a square: where sides of boxes lie at the utmost


class Detector(nn.Module):
    """A trained network with the normalisation before it and its boxes decoded after it.

    Shape: (batch, channels, side, side), uint8, or float32 in [0, 1] where the pictures have more
    than 8 bits -> float32 (batch, boxes, 4 + classes): left, top, right, bottom as shares of the
    square, and the score of each class. Which boxes are kept is decided afterwards.
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, network: Any, mean: Tensor, factor: Tensor) -> None:
        super().__init__()
        self.network: Any = network
        self.register_buffer("mean", mean)
        self.register_buffer("factor", factor)

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.network((images.float() - self.mean) * self.factor)
        boxes, scores = self.network.scored(outputs)
        return together(boxes, scores, images.shape[-1])


def together(boxes: Tensor, scores: Tensor, side: int) -> Tensor:
    """Return boxes (batch, boxes, 4) as shares of a square, and their scores beside them."""
    return torch.cat([(boxes / side).clamp(*BEYOND), scores], -1).float()


def as_candidates(found: Sequence[Detections], classes: int, side: int) -> NDArray[np.float32]:
    """Return detections in the form of candidates (pictures, MOST, 4 + classes)."""
    rows = np.zeros((len(found), MOST, 4 + classes), np.float32)
    for row, each in zip(rows, found, strict=True):
        row[: len(each), :4] = each.boxes / side
        row[np.arange(len(each)), 4 + each.labels] = each.scores
    return rows
