"""What ``folio predict`` says of pictures by segmentation, and how it is drawn."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from torchfolio.checkpoint import replacing, write_bytes
from torchfolio.data.images import decode
from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.image_answers import free_path, named, read
from torchfolio.tasks.segmentation.asking import ask
from torchfolio.tasks.segmentation.masks import describe, palette_mask, tinted
from torchfolio.tasks.segmentation.volume_answers import VolumeRow, answer_volumes


class MaskRow(dict[str, Any]):
    """A row, and beside it the class of each pixel, which no table and no JSON holds.

    ``probabilities`` (classes, height, width) are there where they were asked for.
    """

    classes: NDArray[np.uint8]
    probabilities: NDArray[np.float16] | None


def answer(
    task: Any, parts: Parts, inputs: Sequence[Any], context: Context, probabilities: bool
) -> Iterator[dict[str, Any]]:
    """Yield one row an input: the share of each class, and its mask."""
    parts.network.eval()
    if "volume" in task.state:
        yield from answer_volumes(task, parts, inputs, context)
        return
    for item in inputs:
        row: dict[str, Any] = {"input": named(item), "prediction": None, "probability": None}
        row |= {"error": None, "shares": {}}
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
            said = ask(task.state, parts.network, pixels, size, whole=probabilities)
        found_row = MaskRow(row | describe(task.state["classes"], said.classes, said.probability))
        found_row.classes, found_row.probabilities = said.classes, said.probabilities
        yield found_row


def draw(row: dict[str, Any], target: Path) -> Path | None:
    """Write the picture with the mask drawn in as NAME.png, and the mask as NAME_mask.png.

    Probabilities that were asked for go into NAME_probabilities.npz.
    """
    if isinstance(row, VolumeRow):
        return row.write(target)
    source = Path(row["input"])
    if not isinstance(row, MaskRow) or not source.is_file():
        return None
    path = free_path(target / f"{source.stem}.png")
    write_bytes(path.with_stem(f"{path.stem}_mask"), palette_mask(row.classes))
    if row.probabilities is not None:
        file = BytesIO()
        np.savez_compressed(file, probabilities=row.probabilities, classes=list(row["shares"]))
        write_bytes(path.with_name(f"{path.stem}_probabilities.npz"), file.getvalue())
    image = Image.fromarray(tinted(decode(source, 3, 8), row.classes))
    with replacing(path) as temporary:
        image.save(temporary, "PNG")
    return path
