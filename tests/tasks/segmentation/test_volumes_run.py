"""Volumes through a whole run: cut, trained on, and predicted back with their geometry."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import torchfolio
from torchfolio import FolioError, Run
from torchfolio.cli.app import run as folio

nibabel = pytest.importorskip("nibabel")
AFFINE = np.array([[0, -1.0, 0, 7], [0, 0, -1, 8], [3, 0, 0, 9], [0, 0, 0, 1.0]])  # up, left, back


def ball(shape: tuple[int, int, int], middle: tuple[float, ...], radius: float) -> np.ndarray:
    places = np.indices(shape) - np.array(middle).reshape(3, 1, 1, 1)
    return (np.square(places).sum(0) < radius**2).astype(np.uint8)


def write(root: Path, count: int = 5) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for number in range(count):
        mask = ball((12, 40, 32), (6, *draw.uniform(12, 20, 2)), draw.uniform(5, 9))
        image = draw.normal(100, 10, mask.shape) + 80 * mask
        for name, array in (("image", image.astype(np.float32)), ("mask", mask)):
            nibabel.save(nibabel.Nifti1Image(array, AFFINE), root / f"P{number}_{name}.nii.gz")
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("数据") / "volumes")


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return torchfolio.train(
        "unet", folder, out=tmp_path_factory.mktemp("runs") / "run", epochs=12, lr=0.004,
        batch_size=4, set={"depth": 2, "width": 8}, device="cpu", threads=1, workers=0,
    )  # fmt: skip


def test_slices_are_learnt_and_patients_stay_together(trained: Run) -> None:
    assert trained.metrics["metrics"]["dice"]["value"] > 0.8
    splits = trained.folder.splits()
    patients = [{index // 12 for index in each.tolist()} for each in splits.values()]
    assert not patients[0] & patients[1]
    assert not patients[0] & patients[2]
    assert not patients[1] & patients[2]


def test_a_mask_has_the_geometry_of_its_volume(
    trained: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"nothing")
    arguments = ["predict", str(trained.path), str(folder / "P0_image.nii.gz"), str(broken)]
    out = tmp_path / "out"
    assert folio([*arguments, "--pictures", str(out), "--probabilities", "--json"]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert "no NIfTI that can be read" in second["error"]
    assert first["prediction"].startswith("foreground")
    found = nibabel.load(tmp_path / "out" / "P0_image_mask.nii.gz")
    truth = nibabel.load(folder / "P0_mask.nii.gz")
    assert np.allclose(found.affine, truth.affine)
    assert found.header.get_zooms() == pytest.approx(truth.header.get_zooms())
    mask, wanted = np.asanyarray(found.dataobj), np.asanyarray(truth.dataobj)
    assert mask.shape == wanted.shape
    assert 2 * (mask & wanted).sum() / (mask.sum() + wanted.sum()) > 0.8
    names = ("0_background", "1_foreground")
    files = [nibabel.load(out / f"P0_image_probability_{name}.nii.gz") for name in names]
    for each in files:
        assert np.allclose(each.affine, truth.affine)
        assert each.get_data_dtype() == np.float32
    probabilities = np.stack([np.asanyarray(each.dataobj) for each in files])
    assert np.abs(probabilities.sum(0) - 1).max() < 2e-3
    assert (probabilities.argmax(0) == mask).mean() > 0.999  # but for rounding of even ones
    with Image.open(out / "P0_image_slice.png") as image:
        shown = np.asarray(image).astype(int)
    coloured = (shown[..., 0] != shown[..., 1]).sum()  # grey, but for what was found
    assert coloured == mask.sum((1, 2)).max()  # of the slice that shows most


def test_a_mask_is_there_whole_or_not_at_all(trained: Run, folder: Path, tmp_path: Path) -> None:
    row = next(iter(trained.predict([next(folder.rglob("*.nii.gz"))])))
    path = row.write(tmp_path)
    assert [each.name for each in tmp_path.glob("*.nii.gz")] == [path.name]
    whole = path.read_bytes()
    path.unlink()

    def half(values: object, own: Path) -> None:
        own.write_bytes(whole[:100])
        raise OSError(28, "No space left on device")

    row.volume = replace(row.volume, save=half)
    with pytest.raises(FolioError, match="No space left on device"):
        row.write(tmp_path)
    assert [each.name for each in tmp_path.iterdir() if ".nii" in each.name] == []


def test_a_stack_of_pages_is_answered_as_a_stack(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name in ("train-volume", "train-labels"):
        pages = [Image.fromarray(draw.integers(0, 256, (24, 20), np.uint8)) for _ in range(9)]
        if name == "train-labels":
            pages = [
                Image.fromarray((np.asarray(each) > 128).astype(np.uint8) * 255) for each in pages
            ]
        pages[0].save(tmp_path / f"{name}.tif", save_all=True, append_images=pages[1:])
    run = torchfolio.train(
        "unet", tmp_path, out=tmp_path / "run", epochs=1, batch_size=2, report=False,
        set={"depth": 1, "width": 4}, device="cpu", threads=1, workers=0,
    )  # fmt: skip
    stack = tmp_path / "train-volume.tif"
    (row,) = run.predict([stack], pictures=tmp_path / "out", probabilities=True)
    with Image.open(row["picture"]) as image:
        assert image.n_frames == 9
        assert image.size == (20, 24)
    with Image.open(tmp_path / "out" / "train-volume_probability_1_foreground.tif") as image:
        assert (image.n_frames, image.size, image.mode) == (9, (20, 24), "F")
        assert 0 < np.asarray(image).max() <= 1


@pytest.mark.parametrize("kind", ["sts_nifti", "sts_dicom"])
def test_the_public_volumes_are_trained_on_and_predicted_back(
    kind: str, public_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pydicom")
    root = public_data / "volumes"
    run = torchfolio.train(
        "unet", root / kind, out=tmp_path / "run", epochs=1, batch_size=8, report=False,
        set={"depth": 2, "width": 4}, image_size=32, device="cpu", threads=1, workers=0,
    )  # fmt: skip
    series = root / "sts_dicom" / "STS_002" / "PET" / "image"
    files = [str(each) for each in sorted(series.iterdir())]
    rows = list(run.predict([*files, root / "sts_nifti" / "STS_002_PET_image.nii.gz"],
                            pictures=tmp_path / "out"))  # fmt: skip
    assert [row["error"] for row in rows] == [None, None]
    assert rows[0]["input"] == str(series)
    dicom, nifti = (nibabel.load(row["picture"]) for row in rows)
    assert dicom.shape == nifti.shape == (30, 27, 48)
    assert np.allclose(np.abs(dicom.affine[:3, :3]), np.abs(nifti.affine[:3, :3]), atol=1e-2)


def test_other_volumes_are_cut_and_scaled_as_the_run_was(
    trained: Run, folder: Path, tmp_path: Path
) -> None:
    whole = trained.evaluate(folder, report=False)
    with pytest.raises(torchfolio.RequestError, match="Say --axis axial"):
        trained.evaluate(folder, axis="coronal", report=False)
    assert trained.load()[0].state["volume"]["axis"] == "axial"
    coarse = tmp_path / "coarse"  # the same patients, twice as coarse within slices
    coarse.mkdir()
    for path in folder.iterdir():
        image = nibabel.load(path)
        affine = image.affine @ np.diag([1, 2, 2, 1])
        array = np.asanyarray(image.dataobj)[:, ::2, ::2]
        nibabel.save(nibabel.Nifti1Image(array, affine), coarse / path.name)
    found = trained.evaluate(coarse, report=False)
    assert found["metrics"]["dice"]["value"] > whole["metrics"]["dice"]["value"] - 0.1


def test_pictures_are_no_volumes(trained: Run) -> None:
    with pytest.raises(torchfolio.RequestError, match=r"trained on volumes; .* holds pictures"):
        trained.evaluate("digit-scenes", report=False)
