"""Our command on a slow disk: every access to the data waits first, as on a network drive.

``TORCHFOLIO_SLOW_DISK`` is ``FOLDER:MILLISECONDS``. Opening, listing and asking for the size of
anything below that folder waits so long; several threads wait at the same time.
"""

import os
import runpy
import sys
import time
from typing import Any

FOLDER, _, MILLISECONDS = os.environ["TORCHFOLIO_SLOW_DISK"].rpartition(":")
SECONDS = float(MILLISECONDS) / 1000


def wait(event: str, arguments: tuple[Any, ...]) -> None:
    """Wait where Python tells that it opens or lists what is below the folder."""
    if event in ("open", "os.scandir", "os.listdir") and below(arguments[0]):
        time.sleep(SECONDS)


def below(path: Any) -> bool:
    return isinstance(path, str | os.PathLike) and str(path).startswith(FOLDER)


def slow_stat(path: Any, *rest: Any, **more: Any) -> Any:
    """Do what ``os.stat`` does, later."""
    if below(path):
        time.sleep(SECONDS)
    return fast_stat(path, *rest, **more)


if __name__ == "__main__":
    fast_stat = os.stat
    os.stat = slow_stat
    sys.addaudithook(wait)
    runpy.run_module("benchmarks.ours", run_name="__main__")
