"""Pictures drawn at random, a task prepared for them, and a network that gives set answers."""

from typing import Any

import numpy as np
from torch import Tensor, nn

from torchfolio.data.dataset import Dataset
from torchfolio.data.records import ImageArray, size_facts
from torchfolio.networks.catalogue import find_card
from torchfolio.tasks.image_classification import ImageClassification, ImageOptions

CLASSES = ("cat", "dog", "owl")


def pictures(
    count: int = 60, side: int = 32, channels: int = 3, labels: Any = None, depth: int = 8
) -> Dataset:
    """Random pictures; the first pixel of number ``i`` is ``i``."""
    generator = np.random.default_rng(0)
    array = generator.integers(0, 256, (count, side, side, channels)).astype(np.uint8)
    array[:, 0, 0] = np.arange(count)[:, None]
    chosen = np.arange(count) % 3 if labels is None else np.asarray(labels)
    return Dataset(
        "image-classification",
        "random",
        "random",
        "random",
        ImageArray(array if depth == 8 else array.astype(np.float32) / 255, [("a", count)]),
        {"train": np.arange(count)},
        "random",
        CLASSES,
        chosen.astype(np.int64),
        facts=size_facts(np.full((count, 2), side), channels, depth),
    )


def prepared(data: Dataset, network: str = "resnet20", **options: Any) -> ImageClassification:
    task = ImageClassification(ImageOptions(**options))
    task.prepare(find_card(network), data, np.arange(len(data)))
    task.batches(data, np.arange(len(data)), 8, 0, 0)  # the pool of partners
    return task


class Scores(nn.Module):
    """Answers with scores that were given to it."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores
        self.seen: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return self.scores
