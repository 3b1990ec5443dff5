"""Pickles that hold arrays, strings, numbers and containers: read, and nothing executed.

A pickle is a program that names functions and calls them. This reader answers the six names
that NumPy writes with an array by stand-ins of its own; every other name is refused.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.errors import DataError


class RefusedError(Exception):
    """A pickle holds something that is not read."""


class _Dtype:
    """Stands for a ``numpy.dtype``: the type of an array's values, numbers only."""

    def __init__(self, code: Any) -> None:
        text = code.decode("latin1") if isinstance(code, bytes) else code
        if not isinstance(text, str) or text.lstrip("<>|=")[:1] not in ("b", "i", "u", "f"):
            raise RefusedError(f"an array of type {text!r}")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        order = order.decode("latin1") if isinstance(order, bytes) else order
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder("<" if order == "<" else ">")


class _Array:
    """Stands for an array, whose values come after it."""

    value: NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedError("an array of an unknown form")
        _, shape, dtype, columns_first, content = state
        content = content.encode("latin1") if isinstance(content, str) else content
        self.fill(content, dtype, shape, "F" if columns_first else "C")

    def fill(self, content: Any, dtype: Any, shape: Any, order: Any) -> None:
        """Take the values from bytes."""
        if (
            not isinstance(content, bytes | bytearray)
            or not isinstance(dtype, _Dtype)
            or not isinstance(shape, tuple)
        ):
            raise RefusedError("an array of objects")
        values = np.frombuffer(bytes(content), dtype.dtype)
        self.value = values.reshape(shape, order="F" if order == "F" else "C")


class _StandIns:
    """What a pickle gets for the names it may use.

    They are handed out as bound methods, which a pickle can call but not change.
    """

    def array(self, *arguments: Any) -> _Array:
        """Stand for ``_reconstruct``."""
        return _Array()

    def filled_array(self, content: Any, dtype: Any, shape: Any, order: Any = "C") -> _Array:
        """Stand for ``_frombuffer``."""
        array = _Array()
        array.fill(content, dtype, shape, order)
        return array

    def dtype(self, code: Any, *flags: Any) -> _Dtype:
        """Stand for ``numpy.dtype``."""
        return _Dtype(code)

    def ndarray(self, *arguments: Any) -> None:
        """Stand for the class ``numpy.ndarray``, which is named but never called."""
        raise RefusedError("a call of numpy.ndarray")

    def encode(self, text: Any, encoding: Any = "latin1") -> bytes:
        """Stand for ``_codecs.encode``, by which bytes are written in protocol 2."""
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise RefusedError(f"the encoding {encoding!r}")
        return text.encode("latin1")


_STAND_INS = _StandIns()
ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _STAND_INS.array,
    ("numpy._core.multiarray", "_reconstruct"): _STAND_INS.array,
    ("numpy.core.numeric", "_frombuffer"): _STAND_INS.filled_array,
    ("numpy._core.numeric", "_frombuffer"): _STAND_INS.filled_array,
    ("numpy", "ndarray"): _STAND_INS.ndarray,
    ("numpy", "dtype"): _STAND_INS.dtype,
    ("_codecs", "encode"): _STAND_INS.encode,
}


class ArrayUnpickler(pickle.Unpickler):
    """Reads arrays and builtin containers; any other name in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise RefusedError(f"{module}.{name}")
        return ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise RefusedError("an object kept elsewhere")


def load_arrays(path: Path) -> dict[str, Any]:
    """Return the dictionary that a pickle holds; keys as text, arrays as NumPy's.

    Raises ``DataError`` where the file holds anything but arrays, numbers, text and containers.
    """
    try:
        content = ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except RefusedError as error:
        raise DataError(
            f"{path} is refused: it holds {error}. Of a pickle only arrays, numbers, text and "
            "containers are read; nothing in it was executed."
        ) from error
    except Exception as error:  # a damaged pickle fails in many ways
        reason = str(error) or type(error).__name__
        raise DataError(f"{path} is a damaged pickle ({reason}). Fetch it again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}; a dictionary was expected.")
    return {_text(key): _plain(value) for key, value in content.items()}


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, list):
        return [_text(each) if isinstance(each, bytes) else each for each in value]
    return value
