"""What runs exported networks: onnxruntime, or torch for its own format."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from torchfolio.errors import FolioError, RequestError

INSTALL = "Install what export needs: pip install 'torchfolio[export]'."


class Engine(Protocol):
    """Runs an exported network on batches.

    ``threads`` of the caller may compute at once; each then takes one core.
    """

    threads: int

    def run(self, arrays: Sequence[NDArray[Any]], alone: bool) -> NDArray[np.float32]:
        """Return the outputs of a batch, (batch, outputs); ``arrays`` has one for each input.

        ``alone`` says that no other batch is computed meanwhile, so that every core is free.
        """
        ...


class OnnxEngine:
    """An ONNX file in onnxruntime, on the CPU.

    One batch alone gets onnxruntime's own threads; of several at once each is computed by the
    thread that asks, so that no core waits for another.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise RequestError(
                f"{path} is answered by onnxruntime, which is missing. {INSTALL}"
            ) from error
        onnxruntime.disable_telemetry_events()
        self.path, self.names = path, list(names)
        self.threads = cores()
        self._runtime: Any = onnxruntime
        self._sessions: dict[bool, Any] = {}
        self._lock = threading.Lock()

    def run(self, arrays: Sequence[NDArray[Any]], alone: bool) -> NDArray[np.float32]:
        given = dict(zip(self.names, arrays, strict=True))
        session = self.session(alone)
        try:
            (outputs,) = session.run(None, given)
        except Exception as error:  # onnxruntime's own kinds, of which it exports none
            raise FolioError(f"{self.path} could not be computed: {first_line(error)}") from error
        return outputs

    def session(self, alone: bool) -> Any:
        """Return the session for batches that come alone, or side by side; opened when needed."""
        with self._lock:
            if alone not in self._sessions:
                self._sessions[alone] = self.opened(0 if alone else 1)
            return self._sessions[alone]

    def opened(self, threads: int) -> Any:
        """Open the file in a session of so many threads; 0 leaves the number to onnxruntime."""
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        try:
            return self._runtime.InferenceSession(
                os.fspath(self.path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise FolioError(
                f"{self.path} cannot be opened by onnxruntime: {first_line(error)} Export it again."
            ) from error


class TorchEngine:
    """A program of ``torch.export`` in torch, on the CPU, one batch after another."""

    threads = 1

    def __init__(self, path: Path) -> None:
        import torch

        from torchfolio.export.quiet import quietly

        self.path = path
        try:
            with quietly(), path.open("rb") as file:
                self._program = torch.export.load(file).module()
        except Exception as error:
            raise FolioError(
                f"{path} cannot be opened by torch {torch.__version__}: {first_line(error)} "
                "Export it again."
            ) from error

    def run(self, arrays: Sequence[NDArray[Any]], alone: bool) -> NDArray[np.float32]:
        import torch

        del alone
        try:
            with torch.inference_mode():
                found = self._program(*(torch.from_numpy(each) for each in arrays))
        except Exception as error:
            raise FolioError(f"{self.path} could not be computed: {first_line(error)}") from error
        return found.numpy()


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def first_line(error: Exception) -> str:
    """Return an error of another library in one line."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".") + "."
