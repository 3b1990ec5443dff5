"""Detectors as files: the boxes of the run, by numpy and onnxruntime alone."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from torchfolio import RequestError, Run, open_data
from torchfolio.export.check import Held, sample
from torchfolio.export.exported import Exported
from torchfolio.export.facts import SUFFIXES
from torchfolio.networks.build import build
from torchfolio.tasks.base import Parts
from torchfolio.tasks.detection.options import DetectionOptions
from torchfolio.tasks.detection.suppression import distinct, found_in
from torchfolio.tasks.detection.task import ObjectDetection, kept


@pytest.mark.slow
def test_files_say_what_the_run_says_and_onnx_says_it_without_torch(
    trained: Run, tmp_path: Path
) -> None:
    data = open_data("digit-boxes")
    pictures = []
    for number, size in ((0, (96, 96)), (1, (150, 60)), (2, (40, 200))):
        picture = tmp_path / f"图 {number}.png"
        Image.fromarray(data.records.pixels(number)[..., 0]).resize(size).save(picture)
        pictures.append(picture)
    given, settings = [*pictures, tmp_path / "none.png"], {"threshold": 0.004, "most": 20}
    rows = list(trained.predict(given, **settings))
    assert any(row["objects"] for row in rows)
    assert all(len(row["objects"]) <= 20 for row in rows)
    for kind, suffix in SUFFIXES.items():
        found = trained.export(kind, tmp_path / f"net{suffix}")
        assert found["metric"] == "F1"
        assert found["torch"] == pytest.approx(found["exported"], rel=0.01)  # hardly trained
        assert found["difference"] <= 1e-4
        if kind != "safetensors":
            others = list(Exported(found["file"]).predict(given, **settings))
            for row, other in zip(rows, others, strict=True):
                same_row(row, other)
    code = (
        "import sys, torchfolio.cli.app as app; "
        f"code = app.run(['predict', {str(tmp_path / 'net.onnx')!r}, {str(pictures[0])!r}, "
        f"'--pictures', {str(tmp_path / 'out')!r}, '--threshold', '0.001', '--forms', 'yolo']); "
        "print('torch' in sys.modules); sys.exit(code)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "False"
    assert (tmp_path / "out" / "图 0.png").is_file()
    assert (tmp_path / "out" / "图 0.txt").read_text().count("\n") > 0


def same_row(row: dict[str, Any], other: dict[str, Any]) -> None:
    assert other.keys() == row.keys()
    assert (other["input"], other["error"]) == (row["input"], row["error"])
    for one, two in zip(row["objects"], other["objects"], strict=True):
        assert two["class"] == one["class"]
        assert two["score"] == pytest.approx(one["score"], abs=1e-4)
        assert two["box"] == pytest.approx(one["box"], abs=0.05)


def test_what_is_kept_is_what_the_network_keeps() -> None:
    torch.manual_seed(0)
    network = build("yolov2", num_classes=3).eval()
    answers = torch.randn(1, 5, 4, 4, 8)
    [boxes], [scores] = network.scored(answers)
    [wanted] = kept(network, answers)
    candidates = torch.cat([boxes, scores], 1).numpy()
    found = found_in(candidates, network.least_score, network.most_overlap, 1.0)
    assert 20 < len(found) == len(wanted)
    assert np.array_equal(found.labels, wanted.labels)
    assert found.scores == pytest.approx(wanted.scores)
    assert found.boxes == pytest.approx(wanted.boxes)


def test_of_boxes_that_overlap_the_likeliest_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 4], [20, 20, 30, 30]], np.float32)
    assert distinct(boxes, 0.5) == [0, 2, 3]  # 0.9 goes, 0.4 stays
    assert distinct(boxes, 0.39) == [0, 3]
    assert distinct(boxes[:0], 0.5) == []
    nothing = found_in(np.zeros((5, 7), np.float32), 0.0, 0.5, 1.0)
    assert len(nothing) == 0


def test_two_stages_are_no_file_and_say_so() -> None:
    with torch.device("meta"):
        parts = Parts(network=build("fasterrcnn_resnet50_fpn"))
    with pytest.raises(RequestError, match=r"two stages cannot be exported.*YOLO can"):
        ObjectDetection(DetectionOptions()).exported(parts)


def test_as_many_examples_are_compared_as_fit_the_memory() -> None:
    held = Held(None, np.arange(5000), "val")  # type: ignore[arg-type]
    few = sample(lambda indices, most: np.zeros((1, 2**20), np.float32), held)
    assert len(few.indices) == 128
    assert (few.indices[0], few.indices[-1]) == (0, 4999)
    assert sample(lambda indices, most: np.zeros((1, 10), np.float32), held) is held
