"""Answering pictures: what ``folio predict`` says of files, and how it draws an answer.

An exported file answers without torch, so only what asks a network of torch imports it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from torchfolio.checkpoint import replacing
from torchfolio.data.fitting import WAYS, fitted, opened
from torchfolio.data.images import Pixels, decode
from torchfolio.errors import FolioError
from torchfolio.options import option
from torchfolio.tasks.rows import plain_values

Read = TypeVar("Read")
FONTS_WITH_CHINESE = (
    "CJK", "PingFang", "Hiragino Sans GB", "YaHei", "SimHei", "WenQuanYi", "Arial Unicode",
)  # fmt: skip

if TYPE_CHECKING:
    from torch import Tensor

    from torchfolio.tasks.base import Context, Parts
    from torchfolio.tasks.image_classification import ImageClassification


@dataclass(frozen=True)
class ImageAnswerOptions:
    """Settings of the answers of image classification."""

    top: int = option(3, "How many classes to name, with probabilities.", low=1)


class ClassRows:
    """How the rows of classified pictures are shown: as a line, as columns, as a picture."""

    def line(self, row: dict[str, Any]) -> str:
        """Return an answer as the text that a person reads."""
        return ", ".join(f"{each['class']} {each['probability']:.1%}" for each in row["top"])

    def cells(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return an answer as columns of a table: plain values in order."""
        places = {
            f"{kind}_{place}": each[kind]
            for place, each in enumerate(row["top"], 1)
            for kind in ("class", "probability")
        }
        return plain_values(row) | places

    def picture(self, row: dict[str, Any], target: Path) -> Path | None:
        """Write an answer as a picture; return its path."""
        return draw_answer(row, target)


class ImageAnswers(ClassRows):
    """How an exported classifier reads pictures and says their classes.

    ``facts`` are those of the file: "classes", and "inputs" as ``Task.export_inputs`` gave them.
    """

    Options = ImageAnswerOptions

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.classes: list[str] = [str(each) for each in facts["classes"]]
        self.inputs: list[dict[str, Any]] = list(facts["inputs"])
        for takes in self.inputs:
            known = takes["channels"] in (1, 3) and takes["depth"] in (8, 16)
            if not known or takes["resize"] not in WAYS:
                raise ValueError(f"an input of {takes}")
            float(takes["fill"])

    def read(self, item: Any) -> list[Pixels] | str:
        """Return what each input takes of a person's picture, or what is wrong with it."""

        def take(source: Path | NDArray[Any]) -> list[Pixels]:
            depths = {takes["depth"] for takes in self.inputs}
            pixels = {depth: opened(source, depth) for depth in depths}
            return [fitted(pixels[takes["depth"]], takes) for takes in self.inputs]

        return read(take, item)

    def record(self, records: Any, index: int) -> list[Pixels]:
        """Return what each input takes of a dataset's picture."""
        return [fitted(records.pixels(index, takes["depth"]), takes) for takes in self.inputs]

    def row(
        self, item: Any, found: str | NDArray[np.float32], options: ImageAnswerOptions
    ) -> dict[str, Any]:
        """Return the row of one input, from its probabilities (classes,) or its error."""
        return row_of(item, found, self.classes, options.top)


def answer(
    task: "ImageClassification",
    parts: "Parts",
    inputs: Sequence[Any],
    context: "Context",
    top: int,
) -> Iterator[dict[str, Any]]:
    """Yield one row an input: its class, the ``top`` most probable classes, or an error."""
    import torch
    from torch import Tensor

    from torchfolio.tasks.outputs import batch_size, outputs

    def load(part: Sequence[Any]) -> tuple[Sequence[Any], list[Tensor | str]]:
        return part, [read(task.pictures.read, item) for item in part]

    def compute(
        loaded: tuple[Sequence[Any], list[Tensor | str]],
    ) -> list[tuple[Any, str | NDArray[np.float32]]]:
        part, pictures = loaded
        good = [each for each in pictures if isinstance(each, Tensor)]
        found = iter(ask(task, parts, torch.stack(good), context) if good else ())
        return [
            (item, picture if isinstance(picture, str) else next(found))
            for item, picture in zip(part, pictures, strict=True)
        ]

    size = batch_size(context, task.state["channels"] * task.state["size"] ** 2)
    parts_of_inputs = [inputs[start : start + size] for start in range(0, len(inputs), size)]
    for answers in outputs(load, compute, parts_of_inputs, context):
        for item, found in answers:
            yield row_of(item, found, task.state["classes"], top)


def ask(
    task: "ImageClassification", parts: "Parts", images: "Tensor", context: "Context"
) -> NDArray[np.float32]:
    """Return the probability of each class (batch, classes) for pictures as they are stored."""
    from torchfolio.tasks.class_scores import probabilities

    scores = parts.network(task.pictures.normalised(images.to(context.device)))
    return probabilities(parts, scores.float()).cpu().numpy()


def row_of(
    item: Any, found: str | NDArray[np.float32], classes: list[str], top: int
) -> dict[str, Any]:
    """Return the row of one input, from its probabilities (classes,) or its error."""
    row: dict[str, Any] = {"input": named(item), "prediction": None, "probability": None}
    row |= {"error": None, "top": []}
    if isinstance(found, str):
        return row | {"error": found}
    order = np.argsort(-found, kind="stable")
    row["top"] = [
        {"class": classes[each], "probability": float(found[each])} for each in order[:top]
    ]
    return row | {"prediction": classes[order[0]], "probability": float(found[order[0]])}


def read(take: Callable[[Path | NDArray[Any]], Read], item: Any) -> Read | str:
    """Read one input by ``take``, as the training pictures were read; return its error as text."""
    try:
        if isinstance(item, np.ndarray):
            return take(item)
        if not isinstance(item, str | Path):
            return f"A {type(item).__name__} is no picture: expected a path or an array."
        if not Path(item).is_file():
            return f"There is no file {item}."
        return take(Path(item))
    except (FolioError, OSError) as error:
        return str(error)


def named(item: Any) -> str:
    """Return how a row names its input: a path, or what an array is."""
    if isinstance(item, np.ndarray):
        return f"array {'x'.join(map(str, item.shape))} {item.dtype}"
    return str(item)


def draw_answer(row: dict[str, Any], target: Path) -> Path | None:
    """Write the picture of an answer with its classes and probabilities below it, as PNG.

    An answer to an array has no file to draw.
    """
    from PIL import Image, ImageDraw

    if not Path(row["input"]).is_file():
        return None

    image = Image.fromarray(decode(Path(row["input"]), 3, 8))
    longest = max(image.size)
    scale = min(max(320, longest), 900) / longest  # the longer side has 320 to 900 pixels
    resample = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, resample)
    width = max(320, image.width)
    top = row["top"][:3]
    sheet = Image.new("RGB", (width, image.height + 30 * len(top) + 8), "white")
    sheet.paste(image, ((width - image.width) // 2, 0))
    draw = ImageDraw.Draw(sheet)
    for place, each in enumerate(top):
        y = image.height + 6 + 30 * place
        text = f"{each['class']}  {each['probability']:.1%}"
        draw.rectangle((0, y, round(width * each["probability"]), y + 26), fill="#cfe3f5")
        draw.text((8, y + 2), text, fill="#102030", font=font_for(text))
    path = free_path(target / f"{Path(row['input']).stem}.png")
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG")
    return path


def font_for(text: str) -> Any:
    """Return a font that has the letters of a text: for Chinese, one that is installed."""
    from PIL import ImageFont

    if text.isascii():
        return ImageFont.load_default(size=18)
    from matplotlib import font_manager

    for font in font_manager.fontManager.ttflist:
        if any(name in font.name for name in FONTS_WITH_CHINESE):
            return ImageFont.truetype(font.fname, 18)
    return ImageFont.load_default(size=18)


def free_path(path: Path) -> Path:
    """Return the path, or the first of ``name-2``, ``name-3`` ... that is free."""
    number = 2
    found = path
    while found.exists():
        found = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return found
