"""What detection decides before training: size, channels, normalisation, anchors."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torchfolio.data.boxes import box_areas
from torchfolio.data.dataset import Dataset, Indices
from torchfolio.errors import RequestError
from torchfolio.networks.build import builder, settings
from torchfolio.networks.catalogue import Card
from torchfolio.tasks.detection.boxes import cluster, fitted
from torchfolio.tasks.detection.options import DetectionOptions
from torchfolio.tasks.detection.pictures import DetectionPictures
from torchfolio.tasks.image_preparation import fit_channels

STEP = 32  # pixels: of which sides of squares are multiples, where a network says no other
FIT_PICTURES = 500  # training pictures that mean and deviation are fitted on
SMALL = 32**2  # pixels: what COCO calls a small object


def plan_detection(
    card: Card, dataset: Dataset, train: Indices, options: DetectionOptions
) -> tuple[DetectionPictures, list[str]]:
    """Decide all from the training split; return the pictures and a line on each decision."""
    records: Any = dataset.records
    facts = records.facts(train)
    usual, longest = max(card.input[1:]), max(facts["size_median"])
    network = builder(card)
    step = getattr(network, "step", STEP)
    usual = usual // step * step
    least = max(card.smallest, step)
    if options.image_size is not None:
        size, why = options.image_size, "as asked"
        if size % step or size < least:
            raise RequestError(
                f"image-size is {size}; {card.name} takes multiples of {step} from {least} on."
            )
    else:
        size = max(least, min(usual, -(-longest // step) * step))
        above = "at most " if longest > usual else ""
        why = (
            f"for a median longer side of {longest}, {above}{usual}, the usual size of {card.name}"
        )
    channels = card.input[0] if card.fixed_channels else options.channels or facts["channels"]
    state: dict[str, Any] = {
        "size": size,
        "channels": channels,
        "depth": facts["depth"],
        "classes": list(dataset.classes),
        "least_score": float(network.least_score),
        "most_overlap": float(network.most_overlap),
        "train": torch.from_numpy(np.asarray(train, np.int64)),
    }
    if options.multi_scale:
        if "image_size" in settings(card):
            raise RequestError(
                f"multi-scale: {card.name} takes pictures of one size. Leave it out."
            )
        state["squares"] = squares(size, step, least)
    elif getattr(network, "needs_targets", False):
        state["room"] = room(records.sizes, size, step)
    pictures = DetectionPictures(options, state)
    high, wide = pictures.room([])
    shape = "squares" if high == wide else "rectangles, as high and wide as the data,"
    lines = [
        f"pictures in {shape} of {high} x {wide}, {channels} channel(s): {why} (--image-size)",
        fit_channels(options.normalize, state, sample(pictures, dataset, train)),
        *objects_told(pictures, dataset, train),
    ]
    if options.multi_scale:
        first, last = state["squares"][0], state["squares"][-1]
        lines.append(f"every batch of training in squares of {first} to {last} (--multi-scale)")
    return pictures, lines


def room(sizes: NDArray[np.int64], side: int, step: int) -> list[int]:
    """Return the height and width, multiples of ``step``, that all pictures of a data set need.

    They are scaled so that their longer sides are ``side``.
    """
    scaled = np.maximum(1, np.round(sizes * (side / sizes.max(1, keepdims=True))))
    return (-(-scaled.max(0) // step) * step).astype(int).tolist()


def squares(size: int, step: int, least: int) -> list[int]:
    """Return the sides that batches of training may have: for 416 those from 320 to 608.

    Redmon and Farhadi, 2017, Section 2 ("Multi-Scale Training"), for other sizes in proportion.
    """
    first, last = (round(size * share / 13 / step) for share in (10, 19))
    return [each * step for each in range(first, last + 1) if each * step >= least]


def objects_told(pictures: DetectionPictures, dataset: Dataset, train: Indices) -> list[str]:
    """Note how many objects of each class there are, their usual box, and their sizes."""
    records: Any = dataset.records
    state = pictures.state
    counts = np.zeros(len(dataset.classes), np.int64)
    boxes, labels, empty = [], [], 0
    for index in train.tolist():
        found = records.objects[index]
        labels.append(found.labels[~found.aside])
        counts += np.bincount(labels[-1], minlength=len(counts))
        height, width = records.sizes[index].tolist()
        boxes.append(fitted(height, width, state["size"]).move(found.boxes[~found.aside]))
        empty += not len(found.labels)
    every = np.concatenate([np.zeros((0, 4), np.float32), *boxes])
    if not len(every):
        raise RequestError("No training picture has an object, so there is nothing to learn.")
    state["train_objects"] = counts.tolist()
    sizes = (every[:, 2:] - every[:, :2]).astype(np.float64)
    state["sizes"] = torch.from_numpy(medians(sizes, np.concatenate(labels), len(counts)))
    if pictures.options.anchors == "data":
        state["boxes"] = torch.from_numpy(sizes)
    named = ", ".join(
        f"{name} {count:,}" for name, count in zip(dataset.classes[:12], counts, strict=False)
    )
    small = float((box_areas(every) < SMALL).mean())
    lines = [
        f"training objects: {named}",
        f"of them {small:.0%} cover less than 32 x 32 pixels of the square; the median is "
        f"{np.median(sizes[:, 0]):.0f} x {np.median(sizes[:, 1]):.0f}",
    ]
    if empty:
        lines.append(f"{empty:,} of {len(train):,} training pictures have no object")
    return lines


def medians(
    sizes: NDArray[np.float64], labels: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """Return the median width and height of each class (classes, 2); 0 where it has no object."""
    found = np.zeros((classes, 2))
    for label in np.unique(labels):
        found[label] = np.median(sizes[labels == label], 0)
    return found


def sample(pictures: DetectionPictures, dataset: Dataset, train: Indices) -> Iterator[torch.Tensor]:
    """Yield training pictures, evenly spread, as many as are looked at."""
    places = np.linspace(0, len(train) - 1, min(len(train), FIT_PICTURES)).astype(int)
    for index in train[places].tolist():
        yield pictures.store(dataset).get(index)


def anchors_of(state: dict[str, Any], sizes: int, each: int) -> list[list[tuple[float, float]]]:
    """Return anchors by k-means of the training boxes, for each size of maps the coarsest first."""
    found = cluster(state["boxes"].numpy(), sizes * each)
    groups = [found[place * each : (place + 1) * each] for place in reversed(range(sizes))]
    return [[(float(w), float(h)) for w, h in group] for group in groups]
