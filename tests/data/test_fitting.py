"""Pictures fitted by numpy have the very pixels that torch gives them."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from torchfolio.data import fitting, transforms
from torchfolio.errors import DataError, FolioError
from torchfolio.tasks.pictures import PictureOptions, Pictures

DEEP = 1e-6  # float32 in [0, 1]: torch rounds a product and its sum once, numpy each


def pixels(height: int, width: int, channels: int = 3, deep: bool = False) -> np.ndarray:
    draw = np.random.default_rng(height * 10_007 + width)
    if deep:
        return draw.random((height, width, channels), np.float32)
    return draw.integers(0, 256, (height, width, channels), np.uint8)


def by_torch(array: np.ndarray, *arguments: Any, way: Any = transforms.resize) -> np.ndarray:
    found = way(torch.from_numpy(np.moveaxis(array, -1, 0)), *arguments)
    return np.moveaxis(found.numpy(), 0, -1)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_becomes_every_other_as_by_torch(channels: int) -> None:
    for size in range(1, 80):
        for wanted in (1, 2, 3, 7, 8, 16, 28, 32, 33, 64):
            tall, wide = pixels(size, 5, channels), pixels(4, size, channels)
            assert np.array_equal(fitting.resize(tall, wanted, 5), by_torch(tall, wanted, 5))
            assert np.array_equal(fitting.resize(wide, 4, wanted), by_torch(wide, 4, wanted))
            assert np.array_equal(fitting.resize(wide, wanted, 9), by_torch(wide, wanted, 9)), (
                size,
                wanted,
            )


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (1200, 900), (3001, 2003), (40, 5000)])
@pytest.mark.parametrize("how", fitting.WAYS)
@pytest.mark.parametrize("wanted", [32, 224])
def test_photographs_are_fitted_as_by_torch(size: tuple[int, int], how: str, wanted: int) -> None:
    array = pixels(*size)
    found = fitting.fit(array, wanted, how, 7.0)
    assert found.shape == (wanted, wanted, 3)
    assert np.array_equal(found, by_torch(array, wanted, how, 7.0, way=transforms.fit))


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (5, 3), (28, 28), (32, 32), (33, 32), (256, 10)])
@pytest.mark.parametrize("how", fitting.WAYS)
@pytest.mark.parametrize("fill", [0.0, 127.5, 255.0])
def test_small_pictures_are_fitted_as_by_torch(
    size: tuple[int, int], how: str, fill: float
) -> None:
    for channels in (1, 3):
        array = pixels(*size, channels)
        expected = by_torch(array, 32, how, fill, way=transforms.fit)
        assert np.array_equal(fitting.fit(array, 32, how, fill), expected)


@pytest.mark.parametrize("size", [(375, 500), (1200, 900), (20, 31), (1, 90), (3001, 2003)])
@pytest.mark.parametrize("how", fitting.WAYS)
def test_deep_pictures_differ_from_torchs_in_the_last_bits_alone(
    size: tuple[int, int], how: str
) -> None:
    array = pixels(*size, 1, deep=True)
    found = fitting.fit(array, 224, how, 0.25)
    assert found.dtype == np.float32
    assert np.abs(found - by_torch(array, 224, how, 0.25, way=transforms.fit)).max() <= DEEP


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("given", "wanted"), [(1, 3), (3, 1), (3, 3)])
@pytest.mark.parametrize("deep", [False, True])
def test_depth_and_channels_change_as_by_torch(
    depth: int, given: int, wanted: int, deep: bool
) -> None:
    state = {"size": 12, "channels": wanted, "depth": depth, "resize": "crop", "fill": 0.0}
    array = pixels(12, 12, given, deep)
    expected = Pictures(PictureOptions(), state).read(array).numpy()
    found = fitting.fitted(array, state)
    assert found.dtype == expected.dtype
    assert found.flags["C_CONTIGUOUS"]
    assert np.array_equal(found, expected)


def kinds(folder: Path) -> None:
    """Write a picture of every kind."""
    noise = Image.fromarray(pixels(61, 47))
    grey = noise.convert("L")
    alpha = Image.fromarray(pixels(61, 47, 1)[..., 0])
    noise.save(folder / "colour.png")
    noise.save(folder / "colour.jpg", quality=90)
    grey.save(folder / "grey.png")
    grey.save(folder / "grey.jpg")
    noise.quantize(40).save(folder / "palette.png")
    grey.convert("P").save(folder / "palette of greys.gif")
    noise.convert("CMYK").save(folder / "cmyk.jpg")
    grey.convert("1").save(folder / "bits.png")
    Image.merge("RGBA", [*noise.split(), alpha]).save(folder / "透明.png")
    Image.merge("LA", [grey, alpha]).save(folder / "grey with alpha.png")
    deep = np.random.default_rng(3).integers(0, 65536, (61, 47), np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(deep.astype(np.float32) / 65535).save(folder / "floats.tiff")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        noise.save(folder / f"turned {orientation}.jpg", exif=exif)
    Image.new("RGB", (1, 1), (9, 8, 7)).save(folder / "tiny.png")
    Image.fromarray(pixels(900, 2700)).save(folder / "wide.jpg")


@pytest.mark.parametrize("how", fitting.WAYS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [8, 16])
def test_files_of_every_kind_are_read_as_by_the_run(
    how: str, channels: int, depth: int, tmp_path: Path
) -> None:
    kinds(tmp_path)
    assert_read_alike(sorted(tmp_path.iterdir()), how, channels, depth)


def assert_read_alike(files: list[Path], how: str, channels: int, depth: int) -> int:
    """Compare what a run reads of files with what an exported file does; return how many opened."""
    state = {"size": 40, "channels": channels, "depth": depth, "resize": how, "fill": 127.0 / depth}
    run, read = Pictures(PictureOptions(), state), 0
    for file in files:
        try:
            expected = run.read(file).numpy()
        except FolioError as error:
            with pytest.raises(FolioError, match=re.escape(str(error))):
                fitting.opened(file, depth)
            continue
        found = fitting.fitted(fitting.opened(file, depth), state)
        assert found.dtype == expected.dtype
        assert np.abs(found - expected).max() <= (0 if depth == 8 else DEEP), file.name
        read += 1
    return read


@pytest.mark.parametrize("depth", [8, 16])
def test_awkward_public_files_are_read_as_by_the_run(depth: int, public_data: Path) -> None:
    folder = public_data / "dirty_images"
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    assert assert_read_alike(files, "crop", 3, depth) > 80


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(2, 2, 600\) and type uint8 is no picture"):
        fitting.opened(np.zeros((2, 2, 600), np.uint8), 8)
    with pytest.raises(DataError, match="values that are not from 0 to 1"):
        fitting.opened(np.full((2, 2), 1.5), 8)


@pytest.mark.slow
def test_processors_without_avx2_have_the_same_pixels() -> None:
    """torch has a kernel of its own for them; it is asked for by a variable."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import numpy as np, torch\n"
        "assert torch.backends.cpu.get_cpu_capability() in ('DEFAULT', 'NO AVX'), 'not chosen'\n"
        "from torchfolio.data import fitting, transforms\n"
        "from test_fitting import by_torch, pixels\n"
        "for size in ((375, 500), (61, 47), (9, 300), (700, 20)):\n"
        "    for how in fitting.WAYS:\n"
        "        array = pixels(*size)\n"
        "        expected = by_torch(array, 64, how, 7.0, way=transforms.fit)\n"
        "        assert np.array_equal(fitting.fit(array, 64, how, 7.0), expected), (size, how)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        env=os.environ | {"ATEN_CPU_CAPABILITY": "default"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_middle_square_of_a_picture_is_resized_as_a_square() -> None:
    for side in range(1, 300, 7):
        for short in range(1, 900):
            assert fitting.sizes_of_shorter(short, 1000, side, side) == (
                (short, short),
                (side, side),
            )


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    ("size", "wanted"), [((37, 60), (64, 20)), ((50, 50), (50, 31)), ((9, 80), (12, 64))]
)
def test_the_middle_of_a_picture_alone_is_that_of_the_whole(
    dtype: Any, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(dtype)
    whole = fitting.resize(drawn, *wanted)
    for most in (1, 7, 20, 100):
        middle = fitting.middle(whole, most, most)
        found = fitting.resize(drawn, *wanted, most=most)
        assert found.shape == middle.shape
        np.testing.assert_allclose(found, middle, rtol=0 if dtype == np.uint8 else 1e-6)
