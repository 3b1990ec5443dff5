"""The latency of our Python interface: one picture after another, as a service would ask.

``python -m benchmarks.ours_latency RUN FOLDER DEVICE`` prints the median seconds of one picture,
from the file to the answer, over at most 200 pictures after 20 to warm up. RUN is a run folder or
an exported file.
"""

import sys
from pathlib import Path

import torchfolio
from benchmarks.latency import print_latency
from torchfolio.export.exported import Exported

if __name__ == "__main__":
    path, folder, device = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    run = Exported(path) if path.is_file() else torchfolio.Run(path)

    def ask(path: Path) -> str:
        return str(next(iter(run.predict([path], device=device)))["prediction"])

    print_latency(ask, folder)
