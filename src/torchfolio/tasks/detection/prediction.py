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
from torchfolio.tasks.detection.task import kept, needs_targets
from torchfolio.tasks.image_answers import read
from torchfolio.tasks.outputs import batch_size, outputs
from torchfolio.tasks.pictures import normalised

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
    classes = task.state["classes"]
    parts.network.eval()

    def load(items: Sequence[Any]) -> tuple[Sequence[Any], Read]:
        return items, [read(task.pictures.read, item) for item in items]

    def rows(loaded: tuple[Sequence[Any], Read]) -> list[dict[str, Any]]:
        items, taken = loaded
        good = {place: each for place, each in enumerate(taken) if not isinstance(each, str)}
        said: dict[int, Detections] = {}
        for shape in dict.fromkeys(image.shape for image, _ in good.values()):
            images = {place: image for place, (image, _) in good.items() if image.shape == shape}
            stacked = torch.stack(list(images.values()))
            answers = ask(task, parts, stacked, context, options.most)
            said |= zip(images, answers, strict=True)
        return [
            row_of(empty_row(item), said[place], good[place][1], classes, least, forms)
            if place in good
            else empty_row(item) | {"error": taken[place]}
            for place, item in enumerate(items)
        ]

    size = batch_size(context, task.state["channels"] * task.state["size"] ** 2)
    if needs_targets(parts["network"]) and context.device.type == "cpu":
        size = 1  # a second stage looks at a thousand proposals of each picture
    batches = [inputs[start : start + size] for start in range(0, len(inputs), size)]
    for some in outputs(load, rows, batches, context):
        yield from some


def ask(
    task: Any, parts: Parts, images: torch.Tensor, context: Context, most: int
) -> list[Detections]:
    """Return what the network finds in pictures, in their pixels."""
    images = normalised(images.to(context.device), task.state)
    with torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16):
        said = parts.network(images)
    return kept(parts.network, said, most)
