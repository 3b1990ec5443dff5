"""A dataset's pictures as an image network takes them: fitted, changed at random, normalised."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchfolio.data import transforms
from torchfolio.data.bands import as_colours, require_channels
from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.draws import uniforms
from torchfolio.data.feed import Feed
from torchfolio.data.fitting import opened, sizes_of_shorter
from torchfolio.data.records import ImageArray, ImageFiles, fingerprint
from torchfolio.data.store import PictureStore, memory_budget
from torchfolio.options import option


@dataclass(frozen=True)
class PictureOptions:
    """Settings of everything that takes pictures in."""

    image_size: int | None = option(None, "Side of the network's input in pixels.", low=1)
    channels: Literal[1, 3] | None = option(
        None, "1 (grey) or 3 (colour); the data's unless given."
    )
    resize: Literal["auto", "crop", "squash", "whole", "pad"] = option(
        "auto",
        "How pictures get the size: cut the middle, squash, fit the whole and pad, or pad only.",
    )
    augment: Literal["none", "shift", "crop-flip", "photo", "standard", "randaugment"] = option(
        "none",
        "Random changes of training pictures; standard: photo above 64 pixels, else crop-flip.",
    )
    mirror: bool | None = option(
        None, "Mirror training pictures left to right; colour pictures only unless given."
    )
    crop_area: float = option(
        0.25, "Smallest share of a photograph that a crop keeps.", low=0.01, high=1
    )
    colour: float = option(
        0.0,
        "Strength of random brightness, contrast and saturation; none with augment none.",
        low=0,
        high=1,
    )
    normalize: str = option(
        "standard",
        "standard, pixel-mean, imagenet, none, or LOW:HIGH for black and white.",
    )


class Pictures:
    """The pictures of one run; ``state`` is what :func:`plan_pictures` decided.

    Pictures of files are kept in the cache folder as they come out of them, at the network's size
    or, to be cropped at random, larger.
    """

    def __init__(self, options: PictureOptions, state: dict[str, Any]) -> None:
        self.options = options
        self.state = state
        self._dataset: Dataset | None = None
        self._stores: dict[bool, PictureStore] = {}
        self._lock = threading.Lock()  # of ``_stores``: several threads load
        self._normal: dict[tuple[torch.device, float], tuple[Tensor, Tensor]] = {}

    def inherit(self, state: dict[str, Any]) -> list[str]:
        """Normalise as another run does, where its pictures have the same channels (and size)."""
        size, channels = self.state["size"], self.state["channels"]
        self._normal = {}
        shapes = (channels, 1, 1), (channels, size, size)
        return inherit_normalisation(self.state, state, *shapes)

    def fitted(self, dataset: Dataset, indices: Indices) -> Tensor:
        """Return pictures at the network's size, without anything random."""
        if isinstance(dataset.records, ImageArray):
            return self.fit(tensor_of(dataset.records.batch(indices), self.state)).contiguous()
        return self.store(dataset, large=False).batch(indices)

    def large(self, dataset: Dataset, index: int) -> Tensor:
        """Return a picture that is to be cropped at random: one and a half times as large."""
        if isinstance(dataset.records, ImageArray):
            return self.enlarge(self.picture_of(dataset, index))
        return self.store(dataset, large=True).get(index)

    def enlarge(self, picture: Tensor) -> Tensor:
        """Return a picture at the size of :meth:`large`."""
        return transforms.resize_shorter(picture, *self.large_sides())

    def large_sides(self) -> tuple[int, int]:
        """Return the shorter side of large pictures, and the most that the longer may have."""
        return round(1.5 * self.state["size"]), 3 * self.state["size"]

    def store(self, dataset: Dataset, large: bool) -> PictureStore:
        """Return the store of the pictures of a dataset's files: at the network's size, or large.

        The stores of one dataset at a time are open.
        """
        with self._lock:
            if dataset is not self._dataset:
                self._dataset, self._stores = dataset, {}
            if large not in self._stores:
                self._stores[large] = self.open_store(dataset, large)
            return self._stores[large]

    def open_store(self, dataset: Dataset, large: bool) -> PictureStore:
        state, records = self.state, cast("ImageFiles", dataset.records)
        if large:
            sides = self.large_sides()
            found = [
                sizes_of_shorter(height, width, *sides)[1]
                for height, width in records.sizes.tolist()
            ]
            sizes, how = np.array(found, np.int64).reshape(-1, 2), ["large"]
        else:
            sizes = np.broadcast_to(np.int64(state["size"]), (len(records), 2))
            how = ["fitted", state["resize"], str(state["fill"])]
        change = self.enlarge if large else self.fit
        return PictureStore(
            lambda index: change(self.picture_of(dataset, index)),
            sizes,
            state["channels"],
            torch.uint8 if state["depth"] == 8 else torch.float32,
            fingerprint(
                *("pictures 2", dataset.fingerprint, *how, state["size"], state["channels"]),
                *(state["depth"], records.channels, PIL.__version__, torch.__version__),
            ),
            memory_budget() // (2 if self.how_moved() == "photo" else 1),
            records.unchanged,
        )

    def decode_ahead(self, dataset: Dataset, indices: Indices, seconds: float) -> None:
        """Decode pictures of files as training takes them, for so many seconds at most.

        Beside a network that computes on the CPU, the same takes about twice as long: its threads
        wait for the one whose core decodes. It ends where there is no room to keep them.
        """
        if isinstance(dataset.records, ImageArray) or not seconds:
            return
        cropped = self.options.augment != "none" and self.how_moved() == "photo"
        store = self.store(dataset, large=cropped)
        end = time.monotonic() + seconds
        wanted = store.missing(indices).tolist()
        feed = Feed(store.get, wanted, min(8, os.cpu_count() or 1))
        for index, _ in zip(wanted, feed, strict=True):
            if time.monotonic() > end or not store.holds(index):
                break

    def how_moved(self) -> str:
        """Return how training pictures are cropped and shifted at the network's size."""
        if self.options.augment in ("standard", "randaugment"):
            return "photo" if self.state["size"] > 64 else "crop-flip"
        return self.options.augment

    def picture_of(self, dataset: Dataset, index: int) -> Tensor:
        """Return a record's picture (channels, height, width) with the network's channels."""
        records: Any = dataset.records
        return tensor_of(records.pixels(index, self.state["depth"]), self.state)

    def read(self, source: Path | NDArray[Any]) -> Tensor:
        """Return a picture of a file or an array as the network takes it; raise ``DataError``.

        It has the very pixels that the same picture has in a dataset.
        """
        return self.fit(tensor_of(opened(source, self.state["depth"]), self.state))

    def fit(self, picture: Tensor) -> Tensor:
        """Return a picture at the network's size."""
        state = self.state
        return transforms.fit(picture, state["size"], state["resize"], state["fill"])

    def augmented(self, dataset: Dataset, indices: Indices, epoch: int, seed: int) -> Tensor:
        """Return training pictures, changed at random by seed, epoch and example."""
        options, fill = self.options, self.state["fill"]
        if options.augment == "none":
            return self.fitted(dataset, indices)
        numbers = uniforms("augment", seed, epoch, indices, 12)
        images = self.moved(dataset, indices, numbers[:, :5])
        if options.augment == "randaugment":
            changed = [
                transforms.rand_augment(image, row, fill)
                for image, row in zip(images, numbers[:, 5:9], strict=True)
            ]
            images = torch.stack(changed)
        if options.colour:
            images = transforms.jitter_colour(images, options.colour, numbers[:, 9:])
        return images

    def moved(self, dataset: Dataset, indices: Indices, numbers: NDArray[np.float64]) -> Tensor:
        """Return training pictures at the network's size, cropped, shifted and mirrored."""
        augment, size, fill = self.how_moved(), self.state["size"], self.state["fill"]
        if augment == "photo":
            area = (self.options.crop_area, 1.0)
            crops = [
                transforms.random_crop(self.large(dataset, index), size, row, area)
                for index, row in zip(indices.tolist(), numbers, strict=True)
            ]
            moved = torch.stack(crops)
        else:  # by 2 pixels of 28, or by 4 of 32 (He et al., 2016, Section 4.2)
            pixels = max(1, round(size / 14) if augment == "shift" else size // 8)
            moved = transforms.shift(self.fitted(dataset, indices), pixels, fill, numbers[:, :2])
        if augment == "shift" or not self.state["mirror"]:
            return moved
        return transforms.flip(moved, numbers[:, 4])

    def normalised(self, images: Tensor) -> Tensor:
        """Return float32 images as the network takes them; on the images' device."""
        mean, factor = self.normal(images.device, 255.0 if images.dtype == torch.uint8 else 1.0)
        return images.to(torch.float32, copy=True).sub_(mean).mul_(factor)

    def pixels(self, images: Tensor) -> NDArray[np.uint8]:
        """Return images as the network takes them as pixels (..., height, width, channels)."""
        mean, factor = self.normal(images.device, 1.0)
        values = (images / factor + mean).clamp(0, 1) * 255
        return values.round().to(torch.uint8).movedim(-3, -1).cpu().numpy()

    def normal(self, device: torch.device, scale: float) -> tuple[Tensor, Tensor]:
        """Return what is subtracted and what is multiplied by, both (channels, height, width).

        They are as large as a picture: over channels alone they would take fifteen times as long.
        """
        if (device, scale) not in self._normal:
            shape = (self.state["channels"], self.state["size"], self.state["size"])
            mean, std = self.state["mean"].to(device), self.state["std"].to(device)
            whole = [each.expand(shape) for each in (mean * scale, 1 / std / scale)]
            self._normal[device, scale] = (whole[0].contiguous(), whole[1].contiguous())
        return self._normal[device, scale]


class ReadPictures(Pictures):
    """Pictures of which there is only what the head of a network reads (``Task.reading``)."""

    def __init__(self, pictures: Pictures, features: Callable[[Indices], Tensor]) -> None:
        super().__init__(pictures.options, pictures.state)
        self.features = features

    def decode_ahead(self, dataset: Dataset, indices: Indices, seconds: float) -> None:
        """There is nothing to decode."""

    def fitted(self, dataset: Dataset, indices: Indices) -> Tensor:
        return self.features(indices)

    def normalised(self, images: Tensor) -> Tensor:
        return images


def inherit_normalisation(
    state: dict[str, Any], source: Mapping[str, Any], *shapes: tuple[int, ...]
) -> list[str]:
    """Take mean and deviation from the state of another run, where they have one of the shapes.

    Returns what was done in words, a line or none.
    """
    mean, std = source.get("mean"), source.get("std")
    if mean is None or tuple(mean.shape) not in shapes:
        return []
    state |= {"mean": mean, "std": std}
    return ["normalised as the run that the weights come from (--normalize overrules)"]


def tensor_of(pixels: NDArray[Any], state: Mapping[str, Any]) -> Tensor:
    """Turn (..., height, width, channels) pixels into (..., channels, height, width).

    They get the depth and the channels that ``state`` says.
    """
    pixels = np.require(pixels, requirements=["C", "W"])  # a copy only where it is needed
    picture = torch.from_numpy(np.moveaxis(pixels, -1, -3))
    if state["depth"] == 8 and picture.is_floating_point():  # other data than trained on
        picture = (picture * 255).round().to(torch.uint8)
    elif state["depth"] != 8:
        picture = unit(picture)
    return with_channels(picture, state["channels"])


def normalised(images: Tensor, state: Mapping[str, Any]) -> Tensor:
    """Return float32 images of any size as a network takes them, on the images' device.

    ``state`` has their mean and deviation, of values from 0 to 1.
    """
    scale = 255.0 if images.dtype == torch.uint8 else 1.0
    mean, std = (state[key].to(images.device) for key in ("mean", "std"))
    return (images.to(torch.float32) - mean * scale) / (std * scale)


def unit(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1]; float images as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def with_channels(picture: Tensor, channels: int) -> Tensor:
    """Return a picture (..., channels, height, width) with 1 channel (grey), 3, or its own."""
    if picture.shape[-3] == channels:
        return picture
    require_channels(picture.shape[-3], channels)
    picture = picture[..., : as_colours(picture.shape[-3]), :, :]
    if picture.shape[-3] == channels:
        return picture
    if channels == 3:
        return torch.cat([picture] * 3, -3)
    # ITU-R BT.601, as Pillow's: 0.299, 0.587, 0.114
    red, green, blue = torch.split(picture.float(), 1, -3)
    grey = green + 0.299 * (red - green) + 0.114 * (blue - green)  # exact where all are equal
    return grey.round().to(picture.dtype) if picture.dtype == torch.uint8 else grey
