"""Ultralytics, run by its command ``yolo detect`` only: its licence is the AGPL.

``yolov3-tiny.yaml`` is its own form, with another head and loss. It marks no first step, and its
figure is its own average precision at an overlap of 0.5.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

from benchmarks.peers.request import Request, answer
from benchmarks.peers.ultralytics import yolo

SIDE = 160  # pixels of the longer side


def main() -> None:
    """Train, then test."""
    request = Request.read()
    root, settings = Path(request.data), Path("boxes.yaml").resolve()
    splits = {each: f"images/{each}" for each in ("train", "val", "test")}
    told = {"path": str(root), **splits, "names": ["disc", "square"]}
    settings.write_text(json.dumps(told), encoding="utf-8")  # which is YAML, too
    request = replace(request, data=str(settings), size=SIDE)
    yolo(
        "train", request, "model=yolov3-tiny.yaml", "pretrained=False", "amp=False",
        f"epochs={request.epochs}", f"seed={request.seed}", f"nbs={request.batch_size}",
        "optimizer=SGD", f"lr0={request.lr}", "lrf=1.0", "warmup_epochs=0", "momentum=0.9",
        "weight_decay=0", "mosaic=0", "scale=0", "translate=0", "fliplr=0.5", "hsv_h=0", "hsv_s=0",
        "hsv_v=0", "erasing=0", "auto_augment=None", task="detect",
    )  # fmt: skip
    printed = yolo("val", request, "model=train/weights/last.pt", "split=test", task="detect")
    for left in (root / "labels").glob("*.cache"):  # it writes into the data
        left.unlink()
    found = re.findall(r"^\s*all\s+(\d+)\s+\d+\s+\S+\s+\S+\s+(\S+)\s+\S+", printed, re.MULTILINE)
    if not found:
        raise SystemExit(f"yolo told no average precision:\n{printed[-1000:]}")
    examples, precision = found[-1]
    answer(float(precision), int(examples), "ultralytics", "torch", "torchvision")


if __name__ == "__main__":
    main()
