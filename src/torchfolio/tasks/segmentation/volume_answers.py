"""What ``folio predict`` says of volumes: a mask with the geometry of each."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

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
from torchfolio.tasks.segmentation.asking import ask
from torchfolio.tasks.segmentation.masks import describe

ENDINGS = re.compile(r"\.(nii|nii\.gz|tif|tiff|dcm)$", re.IGNORECASE)


class VolumeRow(dict[str, Any]):
    """A row, and beside it the class of each voxel and how a file of them is written."""

    classes: NDArray[np.uint8]
    volume: Volume

    def write(self, target: Path) -> Path:
        """Write the mask into a folder, with the geometry of the volume; return its path."""
        name = ENDINGS.sub("", Path(self["input"]).name)
        names = (f"{name}_mask{more}" for more in ("", *(f"-{n}" for n in range(2, 100_000))))
        paths = (target / f"{each}{self.volume.suffix}" for each in names)
        path = next(each for each in paths if not each.exists())
        self.volume.save(self.classes, path)
        return path


def answer_volumes(
    task: Any, parts: Parts, inputs: Sequence[Any], context: Context
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
        classes, sure = answered(task, parts, volume, context)
        found = VolumeRow(row | describe(task.state["classes"], classes, np.array([sure])))
        found.classes, found.volume = classes, replace(volume, array=classes)
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
    task: Any, parts: Parts, volume: Volume, context: Context
) -> tuple[NDArray[np.uint8], float]:
    """Return the class of each voxel, slice by slice, and how sure the answers are, 0 to 255."""
    cutting = task.state["volume"]
    axis = cutting["axis"]
    window = read_window(cutting["window"]) or own_window(volume.array)
    down, across = spacing_of(volume.spacing, axis)
    factors = down / cutting["spacing"], across / cutting["spacing"]
    classes = np.zeros(volume.array.shape, np.uint8)
    sure, number = 0.0, slices(volume.array, axis)
    for place in range(number):
        pixels = shaded(cut(volume.array, axis, place), window)
        picture = task.scenes.fit(task.scenes.tensor(pixels[..., None]), factors)
        with (
            torch.inference_mode(),
            torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16),
        ):
            said = ask(task.state, parts.network, picture.to(context.device), pixels.shape)
        put(classes, axis, place, said.classes)
        sure += float(said.probability.mean()) / number
    return classes, sure
