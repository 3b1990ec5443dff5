"""What tasks share that train a network to give a picture a score for each name."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.errors import RequestError
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import Card
from torchfolio.options import option
from torchfolio.tasks.base import Context, Parts, Step
from torchfolio.tasks.class_scores import takes_criterion
from torchfolio.tasks.image_batches import ImageBatch
from torchfolio.tasks.mixing import draw_mixes, mixed
from torchfolio.tasks.picture_task import Member, PictureTask
from torchfolio.tasks.pictures import PictureOptions, Pictures, ReadPictures

if TYPE_CHECKING:
    from torchfolio.tasks.image_features import Vectors


@dataclass(frozen=True)
class MixingOptions(PictureOptions):
    """Settings of pictures, of how they are mixed, and when they are decoded."""

    mixup: float = option(0.0, "Mix pairs of pictures: alpha of the Beta distribution.", low=0)
    cutmix: float = option(0.0, "Paste patches of other pictures: alpha.", low=0)
    decode_ahead: float = option(
        30.0,
        "Seconds for which files are decoded before the first update, at most; on the CPU alone.",
        low=0,
    )


class PictureTraining(PictureTask):
    """One network, trained to score ``state["classes"]``; what the scores mean is the task's."""

    one_step = True
    relative = True  # scores matter only beside one another, as under a softmax
    options: Any

    def __init__(self, options: Any, state: dict[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.pictures = Pictures(options, self.state)
        self._pool: Indices = np.zeros(0, np.int64)  # the training split: partners for mixing

    # Before training

    def inherit(self, state: dict[str, Any], asked: frozenset[str]) -> list[str]:
        return [] if "normalize" in asked else self.pictures.inherit(state)

    def build(self, card: Card, arguments: dict[str, Any]) -> nn.Module:
        """Build the network for the prepared data; ``arguments`` are those of ``--set``."""
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
        return build(card.name, **decided, **arguments)

    def refuse_settings(self, card: Card, network: nn.Module) -> None:
        """Refuse settings of the task's loss for a network that has a whole loss of its own."""
        options = self.options
        if not has_own_loss(network):
            return
        mixes = options.mixup or options.cutmix or options.label_smoothing
        if mixes or options.class_weights != "none":
            raise RequestError(
                f"{card.name} has the loss of its paper, which knows neither shares nor weights: "
                "leave mixup, cutmix, label-smoothing and class-weights out."
            )

    # Training

    @abstractmethod
    def truth(self, dataset: Dataset, indices: Indices) -> Tensor:
        """Return what some records are, as the loss takes it: a row an example."""

    def batches(
        self, dataset: Dataset, split: Indices, size: int, seed: int, epoch: int
    ) -> list[Indices]:
        self._pool = split
        return super().batches(dataset, split, size, seed, epoch)

    def read_ahead(self, dataset: Dataset, split: Indices) -> None:
        self.pictures.decode_ahead(dataset, split, self.options.decode_ahead)

    def load(self, dataset: Dataset, indices: Indices, epoch: int | None, seed: int) -> ImageBatch:
        truth = self.truth(dataset, indices)
        if epoch is None:
            return ImageBatch(self.pictures.fitted(dataset, indices), truth)
        batch = ImageBatch(self.pictures.augmented(dataset, indices, epoch, seed), truth)
        if self.options.mixup or self.options.cutmix:
            self.mix(batch, dataset, indices, epoch, seed)
        return batch

    def mix(
        self, batch: ImageBatch, dataset: Dataset, indices: Indices, epoch: int, seed: int
    ) -> None:
        """Give each example a partner, a share and a patch, by seed, epoch and example."""
        options, size = self.options, self.state["size"]
        partners, share, boxes = draw_mixes(
            indices, self._pool, size, options.mixup, options.cutmix, seed, epoch
        )
        batch.partners = self.pictures.augmented(dataset, partners, epoch, seed)
        batch.partner_labels = self.truth(dataset, partners)
        batch.share, batch.boxes = torch.from_numpy(share), torch.from_numpy(boxes)

    def steps(self, parts: Parts, batch: ImageBatch) -> Iterator[Step]:
        step = Step(lambda: self.loss(parts, batch, step.logs))
        yield step

    @abstractmethod
    def loss(self, parts: Parts, batch: ImageBatch, logs: dict[str, Tensor]) -> Tensor:
        """Return the mean loss of a training batch; a figure beside it goes to ``logs``."""

    def outputs(self, parts: Parts, batch: ImageBatch) -> Any:
        """Return what the network says of a training batch, its pictures mixed where they are."""
        images = self.pictures.normalised(batch.images)
        if batch.share is None:
            return parts.network(images)
        assert batch.partners is not None
        assert batch.boxes is not None
        partners = self.pictures.normalised(batch.partners)
        return parts.network(mixed(images, partners, batch.share, batch.boxes))

    def what_is_random(self) -> str:
        options = self.options
        if options.augment == "none" and not (options.mixup or options.cutmix):
            return ""
        return (
            "training pictures are changed at random (--augment none --mixup 0 --cutmix 0 leaves "
            "them as they are)"
        )

    def reading(self, features: Callable[[Indices], Tensor]) -> Self:
        found = copy.copy(self)
        found.pictures = ReadPictures(self.pictures, features)
        return found

    # Measuring and use

    def members(self, parts: Parts) -> list[Member]:
        return [Member("network", self, parts.network)]

    @property
    def inputs(self) -> Sequence[Pictures]:
        return [self.pictures]

    def answering(self, parts: Parts, context: Context) -> Parts:
        from torchfolio.networks.inference import answering

        size, channels = self.state["size"], self.state["channels"]
        example = torch.zeros(1, channels, size, size, device=context.device)
        found = answering(parts.network, example, context.bf16, relative=self.relative)
        return Parts(network=found)

    def vectors(
        self, parts: Parts, inputs: Sequence[Any], context: Context, layer: str | None
    ) -> "Vectors":
        from torchfolio.tasks.image_features import vectors

        return vectors(self.pictures, parts.network, inputs, context, layer)

    def explain(
        self,
        parts: Parts,
        inputs: Sequence[Any],
        context: Context,
        folder: Path,
        *,
        method: str | None,
        label: str | None,
        layer: str | None,
    ) -> Iterator[dict[str, Any]]:
        from torchfolio.tasks.image_explanations import explain

        return explain(self, parts, inputs, context, folder, method, label, layer)

    def class_probabilities(self, parts: Parts, images: Sequence[Tensor]) -> Tensor:
        scores = parts.network(self.pictures.normalised(images[0]))
        return self.probabilities(parts, scores.float())

    @abstractmethod
    def probabilities(self, parts: Parts, scores: Tensor) -> Tensor:
        """Return the probability of each name (batch, names) from the network's scores."""

    # Export

    def export_inputs(self, parts: Parts) -> list[dict[str, Any]]:
        state = self.state
        dtype = "uint8" if state["depth"] == 8 else "float32"
        keys = ("channels", "size", "depth", "resize", "fill")
        return [{"name": "images", "dtype": dtype} | {key: state[key] for key in keys}]

    def exported(self, parts: Parts) -> nn.Module:
        from torchfolio.networks.inference import answering
        from torchfolio.tasks.image_export import Classifier

        size, channels = self.state["size"], self.state["channels"]
        example = torch.zeros(1, channels, size, size)
        folded = answering(parts.network, example, relative=self.relative)
        scale = 255.0 if self.state["depth"] == 8 else 1.0
        mean, factor = self.state["mean"] * scale, 1 / self.state["std"] / scale
        return Classifier(folded, mean, factor, self.probabilities).eval()


def has_own_loss(network: nn.Module) -> bool:
    """Return whether a network's page has a whole loss, which leaves nothing to the task."""
    own = getattr(network, "loss", None)
    return own is not None and not takes_criterion(own)


def shared(batch: ImageBatch, own: Tensor, partners: Tensor) -> Tensor:
    """Return the targets (batch, names) of mixed pictures: both sides' in their shares."""
    assert batch.share is not None
    share = batch.share[:, None]
    return share * own + (1 - share) * partners
