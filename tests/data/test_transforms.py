import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, autoaugment

from torchfolio.data import transforms
from torchfolio.data.draws import uniforms


def picture(height: int, width: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (channels, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("size", [(20, 30), (11, 7), (64, 50)])
def test_resizing_is_pillows(size: tuple[int, int]) -> None:
    source = picture(37, 29)
    image = Image.fromarray(source.permute(1, 2, 0).numpy())
    theirs = np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR), np.int64)
    ours = transforms.resize(source, *size)
    assert ours.dtype == torch.uint8
    assert np.abs(ours.permute(1, 2, 0).numpy().astype(np.int64) - theirs).max() <= 1


def test_resizing_keeps_floats_and_what_has_the_size() -> None:
    source = picture(4, 4).float() / 255
    assert transforms.resize(source, 4, 4) is source
    assert transforms.resize(source, 8, 8).dtype == torch.float32


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(40, 80, (20, 40)), (80, 40, (40, 20)), (7, 9, (20, 26))]
)
def test_the_shorter_side_is_resized(height: int, width: int, expected: tuple[int, int]) -> None:
    assert transforms.resize_shorter(picture(height, width), 20).shape[1:] == expected


def test_what_exceeds_the_longest_side_is_cut_off_evenly() -> None:
    source = torch.zeros(1, 10, 100, dtype=torch.uint8)
    source[:, :, 35:65] = 200  # the middle 30 columns
    result = transforms.resize_shorter(source, 10, 30)
    assert result.shape[1:] == (10, 30)
    assert result.unique().tolist() == [200]


def test_padding_is_even_and_of_one_value() -> None:
    padded = transforms.pad_to(torch.ones(1, 2, 3), 5, 6, 7.0)
    assert padded.shape == (1, 5, 6)
    assert padded[0, 1:3, 1:4].unique().tolist() == [1]  # down 3: 1 above; across 3: 1 left
    assert padded.sum() == 6 + 7 * (30 - 6)


@pytest.mark.parametrize("how", ["pad", "crop", "squash", "whole"])
@pytest.mark.parametrize("size", [(28, 28), (50, 31), (20, 90)])
def test_every_way_gives_the_size(how: str, size: tuple[int, int]) -> None:
    fitted = transforms.fit(picture(*size), 32, how, 0.0)
    assert fitted.shape == (3, 32, 32)
    assert fitted.dtype == torch.uint8


def test_fitting_pads_small_pictures_with_the_fill() -> None:
    fitted = transforms.fit(torch.ones(1, 28, 28), 32, "pad", 0.5)
    assert torch.equal(fitted[:, 2:30, 2:30], torch.ones(1, 28, 28))
    assert fitted[0, 0].unique().tolist() == [0.5]


def test_cropping_takes_the_middle_of_eight_sevenths() -> None:
    # 64 x 64 to 56: the shorter side becomes 64 (8/7), of which 4 on each side are cut off
    source = picture(64, 64)
    assert torch.equal(transforms.fit(source, 56, "crop", 0.0), source[:, 4:60, 4:60])


def test_the_whole_picture_stays_in_proportion() -> None:
    fitted = transforms.fit(torch.ones(1, 40, 80), 32, "whole", 0.25)
    assert torch.allclose(fitted[:, 8:24], torch.ones(1, 16, 32), atol=1e-6)
    assert fitted[0, :8].unique().tolist() == fitted[0, 24:].unique().tolist() == [0.25]


def test_shifting_moves_by_whole_pixels_and_fills() -> None:
    images = torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3).expand(3, 1, 3, 3)
    # floor(5 u): 0 is two up and two left of the padded picture, 2 the middle, 4 the other corner
    numbers = np.array([[0.0, 0.0], [0.5, 0.5], [0.99, 0.5]])
    moved = transforms.shift(images, 2, 9.0, numbers)
    assert moved[0, 0].tolist() == [[9, 9, 9], [9, 9, 9], [9, 9, 0]]
    assert moved[1, 0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert moved[2, 0].tolist() == [[6, 7, 8], [9, 9, 9], [9, 9, 9]]


def test_every_offset_is_as_frequent() -> None:
    images = torch.zeros(5000, 1, 3, 3)
    images[:, :, 1, 1] = 1
    moved = transforms.shift(images, 1, 0.0, uniforms("test", 0, 0, np.arange(5000), 2))
    counts = moved.sum((0, 1)).flatten()
    expected = 5000 / 9
    assert float(((counts - expected) ** 2 / expected).sum()) < 26.1  # chi-square, 8, 99.9 %


def test_flipping_mirrors_left_and_right() -> None:
    images = torch.tensor([[[[1, 2, 3]]], [[[1, 2, 3]]]])
    flipped = transforms.flip(images, np.array([0.4999, 0.5]))
    assert flipped.flatten(1).tolist() == [[3, 2, 1], [1, 2, 3]]


def test_a_random_window_has_its_area_and_ratio() -> None:
    low = transforms.random_window(100, 100, np.array([0.0, 0.5, 0.0, 0.0]), (0.25, 1.0))
    assert low == (0, 0, 50, 50)
    wide = transforms.random_window(90, 120, np.array([0.0, 1 - 1e-12, 0.0, 0.0]), (0.5, 0.5))
    # area 5400, ratio 4/3: height sqrt(5400 * 3/4) = 63.6, width sqrt(5400 * 4/3) = 84.9
    assert wide == (0, 0, 63, 84)
    far = transforms.random_window(90, 120, np.array([0.0, 0.5, 1 - 1e-12, 1 - 1e-12]), (0.25, 1))
    side = int(math.sqrt(90 * 120 / 4))
    assert far == (90 - side, 120 - side, side, side)


def test_a_random_window_stays_inside() -> None:
    numbers = uniforms("test", 0, 0, np.arange(2000), 6)
    for row in numbers:
        height, width = 1 + int(row[4] * 40), 1 + int(row[5] * 40)
        top, left, tall, wide = transforms.random_window(height, width, row, (0.08, 1.0))
        assert top >= 0
        assert left >= 0
        assert tall >= 1
        assert wide >= 1
        assert top + tall <= height
        assert left + wide <= width


# torchvision's name of each operation and its magnitude at 9 of 30
TORCHVISION = {
    "identity": ("Identity", 0.0),
    "shear-x": ("ShearX", 0.3 * 0.3),
    "shear-y": ("ShearY", 0.3 * 0.3),
    "translate-x": ("TranslateX", 150 / 331 * 24 * 0.3),
    "translate-y": ("TranslateY", 150 / 331 * 32 * 0.3),
    "rotate": ("Rotate", 30 * 0.3),
    "brightness": ("Brightness", 0.9 * 0.3),
    "saturation": ("Color", 0.9 * 0.3),
    "contrast": ("Contrast", 0.9 * 0.3),
    "sharpness": ("Sharpness", 0.9 * 0.3),
    "posterize": ("Posterize", 7),
    "solarize": ("Solarize", 255 * 0.7),
    "autocontrast": ("AutoContrast", 0.0),
    "equalize": ("Equalize", 0.0),
}
SIGNED = 10  # the first so many operations of that list have a sign


@pytest.mark.parametrize("number", range(14))
@pytest.mark.parametrize("sign", [1, -1])
def test_randaugment_does_what_torchvisions_does(number: int, sign: int) -> None:
    name = transforms.OPERATIONS[number]
    theirs, magnitude = TORCHVISION[name]
    magnitude *= sign if list(TORCHVISION).index(name) < SIGNED else 1
    source = picture(32, 24)
    numbers = np.array([(number + 0.5) / 14, 0.25 if sign == 1 else 0.75])
    ours = transforms.rand_augment(source, numbers, 7.0)
    expected = autoaugment._apply_op(
        source, theirs, magnitude, InterpolationMode.BILINEAR, [7.0] * 3
    )
    assert ours.dtype == torch.uint8
    assert int((ours.int() - expected.int()).abs().max()) <= 1  # v1 and v2 round differently


def test_the_operations_are_torchvisions() -> None:
    space = autoaugment.RandAugment()._augmentation_space(31, (32, 24))
    assert {theirs for theirs, _ in TORCHVISION.values()} == set(space)
    assert set(TORCHVISION) == set(transforms.OPERATIONS)
    for theirs, magnitude in TORCHVISION.values():
        magnitudes, _ = space[theirs]
        found = float(magnitudes[9] if magnitudes.ndim else magnitudes)
        assert found == pytest.approx(magnitude, rel=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_randaugment_takes_grey_and_floats(channels: int) -> None:
    source = picture(32, 24, channels).float() / 255
    for row in uniforms("test", 0, 0, np.arange(40), 4):
        changed = transforms.rand_augment(source, row, 0.5)
        assert changed.shape == source.shape
        assert changed.dtype == torch.float32
        assert float(changed.min()) >= 0
        assert float(changed.max()) <= 1


def test_colours_change_by_their_factors() -> None:
    images = torch.tensor([[[[50.0, 100.0]], [[100.0, 100.0]], [[150.0, 100.0]]]]).to(torch.uint8)
    # strength 0.5: 1 - 0.5 + u; brightness 1.2, contrast 0.8, saturation 0.6
    changed = transforms.jitter_colour(images, 0.5, np.array([[0.7, 0.3, 0.1]]))
    bright = images[0].double() * 1.2  # (3, 1, 2): 60, 120, 180 and three times 120
    grey = 0.299 * bright[0] + 0.587 * bright[1] + 0.114 * bright[2]
    duller = grey + 0.6 * (bright - grey)
    expected = duller.mean() + 0.8 * (duller - duller.mean())
    assert changed.dtype == torch.uint8
    assert torch.equal(changed[0].double(), expected.round())


def test_colours_of_grey_pictures_and_of_floats() -> None:
    images = picture(8, 8, 1).unsqueeze(0)
    same = transforms.jitter_colour(images, 0.5, np.full((1, 3), 0.5))
    assert torch.equal(same, images)
    floats = transforms.jitter_colour(images.float() / 255, 0.5, np.array([[0.99, 0.99, 0.0]]))
    assert floats.dtype == torch.float32
    assert 0 <= float(floats.min()) <= float(floats.max()) <= 1


def test_colours_do_not_depend_on_the_company_in_the_batch() -> None:
    images = torch.stack([picture(200, 200).roll(number, 2) for number in range(16)])
    numbers = uniforms("test", 0, 0, np.arange(16), 3)
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # sums are split among threads, otherwise for one than for many
    try:
        whole = transforms.jitter_colour(images, 0.4, numbers)
        for place in range(16):
            alone = transforms.jitter_colour(
                images[place : place + 1], 0.4, numbers[place : place + 1]
            )
            assert torch.equal(alone[0], whole[place])
    finally:
        torch.set_num_threads(before)


def test_a_random_crop_is_its_window_resized() -> None:
    source = picture(60, 60)
    # half of the area in a square: side 42, at the upper left corner
    cropped = transforms.random_crop(source, 21, np.array([0.5, 0.5, 0.0, 0.0]), (0.0, 1.0))
    assert torch.equal(cropped, transforms.resize(source[:, :42, :42], 21, 21))


@pytest.mark.parametrize("how", ["pad", "crop", "squash", "whole"])
@pytest.mark.parametrize("size", [(28, 28), (32, 32), (50, 31), (20, 90), (300, 200), (97, 411)])
def test_the_box_says_where_the_square_lies_in_the_picture(how: str, size: tuple[int, int]) -> None:
    """Pictures whose values are their own places: fitted, they say where they come from."""
    height, width = size
    down = torch.arange(height).float()[:, None].expand(height, width)
    across = torch.arange(width).float().expand(height, width)
    fitted = transforms.fit(torch.stack([down, across]), 32, how, -1.0)
    top, left, tall, wide = transforms.source_box(height, width, 32, how)
    rows = top + (torch.arange(32) + 0.5) / 32 * tall - 0.5
    columns = left + (torch.arange(32) + 0.5) / 32 * wide - 0.5
    # away from the picture's edges, where a value is the mean of whole neighbourhoods, weighed
    # by a triangle that lies a little unevenly on whole pixels
    reach = max(tall, wide) / 32
    good_rows = (rows > reach) & (rows < height - 1 - reach)
    good_columns = (columns > reach) & (columns < width - 1 - reach)
    assert good_rows.sum() > 0 or how in ("pad", "whole")
    found = fitted[:, good_rows][:, :, good_columns]
    assert torch.allclose(found[0], rows[good_rows][:, None].expand_as(found[0]), atol=0.06 * reach)
    assert torch.allclose(found[1], columns[good_columns].expand_as(found[1]), atol=0.06 * reach)
    outside = (rows < -0.5) | (rows > height - 0.5)
    assert (fitted[:, outside] == -1).all()
    assert not (fitted[0, ~outside][:, (columns >= -0.5) & (columns <= width - 0.5)] == -1).any()
