"""Pictures with their objects as a detector takes them: in the middle of a square, on grey.

A network of two stages takes any sizes; where all pictures of the data leave the same edges of the
square grey, those are left out (``room``).
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchfolio.data import transforms
from torchfolio.data.boxes import Boxes, BoxFiles, Objects
from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.draws import uniforms
from torchfolio.data.fitting import opened
from torchfolio.data.records import fingerprint
from torchfolio.data.store import PictureStore, memory_budget
from torchfolio.tasks.base import Batch
from torchfolio.tasks.detection.boxes import GREY, Placed, fitted, mirrored, within
from torchfolio.tasks.detection.options import DetectionOptions
from torchfolio.tasks.pictures import tensor_of

NUMBERS = 8  # random numbers of a picture: its size, its shape, its place, whether it is mirrored
MIDDLE = (0.3, 0.7)  # of a side: where four pictures in one meet


@dataclass
class BoxBatch(Batch):
    """Pictures (batch, channels, height, width) and the objects of each.

    ``boxes`` are (objects, 4) tensors in pixels of these, ``labels`` (objects,); ``aside`` are
    objects of which nothing is learnt. ``placed`` says how each picture lies there.
    """

    images: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    placed: list[Placed]
    truths: list[Objects]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def targets(self) -> list[tuple[Tensor, Tensor]]:
        """The boxes and classes of each picture's objects."""
        return list(zip(self.boxes, self.labels, strict=True))

    def mapped(self, function: Any) -> "BoxBatch":
        """Return the batch with a function applied to each of its tensors."""
        boxes, labels = list(map(function, self.boxes)), list(map(function, self.labels))
        return BoxBatch(function(self.images), boxes, labels, self.placed, self.truths)


class DetectionPictures:
    """The pictures of one run; ``state`` is what :func:`plan_detection` decided."""

    def __init__(self, options: DetectionOptions, state: dict[str, Any]) -> None:
        self.options = options
        self.state = state
        self._dataset: Dataset | None = None
        self._store: PictureStore | None = None
        self._lock = threading.Lock()
        self._planned: tuple[tuple[int, int] | None, dict[int, int]] = None, {}

    # Single pictures

    def store(self, dataset: Dataset) -> PictureStore:
        """Return the store of the pictures, scaled so that their longer side is the square's."""
        with self._lock:
            if dataset is not self._dataset or self._store is None:
                self._dataset, self._store = dataset, self.open_store(dataset)
            return self._store

    def open_store(self, dataset: Dataset) -> PictureStore:
        state, records = self.state, cast("BoxFiles", dataset.records)
        sizes = np.array([self.scaled(*each) for each in records.sizes.tolist()], np.int64)
        return PictureStore(
            lambda index: self.fit(tensor_of(records.pixels(index, state["depth"]), state)),
            sizes.reshape(-1, 2),
            state["channels"],
            torch.uint8 if state["depth"] == 8 else torch.float32,
            fingerprint(
                *("boxes 1", dataset.fingerprint, state["size"], state["channels"]),
                *(state["depth"], records.channels, PIL.__version__, torch.__version__),
            ),
            memory_budget(),
            records.unchanged,
        )

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of a picture whose longer side is the square's."""
        side = self.state["size"]
        placed = fitted(height, width, side)
        return round(height * placed.down), round(width * placed.across)

    def fit(self, picture: Tensor) -> Tensor:
        """Return a picture scaled so that its longer side is the square's."""
        return transforms.resize(picture, *self.scaled(*picture.shape[-2:])).contiguous()

    def read(self, source: Path | NDArray[Any]) -> tuple[Tensor, Placed]:
        """Return the square of a file's or an array's picture, and how it lies there."""
        picture = tensor_of(opened(source, self.state["depth"]), self.state)
        height, width = picture.shape[-2:]
        room = self.room([(height, width)])
        placed = fitted(height, width, self.state["size"], room)
        canvas = self.canvas(1, room)[0]
        lay(canvas, self.fit(picture), placed.left, placed.top)
        return canvas, placed

    def room(self, sizes: Iterable[tuple[int, int]]) -> tuple[int, int]:
        """Return the height and width of what pictures of these sizes lie in: usually the square.

        A network of which nothing else is said has less of it, as far as the data leave it grey.
        """
        side = self.state["size"]
        high, wide = self.state.get("room", (side, side))
        for size in sizes:
            down, across = self.scaled(*size)
            if down > high or across > wide:  # of other data
                return side, side
        return high, wide

    def canvas(self, count: int, room: tuple[int, int]) -> Tensor:
        """Return grey pictures of that height and width."""
        deep = self.state["depth"] != 8
        shape = (count, self.state["channels"], *room)
        if deep:
            return torch.full(shape, GREY)
        return torch.full(shape, round(255 * GREY), dtype=torch.uint8)

    # Batches

    def fixed(self, dataset: Dataset, indices: Indices) -> BoxBatch:
        """Return pictures in the middle of what they lie in, without anything random."""
        records: Any = dataset.records
        sizes = records.sizes[indices].tolist()
        room = self.room(sizes)
        images, placed, moved = self.canvas(len(indices), room), [], []
        truths = [records.objects[index] for index in indices.tolist()]
        for place, (index, size) in enumerate(zip(indices.tolist(), sizes, strict=True)):
            lies = fitted(size[0], size[1], self.state["size"], room)
            lay(images[place], self.store(dataset).get(index), lies.left, lies.top)
            placed.append(lies)
            moved.append(
                (lies.move(truths[place].boxes), truths[place].labels, truths[place].aside)
            )
        return batch_of(images, moved, placed, truths)

    def augmented(
        self,
        dataset: Dataset,
        indices: Indices,
        epoch: int,
        seed: int,
        pool: Indices | None = None,
    ) -> BoxBatch:
        """Return training pictures, changed at random by seed, epoch and example.

        ``pool`` are the pictures that stand beside them in mosaics; those of training unless given.
        With ``multi_scale`` the first example of their batch decides the size of all: that of the
        batch which :meth:`plan` was told of, else the first of those given.
        """
        batch = self.moved(dataset, indices, epoch, seed, pool)
        if not self.options.multi_scale:
            return batch
        sides = self.state["squares"]
        first = self.deciding(int(indices[0]), epoch, seed)
        draw = uniforms("squares", seed, epoch, np.array([first]), 1).item()
        side = sides[int(draw * len(sides))]
        scale = side / self.state["size"]
        images = transforms.resize(batch.images, side, side)
        return replace(batch, images=images, boxes=[each * scale for each in batch.boxes])

    def plan(self, batches: Sequence[Indices], epoch: int, seed: int) -> None:
        """Note the batches of an epoch, of which pieces are asked for later: all have one size."""
        if self.options.multi_scale:
            first = {index: int(each[0]) for each in batches for index in each.tolist()}
            self._planned = (epoch, seed), first

    def deciding(self, index: int, epoch: int, seed: int) -> int:
        """Return the first example of the batch that an example is in; itself where none is known.

        A batch may be computed in pieces, and by several processes.
        """
        planned, first = self._planned
        return first.get(index, index) if planned == (epoch, seed) else index

    def moved(
        self, dataset: Dataset, indices: Indices, epoch: int, seed: int, pool: Indices | None
    ) -> BoxBatch:
        """Return training pictures, mirrored, scaled, moved and mixed at random."""
        if self.options.augment == "none":
            return self.fixed(dataset, indices)
        records: Any = dataset.records
        side = self.state["size"]
        high, wide = room = (side, side)
        if self.options.augment == "flip":
            high, wide = room = self.room(records.sizes[indices].tolist())
        images, moved = self.canvas(len(indices), room), []
        if self.options.augment == "mosaic":
            pool = self.state["train"].numpy() if pool is None else pool
            draws = uniforms("mosaic", seed, epoch, indices, 5 + 3)
            for place, index in enumerate(indices.tolist()):
                row = draws[place]
                others = pool[(row[5:] * len(pool)).astype(np.int64)]
                parts = np.concatenate([[index], others])
                numbers = uniforms(f"mosaic of {index}", seed, epoch, parts, NUMBERS)
                centre = MIDDLE[0] + (MIDDLE[1] - MIDDLE[0]) * row[:2]
                moved.append(self.four(dataset, parts, numbers, centre, images[place]))
        else:
            numbers = uniforms("boxes", seed, epoch, indices, NUMBERS)
            for place, index in enumerate(indices.tolist()):
                box = (0, 0, high, wide)
                moved.append(self.one(dataset, index, numbers[place], images[place], box))
        if self.options.colour:
            draws = uniforms("colour", seed, epoch, indices, 3)
            images = transforms.jitter_colour(images, self.options.colour, draws)
        truths = [records.objects[index] for index in indices.tolist()]
        return batch_of(images, moved, [fitted(side, side, side)] * len(indices), truths)

    def one(
        self,
        dataset: Dataset,
        index: int,
        numbers: NDArray[np.float64],
        canvas: Tensor,
        window: tuple[int, int, int, int],
    ) -> tuple[Boxes, NDArray[np.int64], NDArray[np.bool_]]:
        """Lay a picture, changed at random, into a window (top, left, bottom, right) of a square.

        Its size is as if the square were its own: of a smaller window it fills what it can, and
        what lies beyond is cut off. Returns its objects as far as they are still to be seen.
        """
        picture = self.store(dataset).get(index)
        records: Any = dataset.records
        objects: Objects = records.objects[index]
        top, left, bottom, right = window
        high, wide = bottom - top, right - left
        height, width = picture.shape[-2:]
        fit = self.state["size"] / max(height, width)
        down = across = fit
        if self.options.augment in ("scale", "mosaic"):
            jitter = self.options.jitter
            scale = fit * (1 - jitter + 2 * jitter * numbers[0])
            stretch = (1 + jitter * numbers[1]) ** (1 if numbers[2] < 0.5 else -1)
            down, across = scale / stretch**0.5, scale * stretch**0.5
        new = max(1, round(height * down)), max(1, round(width * across))
        shown = transforms.resize(picture, *new)
        mirror = self.options.mirror and numbers[5] < 0.5
        if mirror:
            shown = shown.flip(-1)
        room = high - new[0], wide - new[1]
        if self.options.augment == "flip":
            at = room[0] // 2, room[1] // 2
        else:
            at = round(room[0] * numbers[3]), round(room[1] * numbers[4])
        lay(canvas[:, top:bottom, left:right], shown, at[1], at[0])
        size = records.sizes[index].tolist()
        scaled = np.array([new[1] / size[1], new[0] / size[0]] * 2, np.float32)
        boxes = objects.boxes * scaled
        if mirror:
            boxes = mirrored(boxes, new[1])
        boxes = boxes + np.array([at[1], at[0]] * 2, np.float32)
        cut, kept = within(boxes, high, wide)
        moved = cut[kept] + np.array([left, top] * 2, np.float32)
        return moved, objects.labels[kept], objects.aside[kept]

    def four(
        self,
        dataset: Dataset,
        indices: Indices,
        numbers: NDArray[np.float64],
        centre: NDArray[np.float64],
        canvas: Tensor,
    ) -> tuple[Boxes, NDArray[np.int64], NDArray[np.bool_]]:
        """Lay parts of four pictures around a place of one square.

        As YOLOv4 mixes them (Bochkovskiy et al., 2020, Section 3.3 and Figure 3): objects have the
        size that they have in whole pictures.
        """
        side = self.state["size"]
        row, column = (round(side * float(each)) for each in centre)
        windows = (
            (0, 0, row, column), (0, column, row, side), (row, 0, side, column),
            (row, column, side, side),
        )  # fmt: skip
        found = [
            self.one(dataset, int(index), draw, canvas, window)
            for index, draw, window in zip(indices, numbers, windows, strict=True)
        ]
        boxes, labels, aside = (np.concatenate(each) for each in zip(*found, strict=True))
        return boxes, labels, aside


def batch_of(
    images: Tensor,
    moved: list[tuple[Boxes, NDArray[np.int64], NDArray[np.bool_]]],
    placed: list[Placed],
    truths: list[Objects],
) -> BoxBatch:
    """Return a batch; what is set aside is nothing to learn from."""
    boxes = [torch.from_numpy(box[~aside]).float() for box, _, aside in moved]
    labels = [torch.from_numpy(label[~aside]) for _, label, aside in moved]
    return BoxBatch(images, boxes, labels, placed, truths)


def lay(canvas: Tensor, picture: Tensor, left: int, top: int) -> None:
    """Write a picture into another at a place; what lies beyond the other's edges is cut off."""
    height, width = canvas.shape[-2:]
    rows = slice(max(0, top), min(height, top + picture.shape[-2]))
    columns = slice(max(0, left), min(width, left + picture.shape[-1]))
    if rows.start < rows.stop and columns.start < columns.stop:
        canvas[:, rows, columns] = picture[
            :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
