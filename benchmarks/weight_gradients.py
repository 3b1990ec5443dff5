"""The gradient by the weights of a convolution, by oneDNN and as matrix products, in turn.

    python -m benchmarks.weight_gradients [--rounds N]

The convolutions are those of ResNet-18 with kernels of 3x3, at 128 and 224 pixels, batch 32,
channels-last. Kept are the median milliseconds of each. What the figures decide is
``torchfolio.training.convolution``.
"""

import argparse
import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.document import begun, write
from benchmarks.results import RESULTS
from benchmarks.turns import take_turns
from torchfolio.training.convolution import weight_gradient

BATCH = 32
SHAPES = (  # channels, maps, side, stride (He et al. 2016, Table 1): at 128 pixels, at 224
    (64, 64, 32, 1), (64, 128, 32, 2), (128, 128, 16, 1), (128, 256, 16, 2), (256, 256, 8, 1),
    (256, 512, 8, 2), (512, 512, 4, 1), (64, 64, 56, 1), (64, 128, 56, 2), (128, 128, 28, 1),
    (128, 256, 28, 2), (256, 256, 14, 1), (256, 512, 14, 2), (512, 512, 7, 1),
)  # fmt: skip
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
TURN = 0.05  # seconds


def by_onednn(gradient: Tensor, images: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return it as torch does."""
    found: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        *(gradient, images, weight, None, (stride, stride), (1, 1), (1, 1), False, (0, 0), 1),
        [False, True, False],
    )
    return found[1]


def by_products(gradient: Tensor, images: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return it as ours does."""
    return weight_gradient(images, gradient, weight, (stride, stride), (1, 1))


WAYS = {"oneDNN": by_onednn, "products": by_products}


def rows(rounds: int) -> Iterator[dict[str, Any]]:
    """Measure each convolution in each precision."""
    for precision, kind in PRECISIONS.items():
        for channels, maps, side, stride in SHAPES:
            images = torch.randn(BATCH, channels, side, side, dtype=kind)
            images = images.contiguous(memory_format=torch.channels_last)
            weight = torch.randn(maps, channels, 3, 3, dtype=kind)
            weight = weight.contiguous(memory_format=torch.channels_last)
            gradient = torch.randn_like(F.conv2d(images, weight, None, stride, 1))
            steps = {
                name: partial(way, gradient, images, weight, stride) for name, way in WAYS.items()
            }
            turns = take_turns(steps, TURN, rounds, rounds)
            yield {
                "precision": precision, "channels": channels, "maps": maps, "side": side,
                "stride": stride,
                "milliseconds": {name: statistics.median(each) for name, each in turns.items()},
            }  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS.parent / "weight_gradients")
    request = parser.parse_args()
    document = begun(request.rounds)
    document["amx"] = torch.cpu._is_amx_tile_supported()
    document["rows"] = []
    for row in rows(request.rounds):
        print(row, flush=True)
        document["rows"].append(row)
    write("weight_gradients", document, request.out)


if __name__ == "__main__":
    main()
