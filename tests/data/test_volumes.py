"""Volumes: orientation, windows, geometry, contours, and faulty files named."""

from pathlib import Path

import numpy as np
import pytest

from torchfolio import open_data
from torchfolio.data.readers.volumes import names_mask, patient, volume_key
from torchfolio.data.volumes.files import drawn, filled, read_volume
from torchfolio.data.volumes.volume import (
    cut,
    own_window,
    put,
    read_window,
    shaded,
    usual_axis,
)
from torchfolio.errors import DataError, RequestError

nibabel = pytest.importorskip("nibabel")
FEET = np.diag([-1.0, -1, 1, 1])  # an affine of indices that lead left, back and up


def write(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def ball(shape: tuple[int, int, int] = (20, 18, 12), radius: int = 5) -> np.ndarray:
    places = np.indices(shape) - np.array(shape).reshape(3, 1, 1, 1) / 2
    return (np.square(places).sum(0) < radius**2).astype(np.uint8)


def pairs(root: Path, count: int = 4) -> Path:
    random = np.random.default_rng(0)
    for number in range(count):
        mask = ball()
        image = random.normal(100, 10, mask.shape) + 100 * mask
        write(root / f"P{number}_image.nii.gz", image.astype(np.float32))
        write(root / f"P{number}_mask.nii.gz", mask)
    return root


def test_indices_lead_left_back_and_up_whatever_the_file(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    # An affine that leads right, front and up: both first indices are turned.
    volume = read_volume(write(tmp_path / "ras.nii", array, np.diag([2.0, 3.0, 4.0, 1.0])))
    assert np.array_equal(volume.array, array[::-1, ::-1])
    assert volume.spacing == (2.0, 3.0, 4.0)
    # The first index leads up, the second left, the third back.
    affine = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [5, 0, 0, 0], [0, 0, 0, 1.0]])
    volume = read_volume(write(tmp_path / "slp.nii", array, affine))
    assert np.array_equal(volume.array, array.transpose(1, 2, 0))
    assert volume.spacing == (1.0, 1.0, 5.0)


def test_what_is_written_has_the_geometry_and_order_of_what_was_read(tmp_path: Path) -> None:
    affine = np.array([[0, -1.5, 0, 7], [0, 0, -2, 8], [5, 0, 0, 9], [0, 0, 0, 1.0]])
    mask = np.random.default_rng(0).integers(0, 3, (5, 6, 7), np.uint8)
    path = write(tmp_path / "scan.nii.gz", mask, affine)
    volume = read_volume(path)
    assert volume.suffix == ".nii.gz"
    volume.save(volume.array.astype(np.uint8), tmp_path / "again.nii.gz")
    found = nibabel.load(tmp_path / "again.nii.gz")
    assert np.array_equal(np.asanyarray(found.dataobj), mask)
    assert np.allclose(found.affine, affine)
    assert found.header.get_zooms() == pytest.approx((5, 1.5, 2))


def test_slices_are_shown_with_head_or_front_on_top() -> None:
    array = np.zeros((3, 4, 5), np.uint8)
    array[0, 0, 4] = 1  # right, front, head
    assert cut(array, "axial", 4)[0, 0] == 1
    assert cut(array, "coronal", 0)[0, 0] == 1
    assert cut(array, "sagittal", 0)[0, 0] == 1
    for axis, shape in (("axial", (4, 3)), ("coronal", (5, 3)), ("sagittal", (5, 4))):
        assert cut(array, axis, 0).shape == shape
        again = np.zeros_like(array)
        for place in range(array.shape[("sagittal", "coronal", "axial").index(axis)]):
            put(again, axis, place, cut(array, axis, place))
        assert np.array_equal(again, array)


def test_the_axis_is_that_of_the_coarsest_spacing() -> None:
    assert usual_axis(np.array([[1, 1, 3.3], [1, 1, 1.2], [1, 1, 5]])) == "axial"
    assert usual_axis(np.array([[1, 4.0, 1]])) == "coronal"
    assert usual_axis(np.array([[2.0, 2, 2]])) == "axial"
    assert usual_axis(np.array([[5.5, 5.5, 3.3]])) == "axial"  # a PET: coarse within slices


def test_windows_are_named_or_given_or_those_of_the_values() -> None:
    assert read_window("lung") == (-1350, 150)
    assert read_window("-20:80.5") == (-20, 80.5)
    assert read_window("auto") is None
    for wrong in ("5", "9:3", "lungs", "a:b"):
        with pytest.raises(RequestError, match=r"it should be auto, soft-tissue"):
            read_window(wrong)
    assert own_window(np.array([-1000.0, 200])) == (-150, 250)  # CT
    low, high = own_window(np.arange(1001.0))
    assert (low, high) == (5, 995)
    assert own_window(np.zeros(5)) == (0, 1)
    assert shaded(np.array([-5, 0, 5, 20]), (0, 10)).tolist() == [0, 0, 0.5, 1]


def test_volumes_and_masks_are_read_in_pairs_and_kept_together(tmp_path: Path) -> None:
    data = open_data(pairs(tmp_path / "数据"))
    assert data.kind == "semantic-segmentation"
    assert data.reader == "volumes"
    assert len(data) == 4 * 12
    assert data.classes == ("background", "foreground")
    assert data.groups is not None
    assert sorted(set(data.groups.tolist())) == ["P0", "P1", "P2", "P3"]
    middle = 12 + 6
    assert data.records.name(middle) == "P1_image.nii.gz[6]"
    mask, pixels = data.records.masks.get(middle), data.records.pixels(middle)
    assert np.array_equal(mask, cut(ball()[::-1, ::-1], "axial", 6))
    assert pixels.shape == (18, 20, 1)
    assert pixels.dtype == np.float32
    assert pixels[..., 0][mask == 1].mean() > pixels[..., 0][mask == 0].mean() + 0.5


def test_coronal_slices_stretch_to_the_finest_spacing(tmp_path: Path) -> None:
    for number in range(3):
        affine = np.diag([1.0, 1.0, 2.5, 1.0])
        write(tmp_path / f"P{number}.nii", ball().astype(np.int16) * 9, affine)
        write(tmp_path / f"P{number}_seg.nii", ball(), affine)
    data = open_data(tmp_path, axis="coronal")
    assert data.records.factors[0].tolist() == [2.5, 1.0]
    assert data.facts["size_median"] == [30, 20]  # 12 slices of 2.5 mm


def test_faulty_files_are_named(tmp_path: Path) -> None:
    root = pairs(tmp_path, 6)
    (root / "P0_image.nii.gz").write_bytes(b"no volume")
    whole = (root / "P1_image.nii.gz").read_bytes()
    (root / "P1_image.nii.gz").write_bytes(whole[: len(whole) // 2])
    write(root / "P2_mask.nii.gz", ball((20, 18, 11)))
    moved = np.eye(4)
    moved[0, 3] = 9
    write(root / "P3_mask.nii.gz", ball(), moved)
    (root / "P4_mask.nii.gz").unlink()
    data = open_data(root)
    found = {each.path: each.problem for each in data.problems}
    assert "no NIfTI that can be read" in found["P0_image.nii.gz"]
    assert "no NIfTI that can be read" in found["P1_image.nii.gz"]
    assert "has 20 x 18 x 11 voxels, its volume 20 x 18 x 12" in found["P2_image.nii.gz"]
    assert "lies 9.0 voxels away from its volume" in found["P3_image.nii.gz"]
    assert found["P4_image.nii.gz"] == "no mask: left out"
    assert len(data) == 12
    with pytest.raises(DataError, match="P0_image"):
        open_data(root, on_error="stop")


def test_times_colours_and_masks_of_fractions_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a_image.nii", np.zeros((4, 4, 4, 3), np.float32))
    write(tmp_path / "a_mask.nii", np.zeros((4, 4, 4, 3), np.uint8))
    write(tmp_path / "b_image.nii", np.ones((4, 4, 4), np.float32))
    write(tmp_path / "b_mask.nii", np.full((4, 4, 4), 0.4, np.float32))
    with pytest.raises(DataError, match=r"4 x 4 x 4 x 3; three dimensions(.|\n)*not whole"):
        open_data(tmp_path)


def test_pages_of_a_stack_are_slices(tmp_path: Path) -> None:
    from PIL import Image

    draw = np.random.default_rng(0)
    for name, high in (("train-volume", 200), ("train-labels", 255)):
        pages = [
            Image.fromarray((draw.random((9, 8)) > 0.5).astype(np.uint8) * high) for _ in range(5)
        ]
        pages[0].save(tmp_path / f"{name}.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "test-volume.tif", save_all=True, append_images=pages[1:3])
    data = open_data(tmp_path)
    assert data.reader == "volumes"
    assert len(data) == 5
    assert data.groups is None
    assert np.array_equal(data.records.masks.get(3), np.asarray(pages[3]) > 0)
    assert [each.path for each in data.problems] == ["test-volume.tif"]
    volume = read_volume(tmp_path / "train-labels.tif")
    volume.save((volume.array > 0).astype(np.uint8), tmp_path / "out.tif")
    assert np.array_equal(read_volume(tmp_path / "out.tif").array, volume.array > 0)


def test_names_tell_masks_and_patients() -> None:
    assert volume_key("STS_001_PET_image.nii.gz") == volume_key("STS_001_PET_mask.nii.gz")
    assert volume_key("imagesTr/BRATS_001_0000.nii.gz") == volume_key("labelsTr/BRATS_001.nii.gz")
    assert names_mask("labelsTr/BRATS_001.nii.gz")
    assert names_mask("anatomical_label.nii.gz")
    assert not names_mask("imagesTr/BRATS_001_0000.nii.gz")
    assert patient("STS_002_MR_T1_image.nii.gz") == "STS_002"
    assert patient("STS_002/PET/image") == "STS_002"


def test_a_voxel_is_inside_a_contour_where_its_centre_is() -> None:
    square = np.array([[1.6, 0.6], [4.4, 0.6], [4.4, 2.4], [1.6, 2.4]])
    inside = drawn(square, (6, 5))
    assert inside.shape == (6, 5)
    assert np.argwhere(inside).tolist() == [[x, y] for x in (2, 3, 4) for y in (1, 2)]


def test_the_same_volume_from_dicom_and_nifti_is_the_same(public_data: Path) -> None:
    """A PET of the public sets lies there in both forms, with its contours and its mask."""
    pytest.importorskip("pydicom")
    dicom = open_data(public_data / "volumes" / "sts_dicom")
    nifti = open_data(public_data / "volumes" / "sts_nifti")
    places = [
        index for index in range(len(nifti)) if nifti.records.name(index).startswith("STS_002_PET")
    ]
    assert len(dicom) == len(places) == 48
    for place, index in enumerate(places):
        one, other = dicom.records.volume(0)[:, :, place], nifti.records.volume
        volume = int(nifti.records.of_slice[index, 0])
        other = other(volume)[:, :, place]
        assert one.shape == other.shape
        correlation = np.corrcoef(one.reshape(-1), other.reshape(-1))[0, 1]
        assert correlation > 0.999 or other.std() < 1e-3


def test_every_public_volume_is_read_or_named(public_data: Path) -> None:
    pytest.importorskip("pydicom")
    root = public_data / "volumes"
    for name, volumes in (("sts_nifti", 4), ("monai_nifti", 2), ("nnunet_ct", 1)):
        data = open_data(root / name)
        assert len(data.records.pairs) == volumes
        assert not data.problems
    with pytest.raises(DataError, match=r"CT_small\.dcm: a series of 1 file, no mask: left out"):
        open_data(root / "pydicom_files")


def test_splits_are_those_of_folders_and_of_nnunet(tmp_path: Path) -> None:
    for number in range(3):
        split = "Ts" if number == 2 else "Tr"
        write(tmp_path / f"images{split}" / f"P{number}_0000.nii.gz", ball().astype(np.int16) * 9)
        write(tmp_path / f"labels{split}" / f"P{number}.nii.gz", ball())
    data = open_data(tmp_path)
    assert {split: len(each) for split, each in data.given.items()} == {"train": 24, "test": 12}


def test_a_further_mask_and_sequences_of_one_patient(tmp_path: Path) -> None:
    for name in ("B_001_flair", "B_001_t1", "B_002_flair"):
        write(tmp_path / f"{name}.nii.gz", ball().astype(np.int16) * 9)
    for name in ("B_001_seg", "B_002_seg", "B_002_seg_rim"):
        write(tmp_path / f"{name}.nii.gz", ball())
    data = open_data(tmp_path)
    assert {pair.name: pair.mask for pair in data.records.pairs} == {
        "B_001_flair.nii.gz": "B_001_seg.nii.gz",
        "B_001_t1.nii.gz": "B_001_seg.nii.gz",
        "B_002_flair.nii.gz": "B_002_seg.nii.gz",
    }
    assert [each.path for each in data.problems] == ["B_002_seg_rim.nii.gz"]
    shared = "splits may share patients: of 2 patients there are 3 volumes (--group-pattern)"
    assert f"slices of one volume stay together, and {shared}" in data.reading


def test_blank_slices_of_several_patients_are_no_copies(tmp_path: Path) -> None:
    for number in range(4):
        image = np.zeros((20, 18, 12), np.float32)
        image[..., 3:9] = np.random.default_rng(number).normal(5, 1, (20, 18, 6))
        write(tmp_path / f"P{number}_image.nii.gz", image)
        write(tmp_path / f"P{number}_mask.nii.gz", ball())
    digests = open_data(tmp_path).records.digests().reshape(4, 12)
    assert len(set(digests[0][[0, 1, 2]].tolist())) == 1
    assert not set(digests[0].tolist()) & set(digests[1].tolist())


def contoured(regions: dict[str, list[list[float]] | None]) -> object:
    """An RTSTRUCT with regions, each with the points of its contours, or without any."""
    pydicom = pytest.importorskip("pydicom")
    structure = pydicom.Dataset()
    structure.StructureSetROISequence, structure.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(regions.items(), 1):
        told, drawn_in = pydicom.Dataset(), pydicom.Dataset()
        told.ROINumber, told.ROIName = number, name
        drawn_in.ReferencedROINumber = number
        if contours is not None:
            drawn_in.ContourSequence = []
            for points in contours:
                contour = pydicom.Dataset()
                contour.ContourData = points
                drawn_in.ContourSequence.append(contour)
        structure.StructureSetROISequence.append(told)
        structure.ROIContourSequence.append(drawn_in)
    return structure


def square(low: float, high: float, z: float) -> list[float]:
    return [low, low, z, high, low, z, high, high, z, low, high, z]


def test_contours_of_all_patients_have_the_same_classes(tmp_path: Path) -> None:
    # In DICOM's directions (left, back, up) the first index leads left, the second back.
    volume = read_volume(write(tmp_path / "a.nii", np.zeros((9, 9, 3), np.int16), FEET))
    regions = {"Lung": [square(0.6, 2.4, 1)], "Empty": None, "Body": [square(-0.4, 7.4, 1)]}
    found = filled(contoured(regions), volume, ["Heart", "Lung", "Body"])
    assert not found[..., 0].any()
    assert found[1:3, 1:3, 1].tolist() == [[2, 2], [2, 2]]  # the smaller lies over the larger
    assert found[5, 5, 1] == 3
    assert found[8, 8, 1] == 0
    hole = {"Ring": [square(-0.4, 7.4, 1), square(1.6, 4.4, 1)]}
    found = filled(contoured(hole), volume, ["Ring"])
    assert found[0, 0, 1] == 1
    assert found[3, 3, 1] == 0


def test_contours_across_slices_are_refused(tmp_path: Path) -> None:
    volume = read_volume(write(tmp_path / "a.nii", np.zeros((9, 9, 3), np.int16), FEET))
    tilted = [0.0, 0, 0, 5, 0, 0, 5, 5, 2, 0, 5, 2]
    with pytest.raises(DataError, match="contours of Lung do not lie in axial slices"):
        filled(contoured({"Lung": [tilted]}), volume, ["Lung"])
