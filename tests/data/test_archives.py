import io
import os
import struct
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from torchfolio.data import archives
from torchfolio.data.archives import unpack
from torchfolio.data.cache import SIZE_NOTE
from torchfolio.data.readers import find_reader, open_dataset
from torchfolio.errors import DataError, FolioError


def tar(path: Path, folder: Path, mode: str = "w", prefix: str = "") -> Path:
    with tarfile.open(path, mode) as archive:
        for file in sorted(folder.rglob("*")):
            archive.add(file, prefix + file.relative_to(folder).as_posix(), recursive=False)
    return path


def zip_(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("pets.tar", "w"), ("pets.tar.gz", "w:gz"), ("pets.tgz", "w:gz"), ("pets.tar.bz2", "w:bz2"),
        ("pets.tar.xz", "w:xz"), ("pets.zip", ""),
    ],
)  # fmt: skip
def test_every_archive_reads_as_its_folder(
    pets: Path, tmp_path: Path, name: str, mode: str
) -> None:
    plain = open_dataset(pets)
    file = tmp_path / name
    tar(file, pets, mode, "pets/") if mode else zip_(file, pets)
    packed = open_dataset(file)
    assert packed.fingerprint == plain.fingerprint
    assert (packed.name, packed.path) == ("pets", str(file.resolve()))
    assert packed.records.name(0) == "cat/0.png"


def test_a_folder_of_one_archive_is_that_archive(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "download").mkdir()
    tar(tmp_path / "download" / "pets.tar", pets)
    assert len(open_dataset(tmp_path / "download")) == 7
    tar(tmp_path / "download" / "other.tar", pets)
    with pytest.raises(DataError, match=r"several archives: other\.tar, pets\.tar"):
        open_dataset(tmp_path / "download")


def test_archives_inside_archives_are_folders(pets: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    for name in ("cat", "dog"):
        tar(outer / f"{name}.tar.gz", pets / name, "w:gz")
    dataset = open_dataset(zip_(tmp_path / "all.zip", outer))
    assert dataset.classes == ("cat", "dog")
    assert len(dataset) == 7


def test_too_deep_nesting_is_refused(pets: Path, tmp_path: Path) -> None:
    folder = pets
    for depth in range(4):
        above = tmp_path / f"level {depth}"
        above.mkdir()
        tar(above / "inner.tar", folder)
        folder = above
    with pytest.raises(DataError, match="nests archives more than 3 deep"):
        unpack(folder / "inner.tar")


def test_an_archive_is_unpacked_once_and_again_when_it_changes(pets: Path, tmp_path: Path) -> None:
    file = tar(tmp_path / "pets.tar", pets)
    first = unpack(file)
    (first / "mark").write_bytes(b"")
    assert (unpack(file) / "mark").exists()
    (pets / "cat" / "0.png").unlink()
    tar(file, pets)
    os.utime(file, ns=(5, 5))
    second = unpack(file)
    assert second != first
    assert not (second / "cat" / "0.png").exists()


def test_nothing_half_unpacked_is_left_or_used(pets: Path, tmp_path: Path, own_cache: Path) -> None:
    file = tar(tmp_path / "pets.tar", pets)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"pets\.tar: damaged"):
        unpack(file)
    assert list((own_cache / "archives").iterdir()) == []


def write_tar(path: Path, *members: tarfile.TarInfo, data: bytes = b"x") -> Path:
    with tarfile.open(path, "w") as archive:
        for member in members:
            if member.isfile():
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/evil", "C:\\evil", "..\\evil", "C:/x"]
)
def test_paths_that_lead_outside_are_refused(tmp_path: Path, own_cache: Path, name: str) -> None:
    with pytest.raises(DataError, match="leads outside it"):
        unpack(write_tar(tmp_path / "evil.tar", tarfile.TarInfo(name)))
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(DataError, match="leads outside it"):
        unpack(tmp_path / "evil.zip")
    assert list(tmp_path.parent.rglob("evil")) == []
    assert list((own_cache / "archives").iterdir()) == []


@pytest.mark.parametrize(
    "member",
    [
        link("a", "../../secret"),
        link("a", "/etc/passwd"),
        link("a", "../secret", tarfile.LNKTYPE),
        link("b/a", "../../secret"),
    ],
)
def test_links_that_lead_outside_are_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    with pytest.raises(DataError, match="leads outside it"):
        unpack(write_tar(tmp_path / "evil.tar", member))


def test_links_inside_become_copies_and_devices_nothing(tmp_path: Path) -> None:
    device = tarfile.TarInfo("device")
    device.type = tarfile.CHRTYPE
    file = write_tar(
        tmp_path / "links.tar",
        tarfile.TarInfo("deep/file"),
        link("deep/soft", "file"),
        link("hard", "deep/file", tarfile.LNKTYPE),
        link("dangling", "absent"),
        device,
    )
    folder = unpack(file)
    assert content(folder) == {"deep/file": b"x", "deep/soft": b"x", "hard": b"x"}
    assert not (folder / "deep" / "soft").is_symlink()


def test_a_file_cannot_be_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    file = write_tar(
        tmp_path / "evil.tar", link("door", str(tmp_path / "outside")), tarfile.TarInfo("door/x")
    )
    with pytest.raises(DataError, match="leads outside it"):
        unpack(file)
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_bomb_is_refused(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(archives, "BOMB_FLOOR", 2**20)
    zeros = tmp_path / "zeros"
    zeros.mkdir()
    (zeros / "zeros").write_bytes(bytes(8 * 2**20))
    file = tmp_path / f"bomb{suffix}"
    zip_(file, zeros) if suffix == ".zip" else tar(file, zeros, "w:gz")
    with pytest.raises(DataError, match="grows more than 200-fold"):
        unpack(file)
    assert list((own_cache / "archives").iterdir()) == []


def test_a_zip_that_lies_about_its_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "BOMB_FLOOR", 2**20)
    zeros = tmp_path / "zeros"
    zeros.mkdir()
    (zeros / "zeros").write_bytes(bytes(8 * 2**20))
    file = zip_(tmp_path / "bomb.zip", zeros)
    data = file.read_bytes()
    file.write_bytes(data.replace(struct.pack("<I", 8 * 2**20), struct.pack("<I", 10)))
    with pytest.raises(DataError, match=r"grows more|damaged"):
        unpack(file)


def test_several_at_once_unpack_one_folder(pets: Path, tmp_path: Path, own_cache: Path) -> None:
    file = tar(tmp_path / "pets.tar.gz", pets, "w:gz")
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: unpack(file), range(8)))
    assert len(set(folders)) == 1
    assert content(folders[0]) == content(pets)
    assert len(list((own_cache / "archives").iterdir())) == 1


def test_what_was_half_removed_is_unpacked_again(pets: Path, tmp_path: Path) -> None:
    file = tar(tmp_path / "pets.tar", pets)
    folder = unpack(file)
    (folder.parent / SIZE_NOTE).unlink()
    (folder / "cat" / "0.png").unlink()
    assert content(unpack(file)) == content(pets)


def test_too_many_files_are_refused(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_FILES", 6)
    with pytest.raises(DataError, match="holds more than 6 files"):
        unpack(tar(tmp_path / "pets.tar", pets))


def test_what_exceeds_the_cache_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE_LIMIT", "1M")
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "noise").write_bytes(os.urandom(2**20 + 1))
    with pytest.raises(DataError, match="TORCHFOLIO_CACHE_LIMIT higher"):
        unpack(tar(tmp_path / "big.tar.gz", tmp_path / "big", "w:gz"))


def test_an_encrypted_zip_is_named(tmp_path: Path) -> None:
    file = tmp_path / "secret.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/1.png", b"x")
    data = bytearray(file.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1  # the flag of encryption
    file.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"secret\.zip: damaged, encrypted or no archive"):
        unpack(file)


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
def test_what_is_no_archive_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"rubbish" * 100)
    with pytest.raises(DataError, match="damaged, encrypted or no archive"):
        open_dataset(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_unmarked_chinese_names_in_a_zip_are_read(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "names.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("PLACEHOLDER/1.png", b"x")
    data = file.read_bytes()
    name = "照片".encode(encoding)
    name += b"_" * (len(b"PLACEHOLDER") - len(name))
    file.write_bytes(data.replace(b"PLACEHOLDER", name))
    expected = "照片".ljust(2 + len(b"PLACEHOLDER") - len("照片".encode(encoding)), "_")
    assert list(content(unpack(file))) == [f"{expected}/1.png"]


def test_litter_in_archives_is_left(pets: Path, tmp_path: Path) -> None:
    (pets / "__MACOSX").mkdir()
    (pets / "__MACOSX" / "._0.png").write_bytes(b"x")
    (pets / "cat" / ".DS_Store").write_bytes(b"x")
    dataset = open_dataset(zip_(tmp_path / "pets.zip", pets))
    assert dataset.classes == ("cat", "dog")
    assert dataset.problems == []


def test_a_cache_that_cannot_be_written_is_told(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_bytes(b"")
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(tmp_path / "a file"))
    with pytest.raises(FolioError, match="Set TORCHFOLIO_CACHE to a folder that can be written"):
        find_reader(tar(tmp_path / "pets.tar", pets))


def test_other_layouts_are_read_from_archives(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "test_batch.bin").write_bytes(bytes(3073))
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    dataset = open_dataset(tmp_path / "cifar-10-binary.tar.gz")
    assert (dataset.reader, dataset.name, len(dataset)) == ("cifar", "cifar-10-binary", 1)
