"""Image classification: one class a picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
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
from torchfolio.tasks.base import Batch, Context, Evaluation, Meter, Parts, Step, Task, in_batches

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
FIT_PICTURES = 5_000  # the training pictures that means are fitted on
PHOTOGRAPHIC = ("photo", "randaugment")


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
    augment: Literal["none", "shift", "crop-flip", "photo", "randaugment"] = option(
        "none", "Random changes of the training pictures."
    )
    crop_area: float = option(
        0.25, "Smallest share of a photograph that a crop keeps.", low=0.01, high=1
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


@dataclass
class ImageBatch(Batch):
    """Images (batch, channels, height, width), uint8 or float32 in [0, 1], and labels (batch,).

    Under mixup or CutMix, ``partners`` are the images mixed in, ``partner_labels`` their classes,
    ``share`` (batch,) what remains of the first, and ``boxes`` (batch, 4: top, left, bottom,
    right) the patches of CutMix, empty ones where mixup was drawn.
    """

    images: Tensor
    labels: Tensor
    partners: Tensor | None = None
    partner_labels: Tensor | None = None
    share: Tensor | None = None
    boxes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> "ImageBatch":
        if device.type == "cpu":
            return self
        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if value is not None
        }
        return replace(self, **moved)


class ClassMeter(Meter):
    """Loss, accuracy, top-5 accuracy and macro F1 over all batches."""

    def __init__(self) -> None:
        self.probabilities: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.losses = 0.0

    def update(self, outputs: tuple[Tensor, Tensor], batch: ImageBatch) -> None:
        scores, loss = outputs
        self.probabilities.append(scores.softmax(1).cpu())
        self.labels.append(batch.labels.cpu())
        self.losses += float(loss) * len(batch)

    def compute(self) -> dict[str, float]:
        from torchfolio.evaluation.measures import quick_metrics

        labels = torch.cat(self.labels).numpy()
        metrics = quick_metrics(torch.cat(self.probabilities).numpy(), labels)
        return {"loss": self.losses / len(labels), **metrics}


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
            "train_counts": counts.tolist(),
        }
        lines = [f"image size {size} x {size}: {why}", f"{channels} channel(s), resized by: {how}"]
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
        total, squares, seen = 0.0, 0.0, 0
        for part in in_batches(sample, 256):
            pixels = unit(self.fitted(dataset, part)).double()
            total = total + pixels.sum(0)
            squares = squares + pixels.square().sum(0)
            seen += len(pixels)
        mean, square = torch.as_tensor(total) / seen, torch.as_tensor(squares) / seen
        channel_mean = mean.mean((1, 2), keepdim=True)
        std = (square.mean((1, 2), keepdim=True) - channel_mean.square()).clamp_min(1e-8).sqrt()
        self.state["mean"] = (mean if how == "pixel-mean" else channel_mean).float()
        self.state["std"] = std.float()
        shown = ", ".join(f"{value:.3f}" for value in channel_mean.flatten().tolist())
        return f"normalised by the training pictures' {how} (mean {shown})"

    def parts(self, card: Card, **arguments: Any) -> Parts:
        network = build(
            card.name,
            num_classes=len(self.state["classes"]),
            in_channels=self.state["channels"],
            image_size=(self.state["size"], self.state["size"]),
            **arguments,
        )
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
        pixels = dataset.records.pixels(index)  # type: ignore[attr-defined]
        return self.tensor(pixels)

    def tensor(self, pixels: NDArray[Any]) -> Tensor:
        """Turn (height, width, channels) pixels into (channels, height, width) of this run."""
        picture = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, 2, 0)))
        channels = self.state["channels"]
        if len(picture) != channels:
            if channels == 3:
                picture = picture.expand(3, -1, -1)
            else:  # ITU-R BT.601, as Pillow converts to grey
                weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
                grey = (picture.float() * weights).sum(0, keepdim=True)
                picture = grey.round().to(picture.dtype) if picture.dtype == torch.uint8 else grey
        return picture

    def fit(self, picture: Tensor) -> Tensor:
        """Return a picture at the network's size."""
        state = self.state
        return transforms.fit(picture, state["size"], state["resize"], state["fill"])

    def augmented(self, dataset: Dataset, indices: Indices, epoch: int, seed: int) -> Tensor:
        """Return training pictures, changed at random by seed, epoch and example."""
        augment, size, fill = self.options.augment, self.state["size"], self.state["fill"]
        numbers = uniforms("augment", seed, epoch, indices, 9)
        if augment == "none":
            return self.fitted(dataset, indices)
        if augment == "shift":
            return transforms.shift(
                self.fitted(dataset, indices), max(1, round(size / 14)), fill, numbers[:, :2]
            )  # 2 pixels of 28
        if augment == "photo" or (augment == "randaugment" and size > 64):
            store = self.store(dataset, large=True)
            assert isinstance(store, VariedStore)
            crops = []
            for index, row in zip(indices.tolist(), numbers, strict=True):
                picture = store.get(index)
                area = (self.options.crop_area, 1.0)
                top, left, tall, wide = transforms.random_window(
                    picture.shape[1], picture.shape[2], row, area
                )
                crop = picture[:, top : top + tall, left : left + wide]
                crops.append(transforms.resize(crop, size, size))
            images = torch.stack(crops)
        else:  # He et al., 2016, Section 4.2: padded by 4 of 32, a random crop, flipped
            images = transforms.shift(
                self.fitted(dataset, indices), max(1, size // 8), fill, numbers[:, :2]
            )
        images = transforms.flip(images, numbers[:, 4])
        if augment == "randaugment":
            changed = [
                transforms.rand_augment(image, row[5:9], fill)
                for image, row in zip(images, numbers, strict=True)
            ]
            images = torch.stack(changed)
        return images

    def mix(
        self, batch: ImageBatch, dataset: Dataset, indices: Indices, epoch: int, seed: int
    ) -> None:
        """Draw a partner, a share and a patch for each example (Zhang 2018; Yun 2019)."""
        assert dataset.labels is not None
        pool = self._pool
        numbers = uniforms("mix", seed, epoch, indices, 5)
        partners = pool[(numbers[:, 0] * len(pool)).astype(np.int64)]
        cut = np.full(len(indices), bool(self.options.cutmix))
        if self.options.mixup and self.options.cutmix:
            cut = numbers[:, 1] < 0.5
        share = np.where(
            cut,
            beta_quantiles(self.options.cutmix, numbers[:, 2]),
            beta_quantiles(self.options.mixup, numbers[:, 2]),
        )
        size = self.state["size"]
        half = size * np.sqrt(1 - share) / 2  # a patch of area 1 - share, clipped at the border
        middle_y, middle_x = numbers[:, 3] * size, numbers[:, 4] * size
        edges = [middle_y - half, middle_x - half, middle_y + half, middle_x + half]
        boxes = np.clip(np.round(np.stack(edges, 1)), 0, size).astype(np.int64)
        boxes[~cut] = 0
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        share = np.where(cut, 1 - area / size**2, share)
        batch.partners = self.augmented(dataset, partners, epoch, seed)
        batch.partner_labels = torch.from_numpy(dataset.labels[partners])
        batch.share = torch.from_numpy(share.astype(np.float32))
        batch.boxes = torch.from_numpy(boxes)

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
        assert batch.partners is not None and batch.partner_labels is not None
        scores = parts.network(mixed(images, self.normalised(batch.partners), batch))
        classes = len(self.state["classes"])
        share = batch.share[:, None]
        targets = share * F.one_hot(batch.labels, classes)
        targets = targets + (1 - share) * F.one_hot(batch.partner_labels, classes)
        return self.criterion(parts, scores, targets)

    def criterion(self, parts: Parts, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the page's own loss, or cross-entropy with smoothing and class weights."""
        if hasattr(parts.network, "loss"):
            return parts.network.loss(scores, targets)
        weight = None
        if self.options.class_weights == "balanced":
            counts = torch.tensor(self.state["train_counts"], device=scores.device).clamp_min(1)
            weight = (counts.sum() / (len(counts) * counts)).to(scores.dtype)
        smoothing = self.options.label_smoothing
        return F.cross_entropy(scores, targets, weight=weight, label_smoothing=smoothing)

    # Measuring

    def predict(self, parts: Parts, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Return class scores (batch, classes) in float32, and the mean loss."""
        scores = parts.network(self.normalised(batch.images)).float()
        known = batch.labels.clamp_min(0)  # other data may lack labels; their loss is not used
        if hasattr(parts.network, "loss"):
            return scores, parts.network.loss(scores, known)
        return scores, F.cross_entropy(scores, known)

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
        for name in dataset.classes:
            if name not in classes:
                raise unknown("class of this run", name, classes)
        table = np.array([classes.index(name) for name in dataset.classes], np.int64)
        return replace(dataset, classes=tuple(classes), labels=table[dataset.labels])

    def answer(
        self, parts: Parts, inputs: Sequence[Any], context: Context
    ) -> Iterator[dict[str, Any]]:
        from torchfolio.tasks.image_classification_report import answer

        return answer(self, parts, inputs, context)


def choose_size(card: Card, facts: dict[str, Any], wanted: int | None) -> tuple[int, str]:
    """Return the side of the input and the reason for it."""
    smallest, usual = max(card.min_input[1:]), max(card.input[1:])
    if card.fixed_size:
        if wanted not in (None, usual):
            raise RequestError(
                f"{card.name} takes images of {usual} x {usual}, as its paper fixes them; "
                f"image-size is {wanted}. Leave it out: pictures are fitted."
            )
        return usual, f"{card.name} takes no other"
    if wanted is not None:
        if wanted < smallest:
            raise RequestError(f"image-size is {wanted}; {card.name} takes {smallest} or more.")
        return wanted, "as asked"
    median = int(min(facts["size_median"]))
    size = min(max(median, smallest), usual)
    if size == median:
        return size, "the median of the data's"
    word = "smallest sensible" if size == smallest else "usual"
    return size, f"the {word} size of {card.name}; the data's median is {median}"


def border_value(dataset: Dataset, sample: Indices) -> float:
    """Return the median of the pictures' outermost pixels: what padding continues them with."""
    edges = []
    for index in sample[:: max(1, len(sample) // 500)]:
        pixels = dataset.records.pixels(int(index))  # type: ignore[attr-defined]
        edges.append(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).ravel())
    return float(np.median(np.concatenate(edges)))


def read_range(text: str) -> tuple[float, float]:
    """Read LOW:HIGH."""
    try:
        low, high = (float(each) for each in text.split(":"))
    except ValueError:
        low = high = 0.0
    if low >= high:
        raise RequestError(f"normalize is {text!r}; LOW:HIGH needs two numbers, the lower first.")
    return low, high


def unit(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1]; float images as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def mixed(images: Tensor, partners: Tensor, batch: ImageBatch) -> Tensor:
    """Blend each image with its partner, or paste the partner's patch."""
    assert batch.share is not None and batch.boxes is not None
    share = batch.share[:, None, None, None]
    blended = images * share + partners * (1 - share)
    top, left, bottom, right = batch.boxes.T[:, :, None, None]
    rows = torch.arange(images.shape[2], device=images.device)[None, :, None]
    columns = torch.arange(images.shape[3], device=images.device)[None, None, :]
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    cut = (batch.boxes[:, 2] > 0)[:, None, None, None]  # CutMix was drawn
    return torch.where(cut, torch.where(inside[:, None], partners, images), blended)


def beta_quantiles(alpha: float, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Beta(alpha, alpha) at the given levels, from 65,536 sorted draws."""
    if alpha == 0:
        return np.ones(len(numbers))
    table = beta_table(alpha)
    return table[(numbers * len(table)).astype(np.int64)]


@cache
def beta_table(alpha: float) -> NDArray[np.float64]:
    """Return 65,536 sorted draws from Beta(alpha, alpha): its quantiles, to four digits."""
    return np.sort(np.random.default_rng(0).beta(alpha, alpha, 65_536))
