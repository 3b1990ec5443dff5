"""Image classification: one class a picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from torchfolio.data import transforms
from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.draws import uniforms
from torchfolio.data.store import UniformStore, VariedStore
from torchfolio.errors import RequestError, unknown
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import Card
from torchfolio.options import option
from torchfolio.tasks.base import Context, Evaluation, Parts, Step, Task, in_batches
from torchfolio.tasks.image_batches import ClassMeter, ImageBatch
from torchfolio.tasks.image_preparation import (
    border_value,
    choose_size,
    read_range,
    unit,
    with_channels,
)
from torchfolio.tasks.mixing import draw_mixes, mixed

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
FIT_PICTURES = 5_000  # the training pictures that means are fitted on


@dataclass(frozen=True)
class ImageOptions:
    """Settings of image classification."""

    image_size: int | None = option(None, "Side of the network's input in pixels.", low=1)
    channels: Literal[1, 3] | None = option(
        None, "1 (grey) or 3 (colour); the data's unless given."
    )
    resize: Literal["auto", "crop", "squash", "whole", "pad"] = option(
        "auto",
        "How pictures get the size: cut the middle, squash, fit the whole and pad, or pad only.",
    )
    augment: Literal["none", "shift", "crop-flip", "photo", "standard", "randaugment"] = option(
        "none",
        "Random changes of training pictures; standard: photo above 64 pixels, else crop-flip.",
    )
    mirror: bool | None = option(
        None, "Mirror training pictures left to right; colour pictures only unless given."
    )
    crop_area: float = option(
        0.25, "Smallest share of a photograph that a crop keeps.", low=0.01, high=1
    )
    colour: float = option(
        0.0, "Strength of random brightness, contrast and saturation.", low=0, high=1
    )
    normalize: str = option(
        "standard",
        "standard, pixel-mean, imagenet, none, or LOW:HIGH for black and white.",
    )
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


class ImageClassification(Task):
    """One class a picture: cross-entropy, or the loss of the network's page."""

    name = "image-classification"
    kinds = ("image-classification",)
    Options = ImageOptions
    monitor = "accuracy"
    higher_is_better: ClassVar[dict[str, bool]] = {
        "loss": False,
        "log_loss": False,
        "accuracy": True,
        "top5_accuracy": True,
        "macro_f1": True,
    }
    options: ImageOptions

    def __init__(self, options: Any, state: dict[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self._stores: dict[tuple[int, bool], tuple[Dataset, UniformStore | VariedStore]] = {}
        self._pool: Indices = np.zeros(0, np.int64)  # the training split: partners for mixing

    # Before training

    def prepare(self, card: Card, dataset: Dataset, train: Indices) -> list[str]:
        facts = dataset.facts
        assert dataset.labels is not None
        size, why = choose_size(card, facts, self.options.image_size)
        channels = self.options.channels or facts["channels"]
        if card.fixed_channels:
            channels = card.input[0]
        how = self.options.resize
        if how == "auto":
            how = "pad" if max(facts["size_max"]) <= size <= min(facts["size_min"]) + 4 else "crop"
        counts = np.bincount(dataset.labels[train], minlength=len(dataset.classes))
        self.state = {
            "classes": list(dataset.classes),
            "size": size,
            "channels": channels,
            "depth": facts["depth"],
            "resize": how,
            "fill": 0.0,
            "mirror": channels == 3 if self.options.mirror is None else self.options.mirror,
            "train_counts": counts.tolist(),
        }
        lines = [f"image size {size} x {size}: {why}", f"{channels} channel(s), resized by: {how}"]
        if self.options.augment not in ("none", "shift"):
            mirrored = "mirrored at random" if self.state["mirror"] else "not mirrored"
            lines.append(f"training pictures are {mirrored} (--mirror, --no-mirror)")
        sample = train[np.linspace(0, len(train) - 1, min(len(train), FIT_PICTURES)).astype(int)]
        if how == "pad":
            self.state["fill"] = border_value(dataset, sample)
        lines.append(self.fit_normalisation(dataset, sample))
        return lines

    def fit_normalisation(self, dataset: Dataset, sample: Indices) -> str:
        """Fit mean and standard deviation on pictures of the training split."""
        how, channels = self.options.normalize, self.state["channels"]
        if how == "none":
            self.state |= {"mean": torch.zeros(channels, 1, 1), "std": torch.ones(channels, 1, 1)}
            return "pixels from 0 to 1, not normalised"
        if ":" in how:
            low, high = read_range(how)
            self.state["mean"] = torch.full((channels, 1, 1), -low / (high - low))
            self.state["std"] = torch.full((channels, 1, 1), 1 / (high - low))
            return f"black becomes {low:g}, white {high:g}"
        if how == "imagenet":
            if channels != 3:
                raise RequestError(
                    f"normalize = imagenet needs 3 channels; the data have {channels}."
                )
            self.state["mean"] = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
            self.state["std"] = torch.tensor(IMAGENET_STD).view(3, 1, 1)
            return "normalised by ImageNet's mean and standard deviation"
        if how not in ("standard", "pixel-mean"):
            raise RequestError(
                f"normalize is {how!r}; it should be standard, pixel-mean, imagenet, none or "
                "LOW:HIGH (for example -0.1:1.175)."
            )
        size = self.state["size"]
        total = torch.zeros(channels, size, size, dtype=torch.float64)
        squares = torch.zeros_like(total)
        for part in in_batches(sample, 256):
            pixels = unit(self.fitted(dataset, part)).double()
            total += pixels.sum(0)
            squares += pixels.square().sum(0)
        mean, square = total / len(sample), squares / len(sample)
        channel_mean = mean.mean((1, 2), keepdim=True)
        std = (square.mean((1, 2), keepdim=True) - channel_mean.square()).clamp_min(1e-8).sqrt()
        self.state["mean"] = (mean if how == "pixel-mean" else channel_mean).float()
        self.state["std"] = std.float()
        shown = ", ".join(f"{value:.3f}" for value in channel_mean.flatten().tolist())
        return f"normalised by the training pictures' {how} (mean {shown})"

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
        if hasattr(network, "loss") and (mixes or options.class_weights != "none"):
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
            return ImageBatch(self.fitted(dataset, indices), labels)
        batch = ImageBatch(self.augmented(dataset, indices, epoch, seed), labels)
        if self.options.mixup or self.options.cutmix:
            self.mix(batch, dataset, indices, epoch, seed)
        return batch

    def fitted(self, dataset: Dataset, indices: Indices) -> Tensor:
        """Return pictures at the network's size, without anything random."""
        store = self.store(dataset, large=False)
        assert isinstance(store, UniformStore)
        return store.get(indices)

    def store(self, dataset: Dataset, large: bool) -> UniformStore | VariedStore:
        """Return the memory of a dataset's pictures: at the network's size, or large."""
        key = (id(dataset), large)
        if key not in self._stores:
            size, channels = self.state["size"], self.state["channels"]
            if large:
                made: UniformStore | VariedStore = VariedStore(
                    lambda index: transforms.resize_shorter(
                        self.picture_of(dataset, index), round(1.5 * size), 3 * size
                    )
                )
            else:
                dtype = torch.uint8 if self.state["depth"] == 8 else torch.float32
                made = UniformStore(
                    lambda index: self.fit(self.picture_of(dataset, index)),
                    len(dataset.records),
                    (channels, size, size),
                    dtype,
                )
            self._stores[key] = (dataset, made)
        return self._stores[key][1]

    def picture_of(self, dataset: Dataset, index: int) -> Tensor:
        """Return a record's picture (channels, height, width) with the network's channels."""
        return self.tensor(dataset.records.pixels(index))  # type: ignore[attr-defined]

    def tensor(self, pixels: NDArray[Any]) -> Tensor:
        """Turn (height, width, channels) pixels into (channels, height, width) of this run."""
        picture = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, 2, 0)))
        if self.state["depth"] == 8 and picture.is_floating_point():  # other data than trained on
            picture = (picture * 255).round().to(torch.uint8)
        elif self.state["depth"] != 8:
            picture = unit(picture)
        return with_channels(picture, self.state["channels"])

    def fit(self, picture: Tensor) -> Tensor:
        """Return a picture at the network's size."""
        state = self.state
        return transforms.fit(picture, state["size"], state["resize"], state["fill"])

    def augmented(self, dataset: Dataset, indices: Indices, epoch: int, seed: int) -> Tensor:
        """Return training pictures, changed at random by seed, epoch and example."""
        options, fill = self.options, self.state["fill"]
        numbers = uniforms("augment", seed, epoch, indices, 12)
        images = self.moved(dataset, indices, numbers[:, :5])
        if options.augment == "randaugment":
            changed = [
                transforms.rand_augment(image, row, fill)
                for image, row in zip(images, numbers[:, 5:9], strict=True)
            ]
            images = torch.stack(changed)
        if options.colour:
            images = transforms.jitter_colour(images, options.colour, numbers[:, 9:])
        return images

    def moved(self, dataset: Dataset, indices: Indices, numbers: NDArray[np.float64]) -> Tensor:
        """Return training pictures at the network's size, cropped, shifted and mirrored."""
        augment, size, fill = self.options.augment, self.state["size"], self.state["fill"]
        if augment in ("standard", "randaugment"):
            augment = "photo" if size > 64 else "crop-flip"
        if augment == "none":
            return self.fitted(dataset, indices)
        if augment == "photo":
            store = self.store(dataset, large=True)
            assert isinstance(store, VariedStore)
            area = (self.options.crop_area, 1.0)
            crops = [
                transforms.random_crop(store.get(index), size, row, area)
                for index, row in zip(indices.tolist(), numbers, strict=True)
            ]
            moved = torch.stack(crops)
        else:  # by 2 pixels of 28, or by 4 of 32 (He et al., 2016, Section 4.2)
            pixels = max(1, round(size / 14) if augment == "shift" else size // 8)
            moved = transforms.shift(self.fitted(dataset, indices), pixels, fill, numbers[:, :2])
        if augment == "shift" or not self.state["mirror"]:
            return moved
        return transforms.flip(moved, numbers[:, 4])

    def mix(
        self, batch: ImageBatch, dataset: Dataset, indices: Indices, epoch: int, seed: int
    ) -> None:
        """Give each example a partner, a share and a patch, by seed, epoch and example."""
        assert dataset.labels is not None
        options, size = self.options, self.state["size"]
        partners, share, boxes = draw_mixes(
            indices, self._pool, size, options.mixup, options.cutmix, seed, epoch
        )
        batch.partners = self.augmented(dataset, partners, epoch, seed)
        batch.partner_labels = torch.from_numpy(dataset.labels[partners])
        batch.share, batch.boxes = torch.from_numpy(share), torch.from_numpy(boxes)

    def normalised(self, images: Tensor) -> Tensor:
        """Return float32 images as the network takes them; on the images' device."""
        mean, std = self.state["mean"].to(images.device), self.state["std"].to(images.device)
        scale = 255.0 if images.dtype == torch.uint8 else 1.0
        return (images.float() - mean * scale) / (std * scale)

    def steps(self, parts: Parts, batch: ImageBatch) -> Iterator[Step]:
        step = Step(lambda: self.loss(parts, batch, step.logs))
        yield step

    def loss(self, parts: Parts, batch: ImageBatch, logs: dict[str, Tensor]) -> Tensor:
        """Return the mean loss of a training batch; accuracy goes to ``logs``."""
        images = self.normalised(batch.images)
        if batch.share is None:
            scores = parts.network(images)
            logs["accuracy"] = (scores.detach().argmax(1) == batch.labels).float().mean()
            return self.criterion(parts, scores, batch.labels)
        assert batch.partners is not None
        assert batch.partner_labels is not None
        assert batch.boxes is not None
        partners = self.normalised(batch.partners)
        scores = parts.network(mixed(images, partners, batch.share, batch.boxes))
        classes = len(self.state["classes"])
        share = batch.share[:, None]
        targets = share * F.one_hot(batch.labels, classes)
        targets = targets + (1 - share) * F.one_hot(batch.partner_labels, classes)
        return self.criterion(parts, scores, targets)

    def criterion(self, parts: Parts, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the page's own loss, or cross-entropy with smoothing and class weights.

        Weighted losses are divided by the number of examples, so that the pieces of a batch add up
        to the whole.
        """
        loss = getattr(parts.network, "loss", None)
        if loss is not None:
            return loss(scores, targets)
        smoothing = self.options.label_smoothing
        if self.options.class_weights == "none":
            return F.cross_entropy(scores, targets, label_smoothing=smoothing)
        counts = torch.tensor(self.state["train_counts"], device=scores.device)
        weight = counts.sum() / (len(counts) * counts.clamp_min(1))
        total = F.cross_entropy(
            scores, targets, weight=weight, label_smoothing=smoothing, reduction="sum"
        )
        return total / len(scores)

    # Measuring

    def predict(self, parts: Parts, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Return class scores (batch, classes) in float32, and the mean loss."""
        scores = parts.network(self.normalised(batch.images)).float()
        known = batch.labels.clamp_min(0)  # other data may lack labels; their loss is not used
        loss = getattr(parts.network, "loss", F.cross_entropy)
        return scores, loss(scores, known)

    def meter(self) -> ClassMeter:
        return ClassMeter()

    def evaluate(
        self, parts: Parts, dataset: Dataset, split: Indices, train: Indices, context: Context
    ) -> Evaluation:
        from torchfolio.tasks.image_classification_report import evaluate

        return evaluate(self, parts, dataset, split, context)

    def picture(self, row: dict[str, Any], target: Path) -> Path:
        from torchfolio.tasks.image_answers import draw_answer

        return draw_answer(row, target)

    def adapt(self, dataset: Dataset) -> Dataset:
        assert dataset.labels is not None
        classes = self.state["classes"]
        for name in dataset.classes:
            if name not in classes:
                raise unknown("class of this run", name, classes)
        table = np.array([classes.index(name) for name in dataset.classes], np.int64)
        labels = np.where(dataset.labels < 0, -1, table[dataset.labels])  # -1: not known
        return replace(dataset, classes=tuple(classes), labels=labels)

    def answer(
        self, parts: Parts, inputs: Sequence[Any], context: Context
    ) -> Iterator[dict[str, Any]]:
        from torchfolio.tasks.image_answers import answer

        return answer(self, parts, inputs, context)
