"""Ultralytics, run by its command ``yolo classify`` only: its licence is the AGPL.

It has no ResNet-18 by name; a model file puts torchvision's under its own head, a convolution to
1,280 channels before the last layer: 11,847,242 parameters instead of 11,181,642. It marks no first
step, and tells accuracy to three digits.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.request import Request, answer

MODEL = """\
nc: 10
backbone:
  - [-1, 1, TorchVision, [512, resnet18, null, True, 2]]
head:
  - [-1, 1, Classify, [nc]]
"""


def yolo(mode: str, request: Request, *settings: str, task: str = "classify") -> str:
    """Run ``yolo`` for a task; return what it printed."""
    device = "cpu" if request.device == "cpu" else "0"
    command = [
        str(Path(sys.executable).with_name("yolo")), task, mode, f"data={request.data}",
        f"imgsz={request.size}", f"batch={request.batch_size}", f"device={device}",
        f"workers={request.workers}", "plots=False", f"project={Path.cwd()}", f"name={mode}",
        *settings,
    ]  # fmt: skip
    environment = os.environ | {"YOLO_CONFIG_DIR": str(Path.cwd()), "YOLO_OFFLINE": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, encoding="utf-8"
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return done.stdout


def main() -> None:
    """Train, then test."""
    request = Request.read()
    Path("resnet18-cls.yaml").write_text(MODEL, encoding="utf-8")
    yolo(
        "train", request, "model=resnet18-cls.yaml", "pretrained=False", "amp=False",
        f"epochs={request.epochs}", f"seed={request.seed}", f"nbs={request.batch_size}",
        "optimizer=SGD", f"lr0={request.lr}", "lrf=1.0", "warmup_epochs=0", "momentum=0.9",
        "weight_decay=0", f"cos_lr={request.schedule == 'cosine'}",
        f"scale={1 - request.crop_area}", "fliplr=0.5", "hsv_h=0", "hsv_s=0", "hsv_v=0",
        "erasing=0", "auto_augment=None",
    )  # fmt: skip
    told = yolo("val", request, "model=train/weights/last.pt", "split=test")
    for left in Path(request.data).glob("*.cache"):  # it writes into the data
        left.unlink()
    accuracy = re.findall(r"^\s*all\s+([\d.]+)\s+[\d.]+\s*$", told, re.MULTILINE)
    if not accuracy:
        raise SystemExit(f"yolo told no accuracy:\n{told[-1000:]}")
    count = sum(1 for _ in (Path(request.data) / "test").glob("*/*"))
    answer(float(accuracy[-1]), count, "ultralytics", "torch", "torchvision")


if __name__ == "__main__":
    main()
