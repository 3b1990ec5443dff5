import csv
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from torchfolio.data import images
from torchfolio.data.images import NotAnImageError, decode, examine, natural_channels
from torchfolio.errors import DataError


def encoded(image: Image.Image, format_: str = "PNG", **settings: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format_, **settings)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, kind: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG written by hand (PNG specification, third edition, sections 5 and 11)."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + pixels + chunk(b"IEND", b"")


def transparency(content: bytes) -> bytes:
    check = zlib.crc32(b"tRNS" + content)
    return struct.pack(">I", len(content)) + b"tRNS" + content + struct.pack(">I", check)


def test_grey_stays_grey_and_colour_stays_colour() -> None:
    grey = decode(png(2, 1, 8, 0, bytes([0, 10, 200])))
    assert grey.dtype == np.uint8
    assert grey.tolist() == [[[10], [200]]]
    colour = decode(png(1, 1, 8, 2, bytes([0, 1, 2, 3])))
    assert colour.tolist() == [[[1, 2, 3]]]


def test_channels_follow_the_request() -> None:
    # ITU-R 601: 0.299 * 255 = 76.2 for red
    assert decode(png(1, 1, 8, 2, bytes([0, 255, 0, 0])), channels=1).tolist() == [[[76]]]
    assert decode(png(1, 1, 8, 0, bytes([0, 7])), channels=3).tolist() == [[[7, 7, 7]]]


def test_alpha_lies_over_white() -> None:
    # red at alpha 128: 255 * (1 - 128 / 255) = 127 of white shines through
    colour = decode(png(2, 1, 8, 6, bytes([0, 255, 0, 0, 128, 9, 9, 9, 0])))
    assert colour.tolist() == [[[255, 127, 127], [255, 255, 255]]]
    # grey 100 at alpha 51 (a fifth): 20 + 204 = 224
    grey = decode(png(2, 1, 8, 4, bytes([0, 100, 51, 30, 255])))
    assert grey.tolist() == [[[224], [30]]]


def test_a_transparent_colour_lies_over_white() -> None:
    grey = decode(png(2, 1, 8, 0, bytes([0, 5, 6]), transparency(b"\0\5")))
    assert grey.tolist() == [[[255], [6]]]
    colour = decode(png(2, 1, 8, 2, bytes([0, 1, 2, 3, 4, 5, 6]), transparency(b"\0\1\0\2\0\3")))
    assert colour.tolist() == [[[255, 255, 255], [4, 5, 6]]]
    deep = decode(png(2, 1, 16, 0, b"\0\x01\x00\x40\x00", transparency(b"\x01\x00")))
    assert deep.tolist() == [[[255], [64]]]  # 0x4000 / 257 = 63.75


def test_a_palette_gives_its_colours_and_its_transparency() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    assert decode(encoded(image)).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    see_through = decode(encoded(image, transparency=bytes([255, 0, 255])))
    assert see_through.tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]


def test_a_palette_of_greys_is_grey() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 10, 10, 90, 90, 90])
    image.putdata([1, 0])
    assert decode(encoded(image)).tolist() == [[[90], [10]]]


def test_one_bit_is_black_and_white() -> None:
    assert decode(png(3, 1, 1, 0, bytes([0, 0b10100000]))).tolist() == [[[255], [0], [255]]]


SIXTEEN = np.array([[0, 257, 32768, 65535]], np.uint16)


@pytest.mark.parametrize(
    "data",
    [
        png(4, 1, 16, 0, b"\0" + SIXTEEN.astype(">u2").tobytes()),
        b"P5 4 1 65535\n" + SIXTEEN.astype(">u2").tobytes(),
        encoded(Image.fromarray(SIXTEEN), "TIFF"),
    ],
    ids=["png", "pgm", "tiff"],
)
def test_sixteen_bits_are_scaled_never_clipped(data: bytes) -> None:
    # 0 / 257 = 0, 257 / 257 = 1, 32768 / 257 = 127.5, which rounds to the even 128
    assert decode(data)[0, :, 0].tolist() == [0, 1, 128, 255]
    deep = decode(data, depth=16)
    assert deep.dtype == np.float32
    assert deep[0, :, 0] == pytest.approx([0, 257 / 65535, 32768 / 65535, 1], abs=1e-7)
    assert decode(data, channels=3)[0, 1].tolist() == [1, 1, 1]


def test_a_big_endian_sixteen_bit_tiff_is_read() -> None:
    content = struct.pack(">2sHI", b"MM", 42, 8 + 8)  # header; pixels follow, then the directory
    pixels = SIXTEEN.astype(">u2").tobytes()
    entries = [
        (256, 3, 1, 4 << 16), (257, 3, 1, 1 << 16), (258, 3, 1, 16 << 16), (259, 3, 1, 1 << 16),
        (262, 3, 1, 1 << 16), (273, 4, 1, 8), (277, 3, 1, 1 << 16), (278, 3, 1, 1 << 16),
        (279, 4, 1, 8),
    ]  # fmt: skip
    directory = struct.pack(">H", len(entries))
    directory += b"".join(struct.pack(">HHII", *entry) for entry in entries) + bytes(4)
    assert decode(content + pixels + directory)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_pgm_of_twelve_bits_fills_its_range() -> None:
    data = b"P5 2 1 4095\n" + np.array([0, 4095], ">u2").tobytes()
    assert decode(data)[0, :, 0].tolist() == [0, 255]


def test_eight_bits_at_depth_16_are_shares_of_255() -> None:
    deep = decode(png(2, 1, 8, 0, bytes([0, 51, 255])), depth=16)
    assert deep[0, :, 0] == pytest.approx([0.2, 1.0])


def test_floats_keep_their_range_or_are_scaled_by_it() -> None:
    inside = np.array([[0.0, 0.25, 1.0]], np.float32)
    assert decode(encoded(Image.fromarray(inside), "TIFF"), depth=16)[0, :, 0] == pytest.approx(
        [0, 0.25, 1]
    )
    odd = np.array([[0.25, 0.75, np.inf, -np.inf, np.nan]], np.float32)
    assert decode(encoded(Image.fromarray(odd), "TIFF"), depth=16)[0, :, 0] == pytest.approx(
        [0.25, 0.75, 0.75, 0.25, 0.25]
    )
    outside = np.array([[-10.0, 0.0, 30.0, np.nan]], np.float32)
    assert decode(encoded(Image.fromarray(outside), "TIFF"), depth=16)[0, :, 0] == pytest.approx(
        [0, 0.25, 1, 0]
    )


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (3, 1))
    image.putdata([(0, 0, 0, 0), (0, 255, 255, 0), (0, 0, 0, 255)])
    assert decode(encoded(image, "TIFF")).tolist() == [[[255, 255, 255], [255, 0, 0], [0, 0, 0]]]


def test_an_inverted_cmyk_jpeg_of_adobe_is_not_a_negative() -> None:
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)
    assert b"Adobe" in data  # written with inverted values, as Photoshop does
    assert decode(data).mean((0, 1)) == pytest.approx([255, 0, 0], abs=3)


def test_lab_and_ycbcr_become_rgb() -> None:
    lab = Image.new("LAB", (1, 1), (255, 128, 128))  # lightness 100, no colour; 128 stands for 0
    assert decode(encoded(lab, "TIFF"))[0, 0] == pytest.approx([255, 255, 255], abs=3)
    red = Image.new("YCbCr", (16, 16), (76, 85, 255))  # BT.601 of pure red
    assert decode(encoded(red, "JPEG", quality=100)).mean((0, 1)) == pytest.approx(
        [254, 0, 0], abs=3
    )


def test_of_an_animation_and_of_pages_the_first() -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "lime", "blue")]
    for format_ in ("GIF", "TIFF", "PNG", "WEBP"):
        settings = {"lossless": True} if format_ == "WEBP" else {}
        data = encoded(frames[0], format_, save_all=True, append_images=frames[1:], **settings)
        assert (decode(data) == [255, 0, 0]).all(), format_


# The 0th row and column of the stored picture are at these sides of the upright one (EXIF 2.32,
# 4.6.5.1, Orientation): rows and columns are turned or swapped accordingly.
STORED = {
    1: lambda upright: upright,  # top, left
    2: lambda upright: upright[:, ::-1],  # top, right
    3: lambda upright: upright[::-1, ::-1],  # bottom, right
    4: lambda upright: upright[::-1],  # bottom, left
    5: lambda upright: upright.swapaxes(0, 1),  # left, top
    6: lambda upright: upright[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda upright: upright[::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_orientation_is_applied(orientation: int, format_: str) -> None:
    blocks = np.array([[0, 60, 120], [180, 220, 255]], np.uint8)
    upright = np.repeat(np.kron(blocks, np.ones((16, 16), np.uint8))[..., None], 3, axis=2)
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    settings = {"lossless": True} if format_ == "WEBP" else {}
    pixels = decode(encoded(stored, format_, exif=exif, **settings))
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).max() <= (8 if format_ == "JPEG" else 0)


def test_damaged_notes_do_not_lose_the_picture() -> None:
    data = encoded(Image.new("RGB", (8, 8), "red"), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode(data).shape == (8, 8, 3)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_file_that_ends_early_is_an_error(tmp_path: Path, format_: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    data = encoded(Image.fromarray(noise), format_)
    file = tmp_path / "short.img"
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"short\.img: (damaged|not a picture)"):
        decode(file)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.jpg", tmp_path / "text.jpg"
    empty.write_bytes(b"")
    text.write_text("hello", encoding="utf-8")
    with pytest.raises(DataError, match=r"empty\.jpg: empty file \(0 bytes\)"):
        decode(empty)
    with pytest.raises(NotAnImageError, match=r"text\.jpg: not a picture"):
        decode(text)
    with pytest.raises(DataError, match=r"absent\.png: cannot be read: No such file"):
        decode(tmp_path / "absent.png")


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(60_000, 60_000, 8, 0, bytes(100)))
    with pytest.raises(DataError, match=r"bomb\.png: .*178,956,970"):
        decode(bomb)


def test_the_limit_of_pixels_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    data = png(2, 2, 8, 0, bytes(6))
    monkeypatch.setattr(images, "MAX_PIXELS", 4)
    assert decode(data).shape == (2, 2, 1)
    monkeypatch.setattr(images, "MAX_PIXELS", 3)
    with pytest.raises(DataError, match="2 x 2 pixels; up to 3 are read"):
        decode(data)


def test_files_are_told_by_content_not_by_name(tmp_path: Path) -> None:
    file = tmp_path / "really_a_png.jpg"
    file.write_bytes(png(1, 1, 8, 0, bytes([0, 42])))
    assert decode(file).tolist() == [[[42]]]


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as source:
        return list(csv.DictReader(source))


def test_every_odd_file_opens_or_is_refused_by_name(public_data: Path) -> None:
    folder = public_data / "dirty_images"
    for row in rows_of(folder / "index.csv"):
        file = folder / row["file"]
        if row["with Pillow"] != "opens":
            with pytest.raises(DataError, match=file.name.replace(".", r"\.")):
                decode(file)
            continue
        width, height = (int(side) for side in row["size"].strip("()").split(","))
        if row["exif_orientation"] in {"5", "6", "7", "8"}:
            width, height = height, width
        pixels = decode(file)
        assert pixels.shape[:2] == (height, width), file
        grey = row["mode"] in {"L", "1", "I", "I;16", "LA"}
        assert pixels.shape[2] == 1 if grey else pixels.shape[2] in {1, 3}, file


@pytest.mark.parametrize("kind", ["Landscape", "Portrait"])
def test_the_public_orientations_are_one_picture(public_data: Path, kind: str) -> None:
    folder = public_data / "dirty_images" / "exif_orientation"
    first = decode(folder / f"{kind}_1.jpg").astype(int)
    for number in range(2, 9):
        other = decode(folder / f"{kind}_{number}.jpg").astype(int)
        assert other.shape == first.shape
        # the pictures carry their own number in print and are compressed anew
        assert np.abs(other - first).mean() < 8, number


def hopper(public_data: Path, name: str) -> NDArray[np.int64]:
    return decode(public_data / "dirty_images" / "pillow" / name, channels=3).astype(np.int64)


def test_one_photograph_looks_alike_in_every_format(public_data: Path) -> None:
    reference = hopper(public_data, "hopper.ppm")
    for name in ("png", "bmp", "tif", "jpg", "webp"):
        assert np.abs(hopper(public_data, f"hopper.{name}") - reference).mean() < 6, name
    grey = decode(public_data / "dirty_images" / "pillow" / "hopper.ppm", channels=1).astype(int)
    deep = decode(public_data / "dirty_images" / "pillow" / "hopper_16bit.pgm").astype(int)
    assert np.abs(deep - grey).mean() <= 2


def test_warnings_of_pillow_stay_inside(public_data: Path) -> None:
    # pytest turns every warning into an error; these files make Pillow warn
    for name in ("invalid-exif.jpg", "hopper_bad_exif.jpg", "broken_exif_dpi.jpg"):
        assert decode(public_data / "dirty_images" / "pillow" / name).ndim == 3


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(40, 24), (5, 3), (1, 1), (501, 503)])
def test_a_scan_says_of_a_jpeg_what_decoding_it_gives(mode: str, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    image = Image.fromarray(noise, "CMYK").convert(mode)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = encoded(image, "JPEG", exif=exif)
        height, width, channels, deep = examine(content)
        assert (height, width, channels) == decode(content).shape
        assert (height, width) == (size if orientation >= 5 else size[::-1])
        assert (channels, deep) == (natural_channels(image), False)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_scan_finds_where_a_jpeg_ends_early(share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    for progressive in (False, True):
        content = encoded(Image.fromarray(noise), "JPEG", progressive=progressive)
        examine(content)
        with pytest.raises(DataError, match="cut off"):
            examine(content[: int(share * len(content))])
