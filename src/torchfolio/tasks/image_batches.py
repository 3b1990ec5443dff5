"""Batches of pictures with their classes, and the figures that are gathered from them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from torchfolio.tasks.base import Batch, Meter


@dataclass
class ImageBatch(Batch):
    """Images (batch, channels, height, width), uint8 or float32 in [0, 1], and labels (batch,).

    Where a picture may have several labels, these are ones and zeros (batch, labels), uint8. Under
    mixup or CutMix, ``partners`` are the images mixed in, ``partner_labels`` theirs, ``share``
    (batch,) what remains of the first, and ``boxes`` (batch, 4: top, left, bottom, right) the
    patches of CutMix, empty ones where mixup was drawn.
    """

    images: Tensor
    labels: Tensor
    partners: Tensor | None = None
    partner_labels: Tensor | None = None
    share: Tensor | None = None
    boxes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)


class ClassMeter(Meter):
    """Loss, accuracy, top-5 accuracy and macro F1 over all batches."""

    def __init__(self) -> None:
        self.probabilities: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.losses = 0.0

    def update(self, outputs: tuple[Tensor, Tensor], batch: ImageBatch) -> None:
        probabilities, loss = outputs
        self.probabilities.append(probabilities.cpu())
        self.labels.append(batch.labels.cpu())
        self.losses += float(loss) * len(batch)

    def merge(self, other: "ClassMeter") -> None:
        self.probabilities += other.probabilities
        self.labels += other.labels
        self.losses += other.losses

    def compute(self) -> dict[str, float]:
        from torchfolio.evaluation.measures import quick_metrics

        labels = torch.cat(self.labels).numpy()
        metrics = quick_metrics(torch.cat(self.probabilities).numpy(), labels)
        return {"loss": self.losses / len(labels), **metrics}


class LabelMeter(ClassMeter):
    """Loss, average precision and F1 of several labels a picture over all batches.

    F1 is at the thresholds that these examples choose, as the run's end chooses them.
    """

    def compute(self) -> dict[str, float]:
        from torchfolio.evaluation.label_measures import quick_metrics

        labels = torch.cat(self.labels).numpy()
        metrics = quick_metrics(torch.cat(self.probabilities).numpy(), labels)
        return {"loss": self.losses / len(labels), **metrics}
