"""Boxes are moved as their pictures are; anchors; thresholds."""

from typing import Any

import numpy as np
import pytest
import torch

from torchfolio import open_data
from torchfolio.networks.catalogue import find_card
from torchfolio.tasks.detection.boxes import cluster, fitted, mirrored, shape_overlap, within
from torchfolio.tasks.detection.options import DetectionOptions
from torchfolio.tasks.detection.plan import plan_detection


def test_a_picture_lies_in_the_middle_of_its_square() -> None:
    placed = fitted(100, 200, 64)
    assert (placed.left, placed.top) == (0, 16)
    box = np.array([[0, 0, 200, 100], [50, 25, 100, 50]], np.float32)
    assert placed.move(box).tolist() == [[0, 16, 64, 48], [16, 24, 32, 32]]
    assert placed.back(placed.move(box)) == pytest.approx(box)


def test_boxes_come_back_cut_off_at_the_edges_of_their_picture() -> None:
    placed = fitted(100, 200, 64)
    box = np.array([[-3, 10, 70, 20]], np.float32)
    assert placed.back(box).tolist() == [[0, 0, 200, 12.5]]


def test_mirrored_boxes_change_sides() -> None:
    box = np.array([[8, 9, 18, 19]], np.float32)
    assert mirrored(box, 50).tolist() == [[32, 9, 42, 19]]
    assert mirrored(mirrored(box, 50), 50).tolist() == box.tolist()


def test_boxes_of_which_little_is_left_are_dropped() -> None:
    boxes = np.array([[-30, 0, 10, 10], [-29, 0, 11, 10], [95, 95, 105, 105]], np.float32)
    cut, kept = within(boxes, 100, 100)
    assert kept.tolist() == [True, True, True]
    assert cut[0].tolist() == [0, 0, 10, 10]
    assert within(np.array([[-31, 0, 9, 10]], np.float32), 100, 100)[1].tolist() == [False]


def test_shapes_overlap_as_with_one_corner_in_common() -> None:
    found = shape_overlap(np.array([[2.0, 4]]), np.array([[2.0, 4], [4, 2], [1, 1]]))
    assert found[0].tolist() == pytest.approx([1, 4 / 12, 1 / 8])


def test_anchors_are_the_middles_of_clusters() -> None:
    draw = np.random.default_rng(0)
    middles = np.array([[10.0, 12], [40, 30], [100, 200]])
    sizes = np.concatenate([each * draw.uniform(0.9, 1.1, (50, 2)) for each in middles])
    assert cluster(sizes, 3) == pytest.approx(middles, rel=0.05)
    few = cluster(np.array([[5.0, 6], [5, 6], [8, 9]]), 4)
    assert few.shape == (4, 2)
    assert few[:2].tolist() == [[5, 6], [8, 9]]


def prepared(**options: Any) -> Any:
    data = open_data("digit-boxes")
    card = find_card("yolov3_tiny")
    pictures, lines = plan_detection(card, data, np.arange(400), DetectionOptions(**options))
    return data, pictures, lines


def test_what_is_decided_is_said() -> None:
    _, pictures, lines = prepared()
    assert lines[0].startswith("pictures in squares of 96 x 96, 1 channel(s): for a median longer")
    assert lines[1] == "pixels from 0 to 1, not normalised"
    assert lines[2].startswith("training objects: 0 ")
    assert sum(pictures.state["train_objects"]) > 900


@pytest.mark.parametrize("augment", ["flip", "scale", "mosaic"])
def test_boxes_stay_around_their_digits(augment: str) -> None:
    """Digits are bright on dark paper: within a moved box there is ink, around it less."""
    data, pictures, _ = prepared(augment=augment, image_size=128)
    indices = np.arange(40)
    batch = pictures.augmented(data, indices, 3, 0)
    assert batch.images.shape == (40, 1, 128, 128)
    inside, outside = [], []
    for image, boxes in zip(batch.images.float()[:, 0], batch.boxes, strict=True):
        around = torch.ones(128, 128, dtype=torch.bool)
        for left, top, right, bottom in boxes.round().long().tolist():
            assert 0 <= left <= right <= 128
            assert 0 <= top <= bottom <= 128
            around[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1] = False
            if right - left > 4 and bottom - top > 4:
                inside.append(image[top:bottom, left:right].quantile(0.9).item())
        outside.append(image[around].quantile(0.97).item())
    assert len(inside) > 40
    assert np.median(inside) > 150 > np.median(outside)


def test_a_batch_depends_on_seed_epoch_and_example_alone() -> None:
    data, pictures, _ = prepared(augment="mosaic")
    both = pictures.augmented(data, np.array([3, 7]), 5, 1)
    one = pictures.augmented(data, np.array([7]), 5, 1)
    assert torch.equal(both.images[1], one.images[0])
    assert torch.equal(both.boxes[1], one.boxes[0])
    assert not torch.equal(pictures.augmented(data, np.array([7]), 6, 1).images, one.images)


def test_mosaics_are_of_training_pictures_alone() -> None:
    _, pictures, _ = prepared(augment="mosaic")
    assert pictures.state["train"].tolist() == list(range(400))


def test_anchors_of_the_data_are_the_networks() -> None:
    from torchfolio.tasks.detection.task import ObjectDetection

    data = open_data("digit-boxes")
    task = ObjectDetection(DetectionOptions(anchors="data"))
    task.prepare(find_card("yolov3_tiny"), data, np.arange(400))
    network: Any = task.parts(find_card("yolov3_tiny")).network
    coarse, fine = np.array(network.anchors[0]), np.array(network.anchors[1])
    assert coarse.prod(1).min() >= fine.prod(1).max()
    assert fine.max() < 50
