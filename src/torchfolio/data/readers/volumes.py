"""Medical volumes, and stacks of pages, with masks: cut into slices."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.class_names import told_classes
from torchfolio.data.dataset import Dataset, Problem, Progress, Reader
from torchfolio.data.folders import SPLIT_OF, counted, descend, given_splits, require_some
from torchfolio.data.kinds import MASKED
from torchfolio.data.mask_rules import MaskRule, understand
from torchfolio.data.masks import MaskFacts
from torchfolio.data.pairing import MASK_WORDS, TOKEN, key_of
from torchfolio.data.readers.image_folder import walk
from torchfolio.data.readers.image_masks import groups_by
from torchfolio.data.records import digest, fingerprint
from torchfolio.data.volumes.files import (
    TIFF,
    filled,
    is_dicom,
    is_nifti,
    pages,
    read_header,
    referenced_series,
    regions,
)
from torchfolio.data.volumes.slices import Pair, SliceMasks, Slices, read_files
from torchfolio.data.volumes.volume import (
    Axis,
    Volume,
    cut,
    own_window,
    read_window,
    slices,
    spacing_of,
    usual_axis,
)
from torchfolio.errors import DataError
from torchfolio.options import option, plain

FOLDERS = frozenset(
    (
        "imagestr", "labelstr", "imagests", "labelsts", "images", "labels", "image", "mask",
        "masks", "label",
    )
)  # fmt: skip
OF_NNUNET = {"imagestr": "train", "imagests": "test"}
CHANNEL = re.compile(r"_0000$")  # of nnU-Net's names: the first channel
MEASURED = 20  # volumes whose spacing chooses the axis
LOOK = 200  # files that are looked at to recognise volumes
LEAST_GROUPS = 3  # one for each split
APART = 0.5  # voxels: how far a mask may lie from its volume
READERS = 2  # threads that read volumes


@dataclass(frozen=True)
class VolumeOptions:
    """Settings of the reading of volumes."""

    axis: Literal["auto", "axial", "coronal", "sagittal"] = option(
        "auto", "The axis along which volumes are cut; auto: that with the coarsest spacing."
    )
    window: str = option(
        "auto",
        "What becomes black and white: soft-tissue, lung, bone, brain (CT), or LOW:HIGH; auto: "
        "soft tissue where values go below -500, else 0.5 and 99.5 per cent of a volume.",
    )
    mask_values: str | None = option(None, "What the values of masks are: 0=background 1=tumour.")
    class_names: str | None = option(
        None, "The names of the classes in the order of their indices, with commas."
    )
    group_pattern: str | None = option(
        None,
        "A regular expression: what it finds in a name is the group (patient); or none.",
    )


@dataclass
class Source:
    """A volume as found: its name, its files, and how its mask is read (values of its shape).

    ``patient`` is whom its files name, "" where they name nobody.
    """

    name: str
    files: tuple[Path, ...]
    mask: str
    read_mask: Callable[[Volume], NDArray[Any]]
    regions: tuple[str, ...] = ()
    patient: str = ""


@dataclass
class Seen:
    """What one volume holds, once it was read."""

    pair: Pair
    spacing: tuple[float, float, float]
    facts: MaskFacts
    digests: NDArray[np.uint64]  # of slices
    of_masks: NDArray[np.uint64]


class Volumes(Reader):
    """NIfTI files, DICOM series or TIFF stacks with their masks, cut into slices.

    Masks are told by names (NAME and NAME_mask, or folders as imagesTr and labelsTr), or are the
    contours of an RTSTRUCT. Slices of one patient stay together. Record: volume and place.
    """

    name: ClassVar[str] = "volumes"
    reads: ClassVar[str] = "volumes (NIfTI, DICOM series, TIFF stacks) and their masks"
    kind: ClassVar[str] = MASKED
    Options = VolumeOptions
    options: VolumeOptions

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        if not path.is_dir():
            return None
        root = descend(path)
        for name in islice(walk(root, root), LOOK):
            file = root / name
            if is_nifti(name):
                return "volumes in NIfTI files"
            if is_dicom(file):
                return "volumes in DICOM files"
            if names_mask(name) and file.suffix.lower() in TIFF and pages(file) > 1:
                return "stacks of pages in TIFF files"
        return None

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        root = descend(path)
        problems: list[Problem] = []
        sources = find_sources(root, problems)
        window = read_window(self.options.window)
        seen: list[tuple[Source, Seen]] = []
        axis = self.axis(sources, problems)

        def one(source: Source) -> Seen | str:
            try:
                return examined(source, axis, window)
            except DataError as error:
                return str(error)

        with ThreadPoolExecutor(READERS, thread_name_prefix="folio-volumes") as pool:
            for done, (source, found) in enumerate(
                zip(sources, pool.map(one, sources), strict=True), 1
            ):
                if isinstance(found, str):
                    problems.append(Problem(source.name, found))
                else:
                    seen.append((source, found))
                if progress is not None:
                    progress(done, len(sources))
        wanted = f"no volume with a mask that can be read: {self.reads} was expected"
        require_some(seen, wanted, path, problems, on_error)
        rule = self.rule(root, seen)
        texts = [rule.stray(each.facts) for _, each in seen]
        for (source, _), text in zip(seen, texts, strict=True):
            problems += [Problem(source.name, f"its mask {source.mask}: {text}")] if text else []
        seen = [each for each, text in zip(seen, texts, strict=True) if not text]
        require_some(seen, wanted, path, problems, on_error)
        return self.dataset(path, rule, axis, seen, problems)

    def axis(self, sources: Sequence[Source], problems: list[Problem]) -> Axis:
        """Return the axis along which all volumes are cut."""
        if self.options.axis != "auto":
            return self.options.axis
        spacings = []
        for source in sources[:: max(1, len(sources) // MEASURED)]:
            try:
                spacings.append(read_files(source.files).spacing)
            except DataError:
                continue  # it is named when all are read
        return usual_axis(np.array(spacings)) if spacings else "axial"

    def dataset(
        self,
        path: Path,
        rule: MaskRule,
        axis: Axis,
        seen: Sequence[tuple[Source, Seen]],
        problems: list[Problem],
    ) -> Dataset:
        """Return the dataset of volumes that were read."""
        counts = [each.pair.count for _, each in seen]
        volume = np.repeat(np.arange(len(seen)), counts)
        place = np.concatenate([np.arange(count) for count in counts])
        of_slice = np.stack([volume, place], 1)
        sources = [source for source, _ in seen]

        def read(number: int) -> NDArray[Any]:
            source = sources[number]
            return source.read_mask(read_files(source.files))

        of_masks = np.concatenate([each.of_masks for _, each in seen])
        masks = SliceMasks(of_slice, axis, rule, read, of_masks)
        digests = np.concatenate([each.digests for _, each in seen])
        pairs = [each.pair for _, each in seen]
        records = Slices(pairs, axis, of_slice, digests, masks)
        groups, kept = groups_of(sources, self.options.group_pattern)
        windows = {each.window for each in pairs}
        shown = f"{pairs[0].window[0]:g}:{pairs[0].window[1]:g}" if len(windows) == 1 else "of each"
        return Dataset(
            kind=MASKED,
            name=str(path),
            path=str(path),
            reader=self.name,
            records=records,
            given=given_splits([split_of(pairs[number].name) for number in volume.tolist()]),
            fingerprint=fingerprint(
                *("\n".join(each.name for each in pairs), axis, digests, of_masks, repr(rule)),
                repr([each.window for each in pairs]),
            ),
            classes=rule.names,
            groups=None if groups is None else groups[volume],
            facts=records.facts(),
            problems=problems,
            reader_options=plain(self.options),
            reading="; ".join(
                [
                    f"{counted(len(pairs), 'volume')}, cut into {axis} slices (--axis)",
                    kept,
                    f"window {shown} (--window)",
                    f"masks: {rule.reading}",
                ]
            ),
        )

    def rule(self, root: Path, seen: Sequence[tuple[Source, Seen]]) -> MaskRule:
        """Return what the values of all masks mean."""
        of_contours = list(dict.fromkeys(name for source, _ in seen for name in source.regions))
        names = ["background", *of_contours] if of_contours else []
        return understand(
            [each.facts for _, each in seen], *told_classes(root, self.options, names)
        )


def examined(source: Source, axis: Axis, window: tuple[float, float] | None) -> Seen:
    """Read a volume and its mask; raise ``DataError`` where either is damaged or they differ."""
    volume = read_files(source.files)
    try:
        mask = source.read_mask(volume)
    except DataError as error:
        raise DataError(f"its mask {source.mask}: {error}") from error
    count = slices(volume.array, axis)
    values, counts = np.unique(mask, return_counts=True)
    rows, columns = cut(mask, axis, 0).shape
    facts = dict(zip(values.astype(int).tolist(), counts.tolist(), strict=True))
    pair = Pair(
        source.name,
        source.files,
        source.mask,
        window or own_window(volume.array),
        spacing_of(volume.spacing, axis),
        (rows, columns),
        count,
    )

    def of_slices(array: NDArray[Any]) -> NDArray[np.uint64]:
        cuts = (np.ascontiguousarray(cut(array, axis, place)) for place in range(count))
        return np.fromiter((of_slice(each, source.name) for each in cuts), np.uint64, count)

    height, width = mask.shape[:2]
    return Seen(
        pair,
        volume.spacing,
        MaskFacts(height, width, "grey", False, facts),
        of_slices(volume.array),
        of_slices(mask.astype(np.int32)),
    )


def of_slice(pixels: NDArray[Any], name: str) -> int:
    """Return a number that tells the content of a slice.

    Blank slices are alike in all patients, and no copies of each other: theirs is of the volume.
    """
    blank = bool((pixels == pixels.flat[0]).all())
    return digest(name.encode("utf-8", "surrogateescape") if blank else pixels.data)


def find_sources(root: Path, problems: list[Problem]) -> list[Source]:
    """Return the volumes below a folder that have a mask; name those without."""
    files = list(walk(root, root, problems))
    single = [name for name in files if is_nifti(name) or pages(root / name) > 1]
    found = of_single_files(root, single, problems)
    return found + of_series(root, [name for name in files if is_dicom(root / name)], problems)


def of_single_files(root: Path, names: Sequence[str], problems: list[Problem]) -> list[Source]:
    """Return the volumes of one file each, and the files of their masks.

    A mask has a word such as "mask" in its name or folder; else its name goes on where that of a
    volume ends.
    """
    masks = [name for name in names if names_mask(name)]
    rest = [name for name in names if name not in set(masks)]
    table: dict[str, list[str]] = {}
    for name in sorted(masks):
        table.setdefault(volume_key(name), []).append(name)
    if not masks:  # NAME and NAME_anything
        for name in names:
            starts = [each for each in names if stem(name).startswith(f"{stem(each)}_")]
            if starts:
                table.setdefault(volume_key(min(starts, key=len)), []).append(name)
                rest.remove(name)
    found, used = [], set()
    for name in rest:
        key = next((each for each in (volume_key(name), *shorter(name)) if each in table), None)
        if key is None:
            problems.append(Problem(name, "no mask: left out"))
            continue
        mask, *others = table[key]
        used.add(key)
        problems += [
            Problem(each, f"a further mask of {name}, which has {mask}: left out")
            for each in others
        ]
        found.append(Source(name, (root / name,), mask, mask_reader(root / mask)))
    for key in table.keys() - used:
        problems += [Problem(each, "a mask without volume: left out") for each in table[key]]
    return found


def shorter(name: str) -> list[str]:
    """Return the keys of a volume without words at its end: of its sequence (flair, t1, ct).

    Numbers are left: those name another volume.
    """
    folder, _, text = volume_key(name).rpartition("/")
    tokens = text.split("_")
    found = []
    while len(tokens) > 1 and not tokens[-1].isdigit():
        tokens.pop()
        found.append("/".join(filter(None, (folder, "_".join(tokens)))))
    return found


def mask_reader(path: Path) -> Callable[[Volume], NDArray[Any]]:
    """Return how the mask of a volume is read from a file."""

    def read(volume: Volume) -> NDArray[Any]:
        mask = read_files([path])
        if mask.array.shape != volume.array.shape:
            shapes = [" x ".join(map(str, each.array.shape)) for each in (mask, volume)]
            raise DataError(f"has {shapes[0]} voxels, its volume {shapes[1]}")
        if mask.affine is not None and volume.affine is not None:
            moved = np.linalg.inv(volume.affine) @ mask.affine - np.eye(4)
            away = np.abs(moved[:3, :3]).max() * max(mask.array.shape) + np.abs(moved[:3, 3]).max()
            if away > APART:
                raise DataError(f"lies {away:.1f} voxels away from its volume")
        values = mask.array
        if values.dtype.kind == "f":
            whole = np.rint(values)
            if np.abs(whole - values).max() > 1e-3:
                raise DataError("holds numbers that are not whole, so it is no mask of classes")
            values = whole
        return values.astype(np.int32)

    return read


def of_series(root: Path, names: Sequence[str], problems: list[Problem]) -> list[Source]:
    """Return the volumes of DICOM series that have contours; name what cannot be read."""
    series: dict[str, list[str]] = {}
    patients: dict[str, Any] = {}  # of series
    structures: list[tuple[str, Any]] = []
    for name in names:
        try:
            header = read_header(root / name)
        except DataError as error:
            problems.append(Problem(name, str(error)))
            continue
        if header.get("Modality") == "RTSTRUCT":
            structures.append((name, header))
        elif "Rows" not in header:
            problems.append(Problem(name, f"no picture ({header.get('Modality', 'of no kind')})"))
        else:
            number = str(header.get("SeriesInstanceUID", name))
            series.setdefault(number, []).append(name)
            patients[number] = header.get("PatientID")
    told_of: list[tuple[str, str, tuple[str, ...], Any]] = []
    for name, structure in structures:
        try:
            told_of.append(
                (name, referenced_series(structure), tuple(regions(structure)), structure)
            )
        except DataError as error:
            problems.append(Problem(name, str(error)))
    every = list(dict.fromkeys(region for _, _, named, _ in told_of for region in named))
    found = []
    for name, wanted, named, structure in told_of:
        if wanted not in series:  # the one series of the same patient, where there is just one
            same = [each for each in series if patients[each] == structure.get("PatientID")]
            wanted = same[0] if len(same) == 1 else wanted
        own = series.pop(wanted, None)
        if own is None:
            text = "the series of its contours is not there, or has the contours of another file"
            problems.append(Problem(name, text))
            continue
        folder = str(PurePosixPath(own[0]).parent)
        files = tuple(sorted(root / each for each in own))
        who = str(patients[wanted] or "").strip()
        found.append(Source(folder, files, name, contours(structure, every), named, who))
    for own in series.values():
        text = f"a series of {counted(len(own), 'file')}, no mask: left out"
        problems.append(Problem(own[0], text))
    return found


def contours(structure: Any, named: Sequence[str]) -> Callable[[Volume], NDArray[Any]]:
    """Return how a mask is read from the contours of an RTSTRUCT."""
    return lambda volume: filled(structure, volume, named).astype(np.int32)


def stem(name: str) -> str:
    """Return a path without the suffixes of a volume, and without nnU-Net's channel."""
    text = re.sub(r"\.(nii|nii\.gz|tif|tiff|dcm)$", "", name, flags=re.IGNORECASE)
    return CHANNEL.sub("", text)


def names_mask(name: str) -> bool:
    """Return whether a word in a file's name, or its folder, says that it is a mask."""
    path = PurePosixPath(stem(name))
    folder = path.parent.name.lower().removesuffix("tr").removesuffix("ts")
    tokens = [each.lower() for each in TOKEN.findall(path.name)]
    return folder in MASK_WORDS or any(each in MASK_WORDS - {"l"} for each in tokens[1:])


def volume_key(name: str) -> str:
    """Return what a volume and its mask have in common."""
    path = PurePosixPath(stem(name))
    parts = [each for each in path.parent.parts if each.lower() not in FOLDERS]
    return "/".join([*parts, key_of(f"{path.name}.nii").removeprefix("./")])


def groups_of(sources: Sequence[Source], pattern: str | None) -> tuple[NDArray[Any] | None, str]:
    """Return the group of each volume, and in words which slices stay together.

    Those of one patient, or, of few patients, those of one volume; of few volumes they are split.
    A pattern finds the group in names; "none" keeps nothing together.
    """
    names = [each.name for each in sources]
    if pattern is not None:
        groups = groups_by(pattern, names)
        number = 0 if groups is None else len(set(groups.tolist()))
        kept = f"in {counted(number, 'group')}" if number else "one by one"
        return groups, f"slices are split {kept} (--group-pattern)"
    patients = [each.patient or patient(each.name) for each in sources]
    if len(set(patients)) >= LEAST_GROUPS:
        number = len(set(patients))
        kept = f"slices of one patient stay together ({counted(number, 'patient')})"
        return np.array(patients, object), kept
    if len(names) >= LEAST_GROUPS:
        kept = "slices of one volume stay together"
        if len(set(patients)) < len(names):
            people = counted(len(set(patients)), "patient")
            kept += f", and splits may share patients: of {people} there are {len(names)} volumes"
            kept += " (--group-pattern)"
        return np.array(names, object), kept
    return None, "slices are split one by one, for there are too few volumes"


def split_of(name: str) -> str:
    """Return the split that a folder of a volume's path names; "train" where none does."""
    for each in PurePosixPath(name).parts[:-1]:
        split = OF_NNUNET.get(each.lower()) or SPLIT_OF.get(each.lower())
        if split is not None:
            return split
    return "train"


def patient(name: str) -> str:
    """Return the patient that a volume's name tells: up to its first number, else all of it.

    Numbers with points between them (1.2.840.10008) are one number.
    """
    match = re.match(r"(.*?\d+(?:(?:\.\d+){3,})?)(?=\D|$)", stem(name))
    return match[1] if match else stem(name)
