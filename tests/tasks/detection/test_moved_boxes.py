"""Boxes are moved as their pictures are; anchors; thresholds."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from torchfolio import open_data
from torchfolio.data.boxes import Objects, box_areas
from torchfolio.errors import RequestError
from torchfolio.evaluation.matching import Detections
from torchfolio.networks.catalogue import find_card
from torchfolio.tasks.detection.boxes import cluster, fitted, mirrored, shape_overlap, within
from torchfolio.tasks.detection.options import DetectionOptions
from torchfolio.tasks.detection.pictures import DetectionPictures
from torchfolio.tasks.detection.plan import medians, plan_detection, squares
from torchfolio.tasks.detection.report import middle
from torchfolio.tasks.detection.task import ObjectDetection
from torchfolio.training.processes import Processes


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


def test_what_lies_in_the_grey_around_a_picture_is_no_answer() -> None:
    placed = fitted(100, 200, 64)  # rows 16 to 48 of the square
    boxes = [[0, 2, 30, 15], [0, 2, 32, 20], [3, 48, 20, 60]]
    said = Detections(np.array(boxes, np.float32), np.array([0.9, 0.8, 0.7], np.float32),
                      np.array([2, 1, 0]))  # fmt: skip
    found = placed.answered(said)
    assert found.boxes.tolist() == [[0, 0, 100, 12.5]]
    assert (found.labels.tolist(), found.scores.tolist()) == ([1], [pytest.approx(0.8)])


def test_the_baseline_is_the_median_box_of_each_class_in_the_middle() -> None:
    """Three classes; the second has most objects, the third none: nothing is said of it."""
    sizes = np.array([[10, 20], [30, 40], [20, 60], [2, 4], [4, 8], [100, 100], [4, 4]], float)
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    found = medians(sizes, labels, 3)
    assert found.tolist() == [[20, 40], [4, 6], [0, 0]]
    state = {"train_objects": [3, 4, 0], "sizes": torch.from_numpy(found), "size": 64}
    said = middle(state, 64, 128)  # twice as large as its square
    assert said.labels.tolist() == [1, 0]
    assert said.scores.tolist() == pytest.approx([4 / 7, 3 / 7])
    assert said.boxes.tolist() == [[60, 26, 68, 38], [44, -8, 84, 72]]


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


def test_every_batch_has_a_size_of_its_own_on_request() -> None:
    """The paper's sizes: 320 to 608 for 416, in steps of 32. Boxes grow with their pictures."""
    assert squares(416, 32, 32) == list(range(320, 609, 32))
    assert squares(32, 32, 32) == [32]
    data, pictures, lines = prepared(augment="none", multi_scale=True, image_size=96)
    assert "every batch of training in squares of 64 to 128 (--multi-scale)" in lines
    still = pictures.fixed(data, np.array([3, 7]))
    sides = set()
    for epoch in range(12):
        batch = pictures.augmented(data, np.array([3, 7]), epoch, 1)
        side = batch.images.shape[-1]
        sides.add(side)
        assert batch.images.shape == (2, 1, side, side)
        for boxes, before in zip(batch.boxes, still.boxes, strict=True):
            assert torch.allclose(boxes, before * side / 96)
        again = pictures.augmented(data, np.array([3, 7]), epoch, 1)
        assert torch.equal(again.images, batch.images)
    assert sides == {64, 96, 128}
    options = DetectionOptions(multi_scale=True, image_size=64)
    with pytest.raises(RequestError, match="multi-scale: yolov1 takes pictures of one size"):
        plan_detection(find_card("yolov1"), data, np.arange(400), options)


@pytest.mark.parametrize("augment", ["none", "mosaic"])
def test_pieces_of_a_batch_have_its_size_and_its_pictures(augment: Any) -> None:
    """By which a batch of several processes or of accumulated pieces is that of one."""
    data, card = open_data("digit-boxes"), find_card("yolov3_tiny")
    options = DetectionOptions(augment=augment, multi_scale=True, image_size=96)
    task = ObjectDetection(options)
    task.prepare(card, data, np.arange(40))
    sides = set()
    for epoch in (0, 1):
        for batch in task.batches(data, np.arange(40), 8, 1, epoch):
            whole = task.load(data, batch, epoch, 1).images
            sides.add(whole.shape[-1])
            for rank in range(2):
                share = Processes(rank, 2).pieces(batch, 2, 2)
                for place, piece in enumerate(share, 2 * rank):
                    part = task.load(data, piece, epoch, 1).images
                    assert torch.equal(part, whole[2 * place : 2 * place + 2])
    assert len(sides) > 1


def test_mosaics_are_of_training_pictures_alone() -> None:
    _, pictures, _ = prepared(augment="mosaic")
    assert pictures.state["train"].tolist() == list(range(400))


def test_a_mosaic_is_of_parts_of_four_pictures_at_their_own_size() -> None:
    """Four of 64 x 64 that meet in the middle: of each a corner of 32 x 32 is to be seen."""
    options = DetectionOptions(augment="mosaic", jitter=0.0, mirror=False)
    pictures = DetectionPictures(options, {"size": 64, "channels": 1, "depth": 8})
    shown = torch.arange(64 * 64).view(1, 64, 64).to(torch.uint8)
    pixels = [shown + number for number in range(4)]
    boxes = np.array(
        [[4, 6, 20, 30], [20, 10, 40, 20], [22, 2, 62, 12], [40, 36, 60, 62]], np.float32
    )
    none = np.zeros(4, bool)
    own = Objects(boxes, np.arange(4), none, none, box_areas(boxes))
    data: Any = SimpleNamespace(
        records=SimpleNamespace(objects=[own] * 4, sizes=np.full((4, 2), 64))
    )
    store: Any = SimpleNamespace(get=lambda index: pixels[index])
    pictures.store = lambda dataset: store  # type: ignore[method-assign]
    canvas, numbers = pictures.canvas(1, (64, 64))[0], np.full((4, 8), 0.5)
    numbers[:, 3:5] = [[0, 0], [0, 1], [1, 0], [1, 1]]  # which corner is to be seen
    found = pictures.four(data, np.arange(4), numbers, np.array([0.5, 0.5]), canvas)
    for number, (down, across) in enumerate([(0, 0), (0, 32), (32, 0), (32, 32)]):
        place = (slice(None), slice(down, down + 32), slice(across, across + 32))
        assert torch.equal(canvas[place], pixels[number][place])
    # Of the second box 12 of 20 columns are in the first corner, 8 in the second; of the third 10
    # of 40 are in the first, which is a quarter, and 30 in the second.
    assert found[0].tolist() == [
        [4, 6, 20, 30], [20, 10, 32, 20], [22, 2, 32, 12],
        [32, 10, 40, 20], [32, 2, 62, 12], [40, 36, 60, 62],
    ]  # fmt: skip
    assert found[1].tolist() == [0, 1, 2, 1, 2, 3]


def test_anchors_of_the_data_are_the_networks() -> None:
    data = open_data("digit-boxes")
    task = ObjectDetection(DetectionOptions(anchors="data"))
    task.prepare(find_card("yolov3_tiny"), data, np.arange(400))
    network: Any = task.parts(find_card("yolov3_tiny")).network
    coarse, fine = np.array(network.anchors[0]), np.array(network.anchors[1])
    assert coarse.prod(1).min() >= fine.prod(1).max()
    assert fine.max() < 50
    with torch.device("meta"):  # whose five sizes of maps have no use for those of two
        network = task.parts(find_card("fasterrcnn_resnet50_fpn")).network
    areas = np.array(network.shapes).prod(2)
    assert areas.shape == (5, 3)
    assert (np.diff(areas.flatten()) >= 0).all()  # the smallest for the largest maps
