"""Volumes in files: NIfTI by nibabel, DICOM by pydicom, and TIFF of several pages by Pillow."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from torchfolio.data.folders import listing
from torchfolio.data.images import SUFFIXES, opened_image
from torchfolio.data.volumes.volume import ORIENTATION, Volume, finite
from torchfolio.errors import DataError, RequestError

NIFTI = (".nii", ".nii.gz")
TIFF = (".tif", ".tiff")
MARK = b"DICM"  # after 128 bytes of a DICOM file
TILTED = 0.5  # slices: by how much a contour may lie in several
OFF = 0.05  # of a slice's distance: how unequal distances of slices may be


def is_nifti(name: str) -> bool:
    """Return whether a file is named as NIfTI."""
    return name.lower().endswith(NIFTI)


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM: by its name, or its mark.

    Names may end in anything, such as the last number of a UID; those of pictures are not read.
    """
    if path.suffix.lower() == ".dcm":
        return True
    if path.suffix.lower() in SUFFIXES or is_nifti(path.name):
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == MARK
    except OSError:
        return False


def pages(path: Path) -> int:
    """Return how many pages a TIFF has; 0 for what is none, or damaged."""
    if path.suffix.lower() not in TIFF:
        return 0
    try:
        with Image.open(path, formats=["TIFF"]) as image:
            return int(getattr(image, "n_frames", 1))
    except Exception:  # damaged files raise anything; the reader that takes them says what it is
        return 0


def read_volume(path: Path, series: Sequence[Path] = ()) -> Volume:
    """Read a volume: a file, or the ``series`` of DICOM files of a folder. Raises ``DataError``."""
    with damaged("volume"):
        if series or path.is_dir():
            return read_series(
                list(series) or sorted(each for each in path.iterdir() if is_dicom(each))
            )
        if is_nifti(path.name):
            return read_nifti(path)
        if path.suffix.lower() in TIFF:
            return read_pages(path)
        return read_series([path])


def needed(package: str) -> Any:
    """Return a package of the extra "medical"; say how to install it where it is not there."""
    try:
        return __import__(package)
    except ImportError:
        raise RequestError(
            f"These are medical volumes, which need {package}: pip install 'torchfolio[medical]'."
        ) from None


@contextmanager
def damaged(what: str) -> Iterator[None]:
    """Turn whatever a library raises for a damaged file into a ``DataError``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (DataError, RequestError):
        raise
    except MemoryError as error:
        raise DataError("not enough memory to read it") from error
    except Exception as error:
        raise DataError(f"no {what} that can be read ({reason(error)})") from error


def reason(error: Exception) -> str:
    """Return the first line of what a library says, and the next where that goes on there."""
    first, *more = [each.strip() for each in str(error).strip().split("\n") if each.strip()] or [""]
    return f"{first} {more[0]}" if first.endswith(":") and more else first or type(error).__name__


# NIfTI


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file, turned so that indices lead to the patient's left, back and head."""
    nibabel = needed("nibabel")
    with damaged("NIfTI"):
        image = nibabel.load(path)
        array = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, np.float64)
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or not array.size:
        shape = " x ".join(map(str, array.shape))
        raise DataError(f"has the shape {shape}; three dimensions are read (no colours, no times)")
    if array.dtype.kind not in "buif":
        what = "colours (RGB)" if array.dtype.names else f"values of {array.dtype}"
        raise DataError(f"holds {what}; one number a voxel is read")
    return turned(finite(array), affine)


def turned(array: NDArray[Any], affine: NDArray[np.float64]) -> Volume:
    """Return a volume in our orientation from one with an affine in millimetres (RAS)."""
    nibabel = needed("nibabel")
    orientations: Any = nibabel.orientations
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise DataError("its affine matrix cannot be inverted")
    own = orientations.io_orientation(affine)
    ours = orientations.axcodes2ornt(ORIENTATION)
    there = orientations.ornt_transform(own, ours)
    back = orientations.ornt_transform(ours, own)
    zooms = np.sqrt((affine[:3, :3] ** 2).sum(0))
    spacing = np.empty(3)
    spacing[there[:, 0].astype(int)] = zooms
    found = orientations.apply_orientation(array, there)
    new = affine @ orientations.inv_ornt_aff(there, array.shape)

    def save(values: NDArray[np.uint8] | NDArray[np.float32], path: Path) -> None:
        own_order = orientations.apply_orientation(values, back)
        image = nibabel.Nifti1Image(np.ascontiguousarray(own_order), affine)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, path)

    x, y, z = spacing.tolist()
    return Volume(found, (x, y, z), save, ".nii.gz", new)


# TIFF


def read_pages(path: Path) -> Volume:
    """Read the pages of a TIFF as the slices of a volume."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}") from error
    with opened_image(data, path.suffix.lower()) as image:
        found = []
        for page in range(getattr(image, "n_frames", 1)):
            image.seek(page)
            if image.mode in ("1", "P", "L", "F", "I") or image.mode.startswith("I;16"):
                pixels = np.asarray(image)
            else:
                pixels = np.asarray(image.convert("L"))
            found.append(pixels.astype(np.uint8) * 255 if image.mode == "1" else pixels)
    if len({each.shape for each in found}) > 1:
        raise DataError("its pages have different sizes")
    array = np.stack(found).transpose(2, 1, 0)  # (columns, rows, pages)

    def save(values: NDArray[np.uint8] | NDArray[np.float32], path: Path) -> None:
        first, *rest = [
            Image.fromarray(np.ascontiguousarray(each.T)) for each in np.moveaxis(values, 2, 0)
        ]
        first.save(path, "TIFF", save_all=True, append_images=rest, compression="tiff_deflate")

    return Volume(finite(array), (1.0, 1.0, 1.0), save, ".tif")


# DICOM


def read_header(path: Path) -> Any:
    """Read a DICOM file without its pixels; raise ``DataError`` for one that is damaged."""
    with damaged("DICOM"):
        return opened_dicom(path, stop_before_pixels=True)


def opened_dicom(path: Path, **settings: Any) -> Any:
    """Read a DICOM file, also one without the usual beginning; raise ``DataError`` for no DICOM."""
    pydicom = needed("pydicom")
    try:
        return pydicom.dcmread(path, **settings)
    except pydicom.errors.InvalidDicomError:
        found = pydicom.dcmread(path, force=True, **settings)
        if "SOPClassUID" not in found:
            raise DataError("no DICOM: it has neither the mark nor the tags of one") from None
        return found


def read_series(files: Sequence[Path]) -> Volume:
    """Read the slices of one series in the order of their places in the patient."""
    found = []
    for file in files:
        with damaged(f"DICOM in {file.name}"):
            found.append(opened_dicom(file))
    if not found:
        raise DataError("holds no DICOM file")
    return assembled(found, [file.name for file in files])


def assembled(slides: Sequence[Any], names: Sequence[str]) -> Volume:
    """Return the volume of slices that were read."""
    pixels = [hounsfield(each, name) for each, name in zip(slides, names, strict=True)]
    if len({each.shape for each in pixels}) > 1:
        shapes = sorted({" x ".join(map(str, each.shape)) for each in pixels})
        raise DataError(f"its slices have different sizes: {listing(shapes)}")
    if len(slides) == 1 and pixels[0].ndim == 3:
        raise DataError("holds several frames in one file, which are not read")
    with damaged("DICOM"):
        places = [place_of(each) for each in slides]
    if any(each is None for each in places):
        if len(slides) > 1:
            raise DataError("its slices do not say where they lie (ImagePositionPatient)")
        array = np.stack(pixels).transpose(2, 1, 0)
        return turned(array, np.diag([-1.0, -1.0, 1.0, 1.0]))
    rows, columns, spacing = geometry(slides[0])
    normal = np.cross(rows, columns)
    along = np.array([float(np.dot(each, normal)) for each in places if each is not None])
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order])
    if len(steps) and (steps.min() <= 0 or steps.max() - steps.min() > OFF * steps.max()):
        raise DataError(
            f"its slices lie {steps.min():.3g} to {steps.max():.3g} mm apart: some are missing, "
            "or there twice"
        )
    step = float(steps.mean()) if len(steps) else float(slides[0].get("SliceThickness", 1) or 1)
    array = np.stack([pixels[each] for each in order]).transpose(2, 1, 0)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = rows * spacing[1], columns * spacing[0]
    affine[:3, 2], affine[:3, 3] = normal * step, places[int(order[0])]
    affine[:2] *= -1  # DICOM counts to the left and back, NIfTI to the right and front
    return turned(finite(array), affine)


def hounsfield(slide: Any, name: str) -> NDArray[Any]:
    """Return the pixels of a slice as what they measure: slope times value plus intercept."""
    with damaged("DICOM"):
        try:
            pixels = np.asarray(slide.pixel_array)
        except Exception as error:
            raise DataError(f"{name}: no pixels that can be read ({reason(error)})") from error
    if slide.get("SamplesPerPixel", 1) != 1:
        pixels = pixels @ np.array([0.299, 0.587, 0.114])  # ITU-R 601
    (slope,) = numbers(slide, "RescaleSlope", 1, (1.0,))
    (intercept,) = numbers(slide, "RescaleIntercept", 1, (0.0,))
    if (slope, intercept) != (1.0, 0.0):
        pixels = pixels.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    return pixels


def numbers(slide: Any, tag: str, count: int, default: Sequence[float] = ()) -> list[float]:
    """Return the numbers of a tag, ``default`` where it is absent; raise ``DataError`` for others.

    An empty tag is no absent one: what it should say is not known.
    """
    if tag not in slide:
        return list(default)
    told = slide.get(tag)
    try:
        found = [float(each) for each in (told if count > 1 else [told])]
    except (TypeError, ValueError):
        found = []
    if len(found) != count or not np.isfinite(found).all():
        said = "empty" if told is None or told == "" else repr(str(told))
        raise DataError(
            f"its {tag} is {said}, not {'a number' if count == 1 else f'{count} numbers'}"
        )
    return found


def place_of(slide: Any) -> NDArray[np.float64] | None:
    """Return where a slice begins in the patient, in millimetres."""
    if "ImagePositionPatient" not in slide or "ImageOrientationPatient" not in slide:
        return None
    return np.array(numbers(slide, "ImagePositionPatient", 3))


def geometry(slide: Any) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float]]:
    """Return where rows and columns lead, and how far pixels lie apart down and across."""
    directions = np.array(numbers(slide, "ImageOrientationPatient", 6))
    down, across = numbers(slide, "PixelSpacing", 2, (1.0, 1.0))
    return directions[:3], directions[3:], (down, across)


# Contours (RTSTRUCT)


def referenced_series(structure: Any) -> str:
    """Return the series that the contours of an RTSTRUCT were drawn in; "" where it is not said."""
    with damaged("RTSTRUCT"):
        for frame in structure.get("ReferencedFrameOfReferenceSequence", ()):
            for study in frame.get("RTReferencedStudySequence", ()):
                for series in study.get("RTReferencedSeriesSequence", ()):
                    return str(series.SeriesInstanceUID)
    return ""


def regions(structure: Any) -> list[str]:
    """Return the names of the regions of an RTSTRUCT that have contours, in its order."""
    with damaged("RTSTRUCT"):
        names = {each.ROINumber: str(each.ROIName) for each in structure.StructureSetROISequence}
        return [
            names[each.ReferencedROINumber]
            for each in structure.ROIContourSequence
            if "ContourSequence" in each
        ]


def filled(structure: Any, volume: Volume, classes: Sequence[str]) -> NDArray[np.uint8]:
    """Return the classes of a volume's voxels by the contours of an RTSTRUCT.

    ``classes`` are names of regions, the first of them class 1. A voxel is inside where its centre
    is; contours within contours of one region cut holes, as is usual. Smaller regions lie over
    larger ones. Raises ``DataError`` where contours do not lie in axial slices.
    """
    assert volume.affine is not None
    inverse = np.linalg.inv(volume.affine)
    width, height, depth = volume.array.shape
    inside: list[tuple[int, NDArray[np.bool_]]] = []
    with damaged("RTSTRUCT"):
        names = {each.ROINumber: str(each.ROIName) for each in structure.StructureSetROISequence}
        for region in structure.ROIContourSequence:
            if "ContourSequence" not in region:
                continue
            name = names[region.ReferencedROINumber]
            own = np.zeros((width, height, depth), bool)
            for contour in region.ContourSequence:
                points = np.array([float(each) for each in contour.ContourData]).reshape(-1, 3)
                points[:, :2] *= -1  # from DICOM's directions to the affine's
                voxels = points @ inverse[:3, :3].T + inverse[:3, 3]
                plane = round(float(voxels[:, 2].mean()))
                if np.ptp(voxels[:, 2]) > TILTED:
                    raise DataError(f"the contours of {name} do not lie in axial slices")
                if len(points) >= 3 and 0 <= plane < depth:
                    own[:, :, plane] ^= drawn(voxels[:, :2], (width, height))
            inside.append((classes.index(name) + 1, own))
    found = np.zeros((width, height, depth), np.uint8)
    for label, own in sorted(inside, key=lambda each: -int(each[1].sum())):
        found[own] = label
    return found


def drawn(points: NDArray[np.float64], shape: tuple[int, ...], fine: int = 8) -> NDArray[np.bool_]:
    """Return which voxels of a plane (x, y) have their centre inside a polygon."""
    image = Image.new("1", (shape[0] * fine, shape[1] * fine))
    corners = [((x + 0.5) * fine, (y + 0.5) * fine) for x, y in points.tolist()]
    ImageDraw.Draw(image).polygon(corners, fill=1)
    return np.asarray(image)[fine // 2 :: fine, fine // 2 :: fine].T
