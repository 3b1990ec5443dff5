"""The usual loop that answers pictures by torchvision's Faster R-CNN, with given weights."""

import os
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.transforms import functional as T

from benchmarks.peers.boxes import CLASSES, LONG, SHORT
from benchmarks.peers.request import asked, print_rows

BATCH = 4
NAMES = ("background", "disc", "square")


class Pictures(Dataset[Tensor]):
    """The pictures of a folder."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.iterdir())

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as opened:
            return T.pil_to_tensor(opened.convert("RGB")).float() / 255


def main() -> None:
    """Load the weights, answer the pictures, print a row for each."""
    request = asked()
    model = fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, min_size=SHORT, max_size=LONG
    )
    model.load_state_dict(load_file(request.weights))
    model.eval().to(request.device)
    pictures = Pictures(Path(request.data) / request.folder)
    rows: list[dict[str, Any]] = []
    workers = os.cpu_count() or 1
    with torch.inference_mode():
        for images in DataLoader(pictures, BATCH, num_workers=workers, collate_fn=list):
            for said in model([each.to(request.device) for each in images]):
                objects = [
                    {"class": NAMES[label], "score": score, "box": box}
                    for label, score, box in zip(
                        *(said[key].tolist() for key in ("labels", "scores", "boxes")), strict=True
                    )
                ]
                rows.append({"input": str(pictures.paths[len(rows)]), "objects": objects})
    print_rows(rows, "torch", "torchvision")


if __name__ == "__main__":
    main()
