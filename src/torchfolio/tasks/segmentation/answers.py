"""What ``folio predict`` says of pictures by segmentation, and how it is drawn."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.image_answers import read
from torchfolio.tasks.outputs import outputs
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
    whole = np.float16 if probabilities else None

    def load(item: Any) -> tuple[Any, Any]:
        return item, read(task.scenes.read, item)

    def row(loaded: tuple[Any, Any]) -> dict[str, Any]:
        item, found = loaded
        if isinstance(found, str):
            return empty_row(item) | {"error": found}
        picture, size = found
        with torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16):
            pixels = picture.to(context.device)
            said = ask(task.state, parts.network, pixels, size, whole=whole)
        names = task.state["classes"]
        return mask_row(empty_row(item), names, said.classes, said.probability, said.probabilities)

    yield from outputs(load, row, inputs, context)


def draw(row: dict[str, Any], target: Path) -> Path | None:
    """Write the picture with its mask, or a volume's masks."""
    return row.write(target) if isinstance(row, VolumeRow) else draw_mask(row, target)
