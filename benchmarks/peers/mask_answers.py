"""The usual loop that answers pictures by a network for masks: a DataLoader, the likeliest class.

The networks are those of ``benchmarks.peers.masks``, with given weights. Printed is the share of
each class in each picture.
"""

import os
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as T

from benchmarks.peers.masks import CLASSES, make_network
from benchmarks.peers.request import asked, print_rows
from benchmarks.peers.torch_data import IMAGENET

BATCH = 8


class Pictures(Dataset[Tensor]):
    """The pictures of a folder, normalised and padded to sides that networks take."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.iterdir())
        with Image.open(self.paths[0]) as opened:
            self.width, self.height = opened.size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as opened:
            image = T.normalize(T.to_tensor(opened.convert("RGB")), *IMAGENET)
        return F.pad(image, (0, -self.width % 32, 0, -self.height % 32))


@torch.inference_mode()
def main() -> None:
    """Load the weights, answer the pictures, print a row for each."""
    request = asked()
    model, packages = make_network(request.network)
    model.load_state_dict(load_file(request.weights))
    model.eval().to(request.device)
    pictures = Pictures(Path(request.data) / request.folder)
    rows: list[dict[str, Any]] = []
    for images in DataLoader(pictures, BATCH, num_workers=os.cpu_count() or 1):
        outputs = model(images.to(request.device))
        scores = outputs if isinstance(outputs, Tensor) else outputs["out"]
        for said in scores[..., : pictures.height, : pictures.width].argmax(1).cpu():
            shares = torch.bincount(said.flatten(), minlength=CLASSES) / said.numel()
            named = dict(enumerate(shares.tolist()))
            rows.append({"input": str(pictures.paths[len(rows)]), "shares": named})
    print_rows(rows, *packages)


if __name__ == "__main__":
    main()
