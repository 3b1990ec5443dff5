import gzip
import hashlib
import io
import ssl
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from torchfolio.data import downloads
from torchfolio.data.downloads import Source, known_name
from torchfolio.data.readers import open_dataset
from torchfolio.errors import FolioError, RequestError


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes())


FILES = {
    "train-images-idx3-ubyte.gz": idx(np.arange(40).reshape(10, 2, 2)),
    "train-labels-idx1-ubyte.gz": idx(np.arange(10)),
    "t10k-images-idx3-ubyte.gz": idx(np.arange(8).reshape(2, 2, 2)),
    "t10k-labels-idx1-ubyte.gz": idx(np.array([9, 0])),
}


class Site:
    """A small web server of files that counts what is fetched."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.fetched: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.strip("/")
                site.fetched.append(name)
                if name not in site.files:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(site.files[name])))
                self.end_headers()
                self.wfile.write(site.files[name])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def serve(self, monkeypatch: pytest.MonkeyPatch, name: str, files: dict[str, bytes]) -> None:
        """Publish a known data set here, with the sums of these files."""
        self.files = dict(files)
        sums = {file: hashlib.md5(content).hexdigest() for file, content in files.items()}
        source = Source(self.address, sums, downloads.SOURCES[name].classes)
        monkeypatch.setitem(downloads.SOURCES, name, source)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()
    site.thread.join()


def test_a_known_set_is_fetched_once_and_only_when_asked(
    site: Site, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.serve(monkeypatch, "fashion-mnist", FILES)
    with pytest.raises(RequestError, match=r"not in .*fashion-mnist\. Add --download"):
        open_dataset("fashion_mnist")
    assert site.fetched == []
    told: list[tuple[int, int]] = []
    dataset = open_dataset(
        "Fashion-MNIST", download=True, progress=lambda done, total: told.append((done, total))
    )
    assert dataset.classes[0] == "T-shirt/top"
    assert dataset.classes[9] == "Ankle boot"
    assert (dataset.name, dataset.path) == ("fashion-mnist", "Fashion-MNIST")
    assert {name: len(rows) for name, rows in dataset.given.items()} == {"train": 10, "test": 2}
    assert sorted(site.fetched) == sorted(FILES)
    assert told[-1] == (len(FILES["t10k-labels-idx1-ubyte.gz"]),) * 2
    again = open_dataset("fashion-mnist")
    assert again.fingerprint == dataset.fingerprint
    assert len(site.fetched) == 4
    assert sorted(file.name for file in (own_cache / "downloads" / "fashion-mnist").iterdir()) == [
        "classes.txt", *sorted(FILES),
    ]  # fmt: skip


def test_an_archive_is_fetched_and_unpacked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        member.size = 3073
        archive.addfile(member, io.BytesIO(bytes(3073)))
    site.serve(monkeypatch, "cifar10", {"cifar-10-python.tar.gz": buffer.getvalue()})
    dataset = open_dataset("cifar-10", download=True)
    assert (dataset.reader, dataset.name, len(dataset)) == ("cifar", "cifar10", 1)


def test_a_wrong_file_is_refused_and_not_kept(
    site: Site, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.serve(monkeypatch, "mnist", FILES)
    site.files["train-images-idx3-ubyte.gz"] += b"x"
    with pytest.raises(FolioError, match="is not the file that was expected"):
        open_dataset("mnist", download=True)
    assert list((own_cache / "downloads" / "mnist").iterdir()) == []


def test_a_missing_file_or_host_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.serve(monkeypatch, "mnist", FILES)
    del site.files["train-images-idx3-ubyte.gz"]
    with pytest.raises(FolioError, match=r"train-images-idx3-ubyte\.gz cannot be fetched: .*Check"):
        open_dataset("mnist", download=True)
    source = Source("http://127.0.0.1:9/", downloads.SOURCES["mnist"].files)
    monkeypatch.setitem(downloads.SOURCES, "mnist", source)
    with pytest.raises(FolioError, match="cannot be fetched"):
        open_dataset("mnist", download=True)


def test_a_broken_encryption_is_no_full_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.serve(monkeypatch, "mnist", FILES)

    def fail(*_: object) -> str:
        raise ssl.SSLError("decryption failed or bad record mac")

    monkeypatch.setattr(downloads, "_receive", fail)
    with pytest.raises(FolioError, match=r"cannot be fetched: .*bad record mac.*Check the conn"):
        open_dataset("mnist", download=True)


def test_a_path_wins_over_a_name(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pets.rename(tmp_path / "mnist")
    monkeypatch.chdir(tmp_path)
    assert open_dataset("mnist").classes == ("cat", "dog")


def test_names_are_known_in_every_spelling() -> None:
    spellings = {"MNIST": "mnist", "fashion_mnist": "fashion-mnist", "CIFAR-100": "cifar100"}
    assert {text: known_name(text) for text in spellings} == spellings
    assert known_name("imagenet") is None


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
def test_the_sums_are_those_of_the_original_files(public_data: Path, name: str) -> None:
    # two of the files that came from the original archive unchanged
    content = (public_data / "mnist" / name).read_bytes()
    assert hashlib.md5(content).hexdigest() == downloads.SOURCES["mnist"].files[name]
