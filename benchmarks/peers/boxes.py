"""Detection in the manner of torchvision's reference scripts (references/detection).

Faster R-CNN of torchvision, pictures mirrored at random, measured by pycocotools.
"""

import contextlib
import io
import json
import random
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.transforms import functional as T

from benchmarks.peers.request import Request, answer, first_step

CLASSES = 2
SHORT, LONG = 120, 160  # pixels of the sides of the pictures
Example = tuple[Tensor, dict[str, Any]]


class Boxes(Dataset[Example]):
    """Pictures and boxes of one split."""

    def __init__(self, root: Path, split: str, train: bool) -> None:
        self.folder, self.train = root / "images" / split, train
        self.file = root / "annotations" / f"instances_{split}.json"
        told = json.loads(self.file.read_text(encoding="utf-8"))
        self.images = told["images"]
        self.objects: dict[int, list[Any]] = {each["id"]: [] for each in self.images}
        for each in told["annotations"]:
            self.objects[each["image_id"]].append(each)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Example:
        about = self.images[index]
        with Image.open(self.folder / about["file_name"]) as opened:
            image = T.pil_to_tensor(opened.convert("RGB")).float() / 255
        rows = self.objects[about["id"]]
        boxes = torch.tensor([each["bbox"] for each in rows], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([each["category_id"] for each in rows], dtype=torch.int64)
        if self.train and random.random() < 0.5:
            image = image.flip(-1)
            boxes[:, [0, 2]] = about["width"] - boxes[:, [2, 0]]
        return image, {"boxes": boxes, "labels": labels, "image_id": about["id"]}


def listed(batch: list[Example]) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """Return pictures and targets as lists."""
    images, targets = zip(*batch, strict=True)
    return list(images), list(targets)


@torch.inference_mode()
def evaluate(model: nn.Module, loader: Any, device: str) -> float:
    """Return the average precision at an overlap of 0.5."""
    model.eval()
    rows = []
    for images, targets in loader:
        for output, target in zip(
            model([each.to(device) for each in images]), targets, strict=True
        ):
            boxes = output["boxes"].cpu()
            boxes[:, 2:] -= boxes[:, :2]
            for box, label, score in zip(
                boxes.tolist(), output["labels"].tolist(), output["scores"].tolist(), strict=True
            ):
                row = {"image_id": target["image_id"], "category_id": label}
                rows.append(row | {"bbox": box, "score": score})
    if not rows:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(loader.dataset.file))
        evaluation = COCOeval(known, known.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1])


def main() -> None:
    """Train, look at the validation split after every epoch, test at the end."""
    request = Request.read()
    torch.manual_seed(request.seed)
    random.seed(request.seed)
    root = Path(request.data)
    loaders = {
        split: DataLoader(
            Boxes(root, split, split == "train"), request.batch_size if split == "train" else 1,
            shuffle=split == "train", num_workers=request.workers, collate_fn=listed,
        )
        for split in ("train", "val", "test")
    }  # fmt: skip
    model = fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, min_size=SHORT, max_size=LONG,
    ).to(request.device)  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=request.lr, momentum=0.9)
    for epoch in range(request.epochs):
        model.train()
        for step, (images, targets) in enumerate(loaders["train"]):
            told = [
                {key: value.to(request.device) for key, value in each.items() if key != "image_id"}
                for each in targets
            ]
            loss = sum(model([each.to(request.device) for each in images], told).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 10 == 0:
                print(f"step {step} loss {loss.item():.4f}")
                first_step()
        print(f"epoch {epoch} AP50 {evaluate(model, loaders['val'], request.device):.4f}")
    found = evaluate(model, loaders["test"], request.device)
    answer(found, len(loaders["test"]), "torch", "torchvision", "pycocotools")


if __name__ == "__main__":
    main()
