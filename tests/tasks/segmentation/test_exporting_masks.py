"""Segmentation as files: the masks of the run for pictures of any size, without torch."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from discs import write_discs
from numpy.typing import NDArray
from PIL import Image
from torch import nn

import torchfolio
from torchfolio import FolioError, RequestError, Run
from torchfolio.export import check as checking
from torchfolio.export.exported import Exported
from torchfolio.export.facts import SUFFIXES
from torchfolio.networks.build import build
from torchfolio.tasks.segmentation import tiling
from torchfolio.tasks.segmentation.asking import ask, how_tiled
from torchfolio.tasks.segmentation.export import Segmenter, sides_of
from torchfolio.tasks.segmentation.mask_answers import MaskAnswers, MaskRow, Scene
from torchfolio.tasks.segmentation.options import SegmentationAnswerOptions
from torchfolio.training.start import prepare

SETTINGS = {"device": "cpu", "threads": 1, "workers": 0, "epochs": 4, "lr": 0.004, "batch_size": 4}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = write_discs(tmp_path_factory.mktemp("圆 discs"), 24, (45, 62))
    out, small = tmp_path_factory.mktemp("runs") / "run", {"depth": 2, "width": 4}
    return torchfolio.train("unet_bn", folder, out=out, set=small, **SETTINGS)


def test_files_say_what_the_run_says_and_onnx_says_it_without_torch(
    trained: Run, tmp_path: Path
) -> None:
    pictures = []
    for number, size in ((0, (97, 64)), (1, (61, 45)), (2, (13, 200))):
        picture = tmp_path / f"图 {number}.png"
        draw = np.random.default_rng(number).integers(0, 256, (30, 40), np.uint8)
        Image.fromarray(draw).resize(size).save(picture)
        pictures.append(picture)
    given = [*pictures, tmp_path / "none.png"]
    rows = list(trained.predict(given, probabilities=True))
    for kind, suffix in SUFFIXES.items():
        found = trained.export(kind, tmp_path / f"net{suffix}")
        assert (found["metric"], found["examples"]) == ("mean IoU", 4)
        assert found["torch"] == found["exported"]
        assert found["difference"] <= 1e-4
        if kind != "safetensors":
            for wanted in (True, False):
                others = list(Exported(found["file"]).predict(given, probabilities=wanted))
                for row, other in zip(rows, others, strict=True):
                    same_row(row, other, wanted)
    code = (
        "import sys, torchfolio.cli.app as app; "
        f"code = app.run(['predict', {str(tmp_path / 'net.onnx')!r}, {str(pictures[0])!r}, "
        f"'--pictures', {str(tmp_path / 'out')!r}, '--probabilities']); "
        "print('torch' in sys.modules); sys.exit(code)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "False"
    with Image.open(tmp_path / "out" / "图 0_mask.png") as image:
        assert image.size == (97, 64)
    with np.load(tmp_path / "out" / "图 0_probabilities.npz") as held:
        assert held["probabilities"].shape == (2, 64, 97)


def same_row(row: dict[str, Any], other: dict[str, Any], whole: bool) -> None:
    assert other.keys() == row.keys()
    assert (other["input"], other["error"]) == (row["input"], row["error"])
    if row["error"] is None:
        assert isinstance(row, MaskRow)
        assert isinstance(other, MaskRow)
        assert (row.classes != other.classes).mean() < 1e-3  # where two are equally likely
        assert other["probability"] == pytest.approx(row["probability"], abs=1e-4)
        assert (other.probabilities is not None) == whole
        if whole:
            assert np.abs(row.probabilities - other.probabilities).max() < 2e-3  # float16


def test_exported_weights_bring_their_normalisation(trained: Run, tmp_path: Path) -> None:
    file = trained.export("safetensors", tmp_path / "net.safetensors")["file"]
    data = trained.recipe.data["path"]
    for weights in (trained.path, file):
        settings: dict[str, Any] = {"weights": str(weights), "set": {"depth": 2, "width": 4}}
        start = prepare("unet_bn", data, settings | {"test_split": 0.6, "val_split": 0.2})
        assert torch.equal(start.task.state["mean"], trained.folder.preprocessing()["mean"])
        start = prepare("unet_bn", data, settings | {"normalize": "none"})
        assert start.task.state["mean"].tolist() == [[[0]]]


def test_a_file_that_says_other_masks_is_not_written(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resampled = MaskAnswers.of_tile
    monkeypatch.setattr(MaskAnswers, "of_tile", lambda *given: resampled(*given)[:, ::-1])
    with pytest.raises(FolioError, match="does not answer as the run does, on 4 val examples"):
        trained.export("onnx", tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_pixels_between_two_classes_are_rounding(trained: Run) -> None:
    task, _ = trained.load()
    ours = [np.array([[[0.5, 0.6]], [[0.5, 0.4]]], np.float32)]
    theirs = [ours[0] + np.array([[[-1e-6, 0]], [[1e-6, 0]]], np.float32)]
    other, margin = task.changed(ours, theirs)
    assert (other.tolist(), margin.tolist()) == ([True], [0])
    other, margin = task.changed(ours, [1 - ours[0]])
    assert other.tolist() == [True]
    assert margin[0] == pytest.approx(0.2)


def test_what_is_compared_fits_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "MOST", 1000)
    held = checking.Held(None, np.arange(30), "val")  # type: ignore[arg-type]
    few = checking.sample(lambda *_: [np.zeros((2, 7, 7))], held)
    assert len(few.indices) == 10
    assert len(checking.sample(lambda *_: [np.zeros((2, 70, 70))], held).indices) == checking.LEAST


NETWORKS: dict[str, dict[str, Any]] = {
    "unet": {"depth": 2, "width": 4},
    "unet_2015": {"depth": 2, "width": 4},
    "fcn_resnet50": {},
    "unet_vgg16_plain": {},
}


def answering(network: nn.Module, scale: float) -> tuple[MaskAnswers, dict[str, Any], Any]:
    """Return the answers of a file of a network, the state of its run, and what computes it."""
    state = {
        "mean": torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1),
        "std": torch.tensor([0.2, 0.3, 0.2]).view(3, 1, 1),
    }
    step, reach = how_tiled(network)
    takes = {"channels": 3, "depth": 8, "sides": sides_of(network)}
    lost = getattr(network, "margin", 0)
    facts = {"classes": ["a", "b", "c"], "inputs": [takes], "scale": scale, "step": step}
    answers = MaskAnswers(facts | {"reach": reach, "margin": lost})
    module = Segmenter(network, 255 * state["mean"], 1 / (255 * state["std"])).eval()

    @torch.inference_mode()
    def run(arrays: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        for side in arrays[0].shape[2:]:
            step, rest, least = sides_of(network)
            assert side % step == rest
            assert side >= least
        return module(torch.from_numpy(np.ascontiguousarray(arrays[0]))).numpy()

    return answers, state, run


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("size", "scale"), [((61, 90), 1.0), ((45, 50), 1.7), ((200, 170), 0.4)])
def test_answers_without_torch_are_those_of_the_run(
    name: str, size: tuple[int, int], scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in tiles: those of the networks that look 256 pixels far see all of these pictures."""
    monkeypatch.setattr(tiling, "CORE", 32)
    torch.manual_seed(0)
    network = build(name, num_classes=3, in_channels=3, **NETWORKS[name]).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.any():  # zero at first
            nn.init.normal_(layer.weight, std=0.05)
    answers, state, run = answering(network, scale)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    scene = answers.scene(pixels)
    assert scene.size == size
    [picture] = scene
    [found] = answers.compute(run, [scene])
    with torch.inference_mode():
        said = ask(state, network, torch.from_numpy(picture), size, whole=np.float32)
    assert found.dtype == np.float32
    assert np.ptp(found) > 0.01  # it says something
    assert np.abs(found - said.probabilities).max() < 2e-5
    answers.prepare(SegmentationAnswerOptions())
    [classes, probability] = answers.compute(run, [scene])[0]
    assert (classes != said.classes).mean() < 1e-3
    assert np.abs(probability.astype(int) - said.probability).max() <= 1


def test_a_picture_of_one_pixel_has_an_answer() -> None:
    network = build("unet", num_classes=3, in_channels=3, depth=2, width=4).eval()
    answers, _, run = answering(network, 1.0)
    scene = answers.read(np.zeros((1, 1, 3), np.uint8))
    assert isinstance(scene, Scene)
    assert answers.compute(run, [scene])[0].shape == (3, 1, 1)


def test_runs_on_volumes_say_that_files_read_none(trained: Run) -> None:
    task, parts = trained.load()
    task.state["volume"] = {"axis": "axial"}
    try:
        with pytest.raises(RequestError, match="answers volumes, which exported files do not read"):
            task.export_inputs(parts)
    finally:
        del task.state["volume"]
