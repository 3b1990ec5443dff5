"""What ``folio predict`` says of volumes: a mask with the geometry of each, and a slice of it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from torchfolio.checkpoint import replacing
from torchfolio.data.volumes.files import is_dicom, read_header, read_volume
from torchfolio.data.volumes.volume import (
    Volume,
    cut,
    own_window,
    put,
    read_window,
    shaded,
    slices,
    spacing_of,
)
from torchfolio.errors import FolioError
from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.pictures import tensor_of
from torchfolio.tasks.segmentation.asking import ask
from torchfolio.tasks.segmentation.masks import describe, tinted

ENDINGS = re.compile(r"\.(nii|nii\.gz|tif|tiff|dcm)$", re.IGNORECASE)

ODD = re.compile(r"[^\w.-]+")  # what names of files had better not hold


class VolumeRow(dict[str, Any]):
    """A row, and beside it the class of each voxel and how a file of them is written.

    ``probabilities`` (classes, x, y, z) are there where they were asked for; ``told`` (height,
    width) is the slice that shows most of what was found, as it was looked at, ``said`` its mask.
    """

    classes: NDArray[np.uint8]
    volume: Volume
    told: NDArray[np.uint8]
    said: NDArray[np.uint8]
    probabilities: NDArray[np.float16] | None

    def write(self, target: Path) -> Path:
        """Write the mask into a folder, with the geometry of the volume; return its path.

        Beside it NAME_slice.png is drawn, and of each class a volume of its probability is written
        where they were asked for.
        """
        name, suffix = ENDINGS.sub("", Path(self["input"]).name), self.volume.suffix
        endings = ("", *(f"-{n}" for n in range(2, 100_000)))
        more = next(
            each for each in endings if not (target / f"{name}_mask{each}{suffix}").exists()
        )
        path = target / f"{name}_mask{more}{suffix}"
        self.save(self.classes, path)
        image = Image.fromarray(tinted(np.repeat(self.told[..., None], 3, 2), self.said))
        with replacing(target / f"{name}_slice{more}.png") as temporary:
            image.save(temporary, "PNG")
        if self.probabilities is not None:
            for place, each in enumerate(self["shares"]):
                own = f"{name}_probability_{place}_{ODD.sub('_', each)}{more}{suffix}"
                self.save(self.probabilities[place].astype(np.float32), target / own)
        return path

    def save(self, values: NDArray[Any], path: Path) -> None:
        """Write values with the geometry of the volume into a file, whole or not at all."""
        with replacing(path) as temporary:
            own = temporary.with_name(temporary.name + self.volume.suffix)  # the ending tells how
            try:
                self.volume.save(values, own)
                own.replace(temporary)
            finally:
                own.unlink(missing_ok=True)


@dataclass
class VolumeAnswer:
    """The class of each voxel, how sure the answers are, 0 to 255, and the slice that tells most.

    ``probabilities`` (classes, x, y, z) are those of all classes, where they are wanted.
    """

    classes: NDArray[np.uint8]
    sure: float
    place: int
    window: tuple[float, float]
    probabilities: NDArray[np.float16] | None = None


def answer_volumes(
    task: Any, parts: Parts, inputs: Sequence[Any], context: Context, probabilities: bool
) -> Iterator[dict[str, Any]]:
    """Yield one row a volume; DICOM files of one series in one folder are one volume."""
    for name, files in volumes_of(inputs):
        row: dict[str, Any] = {"input": name, "prediction": None, "probability": None}
        row |= {"error": None, "shares": {}}
        try:
            missing = next((each for each in files if not each.is_file()), None)
            if missing is not None:
                raise FolioError(f"There is no file {missing}.")
            volume = read_volume(files[0], files if len(files) > 1 else ())
        except FolioError as error:
            yield row | {"error": f"{name}: {error}"}
            continue
        said = answered(task, parts, volume, context, probabilities)
        names = task.state["classes"]
        found = VolumeRow(row | describe(names, said.classes, np.array([said.sure])))
        found.classes, found.volume = said.classes, replace(volume, array=said.classes)
        axis = task.state["volume"]["axis"]
        grey = shaded(cut(volume.array, axis, said.place), said.window)
        found.told = np.rint(grey * 255).astype(np.uint8)
        found.said = np.ascontiguousarray(cut(said.classes, axis, said.place))
        found.probabilities = said.probabilities
        yield found


def volumes_of(inputs: Sequence[Any]) -> list[tuple[str, list[Path]]]:
    """Return the volumes that inputs are: their names, and their files."""
    found: dict[tuple[str, ...], list[Path]] = {}
    for item in inputs:
        path = Path(str(item))
        key: tuple[str, ...] = (str(path),)
        if path.is_file() and is_dicom(path):
            try:
                series = str(read_header(path).get("SeriesInstanceUID", path))
            except FolioError:
                series = str(path)
            key = (str(path.parent), series)
        found.setdefault(key, []).append(path)
    return [(key[0] if len(files) > 1 else str(files[0]), files) for key, files in found.items()]


def answered(
    task: Any, parts: Parts, volume: Volume, context: Context, probabilities: bool
) -> VolumeAnswer:
    """Return what each voxel is, slice by slice."""
    cutting = task.state["volume"]
    axis = cutting["axis"]
    window = read_window(cutting["window"]) or own_window(volume.array)
    down, across = spacing_of(volume.spacing, axis)
    factors = down / cutting["spacing"], across / cutting["spacing"]
    number = slices(volume.array, axis)
    found = VolumeAnswer(np.zeros(volume.array.shape, np.uint8), 0.0, number // 2, window)
    if probabilities:
        shape = (len(task.state["classes"]), *volume.array.shape)
        found.probabilities = np.zeros(shape, np.float16)
    most, whole = 0, np.float16 if probabilities else None
    for place in range(number):
        pixels = shaded(cut(volume.array, axis, place), window)
        picture = task.scenes.fit(tensor_of(pixels[..., None], task.state), factors)
        with (
            torch.inference_mode(),
            torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16),
        ):
            pixels_seen = picture.to(context.device)
            said = ask(task.state, parts.network, pixels_seen, pixels.shape, whole=whole)
        put(found.classes, axis, place, said.classes)
        if found.probabilities is not None and said.probabilities is not None:
            for own, each in zip(found.probabilities, said.probabilities, strict=True):
                put(own, axis, place, each)
        found.sure += float(said.probability.mean()) / number
        there = int((said.classes > 0).sum())
        if there > most:
            most, found.place = there, place
    return found
