"""Near duplicates: pictures that were scaled, compressed again or slightly changed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchfolio.data.bands import to_look_at
from torchfolio.data.dataset import Indices, Progress
from torchfolio.data.images import Pixels
from torchfolio.data.scan import READERS

THUMB = 16  # side of the small pictures that are compared
BITS = 3  # hashes that differ in this many of 64 bits are compared further
BANDS = BITS + 1  # two such hashes agree wholly in at least one of four bands
ALIKE = 0.99  # correlation of the small pictures, from which two count as near duplicates
FLAT = 2.0  # standard deviation (of 255) below which a picture has nothing to compare
CHUNK = 2**22  # pairs compared at once
BATCH = 16  # pictures that a thread takes at once


class Looks(NamedTuple):
    """What pictures look like from afar."""

    hashes: NDArray[np.uint64]  # (count,)
    thumbs: NDArray[np.uint8]  # (count, THUMB * THUMB)
    detail: NDArray[np.float32]  # (count,), the standard deviation of each small picture


def look(pixels: Callable[[int], Pixels], count: int, progress: Progress | None = None) -> Looks:
    """Return hash and small picture of each picture; ``pixels(index)`` gives one."""
    hashes = np.zeros(count, np.uint64)
    thumbs = np.zeros((count, THUMB * THUMB), np.uint8)
    detail = np.zeros(count, np.float32)

    def some(start: int) -> int:
        end = min(count, start + BATCH)
        for index in range(start, end):
            picture = grey(pixels(index))
            hashes[index] = difference_hash(picture)
            small = picture.resize((THUMB, THUMB), Image.Resampling.BOX)
            thumbs[index] = np.asarray(small).reshape(-1)
        detail[start:end] = thumbs[start:end].std(1)
        return end

    with ThreadPoolExecutor(READERS, thread_name_prefix="folio-look") as pool:
        for done in pool.map(some, range(0, count, BATCH)):
            if progress is not None:
                progress(done, count)
    return Looks(hashes, thumbs, detail)


def grey(pixels: Pixels) -> Image.Image:
    """Return a picture (height, width, channels), uint8 or float32 in [0, 1], as 8-bit grey."""
    if pixels.shape[2] == 1 and pixels.dtype == np.uint8:
        return Image.fromarray(pixels[..., 0])
    return Image.fromarray(np.ascontiguousarray(to_look_at(pixels))).convert("L")


def difference_hash(picture: Image.Image) -> np.uint64:
    """Return 64 bits: whether each cell of an 8x8 grid is darker than the one to its right."""
    cells = np.asarray(picture.resize((9, 8), Image.Resampling.BOX)).astype(np.int16)
    return np.packbits(cells[:, :-1] < cells[:, 1:]).view(np.uint64)[0]


def near_duplicates(looks: Looks, digests: NDArray[np.uint64]) -> list[tuple[int, int]]:
    """Return pairs (first, later) of pictures that look alike but are not exact duplicates.

    Each later picture is named once, with the first it resembles. Flat pictures are passed over.
    """
    detailed = np.flatnonzero(looks.detail >= FLAT)
    pairs = close_pairs(looks.hashes[detailed])
    first, later = detailed[pairs[:, 0]], detailed[pairs[:, 1]]
    other = digests[first] != digests[later]
    first, later = first[other], later[other]
    alike = np.zeros(len(first), bool)
    for start in range(0, len(first), 2**16):
        part = slice(start, start + 2**16)
        alike[part] = _correlation(looks.thumbs[first[part]], looks.thumbs[later[part]]) >= ALIKE
    first, later = first[alike], later[alike]
    order = np.lexsort((first, later))
    kept = order[np.unique(later[order], return_index=True)[1]]
    return list(zip(first[kept].tolist(), later[kept].tolist(), strict=True))


def close_pairs(hashes: NDArray[np.uint64]) -> Indices:
    """Return all pairs (first < later) of hashes that differ in at most ``BITS`` bits.

    Only hashes that agree in one of the bands are compared, which loses none: ``BITS``
    differing bits leave one of ``BITS + 1`` bands untouched. Of equal hashes only the pairs
    with the first of them are given. Shape: (pairs, 2)
    """
    values, starts, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    equal = np.flatnonzero(starts[inverse] != np.arange(len(hashes)))
    found = [np.stack([starts[inverse[equal]], equal], axis=1)]
    for band in range(BANDS):
        mask = np.uint64(sum(1 << bit for bit in range(band, 64, BANDS)))  # from the whole picture
        keys = values & mask
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(np.diff(keys[order])) + 1
        for bucket in np.split(order, edges):
            if len(bucket) > 1:
                found.append(starts[_close_within(bucket, values)])
    pairs = np.concatenate(found).astype(np.int64)
    return np.unique(np.sort(pairs, axis=1), axis=0)


def _close_within(bucket: Indices, values: NDArray[np.uint64]) -> Indices:
    """Return the close pairs of one bucket, by comparing all with all in numpy."""
    held = values[bucket]
    pairs = []
    step = max(1, CHUNK // len(bucket))
    for start in range(0, len(bucket), step):
        rows = held[start : start + step, None]
        close = np.bitwise_count(rows ^ held[None, start:]) <= BITS
        first, later = np.nonzero(close)
        upper = first < later
        pairs.append(np.stack([first[upper], later[upper]], axis=1) + start)
    return bucket[np.concatenate(pairs)]


def _correlation(first: NDArray[np.uint8], later: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return Pearson's correlation of each pair of rows."""
    a = first - first.mean(axis=1, keepdims=True)
    b = later - later.mean(axis=1, keepdims=True)
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
