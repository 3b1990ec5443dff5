"""Boxes of VOC, COCO and YOLO: the same objects, and what is wrong with files named."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from written_boxes import HEIGHT, WIDTH, coco, listed, picture, voc, yolo

from torchfolio.data.check_boxes import inspect_boxes
from torchfolio.data.readers import find_reader, open_dataset
from torchfolio.data.readers.voc_boxes import VocBoxes
from torchfolio.data.splits import SplitOptions, make_splits
from torchfolio.errors import DataError
from torchfolio.evaluation.detection import coco_statistics
from torchfolio.evaluation.matching import Detections


def test_voc_counts_pixels_from_one_and_includes_the_last(tmp_path: Path) -> None:
    voc(
        tmp_path / "集",
        "a",
        ("猫", 1, 1, 10, 20),
        ("dog", 5, 6, 60, 40, "<difficult>1</difficult>"),
    )
    voc(tmp_path / "集", "b")
    data = open_dataset(tmp_path / "集")
    assert data.kind == "object-detection"
    assert data.reader == "voc-boxes"
    assert data.classes == ("dog", "猫")
    first, second = data.records.objects
    assert first.boxes.tolist() == [[0, 0, 10, 20], [4, 5, 60, 40]]
    assert first.labels.tolist() == [1, 0]
    assert first.aside.tolist() == [False, True]
    assert len(second) == 0  # a picture without objects is one
    zero = open_dataset(tmp_path / "集", reader_options={"origin": "zero"})
    assert zero.records.objects[0].boxes[0].tolist() == [1, 1, 10, 20]


def test_voc_splits_are_those_of_the_lists(tmp_path: Path) -> None:
    for name in "abc":
        voc(tmp_path, name, ("x", 2, 2, 9, 9))
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nc\n")
    (lists / "test.txt").write_text("b 1\nz\n")
    data = open_dataset(tmp_path)
    assert {key: value.tolist() for key, value in data.given.items()} == {
        "train": [0, 2],
        "test": [1],
    }
    assert [each.problem for each in data.problems] == ["z is listed and has no XML file"]


def test_boxes_that_hold_nothing_are_named_with_their_place(tmp_path: Path) -> None:
    file = voc(
        tmp_path, "a", ("x", 5, 5, 4, 9), ("x", 70, 5, 90, 9), ("x", 50, 30, 99, 99),
        ("x", 2, 2, 9, 9), ("x", 2, 2, 9, 9), ("x", "nan", 2, 9, 9),
    )  # fmt: skip
    data = open_dataset(tmp_path)
    assert data.records.objects[0].boxes.tolist() == [[49, 29, 60, 40], [1, 1, 9, 9]]  # cut off
    found = [each.problem for each in data.problems if each.path == "Annotations/a.xml"]
    assert found == [
        "object 1 (x): a box -1 pixels wide and 4 high: left out",
        "object 2 (x): the box (69, 4, 90, 9) lies outside its picture of 60 x 40 pixels: left out",
        "object 5 (x): the same box as object 4 (x): left out",
        "object 6 (x): not every side is a number: left out",
        "object 3 (x): the box (49, 29, 99, 99) reaches 59 pixels beyond its picture of 60 x 40 "
        "pixels: cut off",
    ]
    with pytest.raises(DataError, match="object 1"):
        open_dataset(tmp_path, on_error="stop")
    assert file.is_file()


def test_damaged_xml_is_named_with_line_and_column(tmp_path: Path) -> None:
    voc(tmp_path, "good", ("x", 2, 2, 9, 9))
    file = voc(tmp_path, "bad", ("x", 2, 2, 9, 9))
    file.write_text("<annotation>\n<object></annotation>")
    other = voc(tmp_path, "lost", ("x", 2, 2, 9, 9))
    (tmp_path / "JPEGImages" / "lost.jpg").unlink()
    nameless = voc(tmp_path, "nameless", ("", 2, 2, 9, 9))
    text = nameless.read_text().replace(
        "</annotation>", "<object><name>y</name></object></annotation>"
    )
    nameless.write_text(text)
    found = {each.path: each.problem for each in open_dataset(tmp_path).problems}
    assert found["Annotations/bad.xml"].startswith("damaged XML in line 2, column")
    assert found["Annotations/lost.xml"] == "its picture lost.jpg is not there"
    assert other.is_file()
    problems = [each.problem for each in open_dataset(tmp_path).problems if "nameless" in each.path]
    assert problems == [
        "object 1 (without a name): no class: left out",
        "object 2 (y): no box of four numbers: left out",
    ]


def test_coco_numbers_classes_in_the_order_of_their_ids(tmp_path: Path) -> None:
    coco(tmp_path)
    coco(tmp_path, "val2017")
    data = open_dataset(tmp_path)
    assert data.reader == "coco-boxes"
    assert data.classes == ("cat", "dog")
    assert data.records.names == [
        "images/train2017/1.jpg", "images/train2017/2.jpg", "images/val2017/1.jpg",
        "images/val2017/2.jpg",
    ]  # fmt: skip
    first = data.records.objects[0]
    assert first.boxes.tolist() == [[4, 5, 14, 25], [0, 0, 60, 40]]
    assert first.labels.tolist() == [1, 0]
    assert first.aside.tolist() == [False, True]
    assert data.given["val"].tolist() == [2, 3]
    one = open_dataset(tmp_path / "annotations" / "instances_val2017.json")
    assert one.records.names == ["images/val2017/1.jpg", "images/val2017/2.jpg"]


def test_what_is_wrong_in_coco_is_named_with_its_entry(tmp_path: Path) -> None:
    file = coco(
        tmp_path,
        annotations=[
            {"id": 1, "image_id": 1, "category_id": 18, "bbox": [4, 5, 10, 20]},
            {"id": 2, "image_id": 9, "category_id": 18, "bbox": [4, 5, 10, 20]},
            {"id": 3, "image_id": 1, "category_id": 4, "bbox": [4, 5, 10, 20]},
            {"id": 4, "image_id": 1, "category_id": 18, "bbox": [4, 5, 10]},
            {"id": 5, "image_id": 1, "category_id": 18, "bbox": [4, 5, 0, 20]},
            "nothing",
        ],
    )
    (tmp_path / "images" / "train2017" / "2.jpg").unlink()
    data = open_dataset(tmp_path)
    assert [each.problem for each in data.problems] == [
        "image 2: 2.jpg is not there",
        "annotation 2: there is no image 9",
        "annotation 3: there is no category 4: left out",
        "annotations[5] is a str: left out",
        "annotation 4: bbox is [4, 5, 10], not four numbers (left, top, width, height): left out",
        "annotation 5: a box 0 pixels wide and 20 high: left out",
    ]
    assert {each.path for each in data.problems} == {"annotations/instances_train2017.json"}
    assert data.records.objects[0].boxes.tolist() == [[4, 5, 14, 25]]
    file.write_text('{"images": [\n1,')
    with pytest.raises(DataError, match="damaged JSON in line 2, column 3"):
        open_dataset(tmp_path)


def test_yolo_boxes_are_centre_and_size_in_shares(tmp_path: Path) -> None:
    yolo(tmp_path, "a", "1 0.5 0.5 0.5 0.25\n\n0 0.25 0.25 0.1 0.1 0.9\n2 0 0 0.5 0 0.5 0.5\n")
    yolo(tmp_path, "bb", "", "val")
    picture(tmp_path / "images" / "val" / "ccc.jpg", 3)  # without a file: without objects
    (tmp_path / "data.yaml").write_text("names:\n  0: cat\n  1: dog\n  2: 鸟\n", encoding="utf-8")
    data = open_dataset(tmp_path)
    assert data.reader == "yolo-boxes"
    assert data.classes == ("cat", "dog", "鸟")
    first = data.records.objects[0]
    assert first.boxes[0].tolist() == [15, 15, 45, 25]
    assert first.boxes[1].tolist() == pytest.approx([12, 8, 18, 12])
    assert first.boxes[2].tolist() == [0, 0, 30, 20]  # around the polygon
    assert [len(each) for each in data.records.objects] == [3, 0, 0]
    assert data.given["val"].tolist() == [1, 2]


def test_lines_that_are_no_box_are_named(tmp_path: Path) -> None:
    yolo(
        tmp_path,
        "a",
        "0 0.5 0.5 0.2 0.2\nx 0.5 0.5 0.2 0.2\n0 0.5 0.5\n0 300 200 50 50\n-1 .5 .5 .2 .2",
    )
    (tmp_path / "classes.txt").write_text("cell\n")
    data = open_dataset(tmp_path)
    assert [each.problem for each in data.problems] == [
        "line 2: 'x 0.5 0.5 0.2 0.2' are not all numbers: left out",
        "line 3: 3 numbers, not 5 (class, centre x and y, width, height): left out",
        "line 4: the numbers are pixels, not shares of the picture from 0 to 1: left out",
        "line 5: the class is -1, not a number from 0 on: left out",
    ]
    assert data.classes == ("cell",)


def test_classes_without_names_have_numbers(tmp_path: Path) -> None:
    yolo(tmp_path, "a", "2 0.5 0.5 0.2 0.2")
    assert open_dataset(tmp_path).classes == ("class 0", "class 1", "class 2")
    (tmp_path / "classes.txt").write_text("cell\n")
    data = open_dataset(tmp_path)
    assert data.classes == ("cell",)
    assert data.problems[0].problem == "line 1: class 2, of 1 that are named: left out"
    (tmp_path / "data.yaml").write_text("names: [a\n")
    data = open_dataset(tmp_path)
    assert "damaged YAML (line 2" in data.problems[0].problem


def test_the_public_sets_are_read_in_every_form(public_data: Path) -> None:
    cells = open_dataset(public_data / "bccd_voc")
    assert cells.classes == ("Platelets", "RBC", "WBC")
    assert {split: len(each) for split, each in cells.given.items()} == {
        "train": 205, "val": 87, "test": 72,
    }  # fmt: skip
    wrong = [each for each in cells.problems if "pixels wide" in each.problem]
    assert len(wrong) == 2  # as the notes of the set say


def test_both_forms_of_one_public_set_say_the_same(public_data: Path) -> None:
    """Pictures, splits, classes, and boxes within a pixel; the text files have no crowds."""
    form = open_dataset(public_data / "tiny_coco")
    other = open_dataset(public_data / "tiny_coco", reader="yolo-boxes")
    assert (form.reader, other.reader) == ("coco-boxes", "yolo-boxes")
    assert len(form) == 75
    assert form.classes == other.classes
    assert len(form.classes) == 80
    rows = {name: row for row, name in enumerate(form.records.names)}
    assert rows.keys() == set(other.records.names)
    for split, count in (("train", 50), ("val", 25)):
        names = [other.records.names[row] for row in other.given[split]]
        assert len(names) == count
        assert set(names) == {form.records.names[row] for row in form.given[split]}
    total = 0
    for row, name in enumerate(other.records.names):
        json_, text = form.records.objects[rows[name]], other.records.objects[row]
        own = ~json_.aside
        one = np.column_stack([json_.labels[own], json_.boxes[own]])
        two = np.column_stack([text.labels, text.boxes])
        assert one.shape == two.shape
        if len(two):
            far = np.abs(one[:, None] - two[None]).max(2)  # of every pair, in class or pixels
            assert sorted(far.argmin(1)) == list(range(len(two)))
            assert far.min(1).max() < 1
        total += len(two)
    assert total > 600


def test_shapes_of_coco_are_masks_where_a_network_takes_masks(tmp_path: Path) -> None:
    square = [[10, 5, 20, 5, 20, 15, 10, 15]]
    counts = [40 * 30, 40 * 2, 40 * 28]  # columns 30 and 31, read downwards
    runs = {"size": [HEIGHT, WIDTH], "counts": counts}
    coco(
        tmp_path,
        annotations=[
            {"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 60, 40],
             "segmentation": [[0, 0, 60, 0, 60, 40, 0, 40]]},
            {"id": 2, "image_id": 1, "category_id": 18, "bbox": [10, 5, 10, 10],
             "segmentation": square},
            {"id": 3, "image_id": 1, "category_id": 18, "bbox": [30, 0, 2, 40], "iscrowd": 1,
             "segmentation": runs},
            {"id": 4, "image_id": 2, "category_id": 18, "bbox": [1, 1, 5, 5],
             "segmentation": [[1, 1, 5, 5]]},
            {"id": 5, "image_id": 2, "category_id": 18, "bbox": [1, 1, 5, 5]},
            {"id": 6, "image_id": 2, "category_id": 18, "bbox": [1, 1, 5, 5],
             "segmentation": {"size": [9, 9], "counts": [81]}},
        ],
    )  # fmt: skip
    assert open_dataset(tmp_path).kind == "object-detection"
    data = open_dataset(tmp_path, reader="coco-masks")
    assert data.classes == ("background", "cat", "dog")
    mask = data.records.masks.get(0)
    assert mask[10, 15] == 2  # the smaller lies over the larger
    assert mask[20, 40] == 1
    assert (mask[:, 30:32] == 255).all()
    assert not data.records.masks.get(1).any()
    assert [each.problem for each in data.problems] == [
        "annotation 4: polygon 0 has 2 points, not 3 or more: left out",
        "annotation 5: it has no shape (segmentation): left out",
        "annotation 6: its run lengths are of [9, 9], its picture 40 x 60: left out",
    ]
    found, _ = find_reader(tmp_path, kinds={"semantic-segmentation"})
    assert found.name == "coco-masks"


def test_one_class_is_enough_for_boxes_and_its_data_are_split(tmp_path: Path) -> None:
    for count in range(1, 21):
        voc(tmp_path, "a" * count, ("raccoon", 2, 2, 9, 9))
    data = open_dataset(tmp_path)
    assert data.classes == ("raccoon",)
    found = make_splits(data, SplitOptions(), seed=0)
    assert {name: len(each) for name, each in found.indices.items()} == {
        "train": 14, "val": 3, "test": 3,
    }  # fmt: skip


def test_boxes_of_voc_are_on_its_photographs_not_on_masks_of_the_same_name(tmp_path: Path) -> None:
    voc(tmp_path, "a", ("x", 2, 2, 9, 9))
    folder = tmp_path / "SegmentationObject"
    folder.mkdir()
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(folder / "a.png")
    assert open_dataset(tmp_path).records.names == ["JPEGImages/a.jpg"]
    file = tmp_path / "Annotations" / "a.xml"  # which then tells nothing but by its own name
    file.write_text(file.read_text(encoding="utf-8").replace("a.jpg", ""), encoding="utf-8")
    (tmp_path / "JPEGImages").rename(tmp_path / "Photos")
    assert open_dataset(tmp_path).records.names == ["Photos/a.jpg"]


def test_xml_beside_pictures_in_folders_of_splits_keeps_the_splits(tmp_path: Path) -> None:
    for name, box in (("train", (1, 1, 9, 9)), ("valid", (3, 3, 20, 20))):
        voc(tmp_path / name, "1", ("x", *box))
        (tmp_path / name / "Annotations" / "1.xml").rename(tmp_path / name / "1.xml")
        (tmp_path / name / "JPEGImages" / "1.jpg").rename(tmp_path / name / "1.jpg")
        (tmp_path / name / "Annotations").rmdir()
        (tmp_path / name / "JPEGImages").rmdir()
    data = open_dataset(tmp_path)
    assert data.reader == "voc-boxes"
    assert data.records.names == ["train/1.jpg", "valid/1.jpg"]
    assert data.records.objects[1].boxes.tolist() == [[2, 2, 20, 20]]
    assert {key: value.tolist() for key, value in data.given.items()} == {"train": [0], "val": [1]}
    (tmp_path / "train" / "1.jpg").unlink()
    [problem] = open_dataset(tmp_path).problems
    assert (problem.path, problem.problem) == ("train/1.xml", "its picture 1.jpg is not there")


def test_a_size_that_a_file_says_and_its_picture_has_not_is_named(tmp_path: Path) -> None:
    voc(tmp_path, "a", ("x", 2, 2, 9, 9))
    file = voc(tmp_path, "b", ("x", 2, 2, 9, 9))
    text = file.read_text(encoding="utf-8")
    size = f"<size><width>{HEIGHT}</width><height>{WIDTH}</height></size>"
    file.write_text(text.replace("<object>", f"{size}<object>"), encoding="utf-8")
    data = open_dataset(tmp_path)
    assert data.records.names == ["JPEGImages/a.jpg"]
    [problem] = data.problems
    assert problem.path == "Annotations/b.xml"
    assert "60 x 40 pixels (it is shown turned), and its boxes are for 40 x 60" in problem.problem


def test_xml_in_an_encoding_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    voc(tmp_path, "a", ("x", 2, 2, 9, 9))
    file = voc(tmp_path, "b", ("x", 2, 2, 9, 9))
    text = '<?xml version="1.0" encoding="GB2312"?>' + file.read_text(encoding="utf-8")
    file.write_bytes(text.encode("gb2312"))
    [problem] = open_dataset(tmp_path).problems
    assert problem.path == "Annotations/b.xml"
    assert "encoding" in problem.problem


def test_each_file_of_coco_finds_the_pictures_of_its_own_split(tmp_path: Path) -> None:
    for name in ("train", "val"):
        (tmp_path / name / "images").mkdir(parents=True)
        picture(tmp_path / name / "images" / "000.jpg")
        told = {
            "images": [{"id": 1, "file_name": "000.jpg", "width": WIDTH, "height": HEIGHT}],
            "categories": [{"id": 1, "name": "x"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}],
        }
        (tmp_path / name / "annotations.json").write_text(json.dumps(told))
    data = open_dataset(tmp_path)
    assert data.records.names == ["train/images/000.jpg", "val/images/000.jpg"]
    (tmp_path / "train" / "images" / "000.jpg").unlink()
    data = open_dataset(tmp_path)
    assert data.records.names == ["val/images/000.jpg"]
    assert "000.jpg is not there" in data.problems[0].problem


def test_a_folder_in_a_name_of_coco_leads_to_no_other_split(tmp_path: Path) -> None:
    """Both files say images/1.jpg; only one split has such a folder. What names it stays there."""
    pictures = {"train": "images/1.jpg", "valid": "1.jpg"}
    for name, place in pictures.items():
        picture(tmp_path / name / place)
        told = {
            "images": [
                {"id": 1, "file_name": "images/1.jpg", "width": WIDTH, "height": HEIGHT},
                {"id": 2, "file_name": "train/images/1.jpg", "width": WIDTH, "height": HEIGHT},
            ][: 1 if name == "train" else 2],
            "categories": [{"id": 1, "name": "x"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}],
        }
        (tmp_path / name / "_annotations.coco.json").write_text(json.dumps(told))
    data = open_dataset(tmp_path)
    assert data.records.names == ["train/images/1.jpg", "valid/1.jpg"]
    (problem,) = data.problems
    assert problem.problem == "image 2: train/images/1.jpg is not there"


def test_keypoints_of_the_same_pictures_are_no_further_boxes(tmp_path: Path) -> None:
    file = coco(tmp_path, "val2017")
    file.with_name("person_keypoints_val2017.json").write_bytes(file.read_bytes())
    data = open_dataset(tmp_path)
    assert len(set(data.records.names)) == len(data)


def test_a_class_that_is_not_named_is_left_out_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .2 .2\n7 .5 .5 .1 .1\nnan .5 .5 .1 .1\n")
    (tmp_path / "labels" / "classes.txt").write_text("cell\n")
    data = open_dataset(tmp_path)
    assert data.classes == ("cell",)
    assert len(data.records.objects[0]) == 1
    assert sorted(each.problem for each in data.problems) == [
        "line 2: class 7, of 1 that are named: left out",
        "line 3: the class is nan, not a number from 0 on: left out",
    ]


def test_splits_of_yolo_are_those_that_its_settings_name(tmp_path: Path) -> None:
    """Folders, with a step up too many as some tools write; a list; and the same pictures twice."""
    for name in ("a", "bb", "ccc", "dddd", "eeeee"):
        picture(tmp_path / "pool" / "images" / f"{name}.jpg", len(name))
        (tmp_path / "pool" / "labels").mkdir(exist_ok=True)
        (tmp_path / "pool" / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "learn.txt").write_text(
        "/content/set/pool/images/a.jpg\n./../pool/images/bb.jpg\npool\\images\\ccc.jpg\ngone.jpg\n"
    )
    (tmp_path / "lists" / "held.txt").write_text("pool/images/dddd.jpg\npool/images/a.jpg\n")
    (tmp_path / "data.yaml").write_text(
        "train: lists/learn.txt\nval: [lists/held.txt, lists/none.txt]\nnames: [cell]\n"
    )
    data = open_dataset(tmp_path)
    assert listed(data) == {"train": ["a", "bb", "ccc"], "val": ["dddd"]}
    assert [f"{each.path}: {each.problem}" for each in data.problems] == [
        f"lists/learn.txt: 1 line with no picture of {tmp_path}: gone.jpg",
        f"data.yaml: val: lists/none.txt is not there, or holds no picture of {tmp_path}",
        "data.yaml: val names 1 picture that train names too: only in train",
        "data.yaml: 1 picture in no split (pool/images/eeeee.jpg the first): left out",
    ]
    assert listed(open_dataset(tmp_path / "data.yaml")) == listed(data)


def test_settings_of_yolo_may_lie_elsewhere_and_step_up_too_far(tmp_path: Path) -> None:
    for name, split in (("a", "first"), ("bb", "second")):
        picture(tmp_path / "集 1" / split / "images" / f"{name}.jpg", len(name))
        (tmp_path / "集 1" / split / "labels").mkdir()
        (tmp_path / "集 1" / split / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    told = "train: ../first/images\nval: ../second/images\nnames: [cell]\n"
    (tmp_path / "集 1" / "data.yaml").write_text(told)
    assert listed(open_dataset(tmp_path / "集 1")) == {"train": ["a"], "val": ["bb"]}
    (tmp_path / "mine.yaml").write_text(f"path: 集 1\n{told}", encoding="utf-8")
    (tmp_path / "集 1" / "data.yaml").unlink()
    data = open_dataset(tmp_path / "mine.yaml")
    assert (listed(data), data.classes) == ({"train": ["a"], "val": ["bb"]}, ("cell",))


def test_lists_of_darknet_are_splits_without_settings(tmp_path: Path) -> None:
    for name in ("a", "bb", "ccc"):
        picture(tmp_path / "obj_train_data" / f"{name}.jpg", len(name))
        (tmp_path / "obj_train_data" / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "train.txt").write_text("data/obj_train_data/a.jpg\ndata/obj_train_data/ccc.jpg\n")
    (tmp_path / "valid.txt").write_text("data/obj_train_data/bb.jpg\n")
    (tmp_path / "obj.names").write_text("cell\n")
    assert listed(open_dataset(tmp_path)) == {"train": ["a", "ccc"], "val": ["bb"]}


def test_a_split_of_yolo_without_any_text_file_is_left_out_and_named(tmp_path: Path) -> None:
    yolo(tmp_path, "a", "0 0.5 0.5 0.2 0.2")
    yolo(tmp_path, "bb", "", "val")
    picture(tmp_path / "images" / "test" / "ccc.jpg", 3)
    data = open_dataset(tmp_path)
    assert listed(data) == {"train": ["a"], "val": ["bb"]}
    assert [f"{each.path}: {each.problem}" for each in data.problems] == [
        "the test split: none of its 1 picture has a text file: left out. An empty one says: no "
        "object"
    ]


def test_small_and_large_are_by_the_areas_of_shapes_where_a_file_tells_them(tmp_path: Path) -> None:
    """COCO's rule: the second object's shape, 900 of 1200 pixels, is small (below 32 * 32)."""
    boxes = [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 40, 30]},
        {"id": 2, "image_id": 1, "category_id": 3, "bbox": [10, 5, 40, 30], "area": 900.5},
        {"id": 3, "image_id": 2, "category_id": 3, "bbox": [0, 0, 9, 9], "area": "x"},
    ]
    coco(tmp_path, annotations=boxes)
    first, second = open_dataset(tmp_path).records.objects
    assert first.areas.tolist() == [1200, 900.5]
    assert second.areas.tolist() == [81]
    answer = Detections(first.boxes[1:], np.ones(1, np.float32), np.zeros(1, np.int64))
    found = coco_statistics([first], [answer], np.array([[HEIGHT, WIDTH]]), 1)
    assert found["ap_small"] == pytest.approx(1)  # the medium object alone is missed
    assert found["ap_medium"] == 0


def test_of_two_forms_beside_each_other_the_preferred_one_is_read(tmp_path: Path) -> None:
    voc(tmp_path, "a", ("x", 2, 2, 9, 9))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .2 .2\n")
    for preferred, name in (("", "voc"), ("yolo-boxes", "yolo"), ("coco-boxes", "voc")):
        found, _ = find_reader(tmp_path, kinds={"object-detection"}, first=preferred)
        assert found.name == f"{name}-boxes"


def test_a_box_that_reaches_far_beyond_its_picture_is_named_and_cut_off(tmp_path: Path) -> None:
    """Of 60 x 40 pixels up to 3 across (5 %) and 2 down are let pass; the file counts from 0."""
    voc(
        tmp_path, "a", ("x", -3, -2, 63, 42), ("y", 10, 10, 63.5, 42), ("y", -20, 10, 20, 20),
        ("z", 5, -2.5, 30, 30), ("z", 5, 5, 9, 44),
    )  # fmt: skip
    data = open_dataset(tmp_path, reader_options={"origin": "zero"})
    assert data.records.objects[0].boxes.tolist() == [
        [0, 0, 60, 40], [10, 10, 60, 40], [0, 10, 20, 20], [5, 0, 30, 30], [5, 5, 9, 40],
    ]  # fmt: skip
    beyond = "beyond its picture of 60 x 40 pixels: cut off"
    assert {each.path for each in data.problems} == {"Annotations/a.xml"}
    assert [each.problem for each in data.problems] == [
        f"object 2 (y): the box (10, 10, 63.5, 42) reaches 3.5 pixels {beyond}",
        f"object 3 (y): the box (-20, 10, 20, 20) reaches 20 pixels {beyond}",
        f"object 4 (z): the box (5, -2.5, 30, 30) reaches 2.5 pixels {beyond}",
        f"object 5 (z): the box (5, 5, 9, 44) reaches 4 pixels {beyond}",
    ]
    found = inspect_boxes(data, None)
    assert len(found.problems["note"]) == 4
    assert "file" not in found.problems
    strict = open_dataset(tmp_path, reader_options={"origin": "zero"}, on_error="stop")
    assert len(strict.records.objects[0]) == 5


def at(*lefts: int) -> list[tuple[object, ...]]:
    """Boxes of 9 x 9 pixels, one below the other, with these left sides."""
    return [("x", left, row, left + 9, row + 9) for row, left in enumerate(lefts, 5)]


@pytest.mark.parametrize(
    ("lefts", "origin"),
    [
        ([0, 0, 0, 7, 8, 9], "zero"),
        ([0, 0, 0, 1, 1, 9], "zero"),
        ([0, 5, 6, 7, 8, 9], "one"),  # a mistake
        ([0, 0, 1, 1, 1, 9], "one"),  # those at the edge begin at 1
        ([0, 0, *range(2, 20)], "zero"),
        ([5, 6, 7], "one"),
    ],
)
def test_the_first_pixel_of_voc_is_where_boxes_at_the_edge_begin(
    tmp_path: Path, lefts: list[int], origin: str
) -> None:
    voc(tmp_path, "a", *at(*lefts))
    data = open_dataset(tmp_path)
    assert data.reader_options == {"origin": origin}
    shift = origin == "one"
    assert data.records.objects[0].boxes[:, 0].tolist() == [max(0, x - shift) for x in lefts]
    wrong = [f"object {n} (x)" for n, left in enumerate(lefts, 1) if shift and not left]
    assert [each.problem for each in data.problems] == [
        f"{each}: it begins at 0, and the first pixel is 1 (--origin): cut off" for each in wrong
    ]


def test_few_of_many_boxes_of_voc_at_0_are_mistakes() -> None:
    """Two are 1 % of 200, and more of 199."""
    edge, inside = (0.0, 5.0, 9.0, 9.0), (7.0, 5.0, 20.0, 9.0)
    assert VocBoxes().first([edge] * 2 + [inside] * 198) == 1
    assert VocBoxes().first([edge] * 2 + [inside] * 197) == 0


def test_other_data_are_read_by_the_first_pixel_of_a_run(tmp_path: Path) -> None:
    voc(tmp_path / "many", "a", *at(0, 0, 0, 7))
    voc(tmp_path / "few", "a", *at(7))
    kept = open_dataset(tmp_path / "many").reader_options
    other = open_dataset(tmp_path / "few", reader_options=kept)
    assert other.records.objects[0].boxes.tolist() == [[7, 5, 16, 14]]
    assert open_dataset(tmp_path / "few").records.objects[0].boxes.tolist() == [[6, 4, 16, 14]]
