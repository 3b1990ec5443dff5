"""Data sets known by name: where they are kept, and fetched when that is asked for."""

import hashlib
import os
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from torchfolio.checkpoint import replacing, write_text
from torchfolio.data import cache
from torchfolio.data.dataset import Progress
from torchfolio.errors import FolioError, RequestError, normalise

CHUNK = 2**18
TIMEOUT = 30  # seconds without an answer


@dataclass(frozen=True)
class Source:
    """Where a data set is published: a base address, and each file with its MD5 sum."""

    base: str
    files: dict[str, str]
    classes: tuple[str, ...] = ()


FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip

# The sums are the publishers'; they guard against damaged files, TLS (where offered) the rest.
SOURCES = {
    "mnist": Source(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion-mnist": Source(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        FASHION,
    ),
    "cifar10": Source(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
    ),
    "cifar100": Source(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"},
    ),
}
# What goes wrong on the way here, not on the disk.
UNFETCHED = (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException, ssl.SSLError)
ALIASES = {"fashion_mnist": "fashion-mnist", "cifar_10": "cifar10", "cifar_100": "cifar100"}


def known_name(text: str) -> str | None:
    """Return the name of a known data set, however it is spelt, or ``None``."""
    name = normalise(text)
    name = ALIASES.get(name, name)
    return name if name in SOURCES else None


def find_known(name: str, *, download: bool = False, progress: Progress | None = None) -> Path:
    """Return the folder of a known data set; fetch what is missing if ``download`` allows it.

    ``progress(done, total)`` counts bytes of the file that is being fetched.
    """
    source = SOURCES[name]
    folder = cache.cache_folder() / "downloads" / name
    missing = [file for file in source.files if not (folder / file).is_file()]
    if missing and not download:
        raise RequestError(
            f"There is no file or folder {name!r} here, and the data set of that name is not in "
            f"{folder}. Add --download to fetch it from {source.base}, or give the path of its "
            "files."
        )
    for file in missing:
        _fetch(source.base + file, folder / file, source.files[file], progress)
    os.utime(folder)  # used now
    if source.classes and not (folder / "classes.txt").is_file():
        write_text(folder / "classes.txt", "\n".join(source.classes) + "\n")
    return folder


def _fetch(address: str, target: Path, md5: str, progress: Progress | None) -> None:
    """Fetch one file; it appears under its name only when it is whole and its sum is right."""
    with replacing(target) as temporary:
        try:
            found = _receive(address, temporary, progress)
        except UNFETCHED as error:
            reason = getattr(error, "reason", error)
            raise FolioError(
                f"{address} cannot be fetched: {reason}. Check the connection, or fetch the file "
                "elsewhere and give the path of the folder that holds it."
            ) from error
        if found != md5:
            raise FolioError(
                f"What came from {address} is not the file that was expected (MD5 {found}, not "
                f"{md5}). Try again, or fetch it yourself and give the path of the folder."
            )


def _receive(address: str, file: Path, progress: Progress | None) -> str:
    """Write what an address answers into a file and return its MD5 sum."""
    total = hashlib.md5(usedforsecurity=False)
    request = urllib.request.Request(address, headers={"User-Agent": "torchfolio"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer, file.open("wb") as out:
        size = int(answer.headers.get("Content-Length") or 0)
        cache.make_room(size)
        done = 0
        while chunk := answer.read(CHUNK):
            total.update(chunk)
            out.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, max(size, done))
    return total.hexdigest()
