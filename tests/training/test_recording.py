"""What a run folder holds while a training goes on, stops, fails or dies."""

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from adversaries import Broken
from torch import Tensor
from toys import Listener, assert_same, row_loop, weights

import torchfolio
from torchfolio import run as runs
from torchfolio.checkpoint import digest, read_tensors, write_tensors
from torchfolio.errors import FolioError, RequestError
from torchfolio.networks.build import build
from torchfolio.training import folder as folders
from torchfolio.training import recording
from torchfolio.training.folder import RunFolder
from torchfolio.training.loop import Loop
from torchfolio.training.numbering import new_run
from torchfolio.training.recording import Monitor, Recorder
from torchfolio.training.start import make_loop, prepare, reopen

SETTINGS: dict[str, Any] = {"epochs": 3, "batch_size": 256, "threads": 1, "workers": 0}


def begin(out: Path, **settings: Any) -> tuple[RunFolder, Recorder, Loop]:
    """A training of softmax regression on the digits, as ``train`` begins it."""
    start = prepare("softmax_regression", "digits", SETTINGS | settings)
    loop = make_loop(start)
    folder = RunFolder.create(out)
    folder.write_preprocessing(start.task.state)
    folder.write_data(start.dataset, start.splits.indices, start.splits.rule, start.splits.digest)
    folder.write_environment("cpu", 1)
    folder.write_recipe(start.recipe)
    return folder, Recorder(folder, start, Monitor()), loop


def go_on(folder: RunFolder) -> tuple[Recorder, Loop]:
    """The training of a run folder, as ``resume`` goes on with it."""
    start = reopen(folder)
    return Recorder(folder, start, Monitor()), make_loop(start, folder.state())


def best(folder: RunFolder) -> dict[str, Tensor]:
    return read_tensors(folder.path / "weights" / "best.safetensors")[0]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Loop, RunFolder]:
    folder, recorder, loop = begin(tmp_path_factory.mktemp("runs") / "alone")
    assert loop.run(recorder) == "finished"
    return loop, folder


def assert_same_end(loop: Loop, folder: RunFolder, other: tuple[Loop, RunFolder]) -> None:
    assert digest(loop.tensors(loop.parts)) == digest(other[0].tensors(other[0].parts))
    assert_same(best(folder), best(other[1]))
    columns = ("epoch", "val_accuracy", "train_loss", "digest")
    for one, two in zip(folder.history(), other[1].history(), strict=True):
        assert [one[key] for key in columns] == [two[key] for key in columns]


def test_a_run_that_another_process_made_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made, trained and let go between our last look and our lock."""
    plain = RunFolder.create

    def create(path: Path) -> RunFolder:
        folder = plain(path)
        (path / "recipe.toml").write_text("theirs", encoding="utf-8")
        return folder

    monkeypatch.setattr(RunFolder, "create", create)
    out = tmp_path / "run"
    with pytest.raises(RequestError, match="holds a run already"):
        torchfolio.train("softmax_regression", "digits", out=out, report=False, **SETTINGS)
    assert (out / "recipe.toml").read_text(encoding="utf-8") == "theirs"


class Interrupting(Monitor):
    """Presses Ctrl-C after so many updates."""

    def __init__(self, update: int) -> None:
        self.update = update

    def updated(self, loop: Loop, loss: float | None) -> None:
        if loop.progress.update == self.update:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("update", [1, 5, 7])
def test_ctrl_c_saves_and_the_rest_follows(
    update: int, tmp_path: Path, undisturbed: tuple[Loop, RunFolder]
) -> None:
    folder, recorder, loop = begin(tmp_path / "run")
    assert loop.updates_an_epoch == 5
    recorder.monitor = Interrupting(update)
    before = signal.getsignal(signal.SIGINT)
    with recorder:
        assert loop.run(recorder) == "stopped"
    assert signal.getsignal(signal.SIGINT) is before
    recorder, again = go_on(folder)
    assert again.progress.update == update
    assert_same(weights(again), weights(loop))
    assert again.run(recorder) == "finished"
    assert_same_end(again, folder, undisturbed)


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(
        FolioError, match=r"Stopped by Ctrl-C after 2 updates.*'folio resume .*run'"
    ):
        torchfolio.train(
            "softmax_regression",
            "digits",
            out=tmp_path / "run",
            watcher=Interrupting(2),
            **SETTINGS,
        )


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    _, recorder, _ = begin(tmp_path / "run")
    with recorder:
        signal.raise_signal(signal.SIGINT)
        assert recorder.should_stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("fatal", range(1, 12))
def test_dying_at_any_write_changes_nothing(
    fatal: int,
    tmp_path: Path,
    undisturbed: tuple[Loop, RunFolder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every file of a run arrives by a rename; the process dies before the one of this number."""
    monkeypatch.setattr(recording, "SAVE_AFTER_EPOCH", 0.0)
    monkeypatch.setattr(recording, "SAVE_SHARE", 1e9)
    folder, recorder, loop = begin(tmp_path / "run")
    plain, writes = Path.replace, 0

    class Died(BaseException):
        pass

    def replace(self: Path, target: Path) -> Path:
        nonlocal writes
        writes += 1
        if writes == fatal:
            raise Died
        return plain(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        with pytest.raises(Died):
            loop.run(recorder)
    recorder, again = go_on(folder)
    assert again.run(recorder) == "finished"
    assert_same_end(again, folder, undisturbed)


def test_there_are_as_many_writes_as_the_test_above_thinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "SAVE_AFTER_EPOCH", 0.0)
    monkeypatch.setattr(recording, "SAVE_SHARE", 1e9)
    _, recorder, loop = begin(tmp_path / "run")
    written = []
    plain = Path.replace

    def replace(self: Path, target: Path) -> Path:
        written.append(Path(target).name)
        return plain(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    loop.run(recorder)
    assert written[0] == "update-000000000.safetensors"
    assert len(written) >= 11
    assert [name for name in written if name.startswith("update")] == [
        f"update-{update:09d}.safetensors" for update in (0, 5, 10, 15)
    ]


def test_a_disk_that_fills_up_stops_the_training_and_the_rest_follows(
    tmp_path: Path, undisturbed: tuple[Loop, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, recorder, loop = begin(tmp_path / "run")

    def full(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    class Filling(Monitor):
        def updated(self, loop: Loop, loss: float | None) -> None:
            if loop.progress.update == 12:
                monkeypatch.setattr(os, "fsync", full)

    recorder.monitor = Filling()
    with pytest.raises(FolioError, match=r"cannot be written: No space left.*unchanged"):
        loop.run(recorder)
    monkeypatch.undo()
    recorder, again = go_on(folder)
    assert again.progress.update < 12
    again.run(recorder)
    assert_same_end(again, folder, undisturbed)


@pytest.mark.parametrize("tenth", range(0, 10, 3))
def test_a_damaged_newest_state_goes_back_to_the_one_before(
    tenth: int, tmp_path: Path, undisturbed: tuple[Loop, RunFolder]
) -> None:
    folder, recorder, loop = begin(tmp_path / "run")
    recorder.monitor = Interrupting(8)
    with recorder:
        loop.run(recorder)
    newest = folder.states()[-1]
    content = newest.read_bytes()
    newest.write_bytes(content[: len(content) * tenth // 10])
    recorder, again = go_on(folder)
    assert again.progress.update < 8
    again.run(recorder)
    assert_same_end(again, folder, undisturbed)


def test_a_failed_training_keeps_its_best_weights_and_its_last_good_state(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    loop = row_loop(Broken(float("nan"), 8), epochs=3)  # 5 updates and one validation an epoch
    start: Any = SimpleNamespace(recipe=SimpleNamespace(training=loop.options))
    with pytest.raises(FolioError, match="The loss became nan at update 8"):
        runs.fit(folder, start, loop, Monitor(), False)
    good = Listener()
    row_loop(epochs=1).run(good)
    kept = {f"network.{name}": each for name, each in best(folder).items()}
    assert_same(kept, good.weights[4])
    assert [row["epoch"] for row in folder.history()] == [1]
    state = folder.state()
    assert state is not None
    assert all(bool(each.isfinite().all()) for each in state["parts"]["network"].values())
    assert "The loss became nan at update 8" in (folder.path / "log.txt").read_text("utf-8")


def test_states_are_saved_no_more_often_than_their_share_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, recorder, loop = begin(tmp_path / "run")
    clock = 1000.0
    monkeypatch.setattr(recording.time, "monotonic", lambda: clock)
    recorder.write(loop)
    recorder.cost = 0.1  # at 2 %: not before 5 s
    for seconds, due in ((0.5, False), (4.9, False), (5.1, True)):
        clock = 1000.0 + seconds
        assert recorder.is_due(recording.SAVE_AFTER_EPOCH) == due
    recorder.cost = 0.001
    for seconds, after, within in ((0.9, False, False), (1.1, True, False), (30.1, True, True)):
        clock = 1000.0 + seconds
        assert recorder.is_due(recording.SAVE_AFTER_EPOCH) == after
        assert recorder.is_due(recording.SAVE_WITHIN_EPOCH) == within


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "sgd", "momentun": 0.9}, "momentun"),
        ({"optimizer": "adam", "momentum": 0.9}, "optimizer adam named 'momentum'"),
        ({"monitor": "accuracyy"}, r"no metric named 'accuracyy'.*accuracy"),
        ({"transfer": "head"}, "transfer is head, and no weights are given"),
        ({"val_split": 0.0, "patience": 2}, "no validation examples, which --patience"),
        ({"set": {"widht": 3}}, "widht"),
        ({"seed": -1}, r"seed in the settings is -1"),
    ],
)
def test_a_wrong_request_leaves_no_folder(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(RequestError, match=message):
        torchfolio.train("softmax_regression", "digits", out=out, **(SETTINGS | settings))
    assert not out.exists()


def test_a_resume_needs_no_weights_but_the_runs(tmp_path: Path) -> None:
    given = tmp_path / "given.safetensors"
    torch.manual_seed(3)
    network = build("softmax_regression", num_classes=10, in_channels=1, image_size=(28, 28))
    write_tensors(given, network.state_dict())
    first = begin(tmp_path / "whole", weights=str(given), device="cpu")
    first[2].run(first[1])
    folder, recorder, loop = begin(tmp_path / "run", weights=str(given), device="cpu")
    assert_same(
        weights(loop), {f"network.{key}": each for key, each in network.state_dict().items()}
    )
    recorder.monitor = Interrupting(4)
    with recorder:
        loop.run(recorder)
    given.unlink()
    recorder, again = go_on(folder)
    again.run(recorder)
    assert_same_end(again, folder, (first[2], first[0]))


def test_runs_are_numbered_and_none_is_taken_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    start: Any = SimpleNamespace(
        card=SimpleNamespace(name="lenet5"), dataset=SimpleNamespace(name="digits")
    )
    first, second = new_run(start), new_run(start)  # as two processes that start together
    assert [each.path.name for each in (first, second)] == ["lenet5-digits-1", "lenet5-digits-2"]


def test_the_folders_that_may_be_used_again_are_those_that_are_made() -> None:
    assert set(folders.FOLDERS) <= folders.BEFORE


def test_tensorboard_is_asked_for_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(RequestError, match=r"Install torchfolio\[tensorboard\], or leave"):
        torchfolio.train("mlp", "digits", out=tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_files_hold_the_history(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    run = torchfolio.train(
        "softmax_regression", "digits", out=out, report=False, tensorboard=True, **SETTINGS
    )
    (file,) = out.rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file))
    events.Reload()
    found = {each.step: each.value for each in events.Scalars("val_accuracy")}
    history = {row["epoch"]: row["val_accuracy"] for row in run.history}
    assert found == pytest.approx(history)
