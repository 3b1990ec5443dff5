"""Ultralytics answers pictures, run by its command ``yolo detect predict`` only (AGPL).

Its weights are those of a training of its own, which is made once, beside the weights of ours, and
is not measured there: ``--train``.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.peers.request import Request
from benchmarks.peers.ultralytics import yolo

NAMES = ("disc", "square")
WIDTH, HEIGHT = 160, 120
EPOCHS = 30


def weights_of(folder: Path) -> Path:
    """Return the file of its weights, made if there is none."""
    found = folder / "ultralytics.pt"
    if not found.is_file():
        with tempfile.TemporaryDirectory() as place:
            call = [sys.executable, "-m", "benchmarks.peers.ultralytics_boxes"]
            flags = {"data": str(folder), "epochs": str(EPOCHS), "lr": "0.001", "batch-size": "8"}
            told = [each for key, value in flags.items() for each in (f"--{key}", value)]
            subprocess.run([*call, *told], cwd=place, check=True, stdout=subprocess.DEVNULL)
            shutil.copy(Path(place) / "train" / "weights" / "last.pt", found)
    return found


def main() -> None:
    """Answer the pictures, print a row for each."""
    parser = argparse.ArgumentParser()
    for name in ("network", "weights", "data", "folder"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--train", action="store_true", help="only make the weights")
    request = parser.parse_args()
    root = Path(request.data)
    weights = weights_of(root)
    if request.train:
        return
    folder = root / request.folder
    asked = Request(data=str(root), size=WIDTH, batch_size=1, device=request.device)
    yolo(
        "predict", asked, f"model={weights}", f"source={folder}", "save=False", "save_txt=True",
        "save_conf=True", "conf=0.05", "max_det=100", task="detect",
    )  # fmt: skip
    rows = []
    for path in sorted(folder.iterdir()):
        file = Path("predict") / "labels" / f"{path.stem}.txt"
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        rows.append({"input": str(path), "objects": [described(line) for line in lines]})
    print(json.dumps(rows))


def described(line: str) -> dict[str, object]:
    """Return an object of a line: class, centre and size as shares, score."""
    label, x, y, wide, high, score = (float(each) for each in line.split())
    box = [
        *((x - wide / 2) * WIDTH, (y - high / 2) * HEIGHT),
        *((x + wide / 2) * WIDTH, (y + high / 2) * HEIGHT),
    ]
    return {"class": NAMES[int(label)], "score": score, "box": [float(each) for each in box]}


if __name__ == "__main__":
    main()
