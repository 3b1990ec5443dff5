"""Answers that are masks: their rows and pictures, and what an exported file answers.

A run's task and an exported file share what is here; the file answers without torch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchfolio.checkpoint import free_path, replacing, write_bytes
from torchfolio.data.fitting import at_depth, opened, resize, with_channels
from torchfolio.data.images import Pixels, decode
from torchfolio.tasks.image_answers import named, read
from torchfolio.tasks.rows import plain_values
from torchfolio.tasks.segmentation.masks import describe, palette_mask, tinted
from torchfolio.tasks.segmentation.options import SegmentationAnswerOptions
from torchfolio.tasks.segmentation.tiling import EDGE, Box, Tile, bands, mirrored, tiles

Run = Callable[[Sequence[NDArray[Any]]], NDArray[np.float32]]  # computes a batch
Floats = NDArray[np.float32]


class MaskRow(dict[str, Any]):
    """A row, and beside it the class of each pixel, which no table and no JSON holds.

    ``probabilities`` (classes, height, width) are there where they were asked for.
    """

    classes: NDArray[np.uint8]
    probabilities: NDArray[np.float16] | None


def empty_row(item: Any) -> dict[str, Any]:
    """Return the row of an input of which nothing is known yet."""
    row: dict[str, Any] = {"input": named(item), "prediction": None, "probability": None}
    return row | {"error": None, "shares": {}}


def mask_row(
    row: dict[str, Any],
    names: list[str],
    classes: NDArray[np.uint8],
    probability: NDArray[np.uint8],
    probabilities: NDArray[np.float16] | None,
) -> MaskRow:
    """Return the row of a mask (height, width) and of how sure it is, 0 to 255."""
    found = MaskRow(row | describe(names, classes, probability))
    found.classes, found.probabilities = classes, probabilities
    return found


def draw_mask(row: dict[str, Any], target: Path) -> Path | None:
    """Write the picture with the mask drawn in as NAME.png, and the mask as NAME_mask.png.

    Probabilities that were asked for go into NAME_probabilities.npz.
    """
    source = Path(row["input"])
    if not isinstance(row, MaskRow) or not source.is_file():
        return None
    path = free_path(target / f"{source.stem}.png")
    write_bytes(path.with_stem(f"{path.stem}_mask"), palette_mask(row.classes))
    if row.probabilities is not None:
        file = BytesIO()
        np.savez_compressed(file, probabilities=row.probabilities, classes=list(row["shares"]))
        write_bytes(path.with_name(f"{path.stem}_probabilities.npz"), file.getvalue())
    image = Image.fromarray(tinted(decode(source, 3, 8), row.classes))
    with replacing(path) as temporary:
        image.save(temporary, "PNG")
    return path


class Scene(list[Pixels]):
    """A picture as an exported network takes it, scaled, and the size that it had."""

    size: tuple[int, int]


class MaskAnswers:
    """The answers of an exported segmentation network, tile by tile as the run gives them.

    ``facts`` are those of the file. Its "sides" say which sides a batch may have: a step, what is
    left over, and the least; its "scale" what pictures are scaled by.
    """

    Options: type = SegmentationAnswerOptions
    most: ClassVar[int] = 1  # examples of a batch: pictures have sizes of their own

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.names: list[str] = [str(each) for each in facts["classes"]]
        [self.takes] = facts["inputs"]
        self.sides = [int(each) for each in self.takes["sides"]]
        self.scale = float(facts["scale"])
        self.step, self.reach, self.lost = (int(facts[key]) for key in ("step", "reach", "margin"))
        self.whole = True

    def prepare(self, options: SegmentationAnswerOptions) -> None:
        """Keep the probabilities of all classes only where they are asked for."""
        self.whole = options.probabilities

    def read(self, item: Any) -> Scene | str:
        """Return a person's picture scaled, or what is wrong with it."""

        def take(source: Path | NDArray[Any]) -> Scene:
            return self.scene(opened(source, self.takes["depth"]))

        return read(take, item)

    def record(self, records: Any, index: int) -> Scene:
        """Return a dataset's picture scaled."""
        return self.scene(records.pixels(index, self.takes["depth"]))

    def scene(self, pixels: Pixels) -> Scene:
        """Return pixels scaled."""
        pixels = with_channels(at_depth(pixels, self.takes["depth"]), self.takes["channels"])
        height, width = (max(1, round(side * self.scale)) for side in pixels.shape[:2])
        scaled = resize(pixels, height, width)
        found = Scene([np.ascontiguousarray(np.moveaxis(scaled, -1, 0))])
        found.size = pixels.shape[:2]
        return found

    def compute(self, run: Run, taken: Sequence[Scene]) -> list[NDArray[Any]]:
        """Return what each picture's pixels are: probabilities (classes, height, width), float32.

        Where all are not wanted, the likeliest class and its probability, 0 to 255: (2, height,
        width), uint8.
        """
        return [self.answer(run, each) for each in taken]

    def answer(self, run: Run, scene: Scene) -> NDArray[Any]:
        """Return what one picture's pixels are."""
        found: NDArray[Any] = np.empty((2, *scene.size), np.uint8)
        if self.whole:
            found = np.empty((len(self.names), *scene.size), np.float32)
        for (top, bottom, left, right), scores in self.scores(run, scene):
            powers = np.exp(scores - scores.max(0))
            powers /= powers.sum(0)
            if not self.whole:
                powers = np.stack([powers.argmax(0), np.rint(powers.max(0) * 255)])
            found[:, top:bottom, left:right] = powers
        return found

    def scores(self, run: Run, scene: Scene) -> Iterator[tuple[Box, Floats]]:
        """Give the scores (classes, rows, columns) of a picture's own pixels, box by box."""
        [picture], whole = scene, scene.size
        size = (picture.shape[1], picture.shape[2])
        edge = 0 if size == whole else EDGE
        for tile in tiles(*size, self.reach, self.step):
            wider = tile.wider(edge)
            said = self.of_tile(run, picture, wider)
            at = (wider.core[0], wider.core[2])
            for band in bands(tile.enlarged(size, whole), len(said)):
                yield band, resampled(said, at, size, whole, band)

    def of_tile(self, run: Run, picture: Pixels, tile: Tile) -> Floats:
        """Return the scores of a tile's core."""
        top, bottom, left, right = tile.seen
        first, end, start, stop = tile.core
        if self.lost:  # what the network does not answer for is mirrored beyond the picture
            top, left = first - self.lost, start - self.lost
            rows = self.side(end - first + 2 * self.lost)
            columns = self.side(stop - start + 2 * self.lost)
            seen = picture[:, mirrored(top, rows, picture.shape[1])]
            seen = seen[:, :, mirrored(left, columns, picture.shape[2])]
            return run([seen[None]])[0, :, : end - first, : stop - start]
        after = [(0, self.side(side) - side) for side in (bottom - top, right - left)]
        seen = np.pad(picture[:, top:bottom, left:right], [(0, 0), *after], mode="edge")
        return run([seen[None]])[0, :, first - top : end - top, start - left : stop - left]

    def side(self, side: int) -> int:
        """Return the smallest side that a batch may have, not below ``side``."""
        step, rest, least = self.sides
        return max(least, -(-(side - rest) // step) * step + rest)

    def row(
        self,
        item: Any,
        found: str | NDArray[Any],
        options: SegmentationAnswerOptions,
        taken: Any,
    ) -> dict[str, Any]:
        """Return the row of one input, from what :meth:`compute` says of it or its error."""
        row, kept = empty_row(item), None
        if isinstance(found, str):
            return row | {"error": found}
        if found.dtype == np.uint8:
            classes, probability = found
        else:
            classes = found.argmax(0).astype(np.uint8)
            probability = np.rint(found.max(0) * 255).astype(np.uint8)
            kept = found.astype(np.float16) if options.probabilities else None
        return mask_row(row, self.names, classes, probability, kept)

    def line(self, row: dict[str, Any]) -> str:
        """Return an answer as the text that a person reads."""
        return str(row["prediction"])

    def briefly(self, row: dict[str, Any]) -> str:
        """Return the answer alone as text."""
        return str(row["prediction"])

    def cells(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return an answer as columns of a table."""
        return plain_values(row)

    def picture(self, row: dict[str, Any], target: Path) -> Path | None:
        """Write the picture with its mask."""
        return draw_mask(row, target)


def resampled(
    scores: Floats, at: tuple[int, int], size: tuple[int, int], whole: tuple[int, int], box: Box
) -> Floats:
    """Return scores at the pixels of a larger or smaller picture, bilinearly, as runs do."""
    top, bottom, left, right = box
    rows = sampled(scores, 1, top, bottom, size[0] / whole[0], size[0], at[0])
    return sampled(rows, 2, left, right, size[1] / whole[1], size[1], at[1])


def sampled(
    values: Floats, axis: int, first: int, end: int, ratio: float, side: int, offset: int
) -> Floats:
    """Return values at the places [first, end) along an axis, where each is ``ratio`` old ones."""
    if ratio == 1:
        return values.take(np.arange(first, end) - offset, axis)
    places = np.clip((np.arange(first, end) + 0.5) * ratio - 0.5, 0, side - 1)
    low = np.floor(places).astype(np.int64)
    share = (
        (places - low).astype(np.float32).reshape([-1 if each == axis else 1 for each in range(3)])
    )
    high, last = np.minimum(low + 1, side - 1), values.shape[axis] - 1
    below = values.take(np.clip(low - offset, 0, last), axis)
    above = values.take(np.clip(high - offset, 0, last), axis)
    return below + (above - below) * share
