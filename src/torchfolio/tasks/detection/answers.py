"""What detection says of a picture, drawn and written, and what an exported file answers.

A run's task and an exported file share what is here; the file answers without torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from torchfolio.checkpoint import free_path, replacing, write_text
from torchfolio.data.fitting import fitted as square
from torchfolio.data.fitting import opened
from torchfolio.data.images import Pixels, decode
from torchfolio.errors import RequestError
from torchfolio.evaluation.matching import Detections
from torchfolio.tasks.detection.boxes import Placed, fitted
from torchfolio.tasks.detection.coco_file import CocoFile
from torchfolio.tasks.detection.options import DetectionAnswerOptions
from torchfolio.tasks.detection.suppression import found_in
from torchfolio.tasks.image_answers import ExportedPictures, named, read
from torchfolio.tasks.lettering import lettered
from torchfolio.tasks.segmentation.masks import colours

FORMS = ("coco", "yolo")
SIDES = ("left", "top", "right", "bottom")


class BoxRow(dict[str, Any]):
    """A row, and beside it how its picture's objects are written in other forms.

    ``size`` is the picture's (height, width), ``labels`` the number of each object's class, of the
    run's ``classes``.
    """

    size: tuple[int, int]
    labels: list[int]
    classes: list[str]
    forms: frozenset[str]

    def gather(self, folder: Path, file: CocoFile | None) -> CocoFile | None:
        """Add the answer to the file that tells of all pictures, where one is asked for."""
        if "coco" not in self.forms:
            return None
        file = file or CocoFile(folder / "coco.json", self.classes)
        file.add(Path(self["input"]), self.size, self["objects"], self.labels)
        return file


def read_forms(text: str) -> frozenset[str]:
    """Return the forms that are asked for; raise ``RequestError`` for another."""
    found = frozenset(each.strip() for each in text.split(",") if each.strip())
    for each in found - set(FORMS):
        raise RequestError(f"forms has {each!r}; it should be {' or '.join(FORMS)}, or both.")
    return found


class Square(list[Pixels]):
    """A picture as an exported network takes it, and how it lies in its square."""

    placed: Placed


class BoxAnswers(ExportedPictures):
    """The answers of an exported detector."""

    Options = DetectionAnswerOptions

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__(facts)
        [self.takes] = self.inputs
        keys = ("threshold", "least_score", "most_overlap")
        self.threshold, self.least_score, self.most_overlap = (float(facts[key]) for key in keys)

    def read(self, item: Any) -> Square | str:
        """Return a person's picture in its square, or what is wrong with it."""

        def take(source: Path | NDArray[Any]) -> Square:
            return self.squared(opened(source, self.takes["depth"]))

        return read(take, item)

    def record(self, records: Any, index: int) -> Square:
        """Return a dataset's picture in its square."""
        return self.squared(records.pixels(index, self.takes["depth"]))

    def squared(self, pixels: Pixels) -> Square:
        """Return pixels in their square."""
        found = Square([square(pixels, self.takes)])
        height, width = pixels.shape[:2]
        found.placed = fitted(height, width, self.takes["size"])
        return found

    def row(
        self,
        item: Any,
        found: str | NDArray[np.float32],
        options: DetectionAnswerOptions,
        taken: Square | str,
    ) -> dict[str, Any]:
        """Return the row of one input, from its candidates or its error."""
        row = empty_row(item)
        if isinstance(found, str) or isinstance(taken, str):
            return row | {"error": found}
        side = self.takes["size"]
        said = found_in(found, self.least_score, self.most_overlap, 1 / side, options.most)
        said = said.moved(said.boxes * side)
        least = self.threshold if options.threshold is None else options.threshold
        return row_of(row, said, taken.placed, self.names, least, read_forms(options.forms))

    def line(self, row: dict[str, Any]) -> str:
        """Return an answer as the text that a person reads."""
        return str(row["prediction"])

    def briefly(self, row: dict[str, Any]) -> str:
        """Return the answer alone as text."""
        return str(row["prediction"])

    def cells(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """Return an answer as rows of a table: one an object."""
        return object_rows(row)

    def picture(self, row: dict[str, Any], target: Path) -> Path | None:
        """Write the picture with its boxes."""
        return draw(row, target)


def object_rows(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row of a table for each object of an answer; of none, one without class."""
    rows = [
        {"input": row["input"], "class": each["class"], "score": each["score"]}
        | dict(zip(SIDES, each["box"], strict=True))
        for each in row["objects"]
    ]
    return rows or [{"input": row["input"], "class": None, "score": None} | dict.fromkeys(SIDES)]


def empty_row(item: Any) -> dict[str, Any]:
    """Return the row of an input of which nothing is known yet."""
    row: dict[str, Any] = {"input": named(item), "prediction": None, "probability": None}
    return row | {"error": None, "objects": []}


def row_of(
    row: dict[str, Any],
    said: Detections,
    placed: Placed,
    classes: list[str],
    least: float,
    forms: frozenset[str],
) -> BoxRow:
    """Return the row of detections in a square, those from a score on, in the picture's pixels."""
    said = placed.answered(said.chosen(said.scores >= least))
    found = BoxRow(row | describe(classes, said))
    found.size, found.labels = (placed.height, placed.width), said.labels.tolist()
    found.classes, found.forms = classes, forms
    return found


def describe(classes: list[str], found: Detections) -> dict[str, Any]:
    """Return what a row says of detections: each object, and how many of each class."""
    objects = [
        {
            "class": classes[label],
            "score": float(score),
            "box": [round(float(each), 2) for each in box],
        }
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
    ]
    counts = {name: sum(each["class"] == name for each in objects) for name in classes}
    text = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    best = objects[0]["score"] if objects else None
    return {"prediction": text or "nothing", "probability": best, "objects": objects}


def draw(row: dict[str, Any], target: Path) -> Path | None:
    """Write the picture with its boxes as NAME.png, and NAME.txt where that is asked for."""
    source = Path(row["input"])
    if not isinstance(row, BoxRow) or not source.is_file():
        return None
    path = free_path(target / f"{source.stem}.png")
    shades = colours(256)
    image = Image.fromarray(decode(source, 3, 8))
    pen = ImageDraw.Draw(image)
    width = max(2, round(max(image.size) / 400))
    for each, label in zip(row["objects"], row.labels, strict=True):
        shade = tuple(int(value) for value in shades[label % 255 + 1])
        pen.rectangle(each["box"], outline=shade, width=width)
        text, font = lettered(f"{each['class']} {each['score']:.0%}")
        left, top = each["box"][0], max(0, each["box"][1] - 18)
        pen.rectangle(pen.textbbox((left, top), text, font=font), fill=shade)
        light = sum(shade) > 380
        pen.text((left, top), text, fill="black" if light else "white", font=font)
    with replacing(path) as temporary:
        image.save(temporary, "PNG")
    if "yolo" in row.forms:
        write_text(path.with_suffix(".txt"), as_yolo(row))
    return path


def as_yolo(row: BoxRow) -> str:
    """Return a line an object: class, centre and size as shares, and score."""
    height, width = row.size
    lines = []
    for each, label in zip(row["objects"], row.labels, strict=True):
        left, top, right, bottom = each["box"]
        numbers = [
            *((left + right) / 2 / width, (top + bottom) / 2 / height),
            *((right - left) / width, (bottom - top) / height, each["score"]),
        ]
        lines.append(" ".join([str(label), *(f"{number:.6f}" for number in numbers)]))
    return "".join(f"{line}\n" for line in lines)
