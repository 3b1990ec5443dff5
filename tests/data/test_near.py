import itertools
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from torchfolio.data.images import decode
from torchfolio.data.near import BITS, close_pairs, difference_hash, look, near_duplicates


def test_the_hash_says_where_it_gets_brighter() -> None:
    row = np.array([0, 10, 5, 5, 9, 9, 200, 100, 101], np.uint8)
    picture = Image.fromarray(np.repeat(row[None], 8, axis=0))
    bits = np.unpackbits(np.array([difference_hash(picture)]).view(np.uint8)).reshape(8, 8)
    assert bits.tolist() == [[1, 0, 0, 1, 0, 1, 0, 1]] * 8


def test_close_pairs_are_those_of_brute_force() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**63, 300, dtype=np.uint64)
    for index in range(100, 200):  # near the first hundred, one to five bits away
        flips = random.choice(64, random.integers(1, 6), replace=False)
        hashes[index] = hashes[index - 100] ^ np.uint64(sum(1 << int(bit) for bit in flips))
    found = {tuple(pair) for pair in close_pairs(hashes).tolist()}
    expected = {
        (first, later)
        for first, later in itertools.combinations(range(300), 2)
        if (int(hashes[first]) ^ int(hashes[later])).bit_count() <= BITS
    }
    assert found == expected
    assert len(expected) > 40


def test_equal_hashes_are_paired_with_the_first() -> None:
    assert close_pairs(np.array([7, 9**9, 7, 7], np.uint64)).tolist() == [[0, 2], [0, 3]]


def test_many_equal_hashes_do_not_explode() -> None:
    assert len(close_pairs(np.zeros(50_000, np.uint64))) == 49_999


def changed(image: Image.Image, how: str) -> Image.Image:
    if how == "compressed":
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=35)
        return Image.open(buffer).convert("RGB")
    if how == "half the size":
        return image.resize((image.width // 2, image.height // 2))
    if how == "brighter":
        return ImageEnhance.Brightness(image).enhance(1.1)
    return image.convert("L").convert("RGB")


@pytest.mark.parametrize("how", ["compressed", "half the size", "brighter", "grey"])
def test_changed_photographs_are_found_and_no_others(public_data: Path, how: str) -> None:
    files = sorted((public_data / "hymenoptera" / "val" / "bees").glob("*.jpg"))[:12]
    photographs = [Image.fromarray(decode(file, 3)) for file in files]
    pictures = [*photographs, *(changed(each, how) for each in photographs)]
    looks = look(lambda index: np.asarray(pictures[index]), len(pictures))
    pairs = near_duplicates(looks, np.arange(len(pictures), dtype=np.uint64))
    assert pairs == [(index, index + 12) for index in range(12)]


def test_exact_copies_and_flat_pictures_are_not_near() -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (16, 16, 1)).astype(np.uint8)
    white = np.full((16, 16, 1), 255, np.uint8)
    black = np.zeros((16, 16, 1), np.uint8)
    pictures = [noise, noise, white, black, white - 1]
    looks = look(lambda index: pictures[index], 5)
    assert near_duplicates(looks, np.array([1, 1, 2, 3, 4], np.uint64)) == []


def test_deep_pictures_are_compared_too() -> None:
    noise = np.random.default_rng(0).random((20, 20, 1)).astype(np.float32)
    pictures = [noise, noise * 0.98]
    looks = look(lambda index: pictures[index], 2)
    assert near_duplicates(looks, np.arange(2, dtype=np.uint64)) == [(0, 1)]
