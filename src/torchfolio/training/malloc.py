"""Memory that the C library's malloc keeps between two steps, instead of handing it back."""

import ctypes
import os

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt's numbers, in malloc.h of glibc
KEPT = 512 * 2**20  # bytes of freed memory at the heap's end that stay
MAPPED = 32 * 2**20  # bytes; glibc itself gives larger pieces a mapping each (mallopt(3))


def keep_freed_memory() -> bool:
    """Let malloc keep up to ``KEPT`` bytes that a step has freed; return whether it does now.

    Else glibc hands the activations of a step back to the system after each, and takes them again
    page by page: 10 % of a step of ResNet-18 on the CPU (docs/performance.md). Pieces above
    ``MAPPED`` come and go as before, so that the heap stays bounded. Where the environment
    already says what malloc is to do, and where the C library is not glibc, nothing is changed.
    """
    told = any(name.startswith("MALLOC_") for name in os.environ)
    if told or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_THRESHOLD, MAPPED) and mallopt(TRIM_THRESHOLD, KEPT))
