"""What this machine can do at most, measured: ``python -m benchmarks.ceiling`` prints JSON.

Rates are the best of several shapes and of all repetitions within a moment, on the device that a
training would choose and with the threads that torch chooses.
"""

import argparse
import ast
import io
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from tools.origin import machine
from torchfolio import create
from torchfolio.networks.summary import summarise

SECONDS = 0.5  # for each shape
SIDES = {"cpu": (512, 1024), "cuda": (4096, 8192)}
# channels, side of the picture, batch: the stages of a ResNet
SHAPES = {
    "cpu": ((64, 56, 8), (128, 28, 16), (256, 14, 32), (512, 7, 32)),
    "cuda": ((64, 56, 256), (128, 28, 256), (256, 14, 512), (512, 7, 512)),
}


def main() -> None:
    """Print machine, device, versions, ceilings, and the multiply-adds of a network."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network")
    parser.add_argument("--input", type=int, nargs=3, help="channels, height, width")
    parser.add_argument("--set", nargs="*", default=[], help="KEY=VALUE of the network")
    parser.add_argument("--quick", action="store_true", help="measure nothing")
    parser.add_argument("--jpegs", type=Path, help="a folder: its pictures are decoded")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ceilings = {} if arguments.quick else measure(torch.device(device), arguments.jpegs)
    print(
        json.dumps(
            {
                "machine": machine(),
                "device": device,
                "hardware": hardware(device),
                "threads": torch.get_num_threads(),
                "versions": {each: version(each) for each in ("torchfolio", "torch")},
                "ceiling": ceilings,
                "macs": macs(arguments.network, arguments.input, arguments.set),
            }
        )
    )


def hardware(device: str) -> str:
    """Return the name under which results add up: the GPU, or processor and its instructions."""
    if device == "cuda":
        return str(torch.cuda.get_device_name())
    return f"{machine()}, {torch.backends.cpu.get_cpu_capability()}"


def macs(name: str | None, shape: list[int] | None, settings: list[str]) -> int | None:
    """Return the multiply-adds of one picture through a network."""
    if name is None or shape is None:
        return None
    given = {key: ast.literal_eval(value) for key, _, value in (s.partition("=") for s in settings)}
    if name == "mlp":
        given["image_size"] = tuple(shape[1:])
    network = create(name, num_classes=10, in_channels=shape[0], **given)
    return summarise(network, (shape[0], shape[1], shape[2])).macs


def measure(device: torch.device, jpegs: Path | None) -> dict[str, float]:
    """Return the ceilings: FLOP/s of products and convolutions, bytes/s copied, pictures/s read.

    ``matmul_*`` and ``conv_*`` count two operations a multiply-add; ``copy`` counts bytes read and
    bytes written; ``jpeg`` is of one thread, ``jpeg_all`` of all threads, by Pillow, whole size.
    """
    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        found[f"matmul_{name}"] = max(matmul(side, dtype, device) for side in SIDES[device.type])
        found[f"conv_{name}"] = max(conv(*each, dtype, device) for each in SHAPES[device.type])
    found["copy"] = copy(device)
    if jpegs is not None:
        found |= decode([path.read_bytes() for path in sorted(jpegs.rglob("*.jpg"))[:64]])
    return found


def best(work: Callable[[], Any], device: torch.device) -> float:
    """Return the shortest time of a piece of work, in seconds; the first call warms up.

    Where that call alone takes longer than all should, it is the answer.
    """
    times: list[float] = []
    while not times or sum(times) < SECONDS:
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:] or times)


@torch.inference_mode()
def matmul(side: int, dtype: torch.dtype, device: torch.device) -> float:
    """Return the FLOP/s of a product of two square matrices.

    Also as a 1x1 convolution, which is one too: some processors have a quicker library for it.
    """
    first, second = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    image = first.t().reshape(1, side, side // 32, 32)  # rows are pixels, columns channels
    image = image.contiguous(memory_format=torch.channels_last)
    shortest = min(
        best(lambda: first @ second, device),
        best(lambda: F.conv2d(image, second[:, :, None, None]), device),
    )
    return 2 * side**3 / shortest


@torch.inference_mode()
def conv(channels: int, side: int, batch: int, dtype: torch.dtype, device: torch.device) -> float:
    """Return the FLOP/s of a 3x3 convolution, channels last."""
    shape = (batch, channels, side, side)
    images = torch.randn(shape, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
    weight = weight.to(memory_format=torch.channels_last)
    work = 2 * batch * channels * channels * 9 * side * side
    return work / best(lambda: F.conv2d(images, weight, padding=1), device)


def copy(device: torch.device) -> float:
    """Return bytes read and written a second when a large tensor is copied."""
    source = torch.zeros(64 * 2**20, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / best(lambda: target.copy_(source), device)


def decode(files: list[bytes]) -> dict[str, float]:
    """Return JPEG files a second that one thread decodes, and all."""

    def pixels(content: bytes) -> int:
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).nbytes

    cpu = torch.device("cpu")
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        return {
            "jpeg": len(files) / best(lambda: [pixels(each) for each in files], cpu),
            "jpeg_all": len(files) / best(lambda: list(pool.map(pixels, files)), cpu),
        }


if __name__ == "__main__":
    main()
