"""What ``folio predict`` says of pictures by segmentation, and how it is drawn."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.image_answers import read
from torchfolio.tasks.segmentation.asking import ask
from torchfolio.tasks.segmentation.mask_answers import draw_mask, empty_row, mask_row
from torchfolio.tasks.segmentation.volume_answers import VolumeRow, answer_volumes


def answer(
    task: Any, parts: Parts, inputs: Sequence[Any], context: Context, probabilities: bool
) -> Iterator[dict[str, Any]]:
    """Yield one row an input: the share of each class, and its mask."""
    parts.network.eval()
    if "volume" in task.state:
        yield from answer_volumes(task, parts, inputs, context, probabilities)
        return
    for item in inputs:
        row = empty_row(item)
        found = read(task.scenes.read, item)
        if isinstance(found, str):
            yield row | {"error": found}
            continue
        picture, size = found
        with (
            torch.inference_mode(),
            torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16),
        ):
            pixels = picture.to(context.device)
            whole = np.float16 if probabilities else None
            said = ask(task.state, parts.network, pixels, size, whole=whole)
        names = task.state["classes"]
        yield mask_row(row, names, said.classes, said.probability, said.probabilities)


def draw(row: dict[str, Any], target: Path) -> Path | None:
    """Write the picture with its mask, or a volume's masks."""
    return row.write(target) if isinstance(row, VolumeRow) else draw_mask(row, target)
