"""Memory that the C library's malloc keeps between two steps, instead of handing it back."""

import ctypes
import os
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt's numbers, in malloc.h of glibc
KEPT = 512 * 2**20  # bytes of freed memory at the heap's end that stay
MAPPED = 32 * 2**20  # bytes; glibc itself gives larger pieces a mapping each (mallopt(3))


def keeps_freed_memory(asked: bool | None) -> bool:
    """Return whether malloc is to keep what a step has freed: a fixed rule, unless it is asked for.

    It is where the C library is glibc and the environment does not say already what malloc is to
    do (``MALLOC_...``, ``GLIBC_TUNABLES``).
    """
    told = any(name.startswith("MALLOC_") for name in os.environ)
    told = told or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    return mallopt() is not None and (not told if asked is None else asked)


def keep_freed_memory() -> bool:
    """Let malloc keep up to ``KEPT`` bytes that a step has freed; return whether it does now.

    Else glibc hands the activations of a step back to the system after each, and takes them again
    page by page: 10 % of a step of ResNet-18 on the CPU (docs/performance.md). Pieces above
    ``MAPPED`` come and go as before, so that the heap stays bounded. It holds to the end of the
    process.
    """
    set_option = mallopt()
    if set_option is None:
        return False
    return bool(set_option(MMAP_THRESHOLD, MAPPED) and set_option(TRIM_THRESHOLD, KEPT))


def mallopt() -> Any:
    """Return glibc's function of this name, or ``None`` where there is another C library."""
    return getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
