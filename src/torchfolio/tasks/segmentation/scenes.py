"""A dataset's pictures with their masks as a segmentation network takes them.

Pictures keep their shape: all are scaled by one factor, so that what is large stays large.
Training takes crops of one size, evaluation whole pictures.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchfolio.data import transforms
from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.draws import uniforms
from torchfolio.data.fitting import opened
from torchfolio.data.masks import IGNORE
from torchfolio.data.records import fingerprint
from torchfolio.data.scenes import SceneFiles
from torchfolio.data.store import PictureStore, memory_budget
from torchfolio.tasks.base import Batch
from torchfolio.tasks.pictures import tensor_of
from torchfolio.tasks.segmentation.borders import border_weights
from torchfolio.tasks.segmentation.moving import displacements, moved, nearest, windowed
from torchfolio.tasks.segmentation.objects import has_background, object_numbers
from torchfolio.tasks.segmentation.options import SegmentationOptions

NUMBERS = 26  # random numbers of an example: 6 for where and how large, 18 for bending, 2 to turn
SCALES = (0.5, 2.0)
TURN = 15.0  # degrees either way, with elastic deformation
RARE = 0.5  # crops around a pixel of a class drawn at random
WHOLE = 255.0  # what a weight of 1 between objects is stored as


@dataclass
class CropBatch(Batch):
    """Crops (batch, channels, side, side), and the class of each pixel (batch, side, side).

    ``counted`` is how many of the pixels count, ``borders`` what those between objects weigh more.
    """

    images: Tensor
    masks: Tensor
    counted: int
    borders: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def weight(self) -> float:
        return float(max(1, self.counted))


@dataclass
class WholeBatch(Batch):
    """Whole pictures (channels, height, width), scaled, and the classes of their own pixels."""

    pictures: list[Tensor]
    masks: list[Tensor]

    def __len__(self) -> int:
        return len(self.pictures)

    def mapped(self, function: Any) -> "WholeBatch":
        """Return the batch with a function applied to each picture and mask."""
        return WholeBatch(
            [function(each) for each in self.pictures], [function(each) for each in self.masks]
        )


class Scenes:
    """The pictures of one run; ``state`` is what :func:`plan_scenes` decided."""

    def __init__(self, options: SegmentationOptions, state: dict[str, Any]) -> None:
        self.options = options
        self.state = state
        self._dataset: Dataset | None = None
        self._pictures: PictureStore | None = None
        self._masks: PictureStore | None = None
        self._borders: PictureStore | None = None
        self._lock = threading.Lock()

    # What the data hold

    def scaled(
        self, height: int, width: int, factors: tuple[float, float] = (1.0, 1.0)
    ) -> tuple[int, int]:
        """Return the size of a picture once it is scaled.

        ``factors`` are those of its rows and columns where pixels are not equally large in all
        pictures: slices of volumes.
        """
        down, across = (self.state["scale"] * each for each in factors)
        return max(1, round(height * down)), max(1, round(width * across))

    def picture(self, dataset: Dataset, index: int) -> Tensor:
        """Return a scaled picture (channels, height, width)."""
        return self.stores(dataset)[0].get(index)

    def mask(self, dataset: Dataset, index: int) -> Tensor:
        """Return the classes of a picture's own pixels (height, width)."""
        return self.stores(dataset)[1].get(index)[0]

    def labels(self, dataset: Dataset, index: int, size: Sequence[int]) -> Tensor:
        """Return what belongs to each pixel of the scaled picture (kinds, height, width), uint8.

        The classes, and where they weigh anything the borders between objects. ``size`` is the
        height and width of the picture.
        """
        mask = nearest(self.mask(dataset, index)[None], *size)
        if not self.border_weight:
            return mask
        return torch.cat([mask, self.border_store(dataset).get(index)])

    @property
    def border_weight(self) -> float:
        """What narrow gaps between objects weigh more; nothing where no class is a background."""
        things = has_background(self.state["classes"])
        return self.options.border_weight if things else 0.0

    def stores(self, dataset: Dataset) -> tuple[PictureStore, PictureStore]:
        """Return the stores of the pictures, scaled, and of the masks, as they are."""
        with self._lock:
            if dataset is not self._dataset or self._pictures is None or self._masks is None:
                self._dataset = dataset
                self._pictures, self._masks = self.open_stores(dataset)
                self._borders = None
            return self._pictures, self._masks

    def border_store(self, dataset: Dataset) -> PictureStore:
        """Return the store of the weights between objects, which training alone needs."""
        sizes = self.stores(dataset)[0].sizes
        with self._lock:
            if self._borders is None:
                self._borders = self.open_borders(dataset, sizes)
            return self._borders

    @property
    def budget(self) -> int:
        """The bytes of memory that each store may take where the cache has no room."""
        return memory_budget() // (3 if self.border_weight else 2)

    def factors(self, records: Any) -> list[tuple[float, float]]:
        """Return what rows and columns of each picture are scaled by beside the common scale."""
        if "volume" not in self.state:
            return [(1.0, 1.0)] * len(records)
        scale = records.spacing / self.state["volume"]["spacing"]  # other data may be coarser
        return list(map(tuple, (records.factors * scale).tolist()))

    def open_stores(self, dataset: Dataset) -> tuple[PictureStore, PictureStore]:
        state, records = self.state, cast("SceneFiles", dataset.records)
        factors = self.factors(records)
        sizes = np.array(
            [
                self.scaled(height, width, factor)
                for (height, width), factor in zip(records.sizes.tolist(), factors, strict=True)
            ],
            np.int64,
        )
        pictures = PictureStore(
            lambda index: self.fit(
                tensor_of(records.pixels(index, state["depth"]), state), factors[index]
            ),
            sizes.reshape(-1, 2),
            state["channels"],
            torch.uint8 if state["depth"] == 8 else torch.float32,
            fingerprint(
                *("scenes 2", dataset.fingerprint, state["scale"], state["channels"]),
                np.array(factors),
                *(state["depth"], records.channels, PIL.__version__, torch.__version__),
            ),
            self.budget,
            records.unchanged,
        )
        masks = PictureStore(
            lambda index: torch.from_numpy(records.masks.get(index))[None],
            records.sizes,
            1,
            torch.uint8,
            fingerprint("masks 1", dataset.fingerprint),
            self.budget,
        )
        return pictures, masks

    def open_borders(self, dataset: Dataset, sizes: NDArray[np.int64]) -> PictureStore:
        records = cast("SceneFiles", dataset.records)
        factors = np.array(self.factors(records))
        return PictureStore(
            lambda index: self.borders(records, index, sizes[index].tolist()),
            sizes,
            1,
            torch.uint8,
            fingerprint("borders 2", dataset.fingerprint, self.state["scale"], factors),
            self.budget,
        )

    def borders(self, records: SceneFiles, index: int, size: Sequence[int]) -> Tensor:
        """Return the weights between the objects of a scaled picture (1, height, width), uint8."""
        classes = records.masks.get(index)
        foreground = (classes > 0) & (classes != IGNORE)
        numbers = object_numbers(records.masks, index, foreground)
        scaled = nearest(torch.from_numpy(numbers.astype(np.float32))[None], *size)[0]
        weights = border_weights(scaled.numpy().astype(np.int32))
        return torch.from_numpy(np.rint(weights * WHOLE).astype(np.uint8))[None]

    def read(self, source: Path | NDArray[Any]) -> tuple[Tensor, tuple[int, int]]:
        """Return a scaled picture of a file or an array, and the size that it had."""
        picture = tensor_of(opened(source, self.state["depth"]), self.state)
        return self.fit(picture), (picture.shape[-2], picture.shape[-1])

    def fit(self, picture: Tensor, factors: tuple[float, float] = (1.0, 1.0)) -> Tensor:
        """Return a picture scaled."""
        height, width = self.scaled(picture.shape[-2], picture.shape[-1], factors)
        return transforms.resize(picture, height, width).contiguous()

    # Batches

    def whole(self, dataset: Dataset, indices: Indices) -> WholeBatch:
        """Return whole pictures with their masks."""
        rows = indices.tolist()
        return WholeBatch(
            [self.picture(dataset, each) for each in rows],
            [self.mask(dataset, each) for each in rows],
        )

    def crops(self, dataset: Dataset, indices: Indices, epoch: int, seed: int) -> CropBatch:
        """Return training crops, changed at random by seed, epoch and example."""
        numbers = uniforms("scene", seed, epoch, indices, NUMBERS)
        pairs = []
        for index, row in zip(indices.tolist(), numbers, strict=True):
            picture = self.picture(dataset, index)
            labels = self.labels(dataset, index, picture.shape[-2:])
            pairs.append(self.crop(picture, labels, row))
        images = torch.stack([image for image, _ in pairs])
        labels = torch.stack([each for _, each in pairs])
        if self.options.colour and self.options.augment != "none":
            draws = uniforms("colour", seed, epoch, indices, 3)
            images = transforms.jitter_colour(images, self.options.colour, draws)
        masks, borders = labels[:, 0], None
        if self.border_weight:
            borders = labels[:, 1] * (self.border_weight / WHOLE)
        return CropBatch(images, masks, int((masks != IGNORE).sum()), borders)

    def crop(
        self, picture: Tensor, labels: Tensor, numbers: NDArray[np.float64]
    ) -> tuple[Tensor, Tensor]:
        """Cut one crop out of a picture and its labels, and change both alike.

        ``labels`` (kinds, height, width) have the size of the picture; the first are the classes.
        """
        options, side = self.options, self.state["crop"]
        elastic = options.augment == "elastic"
        factor = 1.0
        if options.augment in ("scale", "elastic"):
            low, high = (0.8, 1.25) if elastic else SCALES
            factor = low * (high / low) ** numbers[0]
        window = max(1, round(side / factor))
        top, left = self.corner(labels[0], window, numbers[1:5])
        image = windowed(picture, top, left, window, None)
        labels = windowed(labels, top, left, window, IGNORE)
        image, labels = transforms.resize(image, side, side), nearest(labels, side, side)
        most = self.turned_by
        if elastic or most:
            moves = displacements(side, numbers[6:24]) if elastic else None
            image, labels = moved(image, labels, most * (2 * numbers[24] - 1), moves)
        if elastic and most:
            quarters = int(numbers[25] * 4)
            image, labels = image.rot90(quarters, (-2, -1)), labels.rot90(quarters, (-2, -1))
        mirror = options.augment != "none" and options.mirror is not False
        if mirror and elastic and numbers[5] < 0.5:
            image, labels = image.flip(-2), labels.flip(-2)
        if mirror and numbers[4] * 2 % 1 < 0.5:
            image, labels = image.flip(-1), labels.flip(-1)
        return image.contiguous(), labels.contiguous()

    @property
    def rare(self) -> float:
        """The share of crops around a pixel of a class drawn at random."""
        asked = self.options.rare
        return float(self.state.get("rare", RARE)) if asked is None else asked

    @property
    def turned_by(self) -> float:
        """The degrees that crops are turned by either way, at most."""
        if self.options.augment == "none":
            return 0.0
        if self.options.rotate is None:
            return TURN if self.options.augment == "elastic" else 0.0
        return self.options.rotate

    def corner(self, mask: Tensor, window: int, numbers: NDArray[np.float64]) -> tuple[int, int]:
        """Return where a window begins: anywhere, or around a pixel of a class drawn at random."""
        height, width = mask.shape
        room = max(0, height - window), max(0, width - window)
        if numbers[0] < self.rare and (room[0] or room[1]):
            present = np.unique(mask.numpy())
            present = present[present != IGNORE]
            if len(present):
                wanted = present[int(numbers[1] * len(present))]
                places = np.flatnonzero(mask.numpy().reshape(-1) == wanted)
                row, column = divmod(int(places[int(numbers[2] * len(places))]), width)
                top = min(max(row - int(numbers[3] * window), 0), room[0])
                left = min(max(column - int(numbers[3] * 7 % 1 * window), 0), room[1])
                return top, left
        return int(numbers[1] * (room[0] + 1)), int(numbers[2] * (room[1] + 1))
