from pathlib import Path

import pytest

from torchfolio.data.pairing import Place, find_places, key_of, pair, pair_beside, part_of


def make(root: Path, *files: str) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("21_training.tif", "21_manual1.gif"),  # DRIVE
        ("0001TP_006690.png", "0001TP_006690_L.png"),  # CamVid
        ("ISIC_0000000.jpg", "ISIC_0000000_segmentation.png"),
        ("aachen_000000_000019_leftImg8bit.png", "aachen_000000_000019_gtFine_labelIds.png"),
        ("benign (100).png", "benign (100)_mask.png"),  # BUSI
        ("image_07.png", "mask_07.png"),
        ("照片 3.png", "照片 3_mask.png"),
        ("\u00e9t\u00e9 3.png", "e\u0301te\u0301 3_mask.png"),  # as macOS stores such names
    ],
)
def test_names_that_belong_together_have_one_key(image: str, mask: str) -> None:
    assert key_of(image) == key_of(mask)


@pytest.mark.parametrize(
    ("image", "mask"),
    [("1.png", "11_mask.png"), ("a/7.png", "b/7_mask.png"), ("x (1).png", "x (2)_mask.png")],
)
def test_names_that_do_not_belong_together_have_two(image: str, mask: str) -> None:
    assert key_of(image) != key_of(mask)


def test_a_class_after_the_word_for_a_mask_is_told() -> None:
    assert part_of("scan7_mask_liver.png") == "liver"
    assert part_of("scan7_mask_2.png") == ""
    assert part_of("scan7.png") == ""


def test_names_composed_or_decomposed_are_one() -> None:
    composed, decomposed = "\u00e9", "e\u0301"
    assert key_of("e 3.png") != key_of(f"{decomposed} 3.png")
    place = Place("train", "images", "masks")
    images, masks = [f"images/{composed}.png"], [f"masks/{decomposed}.png"]
    assert pair([(place, images, masks, [])]).masks == [(masks[0],)]
    classes = [f"masks/{decomposed}/1.png", "masks/b/1.png"]
    assert pair([(place, ["images/1.png", "images/2.png"], classes, [])]).parts == [(composed, "b")]


def test_folders_of_pictures_and_masks_are_found_whatever_the_case(tmp_path: Path) -> None:
    make(tmp_path, "Images/1.png", "Masks/1.png", "notes/a.txt")
    assert find_places(tmp_path) == [Place("train", "Images", "Masks")]


def test_the_field_of_view_stands_beside_first_manual_masks(tmp_path: Path) -> None:
    make(
        tmp_path, "images/21_training.tif", "1st_manual/21_manual1.gif", "mask/21_training_mask.gif"
    )
    place = Place("train", "images", "1st_manual", "mask")
    assert find_places(tmp_path) == [place]
    found = pair(
        [
            (
                place,
                ["images/21_training.tif"],
                ["1st_manual/21_manual1.gif"],
                ["mask/21_training_mask.gif"],
            )
        ]
    )
    assert found.masks == [("1st_manual/21_manual1.gif",)]
    assert found.fields == ["mask/21_training_mask.gif"]


def test_splits_may_be_around_the_folders_or_within_them(tmp_path: Path) -> None:
    around = make(
        tmp_path / "a",
        "train/images/1.png",
        "train/labels/1.png",
        "val/images/2.png",
        "val/labels/2.png",
    )
    assert sorted(find_places(around), key=lambda each: each.split) == [
        Place("train", "train/images", "train/labels"),
        Place("val", "val/images", "val/labels"),
    ]
    inside = make(
        tmp_path / "b",
        "img_dir/train/1.png",
        "ann_dir/train/1.png",
        "img_dir/val/2.png",
        "ann_dir/val/2.png",
    )
    assert sorted(find_places(inside), key=lambda each: each.split) == [
        Place("train", "img_dir/train", "ann_dir/train"),
        Place("val", "img_dir/val", "ann_dir/val"),
    ]


def test_class_folders_are_no_places(tmp_path: Path) -> None:
    assert not find_places(make(tmp_path, "cat/1.png", "dog/2.png"))


def test_what_has_no_partner_is_told() -> None:
    place = Place("train", "images", "masks")
    found = pair([(place, ["images/1.png", "images/2.png"], ["masks/2.png", "masks/3.png"], [])])
    assert found.images == ["images/2.png"]
    assert found.alone == ["images/1.png"]
    assert found.spare == ["masks/3.png"]


def test_masks_beside_pictures_are_gathered_each_with_its_picture() -> None:
    files = [
        "b/x (1).png",
        "b/x (1)_mask.png",
        "b/x (1)_mask_1.png",
        "b/x (2).png",
        "b/x (3)_mask.png",
    ]
    found = pair_beside(files)
    assert found.images == ["b/x (1).png"]
    assert found.masks == [("b/x (1)_mask.png", "b/x (1)_mask_1.png")]
    assert found.alone == ["b/x (2).png"]
    assert found.spare == ["b/x (3)_mask.png"]


def test_a_folder_for_each_example_is_a_place(tmp_path: Path) -> None:
    root = make(
        tmp_path, *(f"{each}/{kind}/1.png" for each in "abc" for kind in ("images", "masks"))
    )
    assert [each.images for each in find_places(root)] == ["a/images", "b/images", "c/images"]
    root = make(
        tmp_path / "split", *(f"train/{x}/{k}/1.png" for x in "ab" for k in ("images", "masks"))
    )
    place = Place("train", "train/b/images", "train/b/masks", single=True)
    assert find_places(root)[1] == place


def test_all_masks_of_a_place_with_one_picture_are_of_it() -> None:
    place = Place("train", "a/images", "a/masks", single=True)
    found = pair([(place, ["a/images/a.png"], ["a/masks/1f.png", "a/masks/2e.png"], [])])
    assert found.masks == [("a/masks/1f.png", "a/masks/2e.png")]
    assert not found.alone
    assert not found.spare


def test_masks_in_folders_of_classes_are_parts_of_their_pictures() -> None:
    place = Place("train", "images", "masks")
    masks = ["masks/kidney/1.png", "masks/liver/1.png", "masks/liver/2.png"]
    found = pair([(place, ["images/1.png", "images/2.png"], masks, [])])
    assert found.masks == [("masks/kidney/1.png", "masks/liver/1.png"), ("masks/liver/2.png",)]
    assert found.parts == [("kidney", "liver"), ("liver",)]


@pytest.mark.parametrize(
    ("images", "masks", "wanted"),
    [
        (["cell_img_0", "cell_img_1"], ["cell_mask_0", "cell_mask_1"], {0: [0], 1: [1]}),
        (["x_1", "x_2"], ["x_1_mask", "x_1_mask_1", "x_2_mask"], {0: [0, 1], 1: [2]}),
        (["s1", "s2"], ["s1_mask_liver", "s1_mask_kidney", "s2_mask_liver"], {0: [0, 1], 1: [2]}),
        # masks of other kinds beside the one that fits are not of the picture
        (["a_1_leftImg8bit"], ["a_1_gtFine_labelIds", "a_1_gtFine_color"], {0: [0]}),
        (["image_01", "image_02"], ["image_01_mask", "image_02_mask"], {0: [0], 1: [1]}),
        (["IMG_1234"], ["IMG_1234_mask"], {0: [0]}),
        (["volume_1"], ["volume_1_seg"], {0: [0]}),
        (["test_image_05", "test_image_06"], ["test_mask_05", "test_mask_06"], {0: [0], 1: [1]}),
        (["P1_L_001", "P1_L_002"], ["P1_L_001_mask", "P1_L_002_mask"], {0: [0], 1: [1]}),
        (["0001TP_006690"], ["0001TP_006690_L"], {0: [0]}),
        # which of two pictures a mask is of cannot be told
        (["a_train", "a_photo"], ["a_mask"], {}),
    ],
)
def test_every_mask_is_of_its_own_picture(
    images: list[str], masks: list[str], wanted: dict[int, list[int]]
) -> None:
    place = Place("train", "images", "masks")
    content = ([f"images/{each}.png" for each in images], [f"masks/{each}.png" for each in masks])
    found = pair([(place, *content, [])])
    expected = {content[0][i]: tuple(content[1][m] for m in of) for i, of in wanted.items()}
    assert dict(zip(found.images, found.masks, strict=True)) == expected


def test_fields_of_view_without_truth_are_no_masks(tmp_path: Path) -> None:
    root = make(
        tmp_path, "training/images/21.tif", "training/1st_manual/21.gif", "training/mask/21.gif",
        "test/images/1.tif", "test/mask/1.gif",
    )  # fmt: skip
    assert [each.split for each in find_places(root)] == ["train"]
