"""Object detection: boxes and classes of what is in a picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import batched_nms

from torchfolio.data.boxes import Objects
from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.kinds import BOXED
from torchfolio.data.records import fingerprint
from torchfolio.errors import RequestError, unknown
from torchfolio.evaluation.detection import coco_statistics
from torchfolio.evaluation.detection_report import mean_f1
from torchfolio.evaluation.matching import Detections, match_class
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import Card
from torchfolio.tasks.base import Context, Evaluation, Meter, Parts, Step, Task
from torchfolio.tasks.detection.boxes import GREY, fitted
from torchfolio.tasks.detection.export import Detector, as_candidates, together
from torchfolio.tasks.detection.options import DetectionAnswerOptions, DetectionOptions
from torchfolio.tasks.detection.pictures import BoxBatch, DetectionPictures
from torchfolio.tasks.detection.plan import STEP, anchors_of, plan_detection
from torchfolio.tasks.detection.suppression import (
    BEFORE,
    MOST,
    SMALLEST,
    USUAL,
    found_in,
    same,
)
from torchfolio.tasks.pictures import inherit_normalisation, normalised


@dataclass
class Said:
    """What a network says of a batch: detections in each picture's own pixels, and the loss."""

    detections: list[Detections]
    loss: float


class DetectionMeter(Meter):
    """Loss and COCO's average precision over all pictures."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.truths: list[Objects] = []
        self.answers: list[Detections] = []
        self.loss = 0.0

    def update(self, outputs: Said, batch: BoxBatch) -> None:
        self.truths += batch.truths
        self.answers += outputs.detections
        self.loss += outputs.loss * len(batch)

    def merge(self, other: "DetectionMeter") -> None:
        self.truths += other.truths
        self.answers += other.answers
        self.loss += other.loss

    def compute(self) -> dict[str, float]:
        sizes = np.ones((len(self.truths), 2), np.int64)  # which average precision does not read
        found = coco_statistics(self.truths, self.answers, sizes, self.classes)
        loss = self.loss / max(1, len(self.truths))
        return {"loss": loss} | {name: found[name] for name in ("ap", "ap50", "ap75")}


class ObjectDetection(Task):
    """Boxes and classes of what is in a picture; each network has the loss of its paper."""

    name = "object-detection"
    kinds = (BOXED,)
    Options = DetectionOptions
    AnswerOptions = DetectionAnswerOptions
    monitor = "ap"
    headline = ("ap", "ap50", "ap75")
    options: DetectionOptions

    def __init__(self, options: Any, state: dict[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.pictures = DetectionPictures(options, self.state)

    @property
    def higher_is_better(self) -> dict[str, bool]:
        return {"loss": False, "ap": True, "ap50": True, "ap75": True}

    # Before training

    def prepare(self, card: Card, dataset: Dataset, train: Indices) -> list[str]:
        self.pictures, lines = plan_detection(card, dataset, train, self.options)
        self.state = self.pictures.state
        return lines

    def inherit(self, state: dict[str, Any], asked: frozenset[str]) -> list[str]:
        lines = []
        if "normalize" not in asked:
            lines += inherit_normalisation(self.state, state, (self.state["channels"], 1, 1))
        wanted = "anchors" in asked or self.options.anchors == "data"
        if "anchors" in state and not wanted:
            self.state["anchors"] = state["anchors"]
            lines.append("anchors of the run that the weights come from (--anchors overrules)")
        return lines

    def parts(self, card: Card, **arguments: Any) -> Parts:
        decided = {"num_classes": len(self.state["classes"]), "in_channels": self.state["channels"]}
        for name in (decided.keys() | {"image_size"}) & arguments.keys():
            raise RequestError(
                f"--set gives {name}, which follows the data. Size and channels are --image-size "
                "and --channels."
            )
        size = (self.state["size"], self.state["size"])
        network: Any = build(card.name, **decided, image_size=size, **arguments)
        self.set_anchors(card, network)
        return Parts(network=network)

    def set_anchors(self, card: Card, network: Any) -> None:
        """Give a network the anchors that follow the data, or those of given weights."""
        if self.options.anchors == "data" and not hasattr(network, "set_anchors"):
            raise RequestError(f"anchors = data: {card.name} has no anchors that can be set.")
        shape = getattr(network, "anchor_shape", None)
        known = self.state.get("anchors")
        if known is not None and (len(known), len(known[0])) != shape:
            del self.state["anchors"]  # of weights of another network
        if "anchors" not in self.state and self.options.anchors == "data":
            self.state["anchors"] = anchors_of(self.state, *network.anchor_shape)
        if "anchors" in self.state:
            network.set_anchors(self.state["anchors"])

    # Training

    def batches(
        self, dataset: Dataset, split: Indices, size: int, seed: int, epoch: int
    ) -> list[Indices]:
        planned = super().batches(dataset, split, size, seed, epoch)
        self.pictures.plan(planned, epoch, seed)
        return planned

    def load(self, dataset: Dataset, indices: Indices, epoch: int | None, seed: int) -> BoxBatch:
        if epoch is None:
            return self.pictures.fixed(dataset, indices)
        return self.pictures.augmented(dataset, indices, epoch, seed)

    def steps(self, parts: Parts, batch: BoxBatch) -> Iterator[Step]:
        yield Step(lambda: self.loss(parts, batch))

    def loss(self, parts: Parts, batch: BoxBatch) -> Tensor:
        """Return the loss of the network's page."""
        network: Any = parts.network
        return network.loss(self.outputs(parts, batch), batch.targets)

    def outputs(self, parts: Parts, batch: BoxBatch) -> Any:
        """Return what the network says of a batch; some learn from what they are told meanwhile."""
        images = normalised(batch.images, self.state)
        if needs_targets(parts["network"]):
            return parts.network(images, batch.targets)
        return parts.network(images)

    def what_is_random(self) -> str:
        still = self.options.augment == "none" and not self.options.multi_scale
        return "" if still else "training pictures are moved at random"

    # Measuring and answering

    def predict(self, parts: Parts, batch: BoxBatch) -> Said:
        network: Any = parts.network
        images = normalised(batch.images, self.state)
        if needs_targets(network):  # the answers know nothing of the truth
            outputs, told = network(images, batch.targets, answers=True)
        else:
            outputs = told = network(images)
        loss = float(network.loss(told, batch.targets))
        found = [
            placed.answered(said)
            for said, placed in zip(kept(network, outputs), batch.placed, strict=True)
        ]
        return Said(found, loss)

    def meter(self) -> DetectionMeter:
        return DetectionMeter(len(self.state["classes"]))

    def evaluate(
        self, parts: Parts, dataset: Dataset, split: Indices, context: Context
    ) -> Evaluation:
        from torchfolio.tasks.detection.report import evaluate

        return evaluate(self, self.answering(parts, context), dataset, split, context)

    def conclude(
        self, parts: Parts, dataset: Dataset, validation: Indices, context: Context
    ) -> list[str]:
        from torchfolio.tasks.detection.report import choose_threshold

        return choose_threshold(self, self.answering(parts, context), dataset, validation, context)

    def answering(self, parts: Parts, context: Context) -> Parts:
        from torchfolio.networks.inference import answering, with_part

        network: Any = parts["network"].eval()
        side = self.state["size"]
        if "image_size" not in signature(type(network)).parameters:  # it takes any
            side = min(side, 2 * getattr(network, "step", STEP))
        example = torch.zeros(1, self.state["channels"], side, side, device=context.device)
        if not needs_targets(network):
            return Parts(network=answering(network, example))
        # What a second stage looks at follows from the picture, so the backbone alone is folded;
        # the form on VGG16 has none, and no batch norm.
        if hasattr(network, "backbone"):
            return Parts(network=with_part(network, "backbone", example))
        return parts

    def adapt(self, dataset: Dataset) -> Dataset:
        classes = self.state["classes"]
        if list(dataset.classes) == classes:
            return dataset
        for name in dataset.classes:
            if name not in classes:
                raise unknown("class of this run", name, classes)
        table = np.array([classes.index(name) for name in dataset.classes], np.int64)
        records: Any = dataset.records
        return replace(
            dataset,
            classes=tuple(classes),
            records=records.renumbered(table),
            fingerprint=fingerprint(dataset.fingerprint, table),
        )

    def answer(
        self, parts: Parts, inputs: Sequence[Any], context: Context, options: Any
    ) -> Iterator[dict[str, Any]]:
        from torchfolio.tasks.detection.prediction import answer

        return answer(self, parts, inputs, context, options)

    def cells(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        from torchfolio.tasks.detection.answers import object_rows

        return object_rows(row)

    def picture(self, row: dict[str, Any], target: Path) -> Path | None:
        from torchfolio.tasks.detection.answers import draw

        return draw(row, target)

    # Export

    def export_inputs(self, parts: Parts) -> list[dict[str, Any]]:
        deep = self.state["depth"] != 8
        return [
            {
                "name": "images",
                "dtype": "float32" if deep else "uint8",
                **{key: self.state[key] for key in ("channels", "size", "depth")},
                "resize": "whole",
                "fill": GREY if deep else float(round(255 * GREY)),
            }
        ]

    def export_facts(self, parts: Parts) -> dict[str, Any]:
        threshold = float(self.state.get("threshold", USUAL))
        return super().export_facts(parts) | {
            "threshold": threshold,
            **{key: self.state[key] for key in ("least_score", "most_overlap")},
        }

    def exported(self, parts: Parts) -> nn.Module:
        network: Any = parts.network
        if needs_targets(network):
            raise RequestError(
                "A network of two stages cannot be exported: how many boxes its second stage looks "
                "at follows from the picture. YOLO can."
            )
        scale = 255.0 if self.state["depth"] == 8 else 1.0
        mean, std = (self.state[key] * scale for key in ("mean", "std"))
        return Detector(network, mean, 1 / std).eval()

    def outputs_of(self, parts: Parts, batch: BoxBatch) -> NDArray[np.float32]:
        network: Any = parts.network
        outputs, side = network(normalised(batch.images, self.state)), self.state["size"]
        if not needs_targets(network):
            boxes, scores = network.scored(outputs)
            return together(boxes, scores, side).numpy()
        return as_candidates(kept(network, outputs), len(self.state["classes"]), side)

    def checked(
        self, outputs: NDArray[Any], dataset: Dataset, indices: Indices
    ) -> tuple[str, float]:
        records: Any = dataset.records
        truths = [records.objects[index] for index in indices.tolist()]
        side, sizes = self.state["size"], records.sizes[indices].tolist()
        found = [
            fitted(height, width, side).answered(each.moved(each.boxes * side))
            for each, (height, width) in zip(self.found(outputs), sizes, strict=True)
        ]
        matches = [match_class(truths, found, label) for label in range(len(dataset.classes))]
        return "F1", mean_f1(matches, float(self.state.get("threshold", USUAL)))

    def changed(
        self, outputs: NDArray[Any], others: NDArray[Any]
    ) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        least = float(self.state.get("threshold", USUAL))
        pairs = zip(self.found(outputs), self.found(others), strict=True)
        other = [not same(one, two, least) for one, two in pairs]
        return np.array(other, bool), np.abs(outputs - others).max((1, 2))

    def found(self, outputs: NDArray[Any]) -> list[Detections]:
        """Return what is found in each square, in shares of it, from all boxes and scores."""
        rules = (float(self.state["least_score"]), float(self.state["most_overlap"]))
        return [found_in(each, *rules, 1 / self.state["size"]) for each in outputs]


def needs_targets(network: Any) -> bool:
    """Return whether a network is told the truth while it learns: its stages choose by it."""
    return bool(getattr(network, "needs_targets", False))


def kept(network: Any, outputs: Any, most: int = MOST) -> list[Detections]:
    """Return the best of each picture's candidates, in pixels of the square.

    Of two of one class that overlap by more than ``network.most_overlap`` the likelier is kept
    (non-maximum suppression), and none below ``network.least_score``.
    """
    found = []
    for boxes, scores in zip(*network.scored(outputs), strict=True):
        place, label = torch.nonzero(scores > network.least_score, as_tuple=True)
        value = scores[place, label]
        if len(value) > BEFORE:
            value, order = value.topk(BEFORE)
            place, label = place[order], label[order]
        chosen = boxes[place] if boxes.ndim == 2 else boxes[place, label]
        sides = chosen[:, 2:] - chosen[:, :2]
        large = (sides >= SMALLEST).all(1)
        chosen, value, label = chosen[large], value[large], label[large]
        keep = batched_nms(chosen.float(), value.float(), label, network.most_overlap)[:most]
        found.append(
            Detections(
                chosen[keep].float().cpu().numpy(),
                value[keep].float().cpu().numpy(),
                label[keep].cpu().numpy(),
            )
        )
    return found
