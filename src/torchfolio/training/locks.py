"""A lock on an open file, which keeps a second training out of a run."""

import errno
import sys
from typing import BinaryIO


def lock(file: BinaryIO) -> bool:
    """Lock an open file until it is closed; return whether nobody else holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        # A file system without locks: the training goes on unguarded.
    return True
