"""How the process of a command starts and ends sooner; the library leaves both to Python."""

import atexit
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

frozen_before: list[bool] = []  # Python 3.12 itself freezes something: its count does not tell


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import large modules in this block: the garbage collector rests, and later passes them over.

    What torch leaves in memory stays to the end; without this every full collection walks over
    half a million objects of it: while they are made, and again and again during the work. It
    happens once in a process: later, what is left behind by earlier work would stay for ever.
    """
    if frozen_before:
        yield
        return
    frozen_before.append(True)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def leave(status: int) -> NoReturn:
    """End the process with everything written, but without taking the interpreter apart.

    That takes torch most of a second, and frees what the system takes back anyway. Threads are
    waited for, and what is registered to run at the end is run.
    """
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
