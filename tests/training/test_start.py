"""What is decided before the first update."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import torchfolio
from torchfolio.errors import FolioError, RequestError
from torchfolio.training import folder as folders
from torchfolio.training.recording import Monitor
from torchfolio.training.start import Start, make_loop, prepare

QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 256, "threads": 1, "workers": 0}


class Lines(Monitor):
    """Keeps what was decided."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.said: list[str] = []
        self.began = False

    def prepared(self, start: Start, path: Path) -> None:
        self.lines = start.lines
        self.began = True

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> torchfolio.Run:
    out = tmp_path_factory.mktemp("source") / "run"
    settings = QUICK | {"normalize": "0.25:0.75", "device": "cpu"}
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


def edited(run: Path, name: str, *changes: tuple[str, str]) -> None:
    """Change what a file of a run says."""
    text = (run / name).read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (run / name).write_text(text, encoding="utf-8")


RECORDED = ("graphs = false", "graphs = true")  # as a GPU's run has it by the rule


def test_a_run_that_recorded_graphs_goes_on_where_there_are_none(
    source: torchfolio.Run, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(source.path, tmp_path / "run"))
    edited(run, "recipe.toml", RECORDED)
    assert torchfolio.Run(run).recipe.training.graphs is True
    resumed = torchfolio.Run(run).resume(report=False)
    assert resumed.metrics["digest"] == source.metrics["digest"]


def test_the_recipe_of_a_gpu_trains_on_the_cpu(source: torchfolio.Run, tmp_path: Path) -> None:
    run = Path(shutil.copytree(source.path, tmp_path / "run"))
    stored = ('device = "cpu"', 'device = "cuda"'), ('precision = "fp32"', 'precision = "tf32"')
    edited(run, "recipe.toml", RECORDED, *stored, ("workers = 0", "workers = 7"))
    start = prepare("lenet5", "digits", {"device": "cpu"}, which=str(run / "recipe.toml"))
    make_loop(start)
    found = start.recipe.training
    assert (found.device, found.graphs, found.precision, found.workers) == ("cpu", False, "fp32", 0)
    assert found.batch_size == 256  # nothing else is chosen anew


def test_graphs_that_a_person_asks_for_are_refused_where_there_are_none(
    source: torchfolio.Run,
) -> None:
    settings = {"device": "cpu", "graphs": True}
    for which in (None, str(source.path / "recipe.toml")):
        with pytest.raises(RequestError, match="Leave --graphs out"):
            make_loop(prepare("lenet5", "digits", settings, which=which))


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_run_without_its_environment_goes_on_and_says_so(
    source: torchfolio.Run, tmp_path: Path, content: str | None
) -> None:
    run = Path(shutil.copytree(source.path, tmp_path / "run"))
    (run / "environment.json").unlink()
    if content is not None:
        (run / "environment.json").write_text(content, encoding="utf-8")
    watcher = Lines()
    resumed = torchfolio.Run(run).resume(watcher=watcher)
    assert resumed.metrics["digest"] == source.metrics["digest"]
    assert any("environment.json is missing or damaged" in line for line in watcher.lines)
    assert "environment.json is missing or damaged" in (run / "report.html").read_text("utf-8")


def test_a_file_system_without_locks_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "lock", lambda _: None)
    watcher = Lines()
    out = tmp_path / "run"
    run = torchfolio.train("lenet5", "digits", out=out, report=False, watcher=watcher, **QUICK)
    assert any("has no locks" in line for line in watcher.lines)
    run.resume(watcher=watcher, report=False)
    assert any("has no locks" in line for line in watcher.said)


@pytest.mark.parametrize("asked", [None, False])
def test_the_kernel_of_the_optimizer_is_stored_and_can_be_overruled(asked: bool | None) -> None:
    start = prepare("lenet5", "digits", QUICK | {"fused": asked})
    group = make_loop(start).optimizers["network"].optimizers[0].param_groups[0]
    assert start.recipe.optimizers["network"]["fused"] is (asked is None)
    assert bool(group["fused"]) is (asked is None)


def test_sharded_in_one_process_is_said_to_change_nothing() -> None:
    start = prepare("lenet5", "digits", QUICK | {"sharded": True})
    make_loop(start)
    assert any(line.startswith("--sharded changes nothing") for line in start.lines)


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
