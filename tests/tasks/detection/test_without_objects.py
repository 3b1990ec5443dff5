"""A detector whose validation pictures show no object."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchfolio import Run
from torchfolio.cli.app import run as folio


def write_pictures(root: Path) -> Path:
    """Write twelve pictures; in those of training and testing there is a bright square."""
    draw = np.random.default_rng(0)
    for number, split in enumerate(["train"] * 8 + ["val"] * 2 + ["test"] * 2):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 120, (32, 32), np.uint8)
        if split != "val":
            pixels[8:24, 8:24] = 250
        Image.fromarray(pixels).save(root / "images" / split / f"{number}.png")
        line = "" if split == "val" else "0 0.5 0.5 0.5 0.5\n"
        (root / "labels" / split / f"{number}.txt").write_text(line, encoding="utf-8")
    return root


def test_the_loss_chooses_its_weights_and_both_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = ["--image-size", "32", "--epochs", "4", "--batch-size", "4", "--patience", "3"]
    arguments += ["--threads", "1", "--out", str(out)]
    assert folio(["train", "yolov3_tiny", str(write_pictures(tmp_path / "data")), *arguments]) == 0
    told = capsys.readouterr().out
    line = "ap cannot be measured on the 2 validation examples: until it can, the loss of these"
    assert told.count(line) == 1
    assert line in (out / "log.txt").read_text(encoding="utf-8")
    assert "of 2 validation pictures none has an object to choose it by" in told
    run = Run(out)
    losses = [row["val_loss"] for row in run.history]
    training = run.metrics["training"]
    assert training["monitor"] == "loss"
    assert training["best_value"] == pytest.approx(min(losses))
    assert losses[training["best_epoch"] - 1] == min(losses)
    assert run.load()[0].state["threshold"] == 0.25
