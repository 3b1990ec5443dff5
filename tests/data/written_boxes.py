"""Pictures with boxes, written as VOC, COCO and YOLO have them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from torchfolio.data.dataset import Dataset

HEIGHT, WIDTH = 40, 60


def picture(path: Path, number: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(number)
    Image.fromarray(draw.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(path)


def voc(root: Path, name: str, *objects: tuple[object, ...]) -> Path:
    """Write a picture and its XML file; an object is a name, four sides and perhaps more XML."""
    picture(root / "JPEGImages" / f"{name}.jpg", len(name))
    rows = "".join(
        f"<object><name>{each[0]}</name>{each[5] if len(each) > 5 else ''}<bndbox><xmin>{each[1]}"
        f"</xmin><ymin>{each[2]}</ymin><xmax>{each[3]}</xmax><ymax>{each[4]}</ymax></bndbox></object>"
        for each in objects
    )
    file = root / "Annotations" / f"{name}.xml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        f"<annotation><filename>{name}.jpg</filename>{rows}</annotation>", encoding="utf-8"
    )
    return file


def coco(root: Path, split: str = "train2017", **changes: object) -> Path:
    for number in (1, 2):
        picture(root / "images" / split / f"{number}.jpg", number)
    content = {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "height": HEIGHT, "width": WIDTH} for n in (1, 2)
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {"id": 7, "image_id": 1, "category_id": 18, "bbox": [4, 5, 10, 20], "iscrowd": 0},
            {"id": 8, "image_id": 1, "category_id": 3, "bbox": [0, 0, 60, 40], "iscrowd": 1},
        ],
    }
    file = root / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content | changes), encoding="utf-8")
    return file


def yolo(root: Path, name: str, text: str, split: str = "train") -> None:
    picture(root / "images" / split / f"{name}.jpg", len(name))
    file = root / "labels" / split / f"{name}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def listed(data: Dataset) -> dict[str, list[str]]:
    """The names of the pictures of each split."""
    names = [Path(each).stem for each in data.records.names]
    return {split: [names[place] for place in rows] for split, rows in data.given.items()}
