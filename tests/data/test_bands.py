"""Pictures of any number of channels: arrays, and TIFF files of several bands."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import torchfolio
from torchfolio import Run, open_data
from torchfolio.cli.app import run as folio
from torchfolio.data import images
from torchfolio.data.bands import read_tiff, scaled, to_look_at
from torchfolio.data.fitting import with_channels
from torchfolio.data.images import decode, examine
from torchfolio.errors import DataError

SMALL = {"set": {"depth": 1, "width": 4}, "device": "cpu", "threads": 1, "workers": 0}


def written(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, pixels)
    return path


def test_an_array_has_the_channels_that_it_has(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (6, 9, 5), np.uint16)
    file = written(tmp_path / "图.npy", pixels)
    assert examine(file.read_bytes(), ".npy") == (6, 9, 5, True)
    found = decode(file, depth=16)
    assert found.dtype == np.float32
    assert np.allclose(found, pixels / 65535, atol=1e-7)
    assert np.array_equal(decode(file, 3, 8), np.rint(pixels[..., :3] / 257))
    assert decode(file, 1, 16).shape == (6, 9, 1)
    with pytest.raises(DataError, match="has 5 channels; 4 are expected"):
        decode(file, 4)
    grey = written(tmp_path / "grey.npy", pixels[..., 0])
    assert examine(grey.read_bytes(), ".npy") == (6, 9, 1, True)
    assert (np.diff(decode(grey, 3, 8), axis=2) == 0).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 51, 255], np.uint8), [0, 0.2, 1]),
        (np.array([0, 13107, 65535], np.int64), [0, 0.2, 1]),
        (np.array([0.0, 0.25, 1.0]), [0, 0.25, 1]),
        (np.array([-1.0, 0.0, 3.0]), [0, 0.25, 1]),  # by its own range
        (np.array([np.nan, 2.0, np.inf, 4.0]), [0, 0, 1, 1]),
        (np.array([False, True]), [0, 1]),
    ],
)
def test_values_become_shares(values: np.ndarray, expected: list[float]) -> None:
    found = scaled(values[None, :, None], 16)[0, :, 0]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert (
        scaled(values[None, :, None], 8)[0, :, 0].tolist()
        == np.rint(255 * np.array(expected)).tolist()
    )


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    for content, words in (
        (np.zeros(5), "no picture"),
        (np.zeros((2, 3, 4, 5)), "array 2x3x4x5"),
        (np.zeros((2, 2), np.complex64), "no picture"),
        (np.zeros((2, 2, 600)), "600 channels"),
    ):
        file = written(tmp_path / "a.npy", content)
        with pytest.raises(DataError, match=words):
            decode(file)
    (tmp_path / "cut.npy").write_bytes(file.read_bytes()[:150])
    with pytest.raises(DataError, match="damaged or no array"):
        decode(tmp_path / "cut.npy")


def test_a_tiff_of_several_bands_is_read_in_either_order(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pixels = np.random.default_rng(0).integers(0, 65536, (7, 11, 6), np.uint16)
    tifffile.imwrite(
        tmp_path / "mixed.tif", pixels, photometric="minisblack", planarconfig="contig"
    )
    planes = np.moveaxis(pixels, 2, 0)
    tifffile.imwrite(tmp_path / "planes.tif", planes, photometric="minisblack",
                     planarconfig="separate")  # fmt: skip
    nir = pixels[..., :4].astype(np.uint8)
    tifffile.imwrite(tmp_path / "nir.tif", nir, photometric="rgb", extrasamples=["unspecified"])
    for name in ("mixed", "planes"):
        file = tmp_path / f"{name}.tif"
        assert examine(file.read_bytes(), ".tif") == (7, 11, 6, True)
        assert np.allclose(decode(file, depth=16), pixels / 65535, atol=1e-7)
    assert np.array_equal(decode(tmp_path / "nir.tif"), nir)
    whole = (tmp_path / "mixed.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.tif"):
        decode(tmp_path / "cut.tif")


def test_ordinary_tiff_files_are_read_as_before(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 11, 4), np.uint8)
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "rgba.tif")
    assert np.array_equal(decode(tmp_path / "rgba.tif"), pixels[..., :3])
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.tif")
    assert decode(tmp_path / "grey.tif").shape == (7, 11, 1)


def test_without_tifffile_colours_are_read_and_bands_say_what_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before there were bands: a TIFF file of red, green, blue and one more is a photograph."""
    tifffile = pytest.importorskip("tifffile")
    pixels = np.random.default_rng(0).integers(0, 256, (7, 11, 4), np.uint8)
    file = tmp_path / "nir.tif"
    tifffile.imwrite(file, pixels, photometric="rgb", extrasamples=["unspecified"])
    monkeypatch.setitem(sys.modules, "tifffile", None)
    monkeypatch.setattr(images, "find_spec", lambda name: None)
    assert np.array_equal(decode(file), pixels[..., :3])
    assert np.array_equal(decode(file, 3), pixels[..., :3])
    assert examine(file.read_bytes(), ".tif", bands=False) == (7, 11, 3, False)
    with pytest.raises(DataError, match=r"needs tifffile: pip install 'torchfolio\[medical\]'"):
        examine(file.read_bytes(), ".tif")


def test_to_be_looked_at_pictures_have_three_channels() -> None:
    two = np.stack([np.full((2, 2), 0.5), np.zeros((2, 2))], 2).astype(np.float32)
    assert to_look_at(two).tolist() == [[[128] * 3] * 2] * 2


def five(root: Path, count: int = 12) -> Path:
    """Pictures of five channels, of which only the last shows the foreground."""
    draw = np.random.default_rng(0)
    for number in range(count):
        mask = np.zeros((32, 40), np.uint8)
        mask[number % 8 : number % 8 + 16, 8:30] = 1
        pixels = draw.normal(3000, 300, (32, 40, 5))
        pixels[..., 4] += 3000.0 * mask
        written(root / "images" / f"{number}.npy", pixels.clip(0, 65535).astype(np.uint16))
        written(root / "masks" / f"{number}.npy", mask)
    return root


def test_a_network_learns_from_the_fifth_channel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = five(tmp_path / "fünf")
    run = torchfolio.train("unet_bn", data, out=tmp_path / "run", epochs=25, lr=0.02, batch_size=4,
                           augment="none", **SMALL)  # fmt: skip
    assert run.folder.preprocessing()["channels"] == 5
    assert run.metrics["metrics"]["dice"]["value"] > 0.8
    assert (tmp_path / "run" / "report.html").is_file()
    pictures = sorted((data / "images").iterdir())[:2]
    rows = list(Run(tmp_path / "run").predict(pictures, pictures=tmp_path / "out"))
    assert [row["error"] for row in rows] == [None, None]
    with Image.open(tmp_path / "out" / f"{pictures[0].stem}.png") as image:
        assert (image.mode, image.size) == ("RGB", (40, 32))
    Image.fromarray(np.zeros((32, 40, 3), np.uint8)).save(tmp_path / "colour.png")
    [row] = run.predict([tmp_path / "colour.png"])
    assert "has 3 channels; 5 are expected" in row["error"]
    assert folio(["check", str(data), "--html", str(tmp_path / "page.html")]) == 0
    assert "5 channels" in capsys.readouterr().out


def test_a_picture_of_other_channels_is_named_and_left_out(tmp_path: Path) -> None:
    data = five(tmp_path, 4)
    written(tmp_path / "images" / "9.npy", np.zeros((32, 40, 3), np.uint16))
    written(tmp_path / "masks" / "9.npy", np.zeros((32, 40), np.uint8))
    written(tmp_path / "images" / "8.npy", np.zeros((32, 40, 5), np.uint16))
    written(tmp_path / "masks" / "8.npy", np.zeros((32, 40, 2), np.uint8))
    found = open_data(data)
    assert len(found) == 4
    assert {each.path: each.problem for each in found.problems} == {
        "images/9.npy": "3 channels; the others have 5",
        "masks/8.npy": "an array 32x40x2 of uint8 is no mask: one channel of whole numbers is one",
    }


def test_where_colour_is_wanted_the_first_three_bands_are_taken(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 5), np.uint8)
        file = tmp_path / "ab"[number % 2] / f"{number}.tif"
        file.parent.mkdir(exist_ok=True)
        tifffile.imwrite(file, pixels, photometric="minisblack", planarconfig="contig")
        if not number:
            first = pixels
    data = open_data(tmp_path)
    assert (data.reader, data.facts["channels"]) == ("image-folder", 3)
    assert np.array_equal(data.records.pixels(0), first[..., :3])
    assert np.array_equal(with_channels(first, 3), first[..., :3])
    assert with_channels(first[..., :2], 3).shape == (8, 8, 3)


def test_a_damaged_tiff_is_one_error_and_no_flood_of_lines(
    public_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tifffile")
    folder = public_data / "tumours" / "lgg_tif" / "TCGA_CS_4941_19960909"
    with pytest.raises(DataError, match="suspicious number of tags"):
        read_tiff((folder / "TCGA_CS_4941_19960909_14.tif").read_bytes())
    with pytest.raises(DataError, match="are no picture"):
        read_tiff((folder / "TCGA_CS_4941_19960909_14_mask.tif").read_bytes())
    assert not caplog.records
