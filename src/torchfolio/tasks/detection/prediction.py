"""What a run's network says of pictures: their boxes."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from torchfolio.evaluation.matching import Detections
from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.detection.answers import empty_row, read_forms, row_of
from torchfolio.tasks.detection.boxes import Placed
from torchfolio.tasks.detection.options import DetectionAnswerOptions
from torchfolio.tasks.detection.suppression import USUAL
from torchfolio.tasks.detection.task import kept
from torchfolio.tasks.image_answers import read
from torchfolio.tasks.outputs import batch_size, outputs

Read = list[tuple[torch.Tensor, Placed] | str]


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

    def load(items: Sequence[Any]) -> tuple[Sequence[Any], Read]:
        return items, [read(task.pictures.read, item) for item in items]

    def rows(loaded: tuple[Sequence[Any], Read]) -> list[dict[str, Any]]:
        items, taken = loaded
        good = [found[0] for found in taken if not isinstance(found, str)]
        said = iter(ask(task, parts, torch.stack(good), context, options.most) if good else ())
        found: list[dict[str, Any]] = []
        for item, each in zip(items, taken, strict=True):
            row = empty_row(item)
            if isinstance(each, str):
                found.append(row | {"error": each})
                continue
            found.append(row_of(row, next(said), each[1], task.state["classes"], least, forms))
        return found

    size = batch_size(context, task.state["channels"] * task.state["size"] ** 2)
    batches = [inputs[start : start + size] for start in range(0, len(inputs), size)]
    for some in outputs(load, rows, batches, context):
        yield from some


def ask(
    task: Any, parts: Parts, images: torch.Tensor, context: Context, most: int
) -> list[Detections]:
    """Return what the network finds in squares, in their pixels."""
    images = task.normalised(images.to(context.device))
    with torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16):
        said = parts.network(images)
    return kept(parts.network, said, most)
