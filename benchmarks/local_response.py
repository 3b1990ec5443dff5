"""Ways to write local response normalisation, in turn, on the shapes of AlexNet (2012).

    python -m benchmarks.local_response [--rounds N]

Kept are the median milliseconds of a forward pass under ``inference_mode``, and of a forward and
backward pass, in the plain layout and channels-last, and how far values and gradients are from
torch's own in float64, relative to the largest.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.document import begun, write
from benchmarks.results import RESULTS
from benchmarks.turns import take_turns
from torchfolio.layers.local_response import LocalResponseNorm

SIZE, ALPHA, BETA, K = 5, 1e-4, 0.75, 2.0  # Krizhevsky et al. 2012, Section 3.3
SHAPES = ((96, 55), (256, 27))  # channels, side: after conv1 and conv2
BATCHES = (1, 32)
TURN = 0.05  # seconds
Norm = Callable[[Tensor], Tensor]


def torchs(x: Tensor) -> Tensor:
    """torch's own: three-dimensional averages of the squares, then a power."""
    return F.local_response_norm(x, SIZE, ALPHA * SIZE, BETA, K)


def pooled(x: Tensor) -> Tensor:
    """Two-dimensional averages, the places of a map in a row."""
    squares = x.square().flatten(2).unsqueeze(1)
    sums = F.avg_pool2d(squares, (SIZE, 1), 1, (SIZE // 2, 0), divisor_override=1)
    return x / powered(K + ALPHA * sums.reshape(x.shape))


def summed(x: Tensor) -> Tensor:
    """The sum of slices of the squares, zeros around them."""
    around = F.pad(x.square(), (0, 0, 0, 0, SIZE // 2, SIZE // 2))
    slices = [around.narrow(1, first, x.shape[1]) for first in range(SIZE)]
    return x / powered(K + ALPHA * torch.stack(slices).sum(0))


def added(x: Tensor) -> Tensor:
    """The same, one slice after the other."""
    around = F.pad(x.square(), (0, 0, 0, 0, SIZE // 2, SIZE // 2))
    sums = around.narrow(1, 0, x.shape[1])
    for first in range(1, SIZE):
        sums = sums + around.narrow(1, first, x.shape[1])
    return x / powered(K + ALPHA * sums)


def cumulated(x: Tensor) -> Tensor:
    """Differences of a cumulative sum."""
    around = F.pad(x.square(), (0, 0, 0, 0, SIZE // 2 + 1, SIZE // 2)).cumsum(1)
    return x / powered(K + ALPHA * (around[:, SIZE:] - around[:, :-SIZE]))


def banded(x: Tensor) -> Tensor:
    """A 1x1 convolution with ones around the diagonal (it counts as multiply-adds)."""
    place = torch.arange(x.shape[1])
    band = ((place - place[:, None]).abs() <= SIZE // 2).to(x.dtype)
    return x / powered(K + ALPHA * F.conv2d(x.square(), band[:, :, None, None]))


def powered(x: Tensor) -> Tensor:
    """x ** 0.75, by roots."""
    return (x * x.sqrt()).sqrt()


WAYS: dict[str, Norm] = {
    "torch": torchs,
    "pooled": pooled,
    "summed": summed,
    "added": added,
    "cumulated": cumulated,
    "banded": banded,
    "ours": LocalResponseNorm(SIZE, ALPHA, BETA, K),
}


@torch.inference_mode()
def forward(norm: Norm, x: Tensor) -> None:
    """Normalise."""
    norm(x)


def both(norm: Norm, x: Tensor) -> None:
    """Normalise, and take the gradient."""
    torch.autograd.grad(norm(x), x, torch.ones_like(x))


def distances(norm: Norm, dtype: torch.dtype) -> tuple[float, float]:
    """Return how far values and gradients are from torch's in float64, relative to the largest."""
    generator = torch.Generator().manual_seed(0)
    drawn, weights = (50 * torch.randn(2, 96, 9, 9, generator=generator) for _ in range(2))

    def found(way: Norm, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        x = drawn.to(kind).requires_grad_()
        y = way(x)
        (gradient,) = torch.autograd.grad(y, x, weights.to(kind))
        return y.detach().double(), gradient.double()

    pairs = zip(found(torchs, torch.float64), found(norm, dtype), strict=True)
    one, other = (float((a - b).abs().max() / a.abs().max()) for a, b in pairs)
    return one, other


def rows(rounds: int) -> Iterator[dict[str, Any]]:
    """Measure each shape, batch, layout and pass."""
    layouts = {"plain": torch.contiguous_format, "channels-last": torch.channels_last}
    for layout, kind in layouts.items():
        for channels, side in SHAPES:
            for batch in BATCHES:
                x = torch.randn(batch, channels, side, side).relu()
                x = x.contiguous(memory_format=kind).requires_grad_()
                for way in (forward, both):
                    steps = {name: partial(way, norm, x) for name, norm in WAYS.items()}
                    turns = take_turns(steps, TURN, rounds, rounds)
                    times = {name: statistics.median(each) for name, each in turns.items()}
                    shape = f"{batch}x{channels}x{side}x{side}"
                    yield {
                        "shape": shape, "layout": layout, "pass": way.__name__,
                        "milliseconds": times,
                    }  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS.parent / "local_response")
    request = parser.parse_args()
    document = begun(request.rounds)
    document["distances"] = {name: distances(norm, torch.float32) for name, norm in WAYS.items()}
    document["rows"] = []
    print(document["distances"], flush=True)
    for row in rows(request.rounds):
        print(row, flush=True)
        document["rows"].append(row)
    write("local_response", document, request.out)


if __name__ == "__main__":
    main()
