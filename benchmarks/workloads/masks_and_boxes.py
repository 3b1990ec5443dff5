"""Masks and boxes: trainings beside torchvision's reference scripts and other libraries.

Pictures of 160x120 with discs and squares on photographs. What is tested: the mean IoU of pixels,
or the average precision at an overlap of 0.5.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from benchmarks.bounds import Bound
from benchmarks.data import Data
from benchmarks.workloads.base import NOT_LOADED, Command, Place, Workload, reached
from benchmarks.workloads.training import VARIANTS, fill_once

MASKS = ("--crop", "96", "--image-size", "120", "--augment", "scale", "--loss", "cross-entropy")
BOXES = ("--image-size", "160", "--augment", "flip")


@dataclass(frozen=True)
class Located:
    """One training. ``module`` is that of the peer, ``settings`` are further flags of ours."""

    network: str
    module: str
    epochs: int
    batch_size: int
    lr: float
    settings: tuple[str, ...]

    def ours(self, variant: str, place: Place) -> Command:
        """Return our command; the cache holds the pictures."""
        arguments = [
            *(place.python, "-m", "benchmarks.ours", "train", self.network, place.there.path),
            *("--epochs", str(1 if place.small else self.epochs)),
            *("--batch-size", str(self.batch_size), "--lr", str(self.lr), "--optimizer", "sgd"),
            *("--momentum", "0.9", "--weight-decay", "0", "--schedule", "constant"),
            *("--colour", "0", "--normalize", "imagenet", "--warmup", "0", *self.settings),
            *("--seed", str(place.seed), *VARIANTS[variant]),
            *("--device", place.device, "--out", "run", "--json", "--quiet"),
        ]
        cache = {"TORCHFOLIO_CACHE": str(place.kept / "cache")}
        return Command(arguments, cache, place.folder / "run")

    def peer(self, place: Place) -> Command:
        """Return the peer's command."""
        arguments = [
            *(place.peer_python, "-m", f"benchmarks.peers.{self.module}"),
            *("--network", self.network, "--data", place.there.path),
            *("--epochs", str(1 if place.small else self.epochs)),
            *("--batch-size", str(self.batch_size), "--lr", str(self.lr)),
            *("--seed", str(place.seed), "--device", place.device),
        ]
        return Command(arguments)

    def fill_cache(self, place: Place) -> None:
        """Train once, unmeasured, so that our cache holds the pictures."""
        fill_once(place, replace(self, epochs=1).ours("ours", place))


def figure(name: str, output: Any, data: Data | None) -> tuple[float, int] | None:
    """Return a figure that our command printed, and over how many pictures; or what a peer did."""
    if isinstance(output, dict) and "metrics" in output and data is not None:
        return float(output["metrics"][name]["value"]), data.test
    return reached(output, data)


def located(
    name: str, title: str, work: Located, data: str, metric: str, peers: dict[str, Located]
) -> Workload:
    """Return the workload of one training; ``peers`` says what each is asked."""
    commands: dict[str, Callable[[Place], Command]] = {
        variant: partial(work.ours, variant) for variant in VARIANTS
    }
    commands |= {peer: each.peer for peer, each in peers.items()}
    return Workload(
        name=name,
        title=title,
        commands=commands,
        standard=tuple(each for each in peers if each != "ultralytics"),
        data=data,
        ready=work.fill_cache,
        accuracy=partial(figure, metric),
        bounds=(Bound(1.0, tuple(peers)),),
        apart=NOT_LOADED,
    )


FCN = Located("fcn_resnet50", "masks", 1, 8, 0.01, MASKS)
UNET = Located("unet_vgg16", "masks", 1, 8, 0.01, MASKS)
RCNN = Located("fasterrcnn_resnet50_fpn", "boxes", 1, 4, 0.005, BOXES)
YOLO = Located("yolov3_tiny", "ultralytics_boxes", 10, 8, 0.001, (*BOXES, "--anchors", "data"))

WORKLOADS = [
    located(
        "fcn_masks",
        "FCN on ResNet-50, 80 pictures, crops of 96x96, one epoch, batch 8",
        FCN, "scenes", "mean_iou", {"torchvision": FCN},
    ),
    located(
        "unet_masks",
        "U-Net on VGG16, 80 pictures, crops of 96x96, one epoch, batch 8",
        UNET, "scenes", "mean_iou", {"smp": UNET},
    ),
    located(
        "rcnn_boxes",
        "Faster R-CNN on ResNet-50 with a pyramid, 48 pictures of 160x120, one epoch, batch 4",
        RCNN, "boxes", "ap50", {"torchvision": RCNN},
    ),
    located(
        "yolo_boxes",
        "YOLOv3, small form, 48 pictures of 160x120, ten epochs, batch 8",
        YOLO, "boxes", "ap50", {"ultralytics": YOLO},
    ),
]  # fmt: skip
