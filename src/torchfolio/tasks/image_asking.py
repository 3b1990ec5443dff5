"""Asking a run's networks about pictures: what ``folio predict`` and all that measures rest on."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.image_answers import read, row_of
from torchfolio.tasks.outputs import batch_size, outputs

Take = Callable[[Path | NDArray[Any]], list[Tensor]]

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
