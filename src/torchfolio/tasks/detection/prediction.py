"""What a run's network says of pictures: their boxes."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from torchfolio.evaluation.matching import Detections
from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.detection.answers import empty_row, read_forms, row_of
from torchfolio.tasks.detection.options import DetectionAnswerOptions
from torchfolio.tasks.detection.suppression import USUAL
from torchfolio.tasks.detection.task import kept
from torchfolio.tasks.image_answers import read


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
        row = empty_row(item)
        found = read(task.pictures.read, item)
        if isinstance(found, str):
            yield row | {"error": found}
            continue
        image, placed = found
        said = ask(task, parts, image, context, options.most)
        yield row_of(row, said, placed, task.state["classes"], least, forms)


@torch.inference_mode()
def ask(task: Any, parts: Parts, image: torch.Tensor, context: Context, most: int) -> Detections:
    """Return what the network finds in one square, in its pixels."""
    images = task.normalised(image[None].to(context.device))
    with torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16):
        outputs = parts.network(images)
    return kept(parts.network, outputs, most)[0]
