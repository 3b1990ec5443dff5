"""An exported file that answers: as a run does, without torch (but for torch's own format)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.errors import FolioError, RequestError
from torchfolio.export.engines import Engine, OnnxEngine, TorchEngine
from torchfolio.export.facts import format_of, read_facts
from torchfolio.options import read_options
from torchfolio.tasks.drawing import drawn, require_pictures
from torchfolio.tasks.registry import find_answers

VALUES = 8 * 3 * 224 * 224  # input values of a batch, as in torchfolio.tasks.outputs

Inputs = list[NDArray[Any]]  # of one example: what each input takes


class Exported:
    """A file that ``folio export`` wrote: its ``facts``, and the ``answers`` of its task.

    Its format follows the suffix unless it is given. Raises ``RequestError`` for a file of another
    kind, and for one of weights alone; ``FolioError`` for a damaged one.
    """

    def __init__(self, path: str | Path, format: str | None = None) -> None:  # noqa: A002
        self.path = Path(path)
        self.format = format or format_of(self.path)
        self.facts = read_facts(self.path, self.format)
        if self.format == "safetensors":
            network = self.facts["network"]
            raise RequestError(
                f"{self.path} holds weights alone, which answer nothing by themselves: give them "
                f"to 'folio train {network} DATA --weights {self.path}' or torchfolio.create("
                f"'{network}', weights=...). For 'folio predict', export with --format onnx."
            )
        try:
            self.answers = find_answers(self.facts["task"])(self.facts)
            self.names = [str(each["name"]) for each in self.facts["inputs"]]
            self.values = values_of(self.facts["inputs"])
        except (KeyError, TypeError, ValueError) as error:
            raise FolioError(
                f"The facts in {self.path} are damaged ({error}). Export it again."
            ) from error

    @cached_property
    def engine(self) -> Engine:
        """What computes; it opens the file when it is first asked."""
        if self.format == "torch":
            return TorchEngine(self.path)
        return OnnxEngine(self.path, self.names)

    def predict(
        self,
        inputs: Iterable[Any],
        *,
        device: str = "auto",
        pictures: str | Path | None = None,
        **settings: Any,
    ) -> Iterator[dict[str, Any]]:
        """Answer inputs as :meth:`torchfolio.Run.predict` does, with the same rows and settings.

        Computed on the CPU: ``device`` is "auto" or "cpu".
        """
        if device not in ("auto", "cpu"):
            raise RequestError(
                f"{self.path} answers on the CPU; device is {device!r}. Leave --device out."
            )
        options: Any = read_options(self.answers.Options, settings, "the settings")
        require_pictures(options, pictures)
        self.answers.prepare(options)
        rows = (
            self.answers.row(item, found, options, taken)
            for item, taken, found in self.outputs(self.answers.read, list(inputs))
        )
        return rows if pictures is None else drawn(self.answers, rows, Path(pictures))

    def outputs(
        self,
        read: Callable[[Any], Inputs | str],
        items: Sequence[Any],
        most: int | None = None,
    ) -> Iterator[tuple[Any, Inputs | str, NDArray[np.float32] | str]]:
        """Yield each item, what ``read`` says of it, and its outputs, or again what is wrong.

        Threads read and compute batches of their own, as many as there are cores, so that reading
        one batch and computing another go on at the same time. A batch has up to ``most`` examples,
        and no more than the answers take.
        """
        threads = self.engine.threads
        share = -(-len(items) // threads)  # so that a few items go to all threads
        largest = min(most or self.answers.most, self.answers.most)
        size = max(1, min(largest, VALUES // self.values, share))
        batches = [items[start : start + size] for start in range(0, len(items), size)]
        crowd = min(threads, len(batches))

        def answer(
            batch: Sequence[Any],
        ) -> list[tuple[Any, Inputs | str, NDArray[np.float32] | str]]:
            loaded = [read(item) for item in batch]
            good = [each for each in loaded if not isinstance(each, str)]
            run = partial(self.engine.run, alone=crowd == 1)
            found = iter(self.answers.compute(run, good) if good else ())
            return [
                (item, each, each if isinstance(each, str) else next(found))
                for item, each in zip(batch, loaded, strict=True)
            ]

        if crowd < 2:
            for batch in batches:
                yield from answer(batch)
            return
        with ThreadPoolExecutor(crowd, thread_name_prefix="folio-exported") as pool:
            for answers in pool.map(answer, batches):
                yield from answers


def values_of(inputs: Sequence[Mapping[str, Any]]) -> int:
    """Return how many values an example has; raise ``ValueError`` where there is no input."""
    sizes = [each["channels"] * each["size"] ** 2 for each in inputs]
    if not sizes or min(sizes) < 1:
        raise ValueError(f"inputs of {sizes} values")
    return int(sum(sizes))
