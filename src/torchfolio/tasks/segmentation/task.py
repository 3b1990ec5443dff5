"""Semantic segmentation: a class for every pixel."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.kinds import MASKED
from torchfolio.data.masks import IGNORE
from torchfolio.data.records import fingerprint
from torchfolio.errors import RequestError, unknown
from torchfolio.evaluation.segmentation import confusion, figures
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import Card
from torchfolio.tasks.base import Context, Evaluation, Meter, Parts, Step, Task
from torchfolio.tasks.class_scores import page_loss
from torchfolio.tasks.pictures import inherit_normalisation, normalised
from torchfolio.tasks.segmentation import losses
from torchfolio.tasks.segmentation.asking import Answer, ask, how_tiled
from torchfolio.tasks.segmentation.export import Segmenter, sides_of
from torchfolio.tasks.segmentation.options import SegmentationAnswerOptions, SegmentationOptions
from torchfolio.tasks.segmentation.plan import plan_scenes
from torchfolio.tasks.segmentation.scenes import CropBatch, Scenes, WholeBatch

MOST_WEIGHT = 10.0  # of a rare class
SMALL = 64  # side of a picture by which a network is made ready to answer
KEPT = 6.0  # bytes for each number that a layer gives: float32, and half as much for gradients
MOST_NUMBERS = 4000  # that layers give for a pixel, at most: 1,600 in unet_bn, with 64 maps
LEAST_SIDE = 80  # counted of crops: FCN's padding of 100 around a smaller one is most of its work
USUAL_WIDTH = 64


class SegmentationMeter(Meter):
    """Loss and the figures of the whole over all pictures."""

    def __init__(self, classes: int) -> None:
        self.confusion = np.zeros((classes, classes), np.int64)
        self.loss = self.pixels = 0.0

    def update(self, outputs: Sequence[Answer], batch: WholeBatch) -> None:
        for answer, mask in zip(outputs, batch.masks, strict=True):
            self.confusion += confusion(mask.cpu().numpy(), answer.classes, len(self.confusion))
            self.loss += answer.loss
            self.pixels += answer.pixels

    def merge(self, other: "SegmentationMeter") -> None:
        self.confusion += other.confusion
        self.loss += other.loss
        self.pixels += other.pixels

    def compute(self) -> dict[str, float]:
        found = figures(self.confusion)
        return {"loss": self.loss / max(1.0, self.pixels)} | {k: float(v) for k, v in found.items()}


class SemanticSegmentation(Task):
    """A class for every pixel: cross-entropy, Dice, focal loss, or sums of them."""

    name = "semantic-segmentation"
    kinds = (MASKED,)
    Options = SegmentationOptions
    AnswerOptions = SegmentationAnswerOptions
    monitor = "mean_iou"
    headline = ("mean_iou", "mean_dice", "pixel_accuracy")
    options: SegmentationOptions

    def __init__(self, options: Any, state: dict[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.scenes = Scenes(options, self.state)
        self.weights: dict[torch.device, Tensor] = {}
        self.losses = [each.strip() for each in options.loss.replace("_", "-").split("+")]
        for each in self.losses:
            if each not in losses.NAMES:
                raise unknown("loss", each, losses.NAMES, "Sums are written cross-entropy+dice.")

    @property
    def higher_is_better(self) -> dict[str, bool]:
        names = ["mean_iou", "mean_dice", "pixel_accuracy", "mean_precision", "mean_recall"]
        if len(self.state.get("classes", ())) == 2:
            names += ["iou", "dice"]
        return {"loss": False} | dict.fromkeys(names, True)

    # Before training

    def prepare(self, card: Card, dataset: Dataset, train: Indices) -> list[str]:
        self.scenes, lines = plan_scenes(card, dataset, train, self.options)
        self.state = self.scenes.state
        return lines

    def inherit(self, state: dict[str, Any], asked: frozenset[str]) -> list[str]:
        if "normalize" in asked:
            return []
        return inherit_normalisation(self.state, state, (self.state["channels"], 1, 1))

    def parts(self, card: Card, **arguments: Any) -> Parts:
        decided = {
            "num_classes": len(self.state["classes"]),
            "in_channels": self.state["channels"],
        }
        for name in decided.keys() & arguments.keys():
            raise RequestError(
                f"--set gives {name}, which follows the data. The channels are --channels."
            )
        network: Any = build(card.name, **decided, **arguments)
        self.fit_crop(network)
        return Parts(network=network)

    def bytes_of_example(self, card: Card, enough: int, **arguments: Any) -> int:
        side, numbers = max(self.state["crop"], LEAST_SIDE), 0
        width = arguments.get("width", USUAL_WIDTH)
        if isinstance(width, int | float):  # else building the network says what is wrong
            most = KEPT * MOST_NUMBERS * side**2 * max(1.0, width / USUAL_WIDTH)
            if most <= enough:  # building the network to count takes seconds
                return int(most)

        def count(layer: nn.Module, given: Any, output: Any) -> None:
            nonlocal numbers
            numbers += output.numel()

        with torch.device("meta"), torch.no_grad():  # nothing is computed, no weight is drawn
            network = self.parts(card, **arguments).network.eval()
            for layer in network.modules():
                if not list(layer.children()):
                    layer.register_forward_hook(count)
            side = self.state["crop"]  # that of a network without padding is known now
            try:
                network(torch.zeros(1, self.state["channels"], side, side))
            except (RuntimeError, ValueError):  # a crop that it does not take, as training will say
                return 0
        return int(KEPT * numbers)

    def fit_crop(self, network: Any) -> None:
        """Let crops have a side that the network takes, where its scores lack a border."""
        if getattr(network, "margin", 0):
            self.state["crop"] = network.input_side(self.state["crop"])

    # Training

    def load(self, dataset: Dataset, indices: Indices, epoch: int | None, seed: int) -> Any:
        if epoch is None:
            return self.scenes.whole(dataset, indices)
        return self.scenes.crops(dataset, indices, epoch, seed)

    def steps(self, parts: Parts, batch: CropBatch) -> Iterator[Step]:
        step = Step(lambda: self.loss(parts, batch, step.logs))
        yield step

    def loss(self, parts: Parts, batch: CropBatch, logs: dict[str, Tensor]) -> Tensor:
        """Return the loss of a batch of crops; pixel accuracy goes to ``logs``."""
        outputs = parts.network(normalised(batch.images, self.state))
        scores = outputs if isinstance(outputs, Tensor) else outputs[0]
        masks = inner(batch.masks, scores)
        with torch.no_grad():
            right = (scores.argmax(1) == masks).sum()
            logs["pixel_accuracy"] = right / losses.number((masks != IGNORE).float())
        borders = None if batch.borders is None else inner(batch.borders, scores)
        return page_loss(
            parts, outputs, masks, lambda scores, masks: self.criterion(scores, masks, borders)
        )

    def criterion(self, scores: Tensor, masks: Tensor, borders: Tensor | None = None) -> Tensor:
        """Return the sum of the chosen losses of scores (batch, classes, height, width).

        ``borders`` (batch, height, width) is added to what pixels weigh.
        """
        counted = (masks != IGNORE).float()
        truth = torch.where(masks == IGNORE, 0, masks.long())
        weights = self.class_weights(scores)[truth]
        weights = counted * (weights if borders is None else weights + borders)
        total = scores.new_zeros((), dtype=torch.float32)
        for name in self.losses:
            if name == "dice":
                total = total + losses.dice(scores, truth, counted)
            elif name == "focal":
                gamma = self.options.focal_gamma
                total = total + losses.focal(scores.float(), truth, weights, gamma)
            else:
                total = total + losses.cross_entropy(scores.float(), truth, weights)
        return total

    def class_weights(self, like: Tensor) -> Tensor:
        """Return what the pixels of each class weigh, on the device of ``like``."""
        if like.device not in self.weights:
            self.weights[like.device] = self.new_weights().to(like.device)
        return self.weights[like.device]

    def new_weights(self) -> Tensor:
        """Return what the pixels of each class weigh (classes,), float32."""
        counts = torch.tensor(self.state["train_pixels"], dtype=torch.float32)
        if self.options.class_weights == "none":
            return torch.ones_like(counts)
        return (counts.sum() / (len(counts) * counts.clamp_min(1))).clamp_max(MOST_WEIGHT)

    def what_is_random(self) -> str:
        return "training crops are cut at random"

    # Measuring and answering

    def predict(self, parts: Parts, batch: WholeBatch) -> list[Answer]:
        return [
            ask(self.state, parts.network, picture, tuple(mask.shape), mask)
            for picture, mask in zip(batch.pictures, batch.masks, strict=True)
        ]

    def meter(self) -> SegmentationMeter:
        return SegmentationMeter(len(self.state["classes"]))

    def evaluate(
        self, parts: Parts, dataset: Dataset, split: Indices, context: Context
    ) -> Evaluation:
        from torchfolio.tasks.segmentation.report import evaluate

        parts.network.eval()
        return evaluate(self, self.answering(parts, context), dataset, split, context)

    def answering(self, parts: Parts, context: Context) -> Parts:
        from torchfolio.networks.inference import answering

        network: Any = parts.network
        side = network.input_side(1) if getattr(network, "margin", 0) else SMALL
        example = torch.zeros(1, self.state["channels"], side, side, device=context.device)
        return Parts(network=answering(network, example))

    def adapt(self, dataset: Dataset) -> Dataset:
        classes = self.state["classes"]
        records: Any = dataset.records
        self.require_same_cut(records, dataset.path)
        if list(dataset.classes) == classes:
            return dataset
        places = {name: place for place, name in enumerate(classes)}
        for name in dataset.classes:
            if name not in places:
                raise unknown("class of this run", name, classes)
        table = np.full(256, IGNORE, np.uint8)
        table[: len(dataset.classes)] = [places[name] for name in dataset.classes]
        return replace(
            dataset,
            classes=tuple(classes),
            records=records.renumbered(table),
            fingerprint=fingerprint(dataset.fingerprint, table),  # of which caches are
        )

    def require_same_cut(self, records: Any, path: str) -> None:
        """Raise where pictures and volumes meet, or volumes that are cut along other axes."""
        cutting = self.state.get("volume")
        if (cutting is not None) != hasattr(records, "axis"):
            what = ("volumes", "pictures") if cutting else ("pictures", "volumes")
            raise RequestError(f"This run was trained on {what[0]}; {path} holds {what[1]}.")
        if cutting is not None and records.axis != cutting["axis"]:
            raise RequestError(
                f"This run was trained on {cutting['axis']} slices; those of {path} are "
                f"{records.axis}. Say --axis {cutting['axis']}."
            )

    def answer(
        self, parts: Parts, inputs: Sequence[Any], context: Context, options: Any
    ) -> Iterator[dict[str, Any]]:
        from torchfolio.tasks.segmentation.answers import answer

        return answer(self, parts, inputs, context, options.probabilities)

    def picture(self, row: dict[str, Any], target: Path) -> Path | None:
        from torchfolio.tasks.segmentation.answers import draw

        return draw(row, target)

    # Export

    def export_inputs(self, parts: Parts) -> list[dict[str, Any]]:
        if "volume" in self.state:
            raise RequestError(
                "This run answers volumes, which exported files do not read. 'folio predict' "
                "answers with the run folder itself; --format safetensors writes the weights."
            )
        deep = self.state["depth"] != 8
        return [
            {
                "name": "images",
                "dtype": "float32" if deep else "uint8",
                **{key: self.state[key] for key in ("channels", "depth")},
                "size": self.state["crop"],
                "sides": sides_of(parts.network),
            }
        ]

    def export_facts(self, parts: Parts) -> dict[str, Any]:
        step, reach = how_tiled(parts.network)
        margin = int(getattr(parts.network, "margin", 0))
        own = {"scale": float(self.state["scale"]), "step": step, "reach": reach, "margin": margin}
        return super().export_facts(parts) | own

    def exported(self, parts: Parts) -> nn.Module:
        scale = 255.0 if self.state["depth"] == 8 else 1.0
        mean, std = (self.state[key] * scale for key in ("mean", "std"))
        return Segmenter(parts.network, mean, 1 / std).eval()

    def outputs_of(self, parts: Parts, batch: WholeBatch) -> list[Any]:
        said = [
            ask(self.state, parts.network, picture, tuple(mask.shape), whole=np.float32)
            for picture, mask in zip(batch.pictures, batch.masks, strict=True)
        ]
        return [each.probabilities for each in said]

    def checked(
        self, outputs: Sequence[Any], dataset: Dataset, indices: Indices
    ) -> tuple[str, float]:
        classes = len(self.state["classes"])
        total = np.zeros((classes, classes), np.int64)
        for said, index in zip(outputs, indices.tolist(), strict=True):
            truth = self.scenes.mask(dataset, index).numpy()
            total += confusion(truth, said.argmax(0).astype(np.uint8), classes)
        return "mean IoU", float(figures(total)["mean_iou"])

    def changed(
        self, outputs: Sequence[Any], others: Sequence[Any]
    ) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        margins = []
        for ours, theirs in zip(outputs, others, strict=True):
            best, other = ours.argmax(0)[None], theirs.argmax(0)[None]
            ahead = np.take_along_axis(ours, best, 0) - np.take_along_axis(ours, other, 0)
            margins.append((bool((best != other).any()), float(ahead.max())))
        return np.array([each for each, _ in margins]), np.array([each for _, each in margins])


def inner(masks: Tensor, scores: Tensor) -> Tensor:
    """Return the middle of masks (batch, height, width), where scores lack a border."""
    height, width = scores.shape[-2:]
    top, left = (masks.shape[-2] - height) // 2, (masks.shape[-1] - width) // 2
    return masks[..., top : top + height, left : left + width]
