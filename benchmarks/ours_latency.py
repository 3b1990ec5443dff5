"""The latency of our Python interface: one picture after another, as a service would ask.

``python -m benchmarks.ours_latency RUN FOLDER DEVICE`` prints the median seconds of one picture,
from the file to the answer, over at most 200 pictures after 20 to warm up.
"""

import sys
from pathlib import Path

from benchmarks.latency import print_latency
from torchfolio import Run

if __name__ == "__main__":
    run, folder, device = Run(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

    def ask(path: Path) -> str:
        return str(next(iter(run.predict([path], device=device)))["prediction"])

    print_latency(ask, folder)
