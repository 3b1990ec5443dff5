"""Image classification: one class a picture."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.draws import uniforms
from torchfolio.networks.catalogue import Card
from torchfolio.options import option
from torchfolio.tasks.base import Context, Evaluation, HeldOut, Parts, in_batches
from torchfolio.tasks.class_scores import page_loss, probabilities
from torchfolio.tasks.image_batches import ImageBatch
from torchfolio.tasks.image_classifier import ImageClassifier
from torchfolio.tasks.image_preparation import plan_pictures
from torchfolio.tasks.picture_training import MixingOptions, PictureTraining, shared


@dataclass(frozen=True)
class ImageOptions(MixingOptions):
    """Settings of image classification."""

    label_smoothing: float = option(
        0.0, "Share of the target spread over all classes.", low=0, high=1
    )
    class_weights: Literal["none", "balanced"] = option(
        "none", "Weigh the classes in the loss: N / (classes * count)."
    )
    sampler: Literal["shuffle", "balanced"] = option(
        "shuffle", "balanced draws every class equally often."
    )


class ImageClassification(ImageClassifier, PictureTraining):
    """One class a picture: cross-entropy, or the loss of the network's page."""

    name = "image-classification"
    Options = ImageOptions
    monitor = "accuracy"
    options: ImageOptions

    def __init__(self, options: Any, state: dict[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self._weights: dict[torch.device, Tensor] = {}

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Every metric of the meter; top-5 accuracy of more than five classes only."""
        better = {"loss": False, "log_loss": False, "accuracy": True, "macro_f1": True}
        many = len(self.state.get("classes", ())) > 5
        return better | ({"top5_accuracy": True} if many else {})

    # Before training

    def prepare(self, card: Card, dataset: Dataset, train: Indices) -> list[str]:
        assert dataset.labels is not None
        self.pictures, lines = plan_pictures(card, dataset, train, self.options)
        self.state = self.pictures.state
        counts = np.bincount(dataset.labels[train], minlength=len(dataset.classes))
        self.state |= {"classes": list(dataset.classes), "train_counts": counts.tolist()}
        return lines

    def parts(self, card: Card, **arguments: Any) -> Parts:
        network = self.build(card, arguments)
        self.refuse_settings(card, network)
        return Parts(network=network)

    # Training

    def truth(self, dataset: Dataset, indices: Indices) -> Tensor:
        assert dataset.labels is not None
        return torch.from_numpy(dataset.labels[indices])

    def batches(
        self, dataset: Dataset, split: Indices, size: int, seed: int, epoch: int
    ) -> list[Indices]:
        if self.options.sampler == "shuffle":
            return super().batches(dataset, split, size, seed, epoch)
        self._pool = split
        assert dataset.labels is not None
        numbers = uniforms("balanced", seed, epoch, np.arange(len(split)), 2)
        present, labels = np.unique(dataset.labels[split], return_inverse=True)
        members = np.argsort(labels, kind="stable")
        counts = np.bincount(labels)
        starts = np.cumsum(counts) - counts
        chosen = (numbers[:, 0] * len(present)).astype(np.int64)
        within = (numbers[:, 1] * counts[chosen]).astype(np.int64)
        return in_batches(split[members[starts[chosen] + within]], size)

    def loss(self, parts: Parts, batch: ImageBatch, logs: dict[str, Tensor]) -> Tensor:
        """Return the mean loss of a training batch; accuracy goes to ``logs``."""
        outputs = self.outputs(parts, batch)
        if batch.share is None:
            scores = outputs if isinstance(outputs, Tensor) else outputs[0]
            logs["accuracy"] = (scores.detach().argmax(1) == batch.labels).float().mean()
            return self.criterion(parts, outputs, batch.labels)
        assert batch.partner_labels is not None
        classes = len(self.state["classes"])
        own, partners = (F.one_hot(each, classes) for each in (batch.labels, batch.partner_labels))
        return self.criterion(parts, outputs, shared(batch, own, partners))

    def criterion(self, parts: Parts, outputs: Any, targets: Tensor) -> Tensor:
        """Return the page's own loss, or cross-entropy.

        ``outputs`` are class scores, or a tuple of them and what else a page's loss reads. A page
        may leave to the task how scores and targets are compared: its loss takes a ``criterion``.
        """
        return page_loss(parts, outputs, targets, self.cross_entropy)

    def cross_entropy(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy with smoothing and class weights.

        Weighted losses are divided by the number of examples, so that the pieces of a batch add up
        to the whole.
        """
        smoothing = self.options.label_smoothing
        if self.options.class_weights == "none":
            return F.cross_entropy(scores, targets, label_smoothing=smoothing)
        weight = self.class_weights(scores.device)
        total = F.cross_entropy(
            scores, targets, weight=weight, label_smoothing=smoothing, reduction="sum"
        )
        return total / len(scores)

    def class_weights(self, device: torch.device) -> Tensor:
        """Return what each class weighs, kept on the device: a copy would wait for it."""
        if device not in self._weights:
            counts = torch.tensor(self.state["train_counts"])
            weights = counts.sum() / (len(counts) * counts.clamp_min(1))
            self._weights[device] = weights.to(device)
        return self._weights[device]

    # Measuring and answering

    def predict(self, parts: Parts, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Return the probability of each class (batch, classes), and the mean loss."""
        scores = parts.network(self.pictures.normalised(batch.images)).float()
        loss = page_loss(parts, scores, batch.labels, F.cross_entropy)
        return self.probabilities(parts, scores), loss

    def probabilities(self, parts: Parts, scores: Tensor) -> Tensor:
        return probabilities(parts, scores)

    def pool(self, held_out: Iterable[HeldOut], dataset: Dataset, context: Context) -> Evaluation:
        from torchfolio.tasks.image_classification_pool import pool

        return pool(held_out, dataset, context)
