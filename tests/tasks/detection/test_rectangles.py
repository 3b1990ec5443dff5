"""What all pictures leave grey of a square, a network that takes any size is not shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from torchfolio import open_data
from torchfolio.networks.catalogue import find_card
from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.detection.options import DetectionAnswerOptions, DetectionOptions
from torchfolio.tasks.detection.plan import plan_detection, room
from torchfolio.tasks.detection.prediction import answer
from torchfolio.tasks.detection.task import ObjectDetection

SHAPES = ((60, 80), (50, 80), (48, 64))  # height and width


def landscapes(folder: Path) -> Any:
    """Pictures wider than high, each black with one white object, told in YOLO's text."""
    for number in range(12):
        height, width = SHAPES[number % len(SHAPES)]
        picture = np.zeros((height, width, 3), np.uint8)
        top, left = 5 + number, 8 + 2 * number
        picture[top : top + 20, left : left + 24] = 255
        for part in ("images", "labels"):
            (folder / part).mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / "images" / f"{number:02d}.png")
        middle = (left + 12) / width, (top + 10) / height
        line = f"0 {middle[0]} {middle[1]} {24 / width} {20 / height}\n"
        (folder / "labels" / f"{number:02d}.txt").write_text(line, encoding="utf-8")
    return open_data(folder)


def test_a_room_holds_all_pictures() -> None:
    assert room(np.array([[60, 80], [50, 80]]), 160, 32) == [128, 160]  # 120 x 160, 100 x 160
    assert room(np.array([[60, 80], [80, 30]]), 160, 32) == [160, 160]
    assert room(np.array([[80, 30], [90, 20]]), 160, 16) == [160, 64]  # 160 x 60, 160 x 36
    assert room(np.array([[300, 1]]), 64, 32) == [64, 32]


@pytest.mark.parametrize("augment", ["none", "flip", "scale"])
def test_boxes_lie_in_rectangles_as_in_squares(augment: Any, tmp_path: Path) -> None:
    data, options = landscapes(tmp_path), DetectionOptions(augment=augment, image_size=128)
    card = find_card("fasterrcnn_resnet50_fpn")
    pictures, lines = plan_detection(card, data, np.arange(12), options)
    assert lines[0].startswith("pictures in rectangles, as high and wide as the data, of 96 x 128")
    for batch in (
        pictures.fixed(data, np.arange(12)),
        pictures.augmented(data, np.arange(12), 1, 0),
    ):
        for image, boxes in zip(batch.images, batch.boxes, strict=True):
            for box in boxes:
                left, top, right, bottom = box.round().int().tolist()
                assert 0 <= left < right <= image.shape[2]
                assert 0 <= top < bottom <= image.shape[1]
                assert image[:, top + 2 : bottom - 2, left + 2 : right - 2].min() > 200
                white = (image > 200).all(0)
                white[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2] = False
                assert not white.any()
        assert sum(map(len, batch.boxes)) >= 11
    fixed = pictures.fixed(data, np.arange(12))
    assert fixed.images.shape[-2:] == (96, 128)
    # 96, 80 and 96 rows of the 96
    assert [(each.left, each.top) for each in fixed.placed[:3]] == [(0, 0), (0, 8), (0, 0)]
    moved = pictures.augmented(data, np.arange(12), 1, 0)
    assert moved.images.shape[-2:] == ((128, 128) if augment == "scale" else (96, 128))
    for placed, boxes, truth in zip(fixed.placed, fixed.boxes, fixed.truths, strict=True):
        assert np.allclose(placed.back(boxes.numpy()), truth.boxes, atol=1e-3)


def test_networks_of_one_stage_have_squares(tmp_path: Path) -> None:
    data, options = landscapes(tmp_path), DetectionOptions(image_size=128)
    pictures, lines = plan_detection(find_card("yolov3_tiny"), data, np.arange(12), options)
    assert lines[0].startswith("pictures in squares of 128 x 128")
    assert pictures.fixed(data, np.arange(2)).images.shape[-2:] == (128, 128)


@pytest.mark.slow
def test_pictures_of_other_shapes_have_the_square_and_the_others_their_answers(
    tmp_path: Path,
) -> None:
    """What is said of a picture is the same alone and beside others, a broken one among them."""
    data = landscapes(tmp_path)
    card = find_card("fasterrcnn_resnet50_fpn")
    task = ObjectDetection(DetectionOptions(image_size=128))
    task.prepare(card, data, np.arange(12))
    torch.manual_seed(0)
    parts: Parts = task.parts(card, proposals=8)
    upright = tmp_path / "upright.png"
    Image.open(tmp_path / "images" / "00.png").rotate(90, expand=True).save(upright)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    first = tmp_path / "images" / "01.png"
    assert task.pictures.read(first)[0].shape == (3, 96, 128)
    assert task.pictures.read(upright)[0].shape == (3, 128, 128)
    inputs = [first, broken, upright, tmp_path / "images" / "02.png"]
    context = Context(torch.device("cpu"), batch_size=4, workers=0)
    options = DetectionAnswerOptions(threshold=0.0, most=5)
    together = list(answer(task, parts, inputs, context, options))
    alone = [next(iter(answer(task, parts, [each], context, options))) for each in inputs]
    assert [row["input"] for row in together] == list(map(str, inputs))
    assert "broken.png" in together[1]["error"]
    for one, other in zip(together, alone, strict=True):
        assert one["error"] == other["error"]
        for found, wanted in zip(one["objects"], other["objects"], strict=True):
            assert found["class"] == wanted["class"]
            assert found["score"] == pytest.approx(wanted["score"], abs=1e-4)
            assert found["box"] == pytest.approx(wanted["box"], abs=0.1)
    assert len(together[2]["objects"]) == 5
