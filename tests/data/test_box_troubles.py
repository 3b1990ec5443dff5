"""What readers of boxes do with files that are not as they should be: each is named."""

import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from written_boxes import HEIGHT, WIDTH, coco, listed, picture, voc, yolo

from torchfolio.data.dataset import Dataset
from torchfolio.data.readers import open_dataset, recognise
from torchfolio.errors import DataError

KITTEN = ("x", 2, 2, 9, 9)


def told(data: Dataset) -> list[str]:
    """The problems of a dataset, each with its place."""
    return [f"{each.path}: {each.problem}" for each in data.problems]


# PASCAL VOC


def test_xml_of_another_kind_does_not_hide_class_folders(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        picture(tmp_path / name / "1.jpg", len(name))
    (tmp_path / "project.xml").write_text('<?xml version="1.0"?><!-- <annotation> --><project/>')
    for kinds in ((), ("image-classification",)):
        found = recognise(tmp_path, kinds)
        assert found is not None
        assert found.name == "image-folder"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_xml_is_read_in_every_usual_encoding(tmp_path: Path, encoding: str) -> None:
    file = voc(tmp_path, "a", ("猫", "2.5", 3, 9, 9.75))
    text = file.read_text(encoding="utf-8")
    mark = "\ufeff" if encoding.endswith("be") else ""
    file.write_bytes((mark + text).encode(encoding))
    data = open_dataset(tmp_path)
    assert (data.reader, data.classes) == ("voc-boxes", ("猫",))
    assert data.records.objects[0].boxes.tolist() == [[1.5, 2, 9, 9.75]]


def test_what_is_beside_the_annotations_of_voc_is_named(tmp_path: Path) -> None:
    file = voc(tmp_path, "a", KITTEN)
    picture(tmp_path / "JPEGImages" / "z.jpg", 3)
    (tmp_path / "Annotations" / "info.xml").write_text("<root/>")
    shutil.copy(file, tmp_path / "a.xml")
    data = open_dataset(tmp_path)
    assert data.records.names == ["JPEGImages/a.jpg"]
    assert told(data) == [
        "Annotations/a.xml: JPEGImages/a.jpg was named before, in a.xml: left out here",
        ".: 1 picture without an XML file: left out: JPEGImages/z.jpg",
        ".: 1 XML file of another kind: left out: Annotations/info.xml",
    ]


def test_of_one_list_of_voc_only_the_pictures_that_it_names_are_used(tmp_path: Path) -> None:
    for name in ("my cat 1", "my cat", "c", "d"):
        voc(tmp_path, name, KITTEN)
    file = tmp_path / "ImageSets" / "Main" / "train.txt"
    file.parent.mkdir(parents=True)
    file.write_text("my cat 1\r\nc.jpg\r\n", encoding="utf-8-sig")
    data = open_dataset(tmp_path)
    assert listed(data) == {"train": ["c", "my cat 1"]}
    assert told(data) == [
        ".: 2 pictures in no list of ImageSets/Main: left out: JPEGImages/d.jpg, "
        "JPEGImages/my cat.jpg"
    ]
    file.with_name("val.txt").write_text("c  1\nd -1\n")
    data = open_dataset(tmp_path)
    assert listed(data) == {"train": ["c", "my cat 1"], "val": ["d"]}
    assert told(data) == [
        "ImageSets/Main: val names 1 picture that train names too: only in train",
        ".: 1 picture in no list of ImageSets/Main: left out: JPEGImages/my cat.jpg",
    ]


def test_an_object_of_voc_has_one_box_and_says_in_words_or_numbers_that_it_is_difficult(
    tmp_path: Path,
) -> None:
    for name, said in (("a", "1"), ("bb", "0"), ("ccc", "True"), ("dddd", "false")):
        voc(tmp_path, name, (*KITTEN, f"<difficult>{said}</difficult>"))
    second = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
    voc(tmp_path, "eeeee", (*KITTEN, second))
    data = open_dataset(tmp_path)
    aside = [each.aside.tolist() for each in data.records.objects]
    assert aside == [[True], [False], [True], [False], []]
    assert told(data) == ["Annotations/eeeee.xml: object 1 (x): 2 boxes, not one: left out"]


def test_a_name_in_voc_may_lack_its_suffix(tmp_path: Path) -> None:
    file = voc(tmp_path, "frame.001", KITTEN)
    text = file.read_text(encoding="utf-8").replace("frame.001.jpg", "frame.001")
    file.unlink()
    file.with_name("first.xml").write_text(text)
    assert open_dataset(tmp_path).records.names == ["JPEGImages/frame.001.jpg"]


# COCO


def test_numbers_and_names_of_coco_that_are_not_unique_are_named(tmp_path: Path) -> None:
    for number in (3, 4):
        picture(tmp_path / "images" / "train2017" / f"{number}.jpg", number)
    coco(
        tmp_path,
        images=[
            {"id": 1, "file_name": "1.jpg"},
            {"id": 2, "file_name": "train2017\\2.jpg"},
            {"id": 1, "file_name": "3.jpg"},
            {"id": [4], "file_name": "4.jpg"},
            {"id": 5, "file_name": None},
            {"id": 6, "file_name": "2.jpg"},
        ],
        annotations=[
            {"id": number, "image_id": number, "category_id": 3, "bbox": [1, 1, 5, 5]}
            for number in (1, 2, 6)
        ],
    )
    data = open_dataset(tmp_path)
    assert data.records.names == ["images/train2017/2.jpg"]  # whose objects would be those of 1?
    assert [each.problem for each in data.problems] == [
        "1.jpg: its id 1 is none of its own: left out",
        "3.jpg: its id 1 is none of its own: left out",
        "4.jpg: its id [4] is none of its own: left out",
        "image 5: it has no file_name",
        "images/train2017/2.jpg was named before, in annotations/instances_train2017.json: left "
        "out here",
        "3 pictures that no JSON file names: left out: images/train2017/1.jpg, "
        "images/train2017/3.jpg, images/train2017/4.jpg",
    ]


def test_of_pictures_of_one_name_coco_means_the_nearest_or_none(tmp_path: Path) -> None:
    coco(tmp_path)
    shutil.copytree(tmp_path / "images", tmp_path / "masks")
    names = ["images/train2017/1.jpg", "images/train2017/2.jpg"]
    assert open_dataset(tmp_path).records.names == names  # the folder is called so
    (tmp_path / "masks" / "train2017" / "2.jpg").unlink()
    (tmp_path / "images").rename(tmp_path / "photos")
    data = open_dataset(tmp_path)
    assert data.records.names == ["photos/train2017/2.jpg"]
    assert data.problems[0].problem == (
        "image 1: several pictures could be 1.jpg: masks/train2017/1.jpg, "
        "photos/train2017/1.jpg: left out"
    )


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_a_file_of_coco_without_one_of_its_lists_is_left_out(tmp_path: Path, key: str) -> None:
    coco(tmp_path)
    file = coco(tmp_path, "val2017")
    content = json.loads(file.read_text(encoding="utf-8"))
    del content[key]
    file.write_text(json.dumps(content))
    data = open_dataset(tmp_path)
    assert listed(data) == {"train": ["1", "2"]}  # those of the other would have no objects
    assert told(data)[0] == f"annotations/instances_val2017.json: has no list '{key}': left out"


def test_numbers_of_coco_are_read_as_what_they_say(tmp_path: Path) -> None:
    entry = {"image_id": 1, "category_id": 3}
    crowds = ["0", "1", 0, True, None, 1.0]
    file = coco(
        tmp_path,
        annotations=[
            *(
                entry | {"id": n, "bbox": [n, 1, 5, 5], "iscrowd": said}
                for n, said in enumerate(crowds)
            ),
            entry | {"id": 10, "bbox": [1, 1, float("nan"), 5]},
            entry | {"id": 11, "bbox": [9, 9, 5, 5], "area": 10**400},
            {"id": 12, "image_id": 1, "category_id": "3", "bbox": [1, 1, 5, 5]},
            {"id": 13, "image_id": "1", "category_id": 3, "bbox": [1, 1, 5, 5]},
        ],
    )
    data = open_dataset(tmp_path)
    crowd = data.records.objects[0].crowd.tolist()
    assert crowd == [False, True, False, True, False, True, False]
    assert data.records.objects[0].areas[-1] == 25
    assert [each.problem for each in data.problems] == [
        "annotation 12: there is no category '3': left out",
        "annotation 13: there is no image '1'",
        "annotation 10: bbox is [1, 1, nan, 5], not four numbers (left, top, width, height): left "
        "out",
    ]
    file.write_text("[" * 100_000)
    with pytest.raises(DataError, match="damaged JSON: maximum recursion depth"):
        open_dataset(tmp_path)


# YOLO


def test_two_pictures_of_one_text_file_are_named_and_left_out(tmp_path: Path) -> None:
    yolo(tmp_path, "a", "0 .5 .5 .2 .2")
    yolo(tmp_path, "bb", "0 .5 .5 .2 .2")
    picture(tmp_path / "images" / "train" / "a.png", 7)
    (tmp_path / "images" / "train" / "bb.txt").write_text("0 .5 .5 .3 .3")
    data = open_dataset(tmp_path)
    assert data.records.names == ["images/train/bb.jpg"]
    assert data.records.objects[0].boxes[0] == pytest.approx([24, 16, 36, 24])
    assert told(data) == [
        "images/train/bb.txt: labels/train/bb.txt says the boxes of the same picture: this file is "
        "left out",
        "labels/train/a.txt: several pictures could be its: images/train/a.jpg, "
        "images/train/a.png: left out",
    ]


def test_arrays_that_ultralytics_keeps_beside_pictures_are_no_pictures(tmp_path: Path) -> None:
    """Its ``cache="disk"`` writes a.npy beside a.jpg; an array alone is a picture."""
    yolo(tmp_path, "a", "0 .5 .5 .2 .2")
    yolo(tmp_path, "bb", "0 .5 .5 .2 .2")
    array = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for name in ("a", "bb", "ccc"):
        np.save(tmp_path / "images" / "train" / f"{name}.npy", array)
    (tmp_path / "labels" / "train" / "ccc.txt").write_text("0 .5 .5 .3 .3")
    data = open_dataset(tmp_path)
    assert data.records.names == [f"images/train/{name}" for name in ("a.jpg", "bb.jpg", "ccc.npy")]
    assert not data.problems


def test_names_of_yolo_may_be_composed_or_decomposed(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "é")
    yolo(tmp_path, name, "0 .5 .5 .2 .2")
    file = tmp_path / "labels" / "train" / f"{name}.txt"
    file.rename(file.with_name("é.txt"))
    data = open_dataset(tmp_path)
    assert [len(each) for each in data.records.objects] == [1]
    assert not data.problems


def test_a_text_file_may_begin_with_a_mark_and_be_called_as_a_list(tmp_path: Path) -> None:
    yolo(tmp_path, "test", "\ufeff0 .5 .5 .2 .2\r\n0 .2 .2 .1 .1 .9\r\n")
    yolo(tmp_path, "other", "0 .5 .5 .2 .2")
    data = open_dataset(tmp_path)
    assert data.records.names == ["images/train/other.jpg", "images/train/test.jpg"]
    assert [len(each) for each in data.records.objects] == [1, 2]
    assert not data.problems


@pytest.mark.parametrize(
    ("text", "classes", "problem"),
    [
        ("nc: 3\nnames: [no, yes]\ntest: null\n", ("no", "yes"),
         "nc is 3, and 2 names of classes are there"),
        ("names: {0: a, 1000000000: b}\n", ("class 0",),
         "the names of the classes cannot be read: names has numbers that are not from 0 to 9,999"),
        ("names: [a, a]\n", ("class 0",),
         "the names of the classes cannot be read: a is there twice"),
        ("names: a, b\n", ("class 0",),
         "the names of the classes cannot be read: there is no list of names"),
    ],
)  # fmt: skip
def test_classes_of_yolo_that_cannot_be_right_are_named(
    tmp_path: Path, text: str, classes: tuple[str, ...], problem: str
) -> None:
    yolo(tmp_path, "a", "0 .5 .5 .2 .2")
    (tmp_path / "data.yaml").write_text(text)
    data = open_dataset(tmp_path)
    assert data.classes == classes
    assert told(data) == [f"data.yaml: {problem}"]


def test_of_a_box_with_keypoints_the_box_is_read(tmp_path: Path) -> None:
    """Two points of x, y and visibility: without kpt_shape the line would be five corners."""
    yolo(tmp_path, "a", "0 .5 .5 .2 .2 .1 .1 2 .9 .9 2")
    (tmp_path / "data.yaml").write_text("kpt_shape: [2, 3]\nnames: [a]\n")
    [objects] = open_dataset(tmp_path).records.objects
    assert objects.boxes[0] == pytest.approx([24, 16, 36, 24])


def test_folders_of_yolo_without_any_object_are_still_boxes(tmp_path: Path) -> None:
    yolo(tmp_path, "a", "")
    yolo(tmp_path, "bb", "")
    with pytest.raises(DataError, match="no picture with boxes that can be read"):
        open_dataset(tmp_path)
    (tmp_path / "classes.txt").write_text("cell\n")
    data = open_dataset(tmp_path)
    assert (data.reader, data.classes) == ("yolo-boxes", ("cell",))
    assert [len(each) for each in data.records.objects] == [0, 0]


def test_boxes_are_shares_of_a_picture_as_it_is_shown(tmp_path: Path) -> None:
    yolo(tmp_path, "a", "0 .5 .25 .5 .25")
    with Image.open(tmp_path / "images" / "train" / "a.jpg") as image:
        exif = image.getexif()
        exif[0x0112] = 6  # turned by a quarter
        image.save(tmp_path / "images" / "train" / "a.jpg", exif=exif)
    data = open_dataset(tmp_path)
    assert data.records.sizes.tolist() == [[WIDTH, HEIGHT]]
    assert np.array_equal(data.records.objects[0].boxes, [[10, 7.5, 30, 22.5]])
