"""What ``folio predict`` says of pictures by detection, and how it is drawn and written."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from torchfolio.checkpoint import replacing, write_text
from torchfolio.data.images import decode
from torchfolio.errors import RequestError
from torchfolio.evaluation.matching import Detections
from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.detection.options import DetectionAnswerOptions
from torchfolio.tasks.detection.task import kept
from torchfolio.tasks.image_answers import free_path, named, read
from torchfolio.tasks.lettering import lettered
from torchfolio.tasks.segmentation.masks import colours

FORMS = ("coco", "yolo")
USUAL = 0.25  # the least score where no validation data chose one


class BoxRow(dict[str, Any]):
    """A row, and beside it how its picture's objects are written in other forms.

    ``size`` is the picture's (height, width), ``labels`` the number of each object's class.
    """

    size: tuple[int, int]
    labels: list[int]
    forms: frozenset[str]


def read_forms(text: str) -> frozenset[str]:
    """Return the forms that are asked for; raise ``RequestError`` for another."""
    found = frozenset(each.strip() for each in text.split(",") if each.strip())
    for each in found - set(FORMS):
        raise RequestError(f"forms has {each!r}; it should be {' or '.join(FORMS)}, or both.")
    return found


def answer(
    task: Any,
    parts: Parts,
    inputs: Sequence[Any],
    context: Context,
    options: DetectionAnswerOptions,
) -> Iterator[dict[str, Any]]:
    """Yield one row an input: its objects, the likeliest first."""
    forms = read_forms(options.forms)
    least = options.threshold
    if least is None:
        least = float(task.state.get("threshold", USUAL))
    parts.network.eval()
    for item in inputs:
        row: dict[str, Any] = {"input": named(item), "prediction": None, "probability": None}
        row |= {"error": None, "objects": []}
        found = read(task.pictures.read, item)
        if isinstance(found, str):
            yield row | {"error": found}
            continue
        image, placed = found
        said = ask(task, parts, image, context, options.most)
        said = said.moved(placed.back(said.boxes)).chosen(said.scores >= least)
        row_of_boxes = BoxRow(row | describe(task.state["classes"], said))
        row_of_boxes.size = placed.height, placed.width
        row_of_boxes.labels = said.labels.tolist()
        row_of_boxes.forms = forms
        yield row_of_boxes


@torch.inference_mode()
def ask(task: Any, parts: Parts, image: torch.Tensor, context: Context, most: int) -> Detections:
    """Return what the network finds in one square, in its pixels."""
    images = task.normalised(image[None].to(context.device))
    with torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16):
        outputs = parts.network(images)
    return kept(parts.network, outputs, most)[0]


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
    """Write the picture with its boxes as NAME.png, and its objects in the forms asked for."""
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
    if "coco" in row.forms:
        add_to_coco(target / "coco.json", source.name, row)
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


def add_to_coco(path: Path, name: str, row: BoxRow) -> None:
    """Add a picture and its objects to a file of COCO's form."""
    known: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
    number = len(known["images"]) + 1
    height, width = row.size
    known["images"].append({"id": number, "file_name": name, "height": height, "width": width})
    held = {each["id"] for each in known["categories"]}
    for each, label in zip(row["objects"], row.labels, strict=True):
        if label + 1 not in held:
            known["categories"].append({"id": label + 1, "name": each["class"]})
            held.add(label + 1)
        left, top, right, bottom = each["box"]
        known["annotations"].append(
            {
                "id": len(known["annotations"]) + 1,
                "image_id": number,
                "category_id": label + 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": 0,
                "score": each["score"],
            }
        )
    write_text(path, json.dumps(known, ensure_ascii=False))
