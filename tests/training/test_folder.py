import errno
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from toys import assert_same, digit_data, splits_of

from torchfolio.errors import FolioError, RequestError
from torchfolio.tasks.base import Parts
from torchfolio.training.folder import KEPT_STATES, RunFolder, number
from torchfolio.training.options import TrainingOptions
from torchfolio.training.recipes import Recipe

RECIPE = Recipe(
    network={"name": "lenet5", "set": {}, "weights": None},
    data={"path": "digits"},
    task={"name": "image-classification"},
    training=TrainingOptions(epochs=3),
    optimizers={"network": {"name": "sgd", "lr": 0.1}},
    notes=["a note"],
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder.create(tmp_path / "runs" / "one")
    made.write_recipe(RECIPE)
    return made


def test_a_run_is_made_once(folder: RunFolder) -> None:
    with pytest.raises(RequestError, match=r"one holds a run already.*--out.*folio resume"):
        RunFolder.create(folder.path)
    assert RunFolder.open(folder.path).recipe() == RECIPE_READ


RECIPE_READ = Recipe(
    network={"name": "lenet5", "set": {}},
    data=RECIPE.data,
    task=RECIPE.task,
    training=RECIPE.training,
    optimizers=RECIPE.optimizers,
    notes=RECIPE.notes,
)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x", encoding="utf-8")
    with pytest.raises(RequestError, match="exists and is not an empty folder"):
        RunFolder.create(tmp_path)
    with pytest.raises(RequestError, match="exists and is not an empty folder"):
        RunFolder.create(tmp_path / "thesis.tex")
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(FolioError, match="cannot be made"):
        RunFolder.create(tmp_path / "thesis.tex" / "run")


def test_what_a_process_left_that_died_before_its_recipe_is_used_again(tmp_path: Path) -> None:
    first = RunFolder.create(tmp_path / "run")
    with first.locked():
        first.write_environment("cpu", 1)
    unfinished = first.path / ".data.json.0123456789ab.part"
    unfinished.write_bytes(b"{")
    with pytest.raises(RequestError, match=r"ended before its first step: .*'folio train'.*--out"):
        RunFolder.open(first.path)
    second = RunFolder.create(first.path)
    with second.locked():
        assert not unfinished.exists()


def test_what_is_no_run_is_not_opened(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RequestError, match=r"is no run: it has no recipe\.toml"):
            RunFolder.open(path)


def test_two_trainings_into_one_run_are_refused(folder: RunFolder) -> None:
    with folder.locked():
        other = RunFolder.open(folder.path)
        with (
            pytest.raises(RequestError, match="Another process is training into"),
            other.locked(),
        ):
            pass
    with RunFolder.open(folder.path).locked():
        pass


HOLD = """
import sys
from pathlib import Path
from torchfolio.training.folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_holds_its_run_until_it_dies(folder: RunFolder) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"held"
        with (
            pytest.raises(RequestError, match="Another process is training into"),
            folder.locked(),
        ):
            pass
        process.kill()
        process.wait()
    with folder.locked():
        pass


def test_leftovers_of_a_killed_process_are_removed(folder: RunFolder) -> None:
    places = ("", "state", "predictions/test", "evaluations/mine")  # masks are files of their own
    left = [folder.path / place / ".file.a.part" for place in places]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    with folder.locked():  # evaluating is not kept out: what it writes is its own
        assert [path.exists() for path in left] == [False, False, False, True]


def test_a_file_system_without_locks_does_not_stop_a_training(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="locks of POSIX")

    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with folder.locked() as lines:
        assert lines == []
    monkeypatch.setattr(fcntl, "flock", none)
    with folder.locked() as lines:
        (line,) = lines
    assert "has no locks: nothing keeps a second training out" in line


def test_data_and_splits_come_back(folder: RunFolder) -> None:
    data, splits = digit_data(20), splits_of(20, 5)
    splits["test"] = splits["train"][:3]
    splits["train"] = splits["train"][3:]
    folder.write_data(data, splits, "by hand.", "abc")
    read = folder.splits()
    assert {name: indices.tolist() for name, indices in read.items()} == {
        name: indices.tolist() for name, indices in splits.items()
    }
    described = folder.data()
    assert described["classes"] == list("0123456789")
    assert described["split"]["rule"] == "by hand."
    assert described["split"]["digest"] == "abc"
    assert described["split"]["counts"] == {"train": 12, "val": 5, "test": 3}
    assert described["format_version"] == 1


def test_preprocessing_comes_back(folder: RunFolder) -> None:
    state = {"classes": ["a", "ö"], "mean": torch.rand(3, 1, 1), "fill": 0.5, "size": (3, 4)}
    folder.write_preprocessing(state)
    assert_same(folder.preprocessing(), state)


def test_weights_of_one_part_keep_their_names_and_those_of_several_say_whose(
    folder: RunFolder,
) -> None:
    one, two = nn.Linear(2, 2), nn.Linear(2, 1)
    folder.write_weights("best", {"network": one.state_dict()})
    fresh = nn.Linear(2, 2)
    assert folder.read_weights(Parts(network=fresh)) == "best"
    assert torch.equal(fresh.weight, one.weight)
    folder.write_weights("last", {"generator": one.state_dict(), "critic": two.state_dict()})
    parts = Parts(generator=nn.Linear(2, 2), critic=nn.Linear(2, 1))
    assert folder.read_weights(parts, "last") == "last"
    assert torch.equal(parts.critic.weight, two.weight)
    with pytest.raises(
        FolioError, match=r"best\.safetensors does not belong to this run's network"
    ):
        folder.read_weights(Parts(network=nn.Linear(3, 3)))


def test_a_run_without_weights_says_so(folder: RunFolder) -> None:
    with pytest.raises(FolioError, match=r"has no weights yet\. Go on with 'folio resume"):
        folder.read_weights(Parts(network=nn.Linear(2, 2)))


def state(update: int) -> dict[str, Any]:
    return {"update": update, "weights": torch.full((50,), float(update)), 3: (None, 1.5)}


def test_the_newest_state_is_read_and_the_one_before_is_kept(folder: RunFolder) -> None:
    assert folder.state() is None
    for update in (0, 7, 100, 99_999_999):
        folder.write_state(state(update), update)
    assert_same(folder.state(), state(99_999_999))
    assert len(folder.states()) == KEPT_STATES == 2


@pytest.mark.parametrize("tenth", range(10))
def test_a_truncated_state_leads_to_the_one_before(folder: RunFolder, tenth: int) -> None:
    for update in (5, 6):
        folder.write_state(state(update), update)
    newest = folder.states()[-1]
    content = newest.read_bytes()
    newest.write_bytes(content[: len(content) * tenth // 10])
    assert_same(folder.state(), state(5))
    log = (folder.path / "log.txt").read_text(encoding="utf-8")
    assert f"{newest.name} is damaged" in log
    assert "Went on from the state before it, update-000000005.safetensors." in log


@pytest.mark.parametrize("tenth", range(10))
def test_a_state_whose_end_is_zeros_leads_to_the_one_before(folder: RunFolder, tenth: int) -> None:
    """What a file system may leave after a power failure: the length is right."""
    for update in (5, 6):
        folder.write_state(state(update), update)
    newest = folder.states()[-1]
    content = newest.read_bytes()
    kept = content[: len(content) * tenth // 10]
    newest.write_bytes(kept.ljust(len(content), b"\0"))
    assert_same(folder.state(), state(5))


def test_an_old_state_that_cannot_be_removed_stops_nothing(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for update in (5, 6):
        folder.write_state(state(update), update)
    plain = Path.unlink

    def held(path: Path, missing_ok: bool = False) -> None:
        if path.name == "update-000000005.safetensors":  # open in a viewer, on Windows
            raise PermissionError(13, "in use")
        plain(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", held)
        folder.write_state(state(7), 7)
    assert_same(folder.state(), state(7))
    folder.write_state(state(8), 8)
    assert [path.name[13:16] for path in folder.states()] == ["007", "008"]


def test_where_every_state_is_damaged_the_error_says_what_to_do(folder: RunFolder) -> None:
    for update in (5, 6):
        folder.write_state(state(update), update)
    for path in folder.states():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FolioError, match=r"Every saved state of .* is damaged: .*start again"):
        folder.state()


def test_tables_come_back_as_numbers(folder: RunFolder) -> None:
    rows = [
        {"epoch": 1, "loss": 0.1 + 0.2, "digest": "0123456789012345"},
        {"epoch": 2, "loss": float("nan"), "digest": "1e10000000000000", "note": 'a, "b"\nc'},
    ]
    folder.write_table("history.csv", rows)
    read = folder.history()
    assert read[0] == {"epoch": 1, "loss": 0.1 + 0.2, "digest": "0123456789012345", "note": None}
    assert np.isnan(read[1].pop("loss"))
    assert read[1] == {"epoch": 2, "digest": "1e10000000000000", "note": 'a, "b"\nc'}
    assert (folder.path / "history.csv").read_bytes().startswith(b"epoch,loss,digest,note\n1,")


def test_cells_are_the_numbers_they_are() -> None:
    cells = {"3": 3, "-0.5": -0.5, "1e-05": 1e-5, "inf": float("inf"), "": None, "a1": "a1"}
    assert {text: number(text) for text in cells} == cells
    assert type(number("3")) is int


def test_a_run_without_history_has_none(folder: RunFolder) -> None:
    assert folder.history() == []


def test_metrics_and_environment_have_a_version(folder: RunFolder) -> None:
    folder.write_metrics({"task": "x"})
    folder.write_environment("cpu", 2)
    assert folder.metrics() == {"format_version": 1, "task": "x"}
    environment = json.loads((folder.path / "environment.json").read_text(encoding="utf-8"))
    assert environment["versions"]["torch"] == version("torch")
    assert environment["threads"] == 2
    assert folder.processes() == 1


@pytest.mark.parametrize(
    "content",
    [None, "", "{", "[]", "{}", '{"format_version": 1, "processes": null}', "\0\0"],
)
def test_without_a_whole_environment_the_number_of_processes_is_not_known(
    folder: RunFolder, content: str | None
) -> None:
    if content is not None:
        (folder.path / "environment.json").write_text(content, encoding="utf-8")
    assert folder.processes() is None


def test_damaged_recipes_are_named(folder: RunFolder) -> None:
    (folder.path / "recipe.toml").write_text("[network", encoding="utf-8")
    with pytest.raises(FolioError, match=r"recipe\.toml is damaged"):
        folder.recipe()


def test_the_log_is_no_reason_to_stop(folder: RunFolder) -> None:
    folder.log("first")
    folder.log("second")
    lines = (folder.path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["first", "second"]
    (folder.path / "log.txt").unlink()
    (folder.path / "log.txt").mkdir()
    folder.log("nowhere")


# Damage: the file, what is wrong, what to do


def restore(message: str) -> str:
    return f"{message}.*(Restore it from a copy of the run, or train again|right to read it)"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", r"data\.json has format version None; this release reads 1"),
        ('{"format_version": 2}', r"data\.json has format version 2; this release reads 1"),
        ("[]", r"data\.json is damaged: it holds no JSON object"),
        ('{"format_version": 1, "path": "x"}', "lacks name, fingerprint, examples, split"),
        ("{", r"data\.json is damaged: it is not JSON"),
        (None, r"data\.json is missing"),
    ],
)
def test_damaged_descriptions_of_data_are_named(
    folder: RunFolder, content: str | None, message: str
) -> None:
    if content is not None:
        (folder.path / "data.json").write_text(content, encoding="utf-8")
    with pytest.raises(FolioError, match=restore(message)):
        folder.data()


def test_a_split_that_is_not_whole_is_named(folder: RunFolder) -> None:
    folder.write_data(digit_data(20), splits_of(20, 5), "by hand.", "abc")
    described = folder.data() | {"split": {"rule": "by hand."}}
    (folder.path / "data.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(FolioError, match=restore(r"data\.json is damaged: its split")):
        folder.splits()


@pytest.mark.parametrize(
    "content", ["a,b\n1,2\n", "index,split\nx,train\n", "index,split\n1,dev\n", "index,split\n1\n"]
)
def test_damaged_splits_are_named(folder: RunFolder, content: str) -> None:
    splits = {"train": np.array([0, 2]), "val": np.array([1]), "test": np.array([3])}
    folder.write_data(digit_data(4), splits, "by hand.", "abc")
    (folder.path / "split.csv").write_text(content, encoding="utf-8")
    with pytest.raises(FolioError, match=restore(r"split\.csv is damaged: expected the columns")):
        folder.splits()
    (folder.path / "split.csv").unlink()
    with pytest.raises(FolioError, match=restore(r"split\.csv is missing")):
        folder.splits()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"task\.json is damaged: it holds no JSON object"),
        ('{"format_version": 1}', r"task\.json is damaged: it lacks state"),
        ('{"format_version": 1, "state": 5}', "no pair of one run"),
        ('{"format_version": 1, "state": {"__tensor__": "gone"}}', "no pair of one run"),
    ],
)
def test_damaged_preprocessing_is_named(folder: RunFolder, content: str, message: str) -> None:
    folder.write_preprocessing({"mean": torch.zeros(3)})
    (folder.path / "preprocessing" / "task.json").write_text(content, encoding="utf-8")
    with pytest.raises(FolioError, match=restore(message)):
        folder.preprocessing()


def test_files_that_may_not_be_read_are_not_called_missing(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write_preprocessing({"mean": torch.zeros(3)})

    def closed(path: Path, *_: Any, **__: Any) -> Any:
        if path.suffix in (".safetensors", ".toml"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *_, **__)

    opened = Path.open
    monkeypatch.setattr(Path, "open", closed)
    for name, read in (
        ("task.safetensors", folder.preprocessing),
        ("recipe.toml", folder.recipe),
    ):
        with pytest.raises(
            FolioError, match=f"{name} cannot be read: Permission denied. Give yourself the right"
        ):
            read()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "lenet5"', "", r"\[network\] of .*recipe\.toml has no name"),
        ('name = "lenet5"', "name = 5", r"name in \[network\] of .*recipe\.toml is 5"),
        ("[task]", "[other]", r"\[task\] of .*recipe\.toml has no name"),
        ("format_version = 1", "format_version = 2", "recipe.toml has format version 2"),
        ("epochs = 3", 'epochs = "x"', r"epochs in \[training\] of .*recipe\.toml is 'x'"),
    ],
)
def test_recipes_of_runs_that_are_not_whole_are_named(
    folder: RunFolder, old: str, new: str, message: str
) -> None:
    path = folder.path / "recipe.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(FolioError, match=restore(message)):
        folder.recipe()


def test_a_state_that_another_program_wrote_is_no_beginning(folder: RunFolder) -> None:
    save_file({"x": torch.zeros(2)}, folder.path / "state" / "update-000000007.safetensors")
    with pytest.raises(FolioError, match=r"holds no state of a training.*start again"):
        folder.state()
    folder.write_state(state(5), 5)
    assert_same(folder.state(), state(5))
