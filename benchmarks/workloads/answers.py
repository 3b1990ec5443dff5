"""Masks and boxes of 400 pictures of 160x120, by one command, beside the usual loops.

Everybody has the weights of one short training of ours (Ultralytics, whose network is another, of
one of its own). torchvision's FCN computes its auxiliary head also when it answers. What is told
shows that all give the same answers: how well the share of each class in a picture agrees with its
mask, or how many objects were found at an overlap of 0.5.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.bounds import Bound
from benchmarks.data import Data
from benchmarks.results import code_digest
from benchmarks.workloads.base import NOT_LOADED, Command, Place, Workload, reached
from benchmarks.workloads.masks_and_boxes import BOXES, MASKS, Located
from benchmarks.workloads.training import call

LEAST_SCORE, MOST = 0.05, 100  # of torchvision's detectors: what they answer, and how many
OVERLAP = 0.5
OWN_WEIGHTS = ("ultralytics_answers",)  # whose network is another; installed by its own group


@dataclass(frozen=True)
class Answers:
    """One workload: the training whose weights everybody has, and the peer's module."""

    work: Located
    folder: str  # of the pictures that are asked, in the data
    module: str
    flags: tuple[str, ...] = ()

    def run_of(self, place: Place) -> Path:
        """Return the run whose weights everybody uses: one of our code as it is."""
        return place.kept / f"run-{code_digest()}"

    def train(self, place: Place) -> None:
        """Make the weights that are not there yet."""
        run = self.run_of(place)
        if not (run / "metrics.json").is_file():
            shutil.rmtree(run, ignore_errors=True)  # of a training that was broken off
            command = self.work.ours("ours", place)
            arguments = [str(run) if each == "run" else each for each in command.arguments]
            call(Command(arguments, command.environment), place.folder)
        if self.module in OWN_WEIGHTS and Path(place.peer_python).with_name("yolo").is_file():
            call(Command([*self.peer(place).arguments, "--train"]), place.folder)

    def ours(self, place: Place) -> Command:
        """Return our command."""
        run = self.run_of(place)
        arguments = [
            *(place.python, "-m", "torchfolio", "predict", str(run)),
            *(str(Path(place.there.path) / self.folder), *self.flags),
            *("--device", place.device, "--json"),
        ]
        return Command(arguments, {"TORCHFOLIO_CACHE": str(place.kept / "cache")}, run)

    def peer(self, place: Place) -> Command:
        """Return the peer's command."""
        arguments = [
            *(place.peer_python, "-m", f"benchmarks.peers.{self.module}"),
            *("--device", place.device, "--data", place.there.path, "--folder", self.folder),
        ]
        if self.module in OWN_WEIGHTS:
            arguments += ["--kept", str(place.kept), "--epochs", str(self.work.epochs)]
            arguments += ["--lr", str(self.work.lr), "--batch-size", str(self.work.batch_size)]
        else:
            weights = self.run_of(place) / "weights" / "best.safetensors"
            arguments += ["--network", self.work.network, "--weights", str(weights)]
        return Command(arguments)


def rows_of(output: Any) -> list[dict[str, Any]] | None:
    """Return the rows that ``folio predict --json`` printed, or a peer with its versions."""
    if isinstance(output, dict):
        output = output.get("rows")
    return output if isinstance(output, list) else None


def shares_agree(output: Any, data: Data | None) -> tuple[float, int] | None:
    """Return 1 less half the sum of what the classes' shares are off, mean over the pictures."""
    if (rows := rows_of(output)) is None:
        return reached(output, data)
    found = []
    for row in rows:
        told = np.array(list(row["shares"].values()))
        if not len(told):  # an error
            found.append(0.0)
            continue
        path = Path(row["input"])
        true = shares_of(path.parent.parent / "masks" / f"{path.stem}.png", len(told))
        found.append(1 - np.abs(told - true).sum() / 2)
    return float(np.mean(found)), len(found)


@cache
def shares_of(mask: Path, classes: int) -> Any:
    """Return the share of each class in a mask."""
    with Image.open(mask) as opened:
        values = np.asarray(opened).ravel()
    return np.bincount(values, minlength=classes) / values.size


def objects_found(output: Any, data: Data | None) -> tuple[float, int] | None:
    """Return the share of objects of which a box of their class overlaps by half, and pictures."""
    if (rows := rows_of(output)) is None:
        return reached(output, data)
    found: list[bool] = []
    for row in rows:
        path = Path(row["input"])
        for name, box in objects_of(path.parent.parent.parent / "annotations", path.parent.name)[
            path.name
        ]:
            found.append(
                any(
                    each["class"] == name and overlap(box, each["box"]) >= OVERLAP
                    for each in row["objects"]
                )
            )
    return float(np.mean(found)), len(rows)


Known = dict[str, list[tuple[str, list[float]]]]


@cache
def objects_of(folder: Path, split: str) -> Known:
    """Return the class and the box (left, top, right, bottom) of each object, by picture."""
    told = json.loads((folder / f"instances_{split}.json").read_text(encoding="utf-8"))
    names = {each["id"]: each["name"] for each in told["categories"]}
    files = {each["id"]: each["file_name"] for each in told["images"]}
    found: Known = {name: [] for name in files.values()}
    for each in told["annotations"]:
        left, top, wide, high = each["bbox"]
        box = [left, top, left + wide, top + high]
        found[files[each["image_id"]]].append((names[each["category_id"]], box))
    return found


def overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the intersection over the union of two boxes (left, top, right, bottom)."""
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    if wide <= 0 or high <= 0:
        return 0.0
    areas = ((each[2] - each[0]) * (each[3] - each[1]) for each in (first, second))
    return wide * high / (sum(areas) - wide * high)


def answering(
    name: str,
    title: str,
    asked: Answers,
    data: str,
    peer: str,
    figure: Callable[[Any, Data | None], tuple[float, int] | None],
) -> Workload:
    """Return the workload."""
    return Workload(
        name=name,
        title=title,
        commands={"ours": asked.ours, peer: partial(Answers.peer, asked)},
        standard=() if asked.module in OWN_WEIGHTS else (peer,),
        data=data,
        ready=asked.train,
        accuracy=figure,
        bounds=(Bound(1.0, (peer,)),),
        apart=NOT_LOADED,
    )


IMAGES, TEST = "test/images", "images/test"
SCORES = ("--threshold", str(LEAST_SCORE), "--most", str(MOST))
FCN = Answers(Located("fcn_resnet50", "masks", 6, 8, 0.01, MASKS), IMAGES, "mask_answers")
UNET = Answers(Located("unet_vgg16", "masks", 6, 8, 0.01, MASKS), IMAGES, "mask_answers")
RCNN = Answers(
    Located("fasterrcnn_resnet50_fpn", "boxes", 8, 4, 0.01, BOXES), TEST, "box_answers", SCORES
)
YOLO = Answers(
    Located("yolov3_tiny", "ultralytics_boxes", 30, 8, 0.001, (*BOXES, "--anchors", "data")),
    TEST, "ultralytics_answers", SCORES,
)  # fmt: skip

WORKLOADS = [
    answering("fcn_answers", "FCN on ResNet-50 answers 400 pictures of 160x120, whole process",
              FCN, "many_scenes", "torchvision", shares_agree),
    answering("unet_answers", "U-Net on VGG16 answers 400 pictures of 160x120, whole process",
              UNET, "many_scenes", "smp", shares_agree),
    answering("rcnn_answers", "Faster R-CNN on ResNet-50 with a pyramid answers 400 pictures of "
              "160x120, whole process", RCNN, "many_boxes", "torchvision", objects_found),
    answering("yolo_answers", "YOLOv3, small form, answers 400 pictures of 160x120, whole process",
              YOLO, "many_boxes", "ultralytics", objects_found),
]  # fmt: skip
