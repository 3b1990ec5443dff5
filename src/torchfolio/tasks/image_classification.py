"""Image classification: one class a picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.draws import uniforms
from torchfolio.errors import RequestError, unknown
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import Card
from torchfolio.options import option
from torchfolio.tasks.base import Context, Evaluation, Parts, Step, Task, in_batches
from torchfolio.tasks.class_scores import page_loss, probabilities, takes_criterion
from torchfolio.tasks.image_answers import ClassRows, ImageAnswerOptions, answer
from torchfolio.tasks.image_batches import ClassMeter, ImageBatch
from torchfolio.tasks.image_preparation import plan_pictures
from torchfolio.tasks.mixing import draw_mixes, mixed
from torchfolio.tasks.pictures import PictureOptions, Pictures


@dataclass(frozen=True)
class ImageOptions(PictureOptions):
    """Settings of image classification."""

    mixup: float = option(0.0, "Mix pairs of pictures: alpha of the Beta distribution.", low=0)
    cutmix: float = option(0.0, "Paste patches of other pictures: alpha.", low=0)
    label_smoothing: float = option(
        0.0, "Share of the target spread over all classes.", low=0, high=1
    )
    class_weights: Literal["none", "balanced"] = option(
        "none", "Weigh the classes in the loss: N / (classes * count)."
    )
    sampler: Literal["shuffle", "balanced"] = option(
        "shuffle", "balanced draws every class equally often."
    )


class ImageClassification(ClassRows, Task):
    """One class a picture: cross-entropy, or the loss of the network's page."""

    name = "image-classification"
    kinds = ("image-classification",)
    Options = ImageOptions
    AnswerOptions = ImageAnswerOptions
    monitor = "accuracy"
    one_step = True
    options: ImageOptions

    def __init__(self, options: Any, state: dict[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.pictures = Pictures(options, self.state)
        self._weights: dict[torch.device, Tensor] = {}
        self._pool: Indices = np.zeros(0, np.int64)  # the training split: partners for mixing

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

    def inherit(self, state: dict[str, Any], asked: frozenset[str]) -> list[str]:
        return [] if "normalize" in asked else self.pictures.inherit(state)

    def parts(self, card: Card, **arguments: Any) -> Parts:
        decided = {
            "num_classes": len(self.state["classes"]),
            "in_channels": self.state["channels"],
            "image_size": (self.state["size"], self.state["size"]),
        }
        for name in decided.keys() & arguments.keys():
            raise RequestError(
                f"--set gives {name}, which follows the data. The size of the pictures is "
                "--image-size, their channels are --channels."
            )
        network = build(card.name, **decided, **arguments)
        options = self.options
        mixes = options.mixup or options.cutmix or options.label_smoothing
        own = getattr(network, "loss", None)
        fixed = own is not None and not takes_criterion(own)
        if fixed and (mixes or options.class_weights != "none"):
            raise RequestError(
                f"{card.name} has the loss of its paper, which takes one class a picture: leave "
                "mixup, cutmix, label-smoothing and class-weights out."
            )
        return Parts(network=network)

    # Training

    def batches(
        self, dataset: Dataset, split: Indices, size: int, seed: int, epoch: int
    ) -> list[Indices]:
        self._pool = split
        if self.options.sampler == "shuffle":
            return super().batches(dataset, split, size, seed, epoch)
        assert dataset.labels is not None
        numbers = uniforms("balanced", seed, epoch, np.arange(len(split)), 2)
        present, labels = np.unique(dataset.labels[split], return_inverse=True)
        members = np.argsort(labels, kind="stable")
        counts = np.bincount(labels)
        starts = np.cumsum(counts) - counts
        chosen = (numbers[:, 0] * len(present)).astype(np.int64)
        within = (numbers[:, 1] * counts[chosen]).astype(np.int64)
        return in_batches(split[members[starts[chosen] + within]], size)

    def load(self, dataset: Dataset, indices: Indices, epoch: int | None, seed: int) -> ImageBatch:
        assert dataset.labels is not None
        labels = torch.from_numpy(dataset.labels[indices])
        if epoch is None:
            return ImageBatch(self.pictures.fitted(dataset, indices), labels)
        batch = ImageBatch(self.pictures.augmented(dataset, indices, epoch, seed), labels)
        if self.options.mixup or self.options.cutmix:
            self.mix(batch, dataset, indices, epoch, seed)
        return batch

    def mix(
        self, batch: ImageBatch, dataset: Dataset, indices: Indices, epoch: int, seed: int
    ) -> None:
        """Give each example a partner, a share and a patch, by seed, epoch and example."""
        assert dataset.labels is not None
        options, size = self.options, self.state["size"]
        partners, share, boxes = draw_mixes(
            indices, self._pool, size, options.mixup, options.cutmix, seed, epoch
        )
        batch.partners = self.pictures.augmented(dataset, partners, epoch, seed)
        batch.partner_labels = torch.from_numpy(dataset.labels[partners])
        batch.share, batch.boxes = torch.from_numpy(share), torch.from_numpy(boxes)

    def steps(self, parts: Parts, batch: ImageBatch) -> Iterator[Step]:
        step = Step(lambda: self.loss(parts, batch, step.logs))
        yield step

    def loss(self, parts: Parts, batch: ImageBatch, logs: dict[str, Tensor]) -> Tensor:
        """Return the mean loss of a training batch; accuracy goes to ``logs``."""
        images = self.pictures.normalised(batch.images)
        if batch.share is None:
            outputs = parts.network(images)
            scores = outputs if isinstance(outputs, Tensor) else outputs[0]
            logs["accuracy"] = (scores.detach().argmax(1) == batch.labels).float().mean()
            return self.criterion(parts, outputs, batch.labels)
        assert batch.partners is not None
        assert batch.partner_labels is not None
        assert batch.boxes is not None
        partners = self.pictures.normalised(batch.partners)
        outputs = parts.network(mixed(images, partners, batch.share, batch.boxes))
        classes = len(self.state["classes"])
        share = batch.share[:, None]
        targets = share * F.one_hot(batch.labels, classes)
        targets = targets + (1 - share) * F.one_hot(batch.partner_labels, classes)
        return self.criterion(parts, outputs, targets)

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

    # Measuring

    def answering(self, parts: Parts, context: Context) -> Parts:
        from torchfolio.networks.inference import answering

        size, channels = self.state["size"], self.state["channels"]
        example = torch.zeros(1, channels, size, size, device=context.device)
        return Parts(network=answering(parts.network, example, context.bf16))

    def predict(self, parts: Parts, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Return the probability of each class (batch, classes), and the mean loss."""
        scores = parts.network(self.pictures.normalised(batch.images)).float()
        known = batch.labels.clamp_min(0)  # other data may lack labels; their loss is not used
        loss = page_loss(parts, scores, known, F.cross_entropy)
        return probabilities(parts, scores), loss

    def meter(self) -> ClassMeter:
        return ClassMeter()

    def evaluate(
        self, parts: Parts, dataset: Dataset, split: Indices, train: Indices, context: Context
    ) -> Evaluation:
        from torchfolio.tasks.image_classification_report import evaluate

        return evaluate(self, parts, dataset, split, context)

    def adapt(self, dataset: Dataset) -> Dataset:
        assert dataset.labels is not None
        classes = self.state["classes"]
        places = {name: place for place, name in enumerate(classes)}
        for name in dataset.classes:
            if name not in places:
                raise unknown("class of this run", name, classes)
        table = np.array([places[name] for name in dataset.classes], np.int64)
        labels = np.where(dataset.labels < 0, -1, table[dataset.labels])  # -1: not known
        return replace(dataset, classes=tuple(classes), labels=labels)

    def answer(
        self, parts: Parts, inputs: Sequence[Any], context: Context, options: ImageAnswerOptions
    ) -> Iterator[dict[str, Any]]:
        return answer(self, parts, inputs, context, options.top)

    # Export

    def export_inputs(self) -> list[dict[str, Any]]:
        state = self.state
        dtype = "uint8" if state["depth"] == 8 else "float32"
        keys = ("channels", "size", "depth", "resize", "fill")
        return [{"name": "images", "dtype": dtype} | {key: state[key] for key in keys}]

    def exported(self, parts: Parts) -> nn.Module:
        from torchfolio.networks.inference import answering
        from torchfolio.tasks.image_export import Classifier

        size, channels = self.state["size"], self.state["channels"]
        folded = answering(parts.network, torch.zeros(1, channels, size, size))
        scale = 255.0 if self.state["depth"] == 8 else 1.0
        return Classifier(folded, self.state["mean"] * scale, 1 / self.state["std"] / scale).eval()
