"""An exported ONNX file called by hand: in onnxruntime or OpenVINO, as their tutorials do.

One loop reads the pictures by Pillow and computes batch after batch; with ``--threads`` a pool
reads ahead. OpenVINO computes in float32, as everybody else does here; left alone it takes bf16
where the processor has it.
"""

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.latency import print_latency
from benchmarks.peers.request import answer

BATCH = 64
Pixels = NDArray[np.uint8]


def read(path: Path, size: int) -> Pixels:
    """Return the middle of a picture at the network's size. Shape: (3, size, size)."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    short, side = min(image.size), round(size * 8 / 7)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    image = image.resize((side, side), Image.Resampling.BILINEAR, box)
    edge = (side - size) // 2
    image = image.crop((edge, edge, edge + size, edge + size))
    return np.asarray(image).transpose(2, 0, 1)


def in_onnxruntime(file: str) -> Callable[[Pixels], Any]:
    """Return what computes probabilities."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def in_openvino(file: str) -> Callable[[Pixels], Any]:
    """Return what computes probabilities."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(file, "CPU", settings)
    return lambda images: compiled(images)[0]


ENGINES = {"onnxruntime": in_onnxruntime, "openvino": in_openvino}


def main() -> None:
    """Open the file, answer the pictures, print how many answers were right."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", choices=list(ENGINES), default="onnxruntime")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", action="store_true", help="a pool of threads reads ahead")
    parser.add_argument("--one", action="store_true", help="one picture after another")
    request = parser.parse_args()
    classes = sorted(each.name for each in request.folder.iterdir())
    try:
        probabilities = ENGINES[request.engine](request.file)
    except ImportError:
        raise SystemExit(
            f"{request.engine} is not installed: it is a peer, in the dependency group bench"
        ) from None
    if request.one:
        print_latency(
            lambda path: classes[int(probabilities(read(path, request.size)[None]).argmax())],
            request.folder,
        )
        return
    files = sorted(request.folder.rglob("*.jpg"))
    right = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        mapped = pool.map if request.threads else map
        pictures = iter(mapped(lambda path: read(path, request.size), files))
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            found = probabilities(np.stack([next(pictures) for _ in batch])).argmax(1)
            right += sum(
                classes[place] == path.parent.name
                for place, path in zip(found.tolist(), batch, strict=True)
            )
    answer(right / len(files), len(files), request.engine)


if __name__ == "__main__":
    main()
