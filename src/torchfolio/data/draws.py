"""Random numbers that depend on seed, epoch and example alone.

The numbers of one example are a hash of its coordinates (SplitMix64: Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", 2014, Figure 16), so they are the same in
whichever process, worker or order the example is read.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return SplitMix64's finaliser of each value."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def key(*coordinates: int | str) -> int:
    """Return one number below 2**63 for several coordinates: a seed of its own for each.

    In plain integers, because numpy is slow on single numbers and every update asks for seeds.
    """
    state, golden = 0, int(GOLDEN)
    for each in coordinates:
        number = zlib.crc32(each.encode()) if isinstance(each, str) else each
        state = (state * golden + number + golden) % 2**64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
        state ^= state >> 31
    return state >> 1


def uniforms(
    purpose: str, seed: int, epoch: int, examples: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """Return ``count`` numbers in [0, 1) for each example. Shape: (examples, count).

    ``purpose`` names what they are for, so that two uses of one example differ.
    """
    base = np.uint64(key(purpose, seed, epoch))
    with np.errstate(over="ignore"):
        rows = mix(base + GOLDEN * (np.asarray(examples).astype(np.uint64) + np.uint64(1)))
        columns = np.arange(1, count + 1, dtype=np.uint64) * GOLDEN
        bits = mix(rows[:, None] + columns[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
