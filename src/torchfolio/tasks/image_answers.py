"""Answers to pictures: how inputs are read, what a row says, and how it is drawn, without torch.

A run's task and an exported file share what is here; the file answers without torch.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from torchfolio.checkpoint import free_path, replacing
from torchfolio.data.fitting import WAYS, fitted, opened
from torchfolio.data.images import Pixels, decode
from torchfolio.errors import FolioError
from torchfolio.options import option
from torchfolio.tasks.lettering import lettered
from torchfolio.tasks.rows import plain_values

Read = TypeVar("Read")

BAR = "#cfe3f5"  # the colour of an answer's probability


@dataclass(frozen=True)
class ImageAnswerOptions:
    """Settings of the answers of image classification."""

    top: int = option(3, "How many classes to name, with probabilities.", low=1)


class Says(Protocol):
    """What says in a row which names a picture has: a task, or an exported file's answers."""

    def said(self, probabilities: Any, top: int) -> dict[str, Any]: ...


class ClassRows:
    """How the rows of classified pictures are made and shown: a line, columns, a picture."""

    noun: ClassVar[str] = "class"

    @property
    @abstractmethod
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the probabilities."""

    def given(self, probabilities: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which class is the answer, from the probabilities; both (..., classes)."""
        best = probabilities.argmax(-1)[..., None]
        return np.arange(probabilities.shape[-1]) == best

    def said(self, probabilities: Any, top: int) -> dict[str, Any]:
        """Return what a row says of one picture, from its probabilities (classes,)."""
        classes, order = self.classes, np.argsort(-probabilities, kind="stable")
        places = [
            {"class": classes[each], "probability": float(probabilities[each])}
            for each in order[:top]
        ]
        best = {"prediction": classes[order[0]], "probability": float(probabilities[order[0]])}
        return best | {"top": places}

    def line(self, row: dict[str, Any]) -> str:
        """Return an answer as the text that a person reads."""
        return ", ".join(f"{each['class']} {each['probability']:.1%}" for each in row["top"])

    def briefly(self, row: dict[str, Any]) -> str:
        """Return the answer alone as text, with its probability."""
        return f"{row['prediction']} {row['probability']:.1%}"

    def cells(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return an answer as columns of a table: plain values in order."""
        places = {
            f"{kind}_{place}": each[kind]
            for place, each in enumerate(row["top"], 1)
            for kind in ("class", "probability")
        }
        return plain_values(row) | places

    def picture(self, row: dict[str, Any], target: Path) -> Path | None:
        """Write the picture of an answer with its classes and probabilities below it, as PNG.

        An answer to an array has no file to draw.
        """
        bars = [(each["class"], each["probability"], BAR) for each in row["top"][:3]]
        return draw_bars(Path(row["input"]), bars, target)


class ExportedPictures:
    """How an exported file reads pictures and says their names; ``said`` is its task's.

    ``facts`` are those of the file: "classes", and "inputs" as ``Task.export_inputs`` gave them.
    """

    Options: type = ImageAnswerOptions
    most: ClassVar[int] = 64  # examples of a batch

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.names: list[str] = [str(each) for each in facts["classes"]]
        self.inputs: list[dict[str, Any]] = list(facts["inputs"])
        for takes in self.inputs:
            known = takes["channels"] in (1, 3) and takes["depth"] in (8, 16)
            if not known or takes["resize"] not in WAYS:
                raise ValueError(f"an input of {takes}")
            float(takes["fill"])

    @abstractmethod
    def said(self, probabilities: Any, top: int) -> dict[str, Any]:
        """Return what a row says of one picture, from its probabilities (names,)."""

    def read(self, item: Any) -> list[Pixels] | str:
        """Return what each input takes of a person's picture, or what is wrong with it."""

        def take(source: Path | NDArray[Any]) -> list[Pixels]:
            depths = {takes["depth"] for takes in self.inputs}
            pixels = {depth: opened(source, depth) for depth in depths}
            return [fitted(pixels[takes["depth"]], takes) for takes in self.inputs]

        return read(take, item)

    def record(self, records: Any, index: int) -> list[Pixels]:
        """Return what each input takes of a dataset's picture."""
        return [fitted(records.pixels(index, takes["depth"]), takes) for takes in self.inputs]

    def prepare(self, options: Any) -> None:
        """Take note of the settings before anything is computed."""

    def compute(
        self, run: Callable[[Sequence[NDArray[Any]]], Any], taken: Sequence[list[Pixels]]
    ) -> Any:
        """Return what ``run``, which computes a batch, says of what :meth:`read` returned."""
        return run([np.stack(each) for each in zip(*taken, strict=True)])

    def row(
        self, item: Any, found: str | NDArray[np.float32], options: Any, taken: Any
    ) -> dict[str, Any]:
        """Return the row of one input, from its probabilities (names,) or its error.

        ``taken`` is what :meth:`read` returned of it.
        """
        return row_of(self, item, found, options.top)


class ClassAnswers(ClassRows, ExportedPictures):
    """The answers of an exported classifier: one class a picture."""

    @property
    def classes(self) -> list[str]:
        return self.names


def row_of(task: Says, item: Any, found: str | NDArray[np.float32], top: int) -> dict[str, Any]:
    """Return the row of one input, from its probabilities (names,) or its error."""
    row: dict[str, Any] = {"input": named(item), "prediction": None, "probability": None}
    row |= {"error": None, "top": []}
    if isinstance(found, str):
        return row | {"error": found}
    return row | task.said(found, top)


def read(take: Callable[[Path | NDArray[Any]], Read], item: Any) -> Read | str:
    """Read one input by ``take``, as the training pictures were read; return its error as text."""
    try:
        if isinstance(item, np.ndarray):
            return take(item)
        if not isinstance(item, str | Path):
            return f"A {type(item).__name__} is no picture: expected a path or an array."
        if not Path(item).is_file():
            return f"There is no file {item}."
        return take(Path(item))
    except (FolioError, OSError) as error:
        return str(error)


def named(item: Any) -> str:
    """Return how a row names its input: a path, or what an array is."""
    if isinstance(item, np.ndarray):
        return f"array {'x'.join(map(str, item.shape))} {item.dtype}"
    return str(item)


def draw_bars(source: Path, bars: Sequence[tuple[str, float, str]], target: Path) -> Path | None:
    """Write a picture with bars below it, as PNG, and return where it is.

    Each bar has a name, the share of the width that it fills, and a colour. Without a file there is
    nothing to draw.
    """
    from PIL import Image, ImageDraw

    if not source.is_file():
        return None

    image = Image.fromarray(decode(source, 3, 8))
    longest = max(image.size)
    scale = min(max(320, longest), 900) / longest  # the longer side has 320 to 900 pixels
    resample = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, resample)
    width = max(320, image.width)
    sheet = Image.new("RGB", (width, image.height + 30 * len(bars) + 8), "white")
    sheet.paste(image, ((width - image.width) // 2, 0))
    draw = ImageDraw.Draw(sheet)
    for place, (name, share, colour) in enumerate(bars):
        y = image.height + 6 + 30 * place
        text, font = lettered(f"{name}  {share:.1%}")
        draw.rectangle((0, y, round(width * share), y + 26), fill=colour)
        draw.text((8, y + 2), text, fill="#102030", font=font)
    path = free_path(target / f"{source.stem}.png")
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG")
    return path
