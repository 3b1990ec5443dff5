"""What the layers of a network find in pictures, as vectors for use elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.networks.tap import Tap
from torchfolio.tasks.base import Context
from torchfolio.tasks.image_answers import named
from torchfolio.tasks.image_asking import computed
from torchfolio.tasks.pictures import Pictures


@dataclass(frozen=True)
class Vectors:
    """The vectors of inputs, one row each, computed as they are asked for.

    A row holds "input", "vector" (width,) float32 and "error": ``None``, or what is wrong with the
    input, with ``None`` as vector. ``layer`` says where they come from, ``preparation`` how the
    pictures were prepared.
    """

    rows: Iterator[dict[str, Any]]
    layer: str
    width: int
    preparation: str

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.rows


def vectors(
    pictures: Pictures,
    network: nn.Module,
    inputs: Sequence[Any],
    context: Context,
    layer: str | None,
    normalised: str = "normalised as in training",
) -> Vectors:
    """Return what a layer finds in inputs (paths or arrays), or what the head reads.

    The network is in evaluation mode, on the context's device. An unknown layer is a
    ``RequestError`` at once, unreadable inputs are rows. ``normalised`` is said of the pictures.
    """
    size, channels = pictures.state["size"], pictures.state["channels"]
    example = torch.zeros(1, channels, size, size, device=context.device)
    tap = Tap(network, example, layer)

    def take(source: Path | NDArray[Any]) -> list[Tensor]:
        return [pictures.read(source)]

    def compute(images: list[Tensor]) -> NDArray[np.float32]:
        found = tap(pictures.normalised(images[0].to(context.device)))
        return found.cpu().numpy()

    def rows() -> Iterator[dict[str, Any]]:
        with tap.listening():
            for item, found in computed(take, channels * size**2, inputs, context, compute):
                wrong = found if isinstance(found, str) else None
                vector = None if isinstance(found, str) else found
                yield {"input": named(item), "vector": vector, "error": wrong}

    resized = f"{size} x {size} pixels (resized by: {pictures.state['resize']})"
    preparation = f"{resized}, {channels} channel(s), {normalised}"
    return Vectors(rows(), tap.words, tap.width, preparation)
