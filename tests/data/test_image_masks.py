from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchfolio import open_data
from torchfolio.data.masks import IGNORE
from torchfolio.errors import DataError, RequestError


def draw(path: Path, pixels: np.ndarray, **more: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path, **more)


def write(root: Path, count: int = 4, high: int = 255, size: tuple[int, int] = (12, 16)) -> Path:
    """Write pictures of noise, and masks with a square in each."""
    random = np.random.default_rng(0)
    for index in range(count):
        draw(root / "images" / f"{index}.png", random.integers(0, 256, (*size, 3)))
        mask = np.zeros(size)
        mask[2 : 5 + index, 3:9] = high
        draw(root / "masks" / f"{index}.png", mask)
    return root


def test_pictures_and_masks_are_read_in_pairs(tmp_path: Path) -> None:
    data = open_data(write(tmp_path / "数据 集"))
    assert data.kind == "semantic-segmentation"
    assert data.reader == "image-masks"
    assert data.classes == ("background", "foreground")
    assert len(data) == 4
    mask = data.records.masks.get(1)
    assert mask.dtype == np.uint8
    assert mask[2:6, 3:9].min() == 1
    assert mask.sum() == 4 * 6
    assert "pictures in images, masks in masks" in data.reading


def test_a_mask_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    draw(write(tmp_path) / "masks" / "2.png", np.zeros((12, 15)))
    data = open_data(tmp_path)
    assert len(data) == 3
    (problem,) = data.problems
    assert problem.path == "masks/2.png"
    assert problem.problem == "the mask has 12 x 15 pixels, its picture 12 x 16"
    with pytest.raises(DataError, match="12 x 15"):
        open_data(tmp_path, on_error="stop")


@pytest.mark.parametrize("place", ["images", "masks"])
def test_a_damaged_file_is_named_and_its_pair_left_out(tmp_path: Path, place: str) -> None:
    file = write(tmp_path) / place / "1.png"
    file.write_bytes(file.read_bytes()[:60])
    data = open_data(tmp_path)
    assert [each.path for each in data.problems] == [f"{place}/1.png"]
    assert data.records.names == ["images/0.png", "images/2.png", "images/3.png"]


def test_what_has_no_partner_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "masks" / "0.png").unlink()
    (tmp_path / "images" / "3.png").unlink()
    data = open_data(tmp_path)
    assert {each.path: each.problem for each in data.problems} == {
        "images/0.png": "no mask: left out",
        "masks/3.png": "a mask without picture: left out",
    }


def test_without_any_pair_it_is_said_what_was_expected(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / "masks" / "0.png").rename(tmp_path / "masks" / "other.png")
    with pytest.raises(DataError, match="no picture with a mask"):
        open_data(tmp_path)


def test_class_folders_of_masked_faces_are_no_masks(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("with_mask", "without_mask"):
        for index in range(3):
            draw(tmp_path / name / f"{name}_{index}.png", random.integers(0, 256, (9, 9, 3)))
    data = open_data(tmp_path)
    assert data.kind == "image-classification"
    assert data.classes == ("with_mask", "without_mask")


def test_several_masks_of_one_picture_are_laid_over_one_another(tmp_path: Path) -> None:
    draw(tmp_path / "a (1).png", np.zeros((6, 6, 3)))
    for name, row in (("a (1)_mask", 1), ("a (1)_mask_1", 4)):
        mask = np.zeros((6, 6))
        mask[row] = 255
        draw(tmp_path / f"{name}.png", mask)
    data = open_data(tmp_path)
    assert data.records.masks.get(0).sum(1).tolist() == [0, 6, 0, 0, 6, 0]


def test_pixels_outside_the_field_of_view_are_ignored(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "21_training.png", np.zeros((4, 6, 3)))
    mask, view = np.zeros((4, 6)), np.full((4, 6), 255)
    mask[:, 2] = 255
    view[0] = 0
    draw(tmp_path / "1st_manual" / "21_manual1.png", mask)
    draw(tmp_path / "mask" / "21_training_mask.png", view)
    found = open_data(tmp_path).records.masks.get(0)
    assert found.tolist() == [[IGNORE] * 6, *[[0, 0, 1, 0, 0, 0]] * 3]


def test_names_and_colours_of_classes_come_from_a_file_beside_the_folders(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "1.png", np.zeros((1, 3, 3)))
    draw(tmp_path / "masks" / "1.png", np.array([[[64, 0, 128], [0, 0, 0], [192, 192, 0]]]))
    (tmp_path / "label_colors.txt").write_text("64 0 128\tCar\n0 0 0\tVoid\n192 192 0\tTree\n")
    data = open_data(tmp_path)
    assert data.classes == ("Car", "Tree")
    assert data.records.masks.get(0).tolist() == [[0, IGNORE, 1]]


def test_groups_are_found_in_names(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("TCGA_A_11", "TCGA_A_12", "TCGA_B_3"):
        draw(tmp_path / "images" / f"{name}.png", random.integers(0, 256, (5, 5, 3)))
        draw(tmp_path / "masks" / f"{name}.png", np.eye(5) * 255)
    data = open_data(tmp_path, group_pattern=r"TCGA_(\w)_")
    assert data.groups is not None
    assert data.groups.tolist() == ["A", "A", "B"]
    with pytest.raises(RequestError, match=r"finds nothing in images/TCGA_A_11\.png"):
        open_data(tmp_path, group_pattern="patient")
    with pytest.raises(RequestError, match="no regular expression"):
        open_data(tmp_path, group_pattern="(")


def test_lists_of_voc_are_splits(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("2007_1", "2007_2", "2007_3"):
        draw(tmp_path / "JPEGImages" / f"{name}.png", random.integers(0, 256, (5, 5, 3)))
        draw(tmp_path / "SegmentationClass" / f"{name}.png", np.eye(5) * 15)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_1\n2007_3\n")
    draw(tmp_path / "JPEGImages" / "2007_4.png", np.zeros((5, 5, 3)))
    draw(tmp_path / "SegmentationClass" / "2007_4.png", np.eye(5) * 15)
    (lists / "val.txt").write_text("2007_2\n2007_9\n")
    data = open_data(tmp_path)
    assert {split: rows.tolist() for split, rows in data.given.items()} == {
        "train": [0, 2],
        "val": [1],
    }
    assert any("2007_9 is listed" in each.problem for each in data.problems)
    left_out = "1 picture in no list of ImageSets/Segmentation left out (2007_4)"
    assert left_out in data.reading


@pytest.mark.parametrize(
    ("name", "pictures", "classes"),
    [
        ("tumours/busi", 16, 2),
        ("tumours/brain_mri_png", 34, 2),
        ("tumours/kidney_ct_jpg", 19, 2),
        ("tumours/liver_ct_jpg", 239, 2),
        ("tumours/brats21_jpg", 20, 2),
        ("tumours/lgg_jpg", 13, 2),
        ("isbi2012_membrane", 30, 2),
        ("drive_vessels", 8, 2),
        ("camvid", 468, 11),
    ],
)
def test_public_data_of_every_layout_are_read(
    public_data: Path, name: str, pictures: int, classes: int
) -> None:
    data = open_data(public_data / name)
    assert data.kind == "semantic-segmentation"
    assert len(data) == pictures
    assert len(data.classes) == classes
    assert not data.problems
    empty = 0
    for index in range(0, len(data), 10):
        mask = data.records.masks.get(index)
        empty += not ((mask > 0) & (mask != IGNORE)).any()
        assert mask.shape == tuple(data.records.sizes[index])
    assert empty <= 1


def test_a_file_for_each_class_is_read_as_its_class(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for index in range(3):
        draw(tmp_path / "images" / f"{index}.png", random.integers(0, 256, (8, 9, 3)))
        for place, name in enumerate(("liver", "kidney")):
            mask = np.zeros((8, 9))
            mask[2 * place : 2 * place + 2 + index, :4] = 255
            draw(tmp_path / "masks" / name / f"{index}.png", mask)
    data = open_data(tmp_path)
    assert data.classes == ("background", "kidney", "liver")
    mask = data.records.masks.get(1)
    assert mask[:2, 0].tolist() == [2, 2]
    assert mask[2:6, 0].tolist() == [2, 1, 1, 0]
    assert "a file for each of kidney, liver" in data.reading


def test_masks_of_single_objects_are_laid_over_each_other(tmp_path: Path) -> None:
    for name in "abc":
        draw(tmp_path / name / "images" / f"{name}.png", np.full((8, 9), 7))
        for row in (1, 4):
            mask = np.zeros((8, 9))
            mask[row, 2:5] = 255
            draw(tmp_path / name / "masks" / f"{row}{name}.png", mask)
    data = open_data(tmp_path)
    assert len(data) == 3
    assert np.argwhere(data.records.masks.get(0)[:, 2]).reshape(-1).tolist() == [1, 4]


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        ([f"{patient}_{i}" for patient in range(10, 16) for i in (3, 14)], 6),
        (
            [
                f"{turned}_{patient}_7"
                for patient in range(10, 16)
                for turned in ("flipped", "mirrored")
            ],
            6,
        ),
        ([f"TCGA_CS_49{patient}_{i}" for patient in range(10, 15) for i in (1, 2)], 5),
        ([f"{patient}_{i}" for patient in range(2) for i in range(6)], None),  # too few
        ([f"image_{i}" for i in range(12)], None),
        ([f"{year}_{i:06}" for year in range(2007, 2013) for i in (1, 2)], None),  # VOC
        ([*(f"{patient}_{i}" for patient in range(10, 20) for i in (3, 14)), "stray"], 11),
        ([f"{i}" for i in range(12)], None),
        ([f"p{patient}/{i}" for patient in "abcdef" for i in (1, 2)], 6),
    ],
)
def test_slices_of_one_volume_are_one_group(
    tmp_path: Path, names: list[str], groups: int | None
) -> None:
    for name in names:
        draw(tmp_path / "images" / f"{name}.png", np.full((8, 9), 7))
        mask = np.zeros((8, 9))
        mask[1:4, 2:5] = 255
        draw(tmp_path / "masks" / f"{name}.png", mask)
    data = open_data(tmp_path)
    assert (None if data.groups is None else len(set(data.groups.tolist()))) == groups
    assert open_data(tmp_path, group_pattern="none").groups is None


def test_a_mask_with_a_value_of_no_class_is_named_and_left_out(tmp_path: Path) -> None:
    for root in (write(tmp_path / "数据 集"), write(tmp_path / "b")):
        wrong = np.zeros((12, 16))
        wrong[3] = 7
        draw(root / "masks" / "1.png", wrong)
    data = open_data(tmp_path / "b", mask_values="0=none 255=cell")
    (problem,) = data.problems
    assert problem.path == "masks/1.png"
    assert problem.problem == (
        "the mask holds 7 in 16 pixels, which is of no class: known are 0, 255"
    )
    assert data.records.names == ["images/0.png", "images/2.png", "images/3.png"]
    assert data.records.masks.get(1).max() == 1
    with pytest.raises(DataError, match=r"masks/1\.png: the mask holds 7"):
        open_data(tmp_path / "b", mask_values="0=none 255=cell", on_error="stop")
    (tmp_path / "数据 集" / "classes.txt").write_text("none\ncell\n")
    boxes = open_data(tmp_path / "数据 集", reader="mask-boxes", objects="groups")
    assert len(boxes) == 3
    assert [each.path for each in boxes.problems] == ["masks/1.png"]


def test_without_a_mask_that_fits_the_values_it_is_said_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"masks/0\.png: the mask holds 255 in 18 pixels"):
        open_data(write(tmp_path), mask_values="0=none 1=cell")


def test_what_is_checked_and_drawn_names_a_mask_that_has_changed(tmp_path: Path) -> None:
    from torchfolio.cli.check_page import write_page
    from torchfolio.data.check_masks import inspect_masks

    data = open_data(write(tmp_path))
    draw(tmp_path / "masks" / "2.png", np.full((12, 16), 9))
    (tmp_path / "masks" / "3.png").write_bytes(b"")
    found = inspect_masks(data, None)
    told = {each.path: each.problem for each in found.problems["file"]}
    assert "2.png: the mask holds 9 in 192 pixels" in told["images/2.png"]
    assert "3.png: empty file" in told["images/3.png"]
    write_page(tmp_path / "page.html", data, None, found)
    assert "its mask cannot be read" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_values_of_palettes_are_named_by_their_colours(tmp_path: Path) -> None:
    """As CVAT writes them: files of VOC's palette, and a file with its colours."""
    for index in range(3):
        draw(tmp_path / "JPEGImages" / f"{index}.png", np.full((2, 3, 3), 50 * index))
        mask = Image.fromarray(np.array([[0, 1, 2], [0, 0, 0]], np.uint8), "P")
        mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
        mask.save(tmp_path / "SegmentationClass" / f"{index}.png")
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:0,128,0::\ndog:128,0,0::\n"
    )
    data = open_data(tmp_path)
    assert data.classes == ("background", "cat", "dog")
    assert not data.problems
    assert data.records.masks.get(0)[0].tolist() == [0, 2, 1]


def test_a_class_inside_another_lies_over_it_whatever_their_names(tmp_path: Path) -> None:
    """Of 8 x 8 pixels the disc covers 6 x 6, and 2 x 2 of these are the cup."""
    for folder in ("optic disc", "z"):
        for index in range(3):
            draw(tmp_path / folder / "images" / f"{index}.png", np.full((8, 8, 3), index))
            disc, cup = np.zeros((8, 8)), np.zeros((8, 8))
            disc[1:7, 1:7] = cup[3:5, 3:5] = 255
            names = ("cup", "disc") if folder == "z" else ("z cup", "disc")
            for name, mask in zip(names, (cup, disc), strict=True):
                draw(tmp_path / folder / "masks" / name / f"{index}.png", mask)
    expected = np.zeros((8, 8), np.uint8)
    expected[1:7, 1:7] = 1
    expected[3:5, 3:5] = 2
    last = open_data(tmp_path / "optic disc")
    assert last.classes == ("background", "disc", "z cup")
    assert np.array_equal(last.records.masks.get(0), expected)
    first = open_data(tmp_path / "z")
    assert first.classes == ("background", "cup", "disc")
    expected[expected > 0] = 3 - expected[expected > 0]
    assert np.array_equal(first.records.masks.get(0), expected)
    assert "the smaller over the larger" in first.reading


def test_numbered_files_of_a_class_are_of_that_class(tmp_path: Path) -> None:
    for index in range(3):
        draw(tmp_path / f"{index}.png", np.full((4, 9, 3), index))
        for name, column in (("liver_1", 0), ("liver_2", 3), ("tumour_1", 6)):
            mask = np.zeros((4, 9))
            mask[:, column : column + 2] = 255
            draw(tmp_path / f"{index}_mask_{name}.png", mask)
    data = open_data(tmp_path)
    assert data.classes == ("background", "liver", "tumour")
    assert data.records.masks.get(1)[0].tolist() == [1, 1, 0, 1, 1, 0, 2, 2, 0]
    assert data.records.masks.objects(1)[0].tolist() == [1, 1, 0, 2, 2, 0, 3, 3, 0]


def test_a_field_of_view_may_be_compressed_with_loss(tmp_path: Path) -> None:
    """Ringing beside the edge is above 0, and outside nevertheless."""
    view = np.zeros((32, 32))
    view[:, 11:] = 255
    for index in range(3):
        draw(tmp_path / "images" / f"{index}.png", np.full((32, 32, 3), index))
        mask = np.zeros((32, 32))
        mask[:, 4:20] = 255
        draw(tmp_path / "1st_manual" / f"{index}.png", mask)
        draw(tmp_path / "mask" / f"{index}.jpg", view, quality=50)
    with Image.open(tmp_path / "mask" / "0.jpg") as image:
        assert np.asarray(image)[:, :11].any()
    expected = [IGNORE] * 11 + [1] * 9 + [0] * 12
    assert open_data(tmp_path).records.masks.get(0).tolist() == [expected] * 32


def test_lists_of_voc_may_have_names_with_spaces_numbers_behind_them_and_both_splits(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(0)
    for name in ("my scan", "2007_32", "2007_33", "2007_34"):
        draw(tmp_path / "JPEGImages" / f"{name}.png", random.integers(0, 256, (5, 5, 3)))
        draw(tmp_path / "SegmentationClass" / f"{name}.png", np.eye(5) * 15)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("my scan\n2007_32  1\n")
    (lists / "test.txt").write_text("2007_33 -1\n2007_34.png\n")
    data = open_data(tmp_path)
    names = data.records.names
    assert {split: [names[row] for row in rows] for split, rows in data.given.items()} == {
        "train": ["JPEGImages/2007_32.png", "JPEGImages/my scan.png"],
        "test": ["JPEGImages/2007_33.png", "JPEGImages/2007_34.png"],
    }
    assert not data.problems
