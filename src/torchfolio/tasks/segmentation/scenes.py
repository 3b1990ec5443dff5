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
from torch.nn import functional as F

from torchfolio.data import transforms
from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.draws import uniforms
from torchfolio.data.fitting import opened
from torchfolio.data.masks import IGNORE
from torchfolio.data.records import fingerprint
from torchfolio.data.scenes import SceneFiles
from torchfolio.data.store import PictureStore, memory_budget
from torchfolio.tasks.base import Batch
from torchfolio.tasks.pictures import unit, with_channels
from torchfolio.tasks.segmentation.borders import border_weights
from torchfolio.tasks.segmentation.options import SegmentationOptions
from torchfolio.tasks.segmentation.tiling import mirrored

NUMBERS = 24  # random numbers of an example: 6 for where and how large, 18 for bending
GRID, SIGMA = 3, 10.0  # pixels (Ronneberger et al., 2015, Section 3.1)
SCALES = (0.5, 2.0)


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

    def stores(self, dataset: Dataset) -> tuple[PictureStore, PictureStore]:
        """Return the stores of the pictures, scaled, and of the masks, as they are."""
        with self._lock:
            if dataset is not self._dataset or self._pictures is None or self._masks is None:
                self._dataset = dataset
                self._pictures, self._masks = self.open_stores(dataset)
            return self._pictures, self._masks

    def open_stores(self, dataset: Dataset) -> tuple[PictureStore, PictureStore]:
        state, records = self.state, cast("SceneFiles", dataset.records)
        slices: Any = records
        factors: list[tuple[float, float]] = [(1.0, 1.0)] * len(records)
        if "volume" in state:
            scale = slices.spacing / state["volume"]["spacing"]  # other data may be coarser
            factors = list(map(tuple, (slices.factors * scale).tolist()))
        sizes = np.array(
            [
                self.scaled(height, width, factor)
                for (height, width), factor in zip(records.sizes.tolist(), factors, strict=True)
            ],
            np.int64,
        )
        budget = memory_budget() // 2
        pictures = PictureStore(
            lambda index: self.fit(
                self.tensor(records.pixels(index, state["depth"])), factors[index]
            ),
            sizes.reshape(-1, 2),
            state["channels"],
            torch.uint8 if state["depth"] == 8 else torch.float32,
            fingerprint(
                *("scenes 2", dataset.fingerprint, state["scale"], state["channels"]),
                np.array(factors),
                *(state["depth"], records.channels, PIL.__version__, torch.__version__),
            ),
            budget,
            records.unchanged,
        )
        masks = PictureStore(
            lambda index: torch.from_numpy(records.masks.get(index))[None],
            records.sizes,
            1,
            torch.uint8,
            fingerprint("masks 1", dataset.fingerprint),
            budget,
        )
        return pictures, masks

    def read(self, source: Path | NDArray[Any]) -> tuple[Tensor, tuple[int, int]]:
        """Return a scaled picture of a file or an array, and the size that it had."""
        picture = self.tensor(opened(source, self.state["depth"]))
        return self.fit(picture), (picture.shape[-2], picture.shape[-1])

    def tensor(self, pixels: NDArray[Any]) -> Tensor:
        """Turn (height, width, channels) pixels into (channels, height, width)."""
        pixels = np.require(pixels, requirements=["C", "W"])
        picture = torch.from_numpy(np.moveaxis(pixels, -1, -3))
        if self.state["depth"] == 8 and picture.is_floating_point():
            picture = (picture * 255).round().to(torch.uint8)
        elif self.state["depth"] != 8:
            picture = unit(picture)
        return with_channels(picture, self.state["channels"])

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
        pairs = [
            self.crop(self.picture(dataset, index), self.mask(dataset, index), row)
            for index, row in zip(indices.tolist(), numbers, strict=True)
        ]
        images = torch.stack([image for image, _ in pairs])
        masks = torch.stack([mask for _, mask in pairs])
        if self.options.colour and self.options.augment != "none":
            draws = uniforms("colour", seed, epoch, indices, 3)
            images = transforms.jitter_colour(images, self.options.colour, draws)
        borders = None
        if self.options.border_weight:
            gaps = [border_weights((mask > 0) & (mask != IGNORE)) for mask in masks.numpy()]
            borders = torch.from_numpy(np.stack(gaps)) * self.options.border_weight
        return CropBatch(images, masks, int((masks != IGNORE).sum()), borders)

    def crop(
        self, picture: Tensor, mask: Tensor, numbers: NDArray[np.float64]
    ) -> tuple[Tensor, Tensor]:
        """Cut one crop out of a picture and its mask, and change both alike."""
        options, side = self.options, self.state["crop"]
        mask = nearest(mask, *picture.shape[-2:])
        factor = 1.0
        if options.augment in ("scale", "elastic"):
            low, high = SCALES if options.augment == "scale" else (0.8, 1.25)
            factor = low * (high / low) ** numbers[0]
        window = max(1, round(side / factor))
        top, left = self.corner(mask, window, numbers[1:5])
        image = windowed(picture, top, left, window, None)
        labels = windowed(mask[None], top, left, window, IGNORE)[0]
        image, labels = transforms.resize(image, side, side), nearest(labels, side, side)
        if options.augment == "elastic":
            image, labels = bent(image, labels, numbers[6:])
            if numbers[5] < 0.5:
                image, labels = image.flip(-2), labels.flip(-2)
        if options.augment != "none" and options.mirror is not False and numbers[4] * 2 % 1 < 0.5:
            image, labels = image.flip(-1), labels.flip(-1)
        return image.contiguous(), labels.contiguous()

    def corner(self, mask: Tensor, window: int, numbers: NDArray[np.float64]) -> tuple[int, int]:
        """Return where a window begins: anywhere, or around a pixel of a class drawn at random."""
        height, width = mask.shape
        room = max(0, height - window), max(0, width - window)
        if numbers[0] < self.options.rare and (room[0] or room[1]):
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


def nearest(mask: Tensor, height: int, width: int) -> Tensor:
    """Return a mask (height, width) at another size: of each new pixel the class at its centre."""
    if tuple(mask.shape) == (height, width):
        return mask
    return F.interpolate(mask[None, None], size=(height, width), mode="nearest-exact")[0, 0]


def windowed(picture: Tensor, top: int, left: int, window: int, fill: int | None) -> Tensor:
    """Cut a window out of (channels, height, width); beyond it is mirrored, or filled."""
    cut = picture[:, top : top + window, left : left + window]
    down, across = window - cut.shape[1], window - cut.shape[2]
    if not (down or across):
        return cut
    before = (across // 2, across - across // 2, down // 2, down - down // 2)
    if fill is not None:
        return F.pad(cut, before, value=fill)
    rows = mirrored(-(down // 2), window, cut.shape[1])
    columns = mirrored(-(across // 2), window, cut.shape[2])
    return cut[:, rows][:, :, columns]


def bent(
    image: Tensor, mask: Tensor, numbers: Sequence[float] | NDArray[np.float64]
) -> tuple[Tensor, Tensor]:
    """Displace pixels smoothly: normal displacements on a coarse grid, bicubic in between.

    ``numbers``: 18 uniform ones, two for each of the 3x3 displacements with a standard deviation
    of 10 pixels (Ronneberger et al., 2015, Section 3.1).
    """
    side = image.shape[-1]
    drawn = torch.from_numpy(np.asarray(numbers, np.float64)).clamp(1e-6, 1 - 1e-6)
    coarse = (torch.special.ndtri(drawn) * SIGMA).view(1, 2, GRID, GRID).float()
    moves = F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)[0]
    line = torch.arange(side, dtype=torch.float32)
    rows, columns = line[:, None] + moves[0], line[None, :] + moves[1]
    grid = torch.stack([columns, rows], -1)[None] * 2 / max(1, side - 1) - 1
    moved = F.grid_sample(
        image[None].float(), grid, mode="bilinear", padding_mode="reflection", align_corners=True
    )[0]
    if image.dtype == torch.uint8:
        moved = moved.round().clamp(0, 255).to(torch.uint8)
    labels = F.grid_sample(
        mask[None, None].float(),
        grid,
        mode="nearest",
        padding_mode="reflection",
        align_corners=True,
    )
    return moved, labels[0, 0].to(mask.dtype)
