"""The data sets of peers that read by torchvision: datasets, transforms, DataLoader."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import datasets
from torchvision.transforms import v2

from benchmarks.data import without_val
from benchmarks.peers.request import Request

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
NORMALS = {"mnist": ([0.1307], [0.3081]), "cifar": ([0.491, 0.482, 0.447], [0.247, 0.243, 0.262])}


class Arrays(Dataset[tuple[Any, int]]):
    """Pictures of an .npz, as torchvision's CIFAR10 gives them: through PIL and a transform."""

    def __init__(self, path: str, split: str, transform: v2.Compose) -> None:
        with np.load(path) as archive:
            self.pictures, self.labels = archive[f"x_{split}"], archive[f"y_{split}"]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.pictures[index])), int(self.labels[index])


def transform_for(request: Request, training: bool) -> v2.Compose:
    """Return the transform of torchvision's references for photographs, else the tutorials'."""
    size = request.size
    steps: list[Any] = []
    if request.kind == "folder" and size > 64:
        if training and request.augment == "photo":
            steps += [v2.RandomResizedCrop(size, scale=(request.crop_area, 1.0))]
            steps += [v2.RandomHorizontalFlip()]
        else:
            steps += [v2.Resize(round(size * 8 / 7)), v2.CenterCrop(size)]
    else:
        if (request.kind == "mnist" and size == 32) or request.kind == "folder":
            steps += [v2.Pad(2)]
        if training and request.augment == "shift":
            steps += [v2.RandomCrop(size, padding=2)]
        if training and request.augment == "crop-flip":
            steps += [v2.RandomCrop(size, padding=4), v2.RandomHorizontalFlip()]
    steps += [v2.PILToTensor(), v2.ToDtype(torch.float, scale=True)]
    return v2.Compose([*steps, v2.Normalize(*NORMALS.get(request.kind, IMAGENET))])


def make_datasets(request: Request) -> dict[str, Any]:
    """Return the splits "train", "val" and "test"; where there is no val it is drawn from train."""
    if request.kind == "folder":
        return {
            split: datasets.ImageFolder(
                f"{request.data}/{split}", transform_for(request, split == "train")
            )
            for split in ("train", "val", "test")
        }

    def part(split: str, training: bool) -> Any:
        transform = transform_for(request, training)
        if request.kind == "mnist":
            return datasets.MNIST(request.data, train=split == "train", transform=transform)
        return Arrays(request.data, split, transform)

    training, measured = part("train", True), part("train", False)
    generator = torch.Generator().manual_seed(request.seed)
    order = torch.randperm(len(training), generator=generator).tolist()
    count, _ = without_val(len(order))
    return {
        "train": Subset(training, order[:count]),
        "val": Subset(measured, order[count:]),
        "test": part("test", False),
    }


def make_loaders(
    request: Request, collate: Callable[[list[Any]], Any] | None = None
) -> dict[str, DataLoader[tuple[Tensor, Tensor]]]:
    """Return a DataLoader with workers for each split; ``collate`` makes batches in another way."""
    return {
        split: DataLoader(
            dataset,
            batch_size=request.batch_size,
            shuffle=split == "train",
            num_workers=request.workers,
            collate_fn=collate,
            pin_memory=request.device != "cpu",
        )
        for split, dataset in make_datasets(request).items()
    }
