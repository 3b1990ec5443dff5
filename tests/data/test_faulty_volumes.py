"""Faulty DICOM and NIfTI files: what each says of itself; and whose slices stay together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchfolio import open_data
from torchfolio.data.dataset import Problem
from torchfolio.data.readers.volumes import find_sources, patient
from torchfolio.data.volumes.files import read_volume
from torchfolio.errors import DataError, RequestError

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")
CT, STRUCTURE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.481.3"  # classes of DICOM


def dicom(path: Path, sort: str = CT, **tags: Any) -> Path:
    """Write a DICOM file with these tags; those that are ``...`` are left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = pydicom.Dataset()
    found.file_meta = pydicom.dataset.FileMetaDataset()
    found.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = sort
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID = "1.2.3"
    found.SOPClassUID = sort
    for name, value in tags.items():
        if value is not ...:
            setattr(found, name, value)
    found.save_as(path, enforce_file_format=True)
    return path


def piece(path: Path, place: float = 0, **tags: Any) -> Path:
    """Write one slice of 6 x 5 pixels, which lies so many millimetres up."""
    rows, columns = tags.get("Rows", 6), 5
    told = {
        "Modality": "CT", "SeriesInstanceUID": "1.5", "Rows": rows, "Columns": columns,
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16,
        "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "PixelSpacing": [2, 3],
        "ImagePositionPatient": [0, 0, place], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelData": np.arange(rows * columns, dtype="<i2").tobytes(),
    }  # fmt: skip
    return dicom(path, **(told | tags))


def test_a_whole_slice_is_read(tmp_path: Path) -> None:
    volume = read_volume(piece(tmp_path / "a.dcm", RescaleSlope=2, RescaleIntercept=-1000))
    assert volume.array[..., 0].T.tolist() == (np.arange(30).reshape(6, 5) * 2 - 1000).tolist()
    assert volume.spacing == (3.0, 2.0, 1.0)
    for tag in ("RescaleSlope", "PixelSpacing"):  # absent is no fault
        assert read_volume(piece(tmp_path / "b.dcm", **{tag: ...})).array.max() == 29


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"RescaleSlope": None}, "RescaleSlope is empty, not a number"),
        ({"RescaleIntercept": None}, "RescaleIntercept is empty, not a number"),
        ({"PixelSpacing": None}, "PixelSpacing is empty, not 2 numbers"),
        ({"PixelSpacing": [2, 3, 4]}, "PixelSpacing is .*, not 2 numbers"),
        ({"PixelSpacing": [0, 3]}, "its affine matrix cannot be inverted"),
        ({"ImagePositionPatient": [1, 2]}, "ImagePositionPatient is .*, not 3 numbers"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient is empty, not 6 numbers"),
        ({"ImageOrientationPatient": [0] * 6}, "its affine matrix cannot be inverted"),
        ({"PixelData": ...}, r"a\.dcm: no pixels that can be read"),
        ({"PixelData": b"12"}, r"a\.dcm: no pixels that can be read .*less than expected"),
        ({"Rows": 0, "PixelData": b""}, r"a\.dcm: no pixels that can be read"),
        ({"NumberOfFrames": 2, "Rows": 3, "PixelData": bytes(60)}, "holds several frames"),
    ],
)
def test_what_is_wrong_with_a_dicom_file_is_said(
    tmp_path: Path, tags: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_volume(piece(tmp_path / "a.dcm", **tags))


@pytest.mark.parametrize(
    ("places", "tags", "message"),
    [
        ((0, 1, 3), {}, "its slices lie 1 to 2 mm apart: some are missing, or there twice"),
        ((0, 1, 1), {}, "its slices lie 0 to 1 mm apart"),
        ((0, 1), {"Rows": 4}, "its slices have different sizes: 4 x 5, 6 x 5"),
        ((0, 1), {"ImagePositionPatient": ...}, "its slices do not say where they lie"),
    ],
)
def test_what_is_wrong_with_a_series_is_said(
    tmp_path: Path, places: tuple[int, ...], tags: dict[str, Any], message: str
) -> None:
    for number, place in enumerate(places):
        piece(tmp_path / f"{number}.dcm", place, **(tags if number else {}))
    with pytest.raises(DataError, match=message):
        read_volume(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no DICOM file"):
        read_volume(tmp_path / "empty")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MR_truncated.dcm", r"MR_truncated\.dcm: no pixels that can be read"),
        ("badVR.dcm", r"badVR\.dcm: no pixels that can be read"),
        ("no_meta.dcm", "no DICOM: it has neither the mark nor the tags of one"),
        ("reportsi.dcm", r"reportsi\.dcm: no pixels that can be read"),
        ("rtstruct.dcm", r"rtstruct\.dcm: no pixels that can be read"),
    ],
)
def test_faulty_public_files_are_named(public_data: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_volume(public_data / "volumes" / "pydicom_files" / name)


def test_a_folder_of_public_files_without_masks_names_each(public_data: Path) -> None:
    problems: list[Problem] = []
    assert not find_sources(public_data / "volumes" / "pydicom_files", problems)
    found = {each.path: each.problem for each in problems}
    assert found["no_meta.dcm"] == "no DICOM: it has neither the mark nor the tags of one"
    assert found["reportsi.dcm"] == "no picture (SR)"
    assert "the series of its contours is not there" in found["rtstruct.dcm"]
    assert found["CT_small.dcm"] == "a series of 1 file, no mask: left out"


def test_colours_and_complex_numbers_in_nifti_are_refused(tmp_path: Path) -> None:
    colours = np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), tmp_path / "rgb.nii")
    with pytest.raises(DataError, match=r"holds colours \(RGB\); one number a voxel is read"):
        read_volume(tmp_path / "rgb.nii")
    waves = np.zeros((3, 4, 5), np.complex64)
    nibabel.save(nibabel.Nifti1Image(waves, np.eye(4)), tmp_path / "waves.nii")
    with pytest.raises(DataError, match="holds values of complex64; one number a voxel"):
        read_volume(tmp_path / "waves.nii")
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match="no NIfTI that can be read"):
        read_volume(tmp_path / "empty.nii.gz")


def test_whatever_a_damaged_volume_leads_to_is_an_error_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise TypeError("unsupported operand")

    monkeypatch.setattr("torchfolio.data.volumes.files.read_nifti", fail)
    with pytest.raises(DataError, match=r"no volume that can be read \(unsupported operand\)"):
        read_volume(tmp_path / "a.nii")


def volume_and_mask(root: Path, name: str, high: int = 1) -> None:
    """Write a NIfTI volume of three slices, and a mask with one value beside 0."""
    root.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((5, 6, 3), np.uint8)
    mask[1:3, 2:4] = high
    for text, array in (("image", mask.astype(np.int16) * 9), ("mask", mask)):
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), root / f"{name}_{text}.nii.gz")


def test_a_volume_whose_mask_has_a_value_of_no_class_is_left_out(tmp_path: Path) -> None:
    for number in range(4):
        volume_and_mask(tmp_path / "卷 宗", f"P{number}", 7 if number == 2 else 1)
    (tmp_path / "卷 宗" / "classes.txt").write_text("none\ntumour\n")
    data = open_data(tmp_path / "卷 宗")
    (problem,) = data.problems
    assert problem.path == "P2_image.nii.gz"
    assert problem.problem == (
        "its mask P2_mask.nii.gz: the mask holds 7 in 12 pixels, which is of no class: known are "
        "0, 1"
    )
    assert len(data.records.pairs) == 3
    with pytest.raises(RequestError, match="'a' twice"):
        open_data(tmp_path / "卷 宗", class_names="a,a")


def series_and_contours(root: Path, number: int, who: str) -> None:
    """Write a series of three slices and contours of a square in it, in a folder named by a UID."""
    folder = root / f"1.2.840.113619.{number}"
    uid = f"1.7.{number}"
    for place in range(3):
        piece(folder / f"{place}.dcm", place, PatientID=who, SeriesInstanceUID=uid)
    region, contours, contour = (pydicom.Dataset() for _ in range(3))
    region.ROINumber, region.ROIName = 1, "Lung"
    contour.ContourData = [2, 1, 1, 8, 1, 1, 8, 7, 1, 2, 7, 1]
    contours.ReferencedROINumber, contours.ContourSequence = 1, [contour]
    frame, study, series = (pydicom.Dataset() for _ in range(3))
    series.SeriesInstanceUID = uid
    study.RTReferencedSeriesSequence = [series]
    frame.RTReferencedStudySequence = [study]
    dicom(
        folder / "RS.dcm", STRUCTURE, Modality="RTSTRUCT", PatientID=who,
        StructureSetROISequence=[region], ROIContourSequence=[contours],
        ReferencedFrameOfReferenceSequence=[frame],
    )  # fmt: skip


def test_slices_of_the_patient_that_dicom_names_stay_together(tmp_path: Path) -> None:
    for number, who in enumerate(["Ann", "Ann", "Bob", "Cyd"]):
        series_and_contours(tmp_path, number, who)
    data = open_data(tmp_path, axis="axial")
    assert data.groups is not None
    assert data.groups.tolist() == [*["Ann"] * 6, *["Bob"] * 3, *["Cyd"] * 3]
    assert "slices of one patient stay together (3 patients)" in data.reading
    assert data.records.masks.get(1).sum() == 6  # 2 columns of 3 mm by 3 rows of 2 mm
    own = open_data(tmp_path, group_pattern=r"(\d)$")
    assert own.groups is not None
    assert sorted(set(own.groups.tolist())) == ["0", "1", "2", "3"]
    assert "slices are split in 4 groups (--group-pattern)" in own.reading
    assert open_data(tmp_path, group_pattern="none").groups is None
    with pytest.raises(RequestError, match=r"finds nothing in 1\.2\.840\.113619\.0"):
        open_data(tmp_path, group_pattern="P")


def test_folders_named_by_uids_are_patients_of_their_own(tmp_path: Path) -> None:
    assert patient("1.2.840.113619.5/CT") == "1.2.840.113619.5"
    assert patient("1.2.840.113619.5.nii.gz") == "1.2.840.113619.5"
    assert patient("STS_002.nii.gz") == "STS_002"
    for number in range(4):
        series_and_contours(tmp_path, number, "")
    data = open_data(tmp_path)
    assert data.groups is not None
    assert len(set(data.groups.tolist())) == 4
