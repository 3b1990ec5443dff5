"""Readers: what recognises data behind a path, and opens them."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torchfolio.data.archives import is_archive, unpack
from torchfolio.data.dataset import Dataset, Progress, Reader
from torchfolio.data.downloads import SOURCES, find_known, known_name
from torchfolio.data.folders import contents, counted, listed_once, listing
from torchfolio.data.images import SUFFIXES
from torchfolio.data.kinds import BOXED, MASKED
from torchfolio.data.readers.cifar import Cifar
from torchfolio.data.readers.coco import CocoBoxes
from torchfolio.data.readers.coco_masks import CocoMasks
from torchfolio.data.readers.digit_scenes import DigitBoxes, DigitScenes
from torchfolio.data.readers.digits import Digits
from torchfolio.data.readers.idx import Idx
from torchfolio.data.readers.image_folder import ImageFolder
from torchfolio.data.readers.image_masks import ImageMasks
from torchfolio.data.readers.image_table import ImageTable
from torchfolio.data.readers.mask_boxes import MaskBoxes
from torchfolio.data.readers.mask_halves import MaskHalves
from torchfolio.data.readers.npz import Npz
from torchfolio.data.readers.voc_boxes import VocBoxes
from torchfolio.data.readers.volumes import Volumes
from torchfolio.data.readers.yolo_boxes import YoloBoxes
from torchfolio.errors import DataError, RequestError, normalise, unknown
from torchfolio.options import read_options

# Asked in this order; the first that recognises a path reads it.
ORDER: tuple[type[Reader], ...] = (
    Idx,
    Cifar,
    Npz,
    Volumes,
    CocoBoxes,
    CocoMasks,
    VocBoxes,
    YoloBoxes,
    ImageMasks,
    MaskBoxes,
    MaskHalves,
    ImageTable,
    ImageFolder,
    Digits,
    DigitScenes,
    DigitBoxes,
)
READERS: dict[str, type[Reader]] = {each.name: each for each in ORDER}
# Kinds of data that may lie in one folder.
ANNOTATED = {MASKED, BOXED}
# Opened by their names.
BUILT_IN: dict[str, type[Reader]] = {
    normalise(each.name): each for each in (Digits, DigitScenes, DigitBoxes)
}


def open_dataset(
    path: str | Path,
    *,
    reader: str | None = None,
    reader_options: Mapping[str, Any] | None = None,
    on_error: str = "skip",
    download: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Read what is behind a path, or a data set that is known by its name.

    ``reader`` and ``reader_options`` overrule what is recognised. ``on_error`` is "skip" (bad
    files are reported in ``problems`` and left out) or "stop". A path that exists wins over a
    name; ``download`` allows to fetch a known data set. ``progress(done, total)`` is called
    while files are read.
    """
    if on_error not in ("skip", "stop"):
        raise RequestError(f"--on-error is {on_error!r}; it is skip or stop.")
    kind, place = find_reader(path, reader, download=download, progress=progress)
    given = {key: value for key, value in (reader_options or {}).items() if value is not None}
    options: Any = read_options(kind.Options, given, f"the reader {kind.name}")
    dataset = kind(options).read(place, on_error=on_error, progress=progress)
    asked = Path(path)
    dataset.path = str(asked.resolve()) if asked.exists() else str(path)
    dataset.name = short_name(path)
    return dataset


def open_data(
    path: str | Path,
    *,
    reader: str | None = None,
    on_error: str = "skip",
    download: bool = False,
    **reader_options: Any,
) -> Dataset:
    """Read data of any kind that a reader recognises: a path, or a name such as "digits"."""
    return open_dataset(
        path, reader=reader, reader_options=reader_options, on_error=on_error, download=download
    )


def find_reader(
    path: str | Path,
    reader: str | None = None,
    *,
    download: bool = False,
    progress: Progress | None = None,
    kinds: Collection[str] = (),
    first: str = "",
) -> tuple[type[Reader], Path]:
    """Return the reader for a path and the folder or file it is to read; no picture is decoded.

    An archive is unpacked into the cache folder the first time. ``kinds`` are those that a network
    takes: where pictures have both masks and boxes, its own are read. ``first`` names a reader that
    reads what it recognises, whoever else does.
    """
    wanted = named_reader(reader) if reader is not None else None
    asked = Path(path)
    built_in = BUILT_IN.get(normalise(str(path)))
    if built_in is not None and (wanted is built_in or not asked.exists()):
        if wanted is not None and wanted is not built_in:
            raise RequestError(
                f"'{path}' is the built-in data set, which the reader {wanted.name} does not read. "
                "Leave --reader out, or give a path."
            )
        return built_in, Path(built_in.name)
    if wanted is not None and wanted in BUILT_IN.values():
        raise RequestError(
            f"--reader {wanted.name} reads the built-in data set of that name only, not {path}. "
            "Leave --reader out, or name another."
        )
    if not asked.exists():
        name = known_name(str(path))
        if name is None:
            raise RequestError(
                f"There is no file or folder {str(path)!r}. Data sets known by name: "
                f"{', '.join([*(each.name for each in BUILT_IN.values()), *SOURCES])}."
            )
        asked = find_known(name, download=download, progress=progress)
    place = unpack(asked) if is_archive(asked) else asked
    found = wanted or recognise(place, kinds, first)
    if asked.is_dir() and (found is None or found.recognise(place) is None):
        inner = [each for each in contents(asked)[1] if is_archive(each)]
        if len(inner) > 1 and found is None:
            names = listing([each.name for each in inner])
            raise DataError(f"{path} holds several archives: {names}. Give the path of one.")
        if len(inner) == 1:
            place = unpack(inner[0])
            found = wanted or recognise(place, kinds, first)
    if found is None:
        raise DataError(_not_recognised(path, place))
    return found, place


def _not_recognised(path: str | Path, place: Path) -> str:
    """Return what to tell about data that no reader recognises."""
    files = contents(place)[1] if place.is_dir() else []
    pictures = [each for each in files if each.suffix.lower() in SUFFIXES]
    if pictures:
        return (
            f"{path} holds {counted(len(pictures), 'picture')} in no class folder. Put the "
            "pictures of each class into a folder of its name, or give a table of paths and "
            "classes (image-table)."
        )
    empty = place.is_dir() and not any(contents(place))
    expected = "\n".join(f"  {each.name}: {each.reads}" for each in READERS.values())
    return (
        f"{path} {'is empty' if empty else 'is not recognised'}. The readers and what they "
        f"read:\n{expected}"
    )


@listed_once()
def recognise(place: Path, kinds: Collection[str] = (), preferred: str = "") -> type[Reader] | None:
    """Return the first reader that recognises a path, or the first of ``kinds`` beside it.

    The ``preferred`` one is asked before all others. What one finds wrong is told only if no other
    recognises it: a damaged table beside class folders does not keep them from being read.
    """
    wrong = None
    first: type[Reader] | None = None
    for each in sorted(READERS.values(), key=lambda reader: reader.name != preferred):
        if first is not None and (each.kind not in kinds or each.kind not in ANNOTATED):
            continue
        try:
            if each.recognise(place):
                if each.kind in kinds or not ANNOTATED & {each.kind, *kinds}:
                    return each
                first = first or each
        except DataError as error:
            wrong = wrong or error
    if wrong is not None and first is None:
        raise wrong
    return first


def named_reader(name: str) -> type[Reader]:
    """Return the reader of a name."""
    known = {normalise(each): each for each in READERS}
    if normalise(name) not in known:
        raise unknown("reader", name, READERS)
    return READERS[known[normalise(name)]]


def short_name(path: str | Path) -> str:
    """Return a short name for data: the last part of the path, without the suffix of a file."""
    asked = Path(path)
    if not asked.exists():
        return known_name(str(path)) or normalise(str(path))
    name = asked.resolve().name
    if asked.is_file():
        name = name.removesuffix(".gz").split(".")[0] or name
    return name or "data"
