"""What is decided before the first update."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import torchfolio
from torchfolio.errors import FolioError, RequestError
from torchfolio.training.recording import Monitor
from torchfolio.training.start import Start, prepare

QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 256, "threads": 1, "workers": 0}


class Lines(Monitor):
    """Keeps what was decided."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.began = False

    def prepared(self, start: Start, path: Path) -> None:
        self.lines = start.lines
        self.began = True


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> torchfolio.Run:
    out = tmp_path_factory.mktemp("source") / "run"
    settings = QUICK | {"normalize": "0.25:0.75"}
    return torchfolio.train("lenet5", "digits", out=out, report=False, **settings)


def test_a_split_that_lost_lines_is_not_gone_on_with(
    source: torchfolio.Run, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(source.path, tmp_path / "run"))
    lines = (run / "split.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (run / "split.csv").write_text("".join(lines[:-100]), encoding="utf-8")
    with pytest.raises(FolioError, match=r"The split of .* is damaged: .*Restore it from a copy"):
        torchfolio.Run(run).resume()


def test_damaged_best_weights_are_told_before_training_goes_on(
    source: torchfolio.Run, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(source.path, tmp_path / "run"))
    best = run / "weights" / "best.safetensors"
    best.write_bytes(best.read_bytes()[:-1])
    watcher = Lines()
    with pytest.raises(FolioError, match=r"best\.safetensors is damaged .*Restore it"):
        torchfolio.Run(run).resume(watcher=watcher)
    assert not watcher.began


def test_weights_of_a_run_bring_its_preprocessing(source: torchfolio.Run, tmp_path: Path) -> None:
    watcher = Lines()
    settings = QUICK | {"weights": str(source.path), "transfer": "head"}
    out = tmp_path / "run"
    run = torchfolio.train("lenet5", "digits", out=out, report=False, watcher=watcher, **settings)
    for name in ("mean", "std"):  # black is 0.25 and white 0.75: not what the digits would give
        assert torch.equal(run.load()[0].state[name], source.load()[0].state[name])
    assert any("as the run that the weights come from" in line for line in watcher.lines)
    assert any(line.startswith("trained: ") for line in watcher.lines)
    again = prepare("lenet5", "digits", {}, which=str(run.path / "recipe.toml"))
    assert torch.equal(again.task.state["mean"], source.load()[0].state["mean"])


def test_what_the_person_says_of_the_preprocessing_stays(source: torchfolio.Run) -> None:
    settings = QUICK | {"weights": str(source.path), "normalize": "0:1"}
    start = prepare("lenet5", "digits", settings)
    assert start.task.state["mean"].flatten().tolist() == [0.0]
    assert start.task.state["std"].flatten().tolist() == [1.0]


def test_weights_that_are_not_used_bring_nothing(source: torchfolio.Run) -> None:
    start = prepare("lenet5", "digits", QUICK | {"weights": str(source.path), "transfer": "none"})
    assert start.weights is None
    assert not torch.equal(start.task.state["mean"], source.load()[0].state["mean"])


def test_a_weights_file_brings_its_channels(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    network = torchfolio.create("resnet20", num_classes=10, in_channels=3)
    torch.save(network.state_dict(), file)
    start = prepare("resnet20", "digits", QUICK | {"weights": str(file)})
    assert start.task.state["channels"] == 3


def test_a_size_between_the_multiples_of_a_patch_is_refused_and_the_datas_is_rounded() -> None:
    with pytest.raises(RequestError, match=r"image-size is 20; vit_ti_16 .*are 16 and 32"):
        prepare("vit_ti_16", "digits", QUICK | {"image_size": 20})
    start = prepare("vit_ti_16", "digits", QUICK | {"set": {"patch": 5}})  # digits have 32 pixels
    assert start.task.state["size"] == 30
    assert any(
        line.startswith("image size 30 x 30: the nearest to the data's median, 32")
        for line in start.lines
    )
    assert start.card.arguments["patch"] == 16
    start = prepare("vit_ti_16", "digits", QUICK | {"set": {"patch": 4}, "image_size": 20})
    assert start.task.state["size"] == 20


def test_a_patch_that_cannot_be_is_refused(tmp_path: Path) -> None:
    settings = QUICK | {"set": {"patch": 0}, "out": tmp_path / "run"}
    with pytest.raises(RequestError, match="has no patch of 0 pixels"):
        torchfolio.train("vit_ti_16", "digits", report=False, **settings)
