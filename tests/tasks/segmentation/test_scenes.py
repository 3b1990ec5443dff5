"""Training crops: picture and mask are changed alike, by seed, epoch and example alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from discs import write_discs

from torchfolio import RequestError, open_data
from torchfolio.data.dataset import Dataset
from torchfolio.data.masks import IGNORE
from torchfolio.networks.catalogue import cards, find_card
from torchfolio.tasks.segmentation.moving import displacements, moved, nearest, windowed
from torchfolio.tasks.segmentation.options import SegmentationOptions
from torchfolio.tasks.segmentation.plan import plan_scenes, rare_crops
from torchfolio.tasks.segmentation.scenes import NUMBERS, Scenes
from torchfolio.tasks.segmentation.task import SemanticSegmentation


def scenes(**options: Any) -> Scenes:
    state = {"scale": 1.0, "crop": 32, "channels": 1, "depth": 8, "classes": ["a", "b"]}
    return Scenes(SegmentationOptions(**options), state)


def alike(height: int = 40, width: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture that shows its mask: 200 where that is 1."""
    rows, columns = np.indices((height, width))
    mask = ((rows - 14) ** 2 + (columns - 30) ** 2 < 90) | (rows > 33)
    labels = torch.from_numpy(mask.astype(np.uint8))
    return labels[None] * 200, labels


@pytest.mark.parametrize(
    ("augment", "rotate"),
    [("none", 30), ("flip", None), ("flip", 180), ("scale", None), ("elastic", None)],
)
def test_picture_and_mask_are_changed_alike(augment: str, rotate: float | None) -> None:
    found = scenes(augment=augment, rotate=rotate, rare=0.0)
    picture, mask = alike()
    draw = np.random.default_rng(0)
    different = set()
    exact = augment == "none" or (augment == "flip" and rotate is None)
    for _ in range(20):
        image, [labels] = found.crop(picture, mask[None], draw.random(NUMBERS))
        assert image.shape == (1, 32, 32)
        assert labels.shape == (32, 32)
        counted = labels != IGNORE
        wrong = (image[0].float() / 200 - labels).abs() > 0.51  # edges are mixed where pixels move
        assert wrong[counted].float().mean() < (1e-9 if exact else 0.05)
        different.add(labels.numpy().tobytes())
    assert len(different) > 10


def turned_less(found: Scenes) -> Scenes:
    return Scenes(replace(found.options, rotate=5.0), found.state)


def test_a_crop_depends_on_seed_epoch_and_example_alone(tmp_path: Path) -> None:
    data = open_data(write_discs(tmp_path))
    found, _ = plan_scenes(
        find_card("unet"), data, np.arange(12), SegmentationOptions(crop=32, augment="elastic")
    )
    both = found.crops(data, np.array([3, 7]), 5, 1)
    one = found.crops(data, np.array([7]), 5, 1)
    assert torch.equal(both.images[1], one.images[0])
    assert torch.equal(both.masks[1], one.masks[0])
    assert not torch.equal(found.crops(data, np.array([7]), 6, 1).images, one.images)
    assert not torch.equal(found.crops(data, np.array([7]), 5, 2).images, one.images)
    assert not torch.equal(turned_less(found).crops(data, np.array([7]), 5, 1).images, one.images)


def test_crops_hold_a_rare_class_as_often_as_asked() -> None:
    mask = torch.zeros(200, 200, dtype=torch.uint8)
    mask[150, 20] = 1
    picture = torch.zeros(1, 200, 200, dtype=torch.uint8)
    numbers = np.random.default_rng(0).random((300, NUMBERS))
    for rare, low, high in ((0.0, 0.0, 0.1), (None, 0.2, 0.35), (1.0, 0.4, 0.7)):
        found = scenes(augment="none", rare=rare)
        held = [bool(found.crop(picture, mask[None], row)[1].any()) for row in numbers]
        assert low <= np.mean(held) <= high  # a class is drawn first: one of two


def test_a_picture_smaller_than_the_crop_is_mirrored_and_counts_only_itself() -> None:
    picture, mask = alike(20, 12)
    image, [labels] = scenes(augment="none").crop(picture, mask[None], np.full(NUMBERS, 0.9))
    assert (labels != IGNORE).sum() == 20 * 12
    inside = labels != IGNORE
    assert torch.equal(image[0][inside].view(20, 12), picture[0])
    rows = torch.nonzero(inside.any(1)).flatten()
    columns = torch.nonzero(inside.any(0)).flatten()
    top, left = int(rows[0]), int(columns[0])
    assert torch.equal(image[0, top - 1, columns], picture[0, 1])
    assert torch.equal(image[0, rows, left - 1], picture[0, :, 1])


def test_a_window_beyond_the_picture_is_filled_where_a_mask_is() -> None:
    mask = torch.ones(1, 4, 4, dtype=torch.uint8)
    found = windowed(mask, 0, 0, 6, IGNORE)
    assert found[0, 1:5, 1:5].eq(1).all()
    assert found.eq(IGNORE).sum() == 36 - 16


def test_masks_take_the_class_at_the_centre_of_a_new_pixel() -> None:
    mask = torch.tensor([[0, 1, 2, 3]], dtype=torch.uint8)
    assert nearest(mask[None], 1, 2).tolist() == [[[1, 3]]]
    assert nearest(mask[None], 2, 8).tolist() == [[[0, 0, 1, 1, 2, 2, 3, 3]] * 2]


def test_bending_without_displacement_changes_nothing() -> None:
    picture, mask = alike(32, 32)
    image, [labels] = moved(picture, mask[None], moves=displacements(32, np.full(18, 0.5)))
    assert torch.equal(image, picture)
    assert torch.equal(labels, mask)


@pytest.mark.parametrize("side", [4, 5])
def test_a_turn_by_ninety_degrees_is_exact(side: int) -> None:
    """To the left: the last column becomes the first row."""
    picture = torch.arange(side * side, dtype=torch.uint8).view(1, side, side)
    image, labels = moved(picture, picture + 100, 90)
    assert image[0, 0].tolist() == picture[0, :, -1].tolist()
    assert torch.equal(image, picture.rot90(1, (1, 2)))
    assert torch.equal(labels, picture.rot90(1, (1, 2)) + 100)


def test_a_turn_moves_points_as_the_angle_says_and_mirrors_what_lies_beyond() -> None:
    """A point 10 right of the middle comes to lie 10 cos 30 right of it and 10 sin 30 above."""
    labels = torch.zeros(1, 41, 41, dtype=torch.uint8)
    labels[0, 20, 30] = 1
    picture = labels * 240
    image, _ = moved(picture, labels, 30)
    rows, columns = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")
    weight = image[0] / image.sum()
    assert float((weight * columns).sum()) - 20 == pytest.approx(8.66, abs=0.2)
    assert 20 - float((weight * rows).sum()) == pytest.approx(5, abs=0.2)
    _, corner = moved(picture, labels + 7, 45)  # what lies outside is mirrored: no new value
    assert set(corner.unique().tolist()) <= {7, 8}


def test_pixels_that_do_not_count_turn_with_the_picture() -> None:
    picture, mask = alike(32, 32)
    mask = mask.clone()
    mask[:, :10] = IGNORE
    picture = torch.where(mask == IGNORE, 100, picture[0])[None].to(torch.uint8)
    image, [labels] = moved(picture, mask[None], 33)
    known = {0: 0, 1: 200, IGNORE: 100}
    for value, grey in known.items():
        inside = labels == value
        assert inside.any()
        halfway = 1 + max(grey, 200 - grey) / 2  # to what a pixel at an edge is mixed with
        assert ((image[0][inside].int() - grey).abs() <= halfway).float().mean() > 0.9
        assert (image[0][inside] == grey).float().mean() > 0.6


def test_elastic_deformation_takes_all_eight_ways_to_lay_a_square() -> None:
    """Quarter turns and mirrors; a tiny angle leaves a patch in a corner where they bring it."""
    found = scenes(augment="elastic", rotate=0.001, rare=0.0)
    found.state["crop"] = 64
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    labels[0, 2:14, 20:32] = 1  # nearer to one corner along the upper side
    numbers = np.full((8, NUMBERS), 0.5)
    numbers[:, 4] = [0.1, 0.3] * 4  # mirrored or not
    numbers[:, 25] = np.repeat([0.1, 0.3, 0.6, 0.8], 2)  # quarter turns
    ways = {
        tuple(found.crop(labels * 9, labels, row)[1][0].nonzero()[0].tolist()) for row in numbers
    }
    assert len(ways) == 8


def test_without_mirroring_a_square_is_turned_and_never_turned_over() -> None:
    found = scenes(augment="elastic", rotate=0.001, rare=0.0, mirror=False)
    labels = torch.zeros(1, 32, 32, dtype=torch.uint8)
    labels[0, 4:12, 4:12], labels[0, 4:12, 20:28] = 1, 2  # then clockwise from one to two
    numbers = np.full((16, NUMBERS), 0.5)
    numbers[:, 4] = [0.1, 0.3] * 8
    numbers[:, 5] = [0.1, 0.1, 0.9, 0.9] * 4
    numbers[:, 25] = np.repeat([0.1, 0.3, 0.6, 0.8], 4)
    ways = set()
    for row in numbers:
        _, [turned] = found.crop(labels * 9, labels, row)
        places = [(turned == each).nonzero().float().mean(0) - 15.5 for each in (1, 2)]
        assert places[0][0] * places[1][1] < places[0][1] * places[1][0]
        ways.add(tuple((places[0] > 0).tolist()))
    assert len(ways) == 4


def test_a_crop_reads_its_picture_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_data(write_discs(tmp_path, 4))
    found, _ = plan_scenes(find_card("unet"), data, np.arange(4), SegmentationOptions(crop=32))
    read, get = [], found.picture

    def noted(data: Dataset, index: int) -> torch.Tensor:
        read.append(index)
        return get(data, index)

    monkeypatch.setattr(found, "picture", noted)
    found.crops(data, np.array([3, 1]), 1, 0)
    assert read == [3, 1]


def test_a_turn_of_nothing_or_no_change_leaves_crops_upright() -> None:
    for options in ({"augment": "none", "rotate": 90.0}, {"augment": "elastic", "rotate": 0.0}):
        assert scenes(**options).turned_by == 0
    assert scenes(augment="elastic").turned_by == 15
    assert scenes(augment="flip").turned_by == 0
    assert scenes(augment="flip", rotate=40.0).turned_by == 40


def test_bending_moves_pixels_as_far_as_the_paper_says() -> None:
    columns = torch.arange(128, dtype=torch.float32).expand(1, 128, 128)
    mask = torch.zeros(1, 128, 128, dtype=torch.uint8)
    draw = np.random.default_rng(0)
    moves = []
    for _ in range(200):
        image, _ = moved(columns, mask, moves=displacements(128, draw.random(18)))
        moves.append(float(image[0, 64, 64] - 64))  # the middle of the grid: a drawn displacement
    assert np.std(moves) == pytest.approx(10, rel=0.15)


def test_scaled_pictures_keep_their_shape(tmp_path: Path) -> None:
    data = open_data(write_discs(tmp_path, size=(60, 90)))
    found, lines = plan_scenes(
        find_card("unet"), data, np.arange(8), SegmentationOptions(image_size=30)
    )
    assert found.picture(data, 0).shape == (1, 30, 45)
    assert found.mask(data, 0).shape == (60, 90)
    assert lines[0] == "pictures scaled by 0.5: as asked"


def test_what_is_decided_is_said_with_the_reason(tmp_path: Path) -> None:
    data = open_data(write_discs(tmp_path, empty=2))
    found, lines = plan_scenes(find_card("unet"), data, np.arange(12), SegmentationOptions())
    assert lines[0].startswith("pictures as they are: their median side, 48, is not above 512")
    assert lines[1] == "training crops of 48 x 48, 1 channel(s) (--crop, --channels)"
    assert "2 of 12 training masks hold background only" in lines
    masks = [data.records.masks.get(index) for index in range(12)]
    assert found.state["train_pixels"] == [
        sum(int((mask == each).sum()) for mask in masks) for each in (0, 1)
    ]
    pixels = np.concatenate([data.records.pixels(index).reshape(-1) for index in range(12)]) / 255
    assert found.state["mean"].item() == pytest.approx(pixels.mean(), abs=1e-4)
    assert found.state["std"].item() == pytest.approx(pixels.std(), abs=1e-4)


@pytest.mark.parametrize(("rare_pixels", "wanted"), [(9, 2 / 3), (10, 0.5), (0, 0.5)])
def test_a_class_below_one_per_cent_is_looked_for_more_often(
    rare_pixels: int, wanted: float
) -> None:
    """A class that no training picture has is none to be looked for."""
    shares = np.array([990 - rare_pixels + 10, rare_pixels, 0]) / 1000
    found, line = rare_crops(shares, ["background", "tumour", "other"])
    assert found == wanted
    if rare_pixels:
        assert line.endswith(f"tumour, has {rare_pixels / 10:.2f}% of the pixels (--rare)")


def test_the_memory_of_a_crop_is_that_of_a_hand_calculation() -> None:
    """Two maps of 16 x 16 after each of 8 layers, 4 of 8 x 8 after 4, and 2 of the up-convolution
    and the head: 6,144 numbers, of 6 bytes each.
    """
    task = SemanticSegmentation(SegmentationOptions(), {"crop": 16, "channels": 1})
    task.state["classes"] = ["a", "b"]
    found = task.bytes_of_example(find_card("unet"), 0, depth=1, width=2)
    assert found == 6 * (8 * 2 * 256 + 4 * 4 * 64 + 2 * 2 * 256)


def test_every_network_says_what_a_crop_takes() -> None:
    found = [each for each in cards().values() if "semantic-segmentation" in each.tasks]
    assert len(found) >= 12
    for card in found:
        state = {"crop": 224, "channels": 3, "classes": ["a", "b"]}
        task = SemanticSegmentation(SegmentationOptions(), state)
        each, most = task.bytes_of_example(card, 0), task.bytes_of_example(card, 2**40)
        assert 2**26 < each < most < 2**31


@pytest.mark.parametrize("crop", [1, 40, 80])
def test_a_small_crop_with_its_padding_takes_no_more_than_is_said(crop: int) -> None:
    state = {"crop": crop, "channels": 3, "classes": ["a", "b"]}
    task, card = SemanticSegmentation(SegmentationOptions(), state), find_card("fcn8s")
    assert task.bytes_of_example(card, 0) < task.bytes_of_example(card, 2**40)


@pytest.mark.parametrize("width", ["x", [64]])
def test_a_width_that_is_no_number_is_refused(width: Any) -> None:
    state = {"crop": 32, "channels": 1, "classes": ["a", "b"]}
    task = SemanticSegmentation(SegmentationOptions(), state)
    with pytest.raises(RequestError, match="width"):
        task.bytes_of_example(find_card("unet"), 2**40, width=width)
