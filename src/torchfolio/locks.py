"""A lock on an open file: it keeps a second training out of a run, and two out of the cache."""

import errno
import sys
from typing import BinaryIO


def lock(file: BinaryIO) -> bool | None:
    """Lock an open file until it is closed; return whether nobody else holds it.

    ``None`` stands for a file system without locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK) else None
    return True
