"""Ultralytics answers pictures, run by its command ``yolo detect predict`` only (AGPL).

Its weights are those of a training of its own, which is made before anything is measured:
``--train``.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.request import Request, print_rows
from benchmarks.peers.ultralytics import yolo

NAMES = ("disc", "square")
WIDTH, HEIGHT = 160, 120
SETTINGS = ("epochs", "lr", "batch-size")  # of the training


def train(data: str, settings: dict[str, str], target: Path) -> None:
    """Train, and keep the last weights."""
    with tempfile.TemporaryDirectory() as place:
        told = [each for name in settings for each in (f"--{name}", settings[name])]
        call = [sys.executable, "-m", "benchmarks.peers.ultralytics_boxes", "--data", data, *told]
        subprocess.run(call, cwd=place, check=True, stdout=subprocess.DEVNULL)
        shutil.copy(Path(place) / "train" / "weights" / "last.pt", target)


def main() -> None:
    """Answer the pictures, print a row for each; or make the weights."""
    parser = argparse.ArgumentParser()
    for name in ("data", "folder", "kept", *SETTINGS):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--train", action="store_true", help="only make the weights")
    request = parser.parse_args()
    settings = {name: getattr(request, name.replace("-", "_")) for name in SETTINGS}
    of = "-".join([version("ultralytics"), *settings.values()])
    root, weights = Path(request.data), Path(request.kept) / f"ultralytics-{of}.pt"
    if request.train:
        if not weights.is_file():
            train(request.data, settings, weights)
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
    print_rows(rows, "ultralytics", "torch")


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
