"""How long one answer takes, measured the same way for all."""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

WARM_UP, MOST = 20, 200


def print_latency(ask: Callable[[Path], str], folder: Path) -> None:
    """Ask for pictures of a folder of class folders; print the median seconds and the accuracy."""
    files = sorted(folder.rglob("*.jpg"))
    files = files[:: max(1, len(files) // (MOST + WARM_UP))][: MOST + WARM_UP]
    times, right = [], 0
    for number, path in enumerate(files):
        start = time.perf_counter()
        answer = ask(path)
        if number >= WARM_UP:
            times.append(time.perf_counter() - start)
            right += answer == path.parent.name
    document = {
        "latency": statistics.median(times),
        "accuracy": right / len(times),
        "examples": len(times),
    }
    print(json.dumps(document), flush=True)
