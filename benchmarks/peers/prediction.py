"""The usual loop of PyTorch that answers pictures: all by a DataLoader, or one after another."""

import argparse
import os
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import datasets, models
from torchvision.transforms import v2

from benchmarks.latency import print_latency
from benchmarks.peers.request import answer
from benchmarks.peers.torch_data import IMAGENET


def main() -> None:
    """Load the weights, answer the pictures, print how many answers were right."""
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", action="store_true", help="one picture after another")
    request = parser.parse_args()
    model = models.resnet18(num_classes=10)
    model.load_state_dict(load_file(request.weights))
    model.eval().to(request.device)
    transform = v2.Compose(
        [
            v2.Resize(round(request.size * 8 / 7)),
            v2.CenterCrop(request.size),
            v2.PILToTensor(),
            v2.ToDtype(torch.float, scale=True),
            v2.Normalize(*IMAGENET),
        ]
    )
    dataset = datasets.ImageFolder(request.folder, transform)

    @torch.inference_mode()
    def probabilities(images: Tensor) -> Tensor:
        return model(images.to(request.device)).softmax(1).cpu()

    def ask(path: Path) -> str:
        with Image.open(path) as picture:
            image = transform(picture.convert("RGB"))
        return dataset.classes[int(probabilities(image[None]).argmax())]

    if request.one:
        print_latency(ask, request.folder)
        return
    loader = DataLoader(dataset, batch_size=64, num_workers=os.cpu_count() or 1)
    right = sum(int((probabilities(images).argmax(1) == labels).sum()) for images, labels in loader)
    answer(right / len(dataset), len(dataset), "torch", "torchvision")


if __name__ == "__main__":
    main()
