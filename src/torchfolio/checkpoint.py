"""Files that are whole or absent: atomic writes, and state as safetensors with a JSON header.

Every write goes to a temporary file beside the target, is flushed to the disk, and is renamed.
Nothing here reads or writes a pickle.
"""

import hashlib
import json
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from torchfolio.errors import FolioError

if TYPE_CHECKING:
    from torch import Tensor

# The entry of a safetensors header that holds our JSON: a value, and the checksum of the tensors
# (safetensors itself sees only what is cut off). One entry: several would have no fixed order.
STATE_KEY = "state"
TENSOR, TUPLE, MAPPING = "__tensor__", "__tuple__", "__mapping__"
SIMPLE = bool | int | float | str | None
DTYPES = {  # what safetensors calls torch's
    "torch.float64": "F64",
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.int64": "I64",
    "torch.int32": "I32",
    "torch.int16": "I16",
    "torch.int8": "I8",
    "torch.uint8": "U8",
    "torch.bool": "BOOL",
}
WRITTEN_AT_ONCE = 2**24  # bytes of small tensors that are gathered into one write
LARGEST_HEADER = 2**28  # bytes
FACTS = "torchfolio"  # under which a value in a header holds what an export says of itself
PART = ".part"  # the end of a temporary file's name


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file beside ``path``; rename it to ``path`` if the block ends well.

    An ``OSError`` on the way is a ``FolioError``; whatever goes wrong, the file that was there
    before stays as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.open("xb").close()
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        if os.name == "posix":  # the rename itself must reach the disk
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise FolioError(
            f"{path} cannot be written: {error.strerror or error}. Free some space, give yourself "
            "the right to write there, or choose another folder; what was there is unchanged."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def free_path(path: Path) -> Path:
    """Return the path, or the first of ``name-2``, ``name-3`` ... that is free."""
    number = 2
    found = path
    while found.exists():
        found = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return found


def free_name(folder: Path, name: str) -> str:
    """Return the first of ``name``, ``name-2``, ``name-3`` ... that the folder does not hold."""
    candidates = [name, *(f"{name}-{number}" for number in range(2, 10_000))]
    return next(each for each in candidates if not (folder / each).exists())


def is_temporary(name: str) -> bool:
    """Return whether a file's name is that of a temporary file of :func:`replacing`."""
    return name.startswith(".") and name.endswith(PART)


def remove_leftovers(folder: Path, *, within: bool = False) -> None:
    """Remove the temporary files of writers that were killed; nobody may be writing there.

    ``within`` those in its folders as well.
    """
    for path in (folder.rglob if within else folder.glob)(f".*{PART}"):
        with suppress(OSError):
            path.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str, errors: str = "backslashreplace") -> None:
    r"""Write a UTF-8 text file atomically, with Unix line ends on every system.

    A byte of a file's name that is no UTF-8 (Python: a lone surrogate) becomes an escape such as
    ``\udce9``, which :func:`read_json` reads back as it was; ``errors="surrogateescape"`` writes
    the byte itself.
    """
    write_bytes(path, content.encode("utf-8", errors))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; the error names the file and the place."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FolioError(f"{path} is missing.") from error
    except OSError as error:
        raise FolioError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise FolioError(f"{path} is damaged: it is not JSON ({error}).") from error


def write_tensors(path: Path, tensors: Mapping[str, "Tensor"], state: Any = None) -> None:
    """Write tensors, and a JSON value in the header, as one safetensors file.

    safetensors' own writers want every tensor contiguous at once, a copy of all that lie
    channels-last. Here each is laid out when its turn comes, so that saving takes little memory.
    """
    ours = {"checksum": checksum(tensors), "value": state}
    header: dict[str, Any] = {"__metadata__": {STATE_KEY: json.dumps(ours)}}
    order = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))  # all lie aligned
    end = 0
    for name in order:
        tensor = tensors[name]
        start, end = end, end + tensor.numel() * tensor.itemsize
        header[name] = {
            "dtype": DTYPES[str(tensor.dtype)],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as temporary, temporary.open("wb", buffering=WRITTEN_AT_ONCE) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            file.write(content(tensors[name]))


def read_tensors(path: Path) -> tuple[dict[str, "Tensor"], Any]:
    """Read a safetensors file: its tensors, and the JSON value of its header (or ``None``)."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            # Copies: of sums over memory that is aligned otherwise, the last bits may differ.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        state = json.loads(header[STATE_KEY]) if STATE_KEY in header else None
        if isinstance(state, dict) and state.keys() == {"checksum", "value"}:
            if state["checksum"] != checksum(tensors):
                raise ValueError("the checksum of its tensors is another")
            state = state["value"]
        return tensors, state
    except FileNotFoundError as error:
        raise FolioError(f"{path} is missing.") from error
    except OSError as error:
        raise FolioError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (SafetensorError, ValueError) as error:
        raise FolioError(f"{path} is damaged or no safetensors file: {error}.") from error


def header_value(file: BinaryIO) -> Any:
    """Return the JSON value in the header of a safetensors file, without reading its tensors.

    It is what :func:`write_tensors` was given as ``state``; ``None`` where there is none. A file
    begins with eight bytes that hold the length of its header, which is JSON: of another format it
    raises ``ValueError``, ``TypeError`` or ``AttributeError``.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > LARGEST_HEADER:
        raise ValueError(f"a header of {length:,} bytes")
    header = json.loads(file.read(length))
    entry = header.get("__metadata__", {}).get(STATE_KEY) if isinstance(header, dict) else None
    return json.loads(entry).get("value") if entry is not None else None


def content(tensor: "Tensor") -> memoryview:
    """Return the bytes of a tensor, row by row."""
    from torch import uint8

    return tensor.detach().cpu().flatten().view(uint8).numpy().data


def checksum(tensors: Mapping[str, "Tensor"]) -> str:
    """Return a CRC-32 over the bytes of tensors, in the order of their names."""
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(content(tensors[name]), total)
    return f"{total:08x}"


def pack(tree: Any, tensors: dict[str, "Tensor"], path: str = "") -> Any:
    """Return a nested value as JSON, with its tensors moved into ``tensors``.

    Dictionaries (their keys numbers, strings, booleans or None), lists, tuples, numbers, strings,
    booleans and None pass; anything else is a ``TypeError``, so that nothing is lost silently.
    """
    from torch import Tensor

    if isinstance(tree, Tensor):
        name = path or "tensor"
        while name in tensors:  # {"a/b": x, "a": {"b": y}} and {1: x, "1": y}
            name += "'"
        tensors[name] = tree
        return {TENSOR: name}
    if isinstance(tree, Mapping):
        for key in tree:
            if not isinstance(key, SIMPLE):
                raise TypeError(f"{path or 'the state'} has a key {key!r}, which cannot be saved.")
        return {MAPPING: [[key, pack(tree[key], tensors, f"{path}/{key}")] for key in tree]}
    if isinstance(tree, list | tuple):
        items = [pack(item, tensors, f"{path}/{i}") for i, item in enumerate(tree)]
        return {TUPLE: items} if isinstance(tree, tuple) else items
    if isinstance(tree, SIMPLE):
        return tree
    raise TypeError(f"{path or 'the state'} is a {type(tree).__name__}, which cannot be saved.")


def unpack(tree: Any, tensors: Mapping[str, "Tensor"]) -> Any:
    """Return what :func:`pack` was given."""
    if isinstance(tree, list):
        return [unpack(item, tensors) for item in tree]
    if isinstance(tree, dict):
        if TENSOR in tree:
            return tensors[tree[TENSOR]]
        if TUPLE in tree:
            return tuple(unpack(item, tensors) for item in tree[TUPLE])
        return {key: unpack(value, tensors) for key, value in tree[MAPPING]}
    return tree


def digest(tensors: Mapping[str, "Tensor"]) -> str:
    """Return a SHA-256 over names, types, shapes and bytes, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(content(tensor))
    return total.hexdigest()
