"""The facts in an exported file: all that answering needs besides the network itself.

They are one JSON object, under the name ``torchfolio``, where each format keeps what is not the
network: ONNX's ``metadata_props``, an extra file in torch's archive, the header of safetensors.
Read here with neither torch nor onnx, and without reading the network.
"""

import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from torchfolio.checkpoint import FACTS, header_value
from torchfolio.errors import FolioError, RequestError, unknown

KEY = FACTS  # the name of the entry
FORMAT = 1
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}
NEEDED = ("task", "network", "run", "inputs", "output")

# Protocol Buffers: the two kinds of field that a model's description has at its top, and the
# numbers of those that are read (onnx.proto: ModelProto and StringStringEntryProto).
NUMBER, BYTES = 0, 2
METADATA_PROPS, ENTRY_KEY, ENTRY_VALUE = 14, 1, 2
LARGEST = 2**28  # bytes of an entry that is read


def format_of(path: Path) -> str:
    """Return the format that a file's suffix names; raise ``RequestError`` for another suffix."""
    for name, suffix in SUFFIXES.items():
        if path.suffix.lower() == suffix:
            return name
    raise RequestError(
        f"{path} has the suffix {path.suffix!r}; exported files end in "
        f"{', '.join(SUFFIXES.values())}."
    )


def find_format(name: str) -> str:
    """Return the suffix of a format, by its name."""
    if name not in SUFFIXES:
        raise unknown("format", name, SUFFIXES)
    return SUFFIXES[name]


def read_facts(path: Path, kind: str) -> dict[str, Any]:
    """Return the facts in a file of a format; raise where there are none that can be read."""
    try:
        with path.open("rb") as file:
            text = READERS[kind](file)
    except FileNotFoundError as error:
        raise RequestError(f"There is no file {path}.") from error
    except OSError as error:
        raise FolioError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # a damaged file can lead to anything
        raise FolioError(
            f"{path} is damaged or no file of the format {kind}: {error}. Export it again."
        ) from error
    if text is None:
        raise RequestError(
            f"{path} was not made by 'folio export', or is cut off: it does not say what it takes."
        )
    return checked_facts(text, path)


def facts_of_weights(path: Path) -> dict[str, Any]:
    """Return the facts in a file of weights, whatever its suffix; of a file of others, nothing."""
    try:
        with path.open("rb") as file:
            text = in_safetensors(file)
    except (OSError, ValueError, TypeError, AttributeError):  # another format, or damaged
        return {}
    return {} if text is None else checked_facts(text, path)


def checked_facts(text: str, path: Path) -> dict[str, Any]:
    """Return facts from their JSON; raise where they are not whole."""
    try:
        facts = json.loads(text)
    except ValueError as error:
        raise FolioError(f"The facts in {path} are damaged: {error}. Export it again.") from error
    if not isinstance(facts, dict) or facts.get("format_version") != FORMAT:
        version = facts.get("format_version") if isinstance(facts, dict) else None
        raise FolioError(
            f"{path} has format version {version}; this release reads {FORMAT}. Take the release "
            "that wrote it, or export it again."
        )
    if missing := [key for key in NEEDED if key not in facts]:
        raise FolioError(f"The facts in {path} lack {', '.join(missing)}. Export it again.")
    return facts


def in_onnx(file: BinaryIO) -> str | None:
    """Return the entry of an ONNX file's metadata; its network is passed over."""
    for entry in fields(file, {METADATA_PROPS}):
        parts = dict(fields_of(entry[1]))
        if parts.get(ENTRY_KEY) == KEY.encode():
            return parts.get(ENTRY_VALUE, b"").decode("utf-8")
    return None


def fields_of(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the key and the value of an entry of the metadata."""
    return fields(BytesIO(message), {ENTRY_KEY, ENTRY_VALUE})


def fields(file: BinaryIO, wanted: set[int]) -> Iterator[tuple[int, bytes]]:
    """Give fields of a message of Protocol Buffers, numbers and bytes; others are passed over."""
    while (tag := varint(file)) is not None:
        number, kind = tag >> 3, tag & 7
        if kind == NUMBER:
            varint(file)
            continue
        length = varint(file) or 0
        if kind != BYTES or (number in wanted and length > LARGEST):
            raise ValueError(f"field {number} of kind {kind} and {length:,} bytes")
        if number in wanted:
            yield number, file.read(length)
        else:
            file.seek(length, os.SEEK_CUR)


def varint(file: BinaryIO) -> int | None:
    """Return the next whole number: seven bits a byte, the lowest first; ``None`` at the end."""
    value = 0
    for shift in range(0, 63, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("a number without an end")


def in_archive(file: BinaryIO) -> str | None:
    """Return the extra file in an archive of torch's."""
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if name.endswith(f"/extra/{KEY}"):
                return archive.read(name).decode("utf-8")
    return None


def in_safetensors(file: BinaryIO) -> str | None:
    """Return the value in a header of ours (:func:`torchfolio.checkpoint.header_value`)."""
    value = header_value(file)
    return json.dumps(value[KEY]) if isinstance(value, Mapping) and KEY in value else None


READERS: dict[str, Callable[[BinaryIO], str | None]] = {
    "onnx": in_onnx,
    "torch": in_archive,
    "safetensors": in_safetensors,
}
