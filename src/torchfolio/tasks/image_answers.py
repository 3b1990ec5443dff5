"""Answering pictures: what ``folio predict`` says of files, and how it draws an answer."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchfolio.checkpoint import replacing
from torchfolio.data.images import decode
from torchfolio.errors import FolioError
from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.lettering import lettered
from torchfolio.tasks.outputs import batch_size, outputs

Read = TypeVar("Read")
Take = Callable[[Path | NDArray[Any]], list[Tensor]]

BAR = "#cfe3f5"  # the colour of an answer's probability

if TYPE_CHECKING:
    from torchfolio.tasks.picture_task import PictureTask


def answer(
    task: "PictureTask",
    parts: Parts,
    inputs: Sequence[Any],
    context: Context,
    top: int,
) -> Iterator[dict[str, Any]]:
    """Yield one row an input: what the task says of it, with ``top`` names, or an error."""

    def asked(images: list[Tensor]) -> NDArray[np.float32]:
        return ask(task, parts, images, context)

    for item, found in computed(task.read, task.values, inputs, context, asked):
        yield row_of(task, item, found, top)


def computed(
    take: Take,
    values: int,
    inputs: Sequence[Any],
    context: Context,
    compute: Callable[[list[Tensor]], NDArray[np.float32]],
) -> Iterator[tuple[Any, str | NDArray[np.float32]]]:
    """Yield each input with what is computed of its picture, or with its error.

    ``take`` reads a picture, as a tensor for each way in which networks take it; the largest has
    so many ``values``. ``compute`` gets a batch for each of them, as they are stored (batch,
    channels, height, width), and returns an array with a row each. Several threads may call it at
    once.
    """

    def load(part: Sequence[Any]) -> tuple[Sequence[Any], list[list[Tensor] | str]]:
        return part, [read(take, item) for item in part]

    def rows(
        loaded: tuple[Sequence[Any], list[list[Tensor] | str]],
    ) -> list[tuple[Any, str | NDArray[np.float32]]]:
        part, images = loaded
        good = [each for each in images if not isinstance(each, str)]
        batches = [torch.stack(each) for each in zip(*good, strict=True)]
        found = iter(compute(batches) if good else ())
        return [
            (item, image if isinstance(image, str) else next(found))
            for item, image in zip(part, images, strict=True)
        ]

    size = batch_size(context, values)
    parts = [inputs[start : start + size] for start in range(0, len(inputs), size)]
    for some in outputs(load, rows, parts, context):
        yield from some


def ask(
    task: "PictureTask", parts: Parts, images: Sequence[Tensor], context: Context
) -> NDArray[np.float32]:
    """Return the probability of each name (batch, names) for pictures as they are stored.

    ``images`` holds a batch for each of the task's inputs.
    """
    there = [each.to(context.device) for each in images]
    return task.class_probabilities(parts, there).cpu().numpy()


def row_of(
    task: "PictureTask", item: Any, found: str | NDArray[np.float32], top: int
) -> dict[str, Any]:
    """Return the row of one input, from its probabilities (classes,) or its error."""
    row: dict[str, Any] = {"input": named(item), "prediction": None, "probability": None}
    row |= {"error": None, "top": []}
    if isinstance(found, str):
        return row | {"error": found}
    return row | task.said(found, top)


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
    bars = [(each["class"], each["probability"], BAR) for each in row["top"][:3]]
    return draw_bars(Path(row["input"]), bars, target)


def draw_bars(source: Path, bars: Sequence[tuple[str, float, str]], target: Path) -> Path | None:
    """Write a picture with bars below it, as PNG, and return where it is.

    Each bar has a name, the share of the width that it fills, and a colour. Without a file there is
    nothing to draw.
    """
    from PIL import Image, ImageDraw

    if not source.is_file():
        return None

    image = Image.fromarray(decode(source, 3, 8))
    longest = max(image.size)
    scale = min(max(320, longest), 900) / longest  # the longer side has 320 to 900 pixels
    resample = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, resample)
    width = max(320, image.width)
    sheet = Image.new("RGB", (width, image.height + 30 * len(bars) + 8), "white")
    sheet.paste(image, ((width - image.width) // 2, 0))
    draw = ImageDraw.Draw(sheet)
    for place, (name, share, colour) in enumerate(bars):
        y = image.height + 6 + 30 * place
        text, font = lettered(f"{name}  {share:.1%}")
        draw.rectangle((0, y, round(width * share), y + 26), fill=colour)
        draw.text((8, y + 2), text, fill="#102030", font=font)
    path = free_path(target / f"{source.stem}.png")
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG")
    return path


def free_path(path: Path) -> Path:
    """Return the path, or the first of ``name-2``, ``name-3`` ... that is free."""
    number = 2
    found = path
    while found.exists():
        found = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return found
