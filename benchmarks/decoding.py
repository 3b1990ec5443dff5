"""What one JPEG of 500x375 costs, part by part, in our way and in Pillow's.

    python -m benchmarks.decoding [--rounds N]

CPU time of one thread, the parts in turn, the median of all rounds, in milliseconds.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from benchmarks.document import begun, write
from torchfolio.data import transforms
from torchfolio.data.images import decode, examine

SIZE = (375, 500)
COUNT = 40  # pictures
RESULTS = Path(__file__).parent / "decoding"


def pictures() -> list[bytes]:
    """Return JPEG files of smooth noise, which take about as long as photographs."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(COUNT):
        coarse = draw.integers(0, 256, (24, 32, 3), np.uint8)
        large = Image.fromarray(coarse).resize(SIZE[::-1], Image.Resampling.BICUBIC)
        noisy = np.asarray(large).astype(np.int16) + draw.integers(-12, 13, (*SIZE, 3))
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found


def opened(data: bytes) -> Image.Image:
    """Return a decoded picture."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def parts(files: list[bytes]) -> dict[str, Callable[[int], object]]:
    """Return what is measured, by its name."""
    images = [opened(each) for each in files]
    planes = [torch.from_numpy(decode(each)).movedim(-1, 0) for each in files]
    return {
        "Pillow: decode": lambda place: opened(files[place]),
        "Pillow: exif_transpose of what needs no turning": lambda place: ImageOps.exif_transpose(
            images[place]
        ),
        "Pillow: resize to 128, bilinear": lambda place: images[place].resize(
            (171, 128), Image.Resampling.BILINEAR
        ),
        "ours: scan for damage": lambda place: examine(files[place]),
        "ours: decode": lambda place: decode(files[place]),
        "ours: resize to 128": lambda place: transforms.resize(planes[place], 128, 171),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    request = parser.parse_args()
    torch.set_num_threads(1)
    document = begun(request.rounds)
    work = parts(pictures())
    found: dict[str, list[float]] = {name: [] for name in work}
    for number in range(request.rounds + 1):  # the first one warms up
        for name, call in work.items():
            start = time.process_time()
            for place in range(COUNT):
                call(place)
            if number:
                found[name].append(1000 * (time.process_time() - start) / COUNT)
    rows = [
        {"part": name, "milliseconds": round(statistics.median(each), 3)}
        for name, each in found.items()
    ]
    for row in rows:
        print(f"{row['milliseconds']:8.3f}  {row['part']}")
    write("decoding", document | {"parts": rows}, RESULTS)


if __name__ == "__main__":
    main()
