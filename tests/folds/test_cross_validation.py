"""``folio train --folds``: every example tested once, figures of all together, and resume."""

import csv
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sklearn_metrics
from small_folds import FLAGS, QUICK, folds_of

import torchfolio
from torchfolio import Folds, FolioError, RequestError, Run
from torchfolio.cli.app import run as folio
from torchfolio.data.readers import open_dataset
from torchfolio.folds.page import spread_text
from torchfolio.run import Monitor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Folds:
    out = tmp_path_factory.mktemp("runs") / "三 folds"  # a Chinese name with a space
    return folds_of("softmax_regression", out, folds=3, report=True)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def same_ends(one: Folds, other: Folds) -> None:
    """Two folders hold the same weights, figures and answers."""
    for first, second in zip(one.runs, other.runs, strict=True):
        assert first.metrics["digest"] == second.metrics["digest"]
    for key in ("digest", "division", "metrics", "baseline", "details"):
        assert one.metrics[key] == other.metrics[key]
    assert rows_of(one.path / "predictions/test.csv") == rows_of(
        other.path / "predictions/test.csv"
    )


# What is trained, and what is measured


def test_every_example_is_tested_once_by_a_network_that_did_not_learn_from_it(
    whole: Folds,
) -> None:
    splits = [run.folder.splits() for run in whole.runs]
    tested = np.concatenate([each["test"] for each in splits])
    assert sorted(tested.tolist()) == list(range(1797))
    for each in splits:
        assert sorted(np.concatenate(list(each.values())).tolist()) == list(range(1797))
    records = open_dataset("digits").records
    rows = rows_of(whole.path / "predictions/test.csv")
    assert {row["input"] for row in rows} == {records.name(index) for index in range(1797)}
    assert len(rows) == 1797


def test_each_answer_is_that_of_the_fold_that_is_named(whole: Folds) -> None:
    rows = rows_of(whole.path / "predictions/test.csv")
    for number, run in enumerate(whole.runs, 1):
        own = rows_of(run.path / "predictions/test.csv")
        place = {"repeat": "1", "fold": str(number)}
        assert [row for row in rows if row["fold"] == str(number)] == [place | row for row in own]


def test_the_figures_of_all_together_are_those_of_scikit_learn(whole: Folds) -> None:
    rows = rows_of(whole.path / "predictions/test.csv")
    labels = [row["label"] for row in rows]
    answers = [row["prediction"] for row in rows]
    likely = np.array([[float(row[f"p({digit})"]) for digit in range(10)] for row in rows])
    likely /= likely.sum(1, keepdims=True)
    found = {name: figure["value"] for name, figure in whole.metrics["metrics"].items()}
    assert whole.metrics["examples"] == 1797
    assert found["accuracy"] == sklearn_metrics.accuracy_score(labels, answers)
    f1 = sklearn_metrics.f1_score(labels, answers, average="macro")
    assert found["macro_f1"] == pytest.approx(f1)
    area = sklearn_metrics.roc_auc_score(labels, likely, multi_class="ovr")
    assert found["roc_auc"] == pytest.approx(area, abs=1e-5)
    loss = sklearn_metrics.log_loss(labels, np.clip(likely, 1e-7, 1))
    assert found["log_loss"] == pytest.approx(loss, rel=1e-3)  # the table has six digits
    table = sklearn_metrics.confusion_matrix(labels, answers).tolist()
    assert whole.metrics["details"]["confusion"] == table
    commonest = max(labels.count(digit) for digit in set(labels)) / 1797
    assert whole.metrics["baseline"]["accuracy"]["value"] == pytest.approx(commonest, abs=1e-3)


def test_mean_and_deviation_are_those_of_the_runs(whole: Folds) -> None:
    for name, figure in whole.metrics["metrics"].items():
        own = [run.metrics["metrics"][name]["value"] for run in whole.runs]
        assert figure["mean"] == pytest.approx(statistics.mean(own))
        assert figure["std"] == pytest.approx(statistics.stdev(own))
        assert figure["low"] <= figure["value"] <= figure["high"]
    members = whole.metrics["folds"]
    assert [each["run"] for each in members] == ["fold-1", "fold-2", "fold-3"]
    assert [each["examples"] for each in members] == [599, 599, 599]
    assert [each["train"] + each["val"] for each in members] == [1198, 1198, 1198]
    assert [each["metrics"] for each in members] == [run.metrics["metrics"] for run in whole.runs]


def test_a_fold_is_the_training_that_is_asked_for_by_its_number(
    whole: Folds, tmp_path: Path
) -> None:
    assert [run.recipe.training.seed for run in whole.runs] == [0, 1, 2]
    alone = torchfolio.train(
        "softmax_regression", "digits", fold="2/3", seed=1, split_seed=0,
        out=tmp_path / "alone", **QUICK,
    )  # fmt: skip
    assert alone.metrics["digest"] == whole.runs[1].metrics["digest"]
    again = torchfolio.train(
        "softmax_regression", "digits", recipe=whole.runs[1].path / "recipe.toml",
        out=tmp_path / "again", report=False,
    )  # fmt: skip
    assert again.metrics["digest"] == whole.runs[1].metrics["digest"]
    assert again.metrics["metrics"] == whole.runs[1].metrics["metrics"]


def test_each_run_is_whole(whole: Folds) -> None:
    run = Run(whole.path / "fold-2")
    digest = run.metrics["digest"]
    pixels = open_dataset("digits").records.pixels(0)
    assert next(iter(run.predict([pixels])))["error"] is None
    measured = run.evaluate(report=False)
    assert measured["metrics"] == run.metrics["metrics"]
    assert run.resume(report=False).metrics["digest"] == digest
    assert (run.path / "report.html").is_file()


def test_the_folder_holds_what_it_should(whole: Folds) -> None:
    names = {each.name for each in whole.path.iterdir()}
    assert names == {
        "folds.json", "recipe.toml", "fold-1", "fold-2", "fold-3", "metrics.json", "predictions",
        "report.html",
    }  # fmt: skip
    for name in ("folds.json", "metrics.json"):
        assert json.loads((whole.path / name).read_text(encoding="utf-8"))["format_version"] == 1
    page = (whole.path / "report.html").read_text(encoding="utf-8")
    assert "softmax_regression on digits, 3 folds" in page
    assert "Each example is tested once, by a network that was trained on the other folds." in page
    assert spread_text(whole.metrics["metrics"]["accuracy"], share=True) in page
    for run in whole.runs:
        assert run.name in page
    assert "Confusion" in page


def test_mean_and_deviation_have_the_digits_they_deserve() -> None:
    assert spread_text({"mean": 0.96944, "std": 0.0081}, share=True) == "96.94 ± 0.81\u202f%"
    assert spread_text({"mean": 0.96944, "std": 0.0123}, share=True) == "96.9 ± 1.2\u202f%"
    assert spread_text({"mean": 0.09091, "std": 0.018}, share=False) == "0.091 ± 0.018"
    assert spread_text({"mean": 0.99984, "std": 0.00021}, share=False) == "0.9998 ± 0.0002"
    assert spread_text({"mean": 0.5, "std": None}, share=False) == "0.500"
    assert spread_text({"mean": None, "std": None}, share=True) == "–"


# Repeats


def test_repeats_of_folds_are_other_folds_and_test_each_example_so_often(tmp_path: Path) -> None:
    whole = folds_of("softmax_regression", tmp_path / "runs", folds=2, repeats=2, seed=5)
    names = [run.name for run in whole.runs]
    assert names == [f"repeat-{repeat}-fold-{fold}" for repeat in (1, 2) for fold in (1, 2)]
    assert [run.recipe.training.seed for run in whole.runs] == [5, 6, 7, 8]
    assert [run.recipe.data["split_seed"] for run in whole.runs] == [5, 5, 6, 6]
    first, _, second, _ = (set(run.folder.splits()["test"].tolist()) for run in whole.runs)
    assert len(first & second) < 0.6 * len(first)  # half of them by chance
    rows = rows_of(whole.path / "predictions/test.csv")
    assert len(rows) == 2 * 1797 == whole.metrics["examples"]
    assert len({(row["repeat"], row["input"]) for row in rows}) == len(rows)
    assert whole.metrics["details"]["units"] == 1797  # the answers to one example are one unit
    assert whole.metrics["plan"] == "2 repeats of 2 folds"
    right = np.mean([row["correct"] == "1" for row in rows])
    assert whole.metrics["metrics"]["accuracy"]["value"] == pytest.approx(right)


def test_repeats_alone_are_other_seeds_on_one_split(tmp_path: Path) -> None:
    whole = folds_of("softmax_regression", tmp_path / "runs", repeats=2, seed=3, test_split=0.1)
    first, second = whole.runs
    assert [first.name, second.name] == ["repeat-1", "repeat-2"]
    assert first.folder.data()["split"] == second.folder.data()["split"]
    assert first.metrics["digest"] != second.metrics["digest"]
    plain = torchfolio.train(
        "softmax_regression", "digits", seed=3, test_split=0.1, out=tmp_path / "plain", **QUICK
    )
    assert first.metrics["digest"] == plain.metrics["digest"]
    assert whole.metrics["examples"] == 2 * 180
    assert whole.metrics["details"]["units"] == 180


# What the data bring


def test_a_test_split_of_the_data_is_not_touched(tmp_path: Path) -> None:
    digits = open_dataset("digits")
    assert digits.labels is not None
    pictures = np.stack([digits.records.pixels(index)[..., 0] for index in range(400)])
    labels = digits.labels[:400]
    np.savez(
        tmp_path / "some.npz",
        x_train=pictures[:300], y_train=labels[:300], x_test=pictures[300:], y_test=labels[300:],
    )  # fmt: skip
    whole = torchfolio.train(
        "softmax_regression", tmp_path / "some.npz", folds=2, out=tmp_path / "runs", **QUICK
    )
    used = np.concatenate([np.concatenate([*run.folder.splits().values()]) for run in whole.runs])
    dataset = open_dataset(tmp_path / "some.npz")
    assert not set(used.tolist()) & set(dataset.given["test"].tolist())
    assert "test split (100 examples) stays out" in whole.runs[0].folder.data()["split"]["rule"]
    kept = whole.runs[0].evaluate(tmp_path / "some.npz", report=False)
    assert (kept["split"], kept["examples"]) == ("test", 100)


def test_given_weights_leave_what_was_asked_for(tmp_path: Path) -> None:
    """Each fold begins with them, and normalises as the person said."""
    given = torchfolio.train(
        "softmax_regression", "digits", out=tmp_path / "given", normalize="-1:1", **QUICK
    )
    settings = {"weights": str(given.path), "folds": 2}
    whole = folds_of("softmax_regression", tmp_path / "as", normalize="none", **settings)
    taken = folds_of("softmax_regression", tmp_path / "taken", **settings)
    means = [
        [float(run.folder.preprocessing()["mean"].mean()) for run in each.runs]
        for each in (whole, taken)
    ]
    expected = float(given.folder.preprocessing()["mean"].mean())
    assert means == [[0, 0], [expected, expected]]
    assert expected != 0


# Stopped, and gone on with


class Interrupting(Monitor):
    """Presses Ctrl-C at an update of one training, and notes which trainings began."""

    def __init__(self, number: int = 0, update: int = 0) -> None:
        self.number, self.update = number, update
        self.begun: list[str] = []
        self.at = 0

    def begins(self, number: int, total: int, name: str) -> None:
        self.at = number
        self.begun.append(name)

    def updated(self, loop: Any, loss: float | None) -> None:
        if (self.at, loop.progress.update) == (self.number, self.update):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_a_fold_and_resume_end_as_one_left_alone(whole: Folds, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    watcher = Interrupting(number=2, update=20)
    with pytest.raises(
        FolioError, match=r"^In fold 2 of 3: Stopped by Ctrl-C after 20 upd"
    ) as told:
        folds_of("softmax_regression", out, folds=3, watcher=watcher)
    assert f"Go on with 'folio resume {out}'." in str(told.value)
    assert watcher.begun == ["fold 1 of 3", "fold 2 of 3"]
    stopped = Folds(out)
    assert [run.name for run in stopped.runs] == ["fold-1", "fold-2"]
    with pytest.raises(RequestError, match=r"is not finished: 1 of its 3 runs are\. 'folio resume"):
        _ = stopped.metrics
    before = (out / "fold-1" / "history.csv").stat().st_mtime_ns
    watcher = Interrupting()
    resumed = stopped.resume(watcher=watcher, report=False)
    assert watcher.begun == ["fold 2 of 3", "fold 3 of 3"]
    assert (out / "fold-1" / "history.csv").stat().st_mtime_ns == before
    same_ends(resumed, whole)
    watcher = Interrupting()
    same_ends(stopped.resume(watcher=watcher, report=False), whole)
    assert watcher.begun == []  # of a finished folder nothing is trained again


def test_resume_makes_the_reports_that_were_left_out(whole: Folds, tmp_path: Path) -> None:
    copy = tmp_path / "runs"
    shutil.copytree(whole.path, copy)
    (copy / "report.html").unlink()
    (copy / "fold-3" / "report.html").unlink()
    watcher = Interrupting()
    Folds(copy).resume(watcher=watcher)
    assert watcher.begun == ["fold 3 of 3"]
    assert (copy / "report.html").is_file()
    same_ends(Folds(copy), whole)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_command_and_resume_end_as_one_left_alone(whole: Folds, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    command = [
        *(sys.executable, "-m", "torchfolio", "train", "softmax_regression", "digits"),
        *("--folds", "3", "--out", str(out), *FLAGS),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not list((out / "fold-2" / "state").glob("update-*")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    assert not (out / "metrics.json").exists()
    assert folio(["resume", str(out), "--no-report", "--quiet"]) == 0
    same_ends(Folds(out), whole)


def test_a_folder_whose_first_training_never_began_may_be_used_again(
    whole: Folds, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    out.mkdir()
    shutil.copy(whole.path / "folds.json", out)
    assert folio(["resume", str(out)]) == 2
    assert (
        "ended before the first began. Give the same 'folio train' command"
        in capsys.readouterr().err
    )
    assert folio(["evaluate", str(out)]) == 2
    assert "is no run but a folder of 0" in capsys.readouterr().err
    again = folds_of("softmax_regression", out, folds=2)
    assert again.plan.folds == 2


def test_changed_data_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            pixels = noise.integers(0, 256, (28, 28), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    watcher = Interrupting(number=1, update=1)
    settings = {"folds": 2, "out": tmp_path / "runs", "watcher": watcher, **QUICK}
    with pytest.raises(FolioError, match="In fold 1 of 2: Stopped by Ctrl-C"):
        torchfolio.train("softmax_regression", tmp_path / "data", **settings)
    (tmp_path / "data" / "cat" / "0.png").unlink()
    with pytest.raises(FolioError, match="have changed since the run began: 23 examples now, 24"):
        Folds(tmp_path / "runs").resume()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs a POSIX system")
def test_several_processes_train_each_fold_together(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("-m", "torchfolio", "train", "softmax_regression", "digits"),
        *("--folds", "2", "--out", str(out), *FLAGS),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 folds, 1,797 examples:") == 1  # the first process alone prints
    together, alone = Folds(out), folds_of("softmax_regression", tmp_path / "alone", folds=2)
    assert [run.folder.processes() for run in together.runs] == [2, 2]
    assert together.metrics["division"] == alone.metrics["division"]
    for name, figure in together.metrics["metrics"].items():
        assert figure["value"] == pytest.approx(alone.metrics["metrics"][name]["value"], abs=5e-3)
    assert together.resume(report=False).metrics["metrics"] == together.metrics["metrics"]


# The command


def test_the_command_says_which_fold_it_is_at_and_prints_spread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    flags = ["--folds", "2", "--out", str(out), *FLAGS]
    assert folio(["train", "softmax_regression", "digits", *flags]) == 0
    told = capsys.readouterr().out
    assert f"2 folds: softmax_regression on digits, in {out}" in told
    assert "- test is fold 1 of 2 of all examples, made by seed 0, stratified by class" in told
    assert f"fold 1 of 2, run: {out / 'fold-1'}" in told
    assert f"fold 2 of 2, run: {out / 'fold-2'}" in told
    assert told.count("optimizer of network:") == 1  # the recipe, once
    assert "fold 2 of 2: accuracy 0." in told
    assert "2 folds, 1,797 examples:" in told
    accuracy = Folds(out).metrics["metrics"]["accuracy"]
    assert f"  runs {accuracy['mean']:.4f} ± {accuracy['std']:.4f}  baseline 0.1" in told


def test_the_document_has_the_figures_and_the_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    flags = ["--folds", "2", "--out", str(out), "--json", "--quiet", *FLAGS]
    assert folio(["train", "softmax_regression", "digits", *flags]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    document = json.loads(captured.out)
    assert {"run", "task", "metrics", "baseline", "digest", "folds"} <= set(document)
    assert set(document["metrics"]["accuracy"]) == {"value", "low", "high", "mean", "std"}
    assert [each["run"] for each in document["folds"]] == ["fold-1", "fold-2"]
    assert folio(["resume", str(out), "--json", "--quiet", "--no-report"]) == 0
    assert json.loads(capsys.readouterr().out) == document


def test_a_dry_run_counts_all_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--folds", "3", "--repeats", "2", "--dry-run", "--minutes", "0.01", "--threads", "1"]
    assert folio(["train", "softmax_regression", "digits", *flags, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["estimate"]["trainings"] == 6
    assert document["estimate"]["seconds"] == pytest.approx(6 * 0.6)  # the budget is of each
    assert document["data"]["splits"]["test"] == 599
    assert folio(["train", "softmax_regression", "digits", *flags]) == 0
    assert "6 trainings of 0.6 s, 3.6 s in all" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_folder_itself_is_no_run(whole: Folds, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["evaluate"], ["predict", "some.png"]):
        assert folio([words[0], str(whole.path), *words[1:]]) == 2
        told = capsys.readouterr().err
        assert f"{whole.path} is no run but a folder of 3. Name one of them, such as " in told
        assert str(whole.path / "fold-1") in told
    with pytest.raises(RequestError, match="is no run but a folder of 3"):
        Run(whole.path)
    with pytest.raises(RequestError, match=r"is no folder of runs: it has no folds\.json"):
        Folds(whole.path / "fold-1")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 1}, "folds is 1; it is a whole number, 2 or more"),
        ({"folds": 2.5}, "folds is 2.5; it is a whole number"),
        ({"folds": True}, "folds is True; it is a whole number"),
        ({"folds": 2, "repeats": 0}, "repeats is 0; it is a whole number, 1 or more"),
        ({"repeats": 1}, "repeats is 1, and there are no folds: that is one training"),
        ({"folds": 2, "fold": "1/2"}, "--fold 1/2 is one training, --folds 2 is all of them"),
        ({"folds": 2, "test_split": 0.2}, "--test-split is 0.2, and a fold is tested instead"),
        ({"fold": "1/2", "test_split": 0.2}, "--test-split is 0.2, and a fold is tested instead"),
        ({"folds": 1798}, "digits has 1,797 examples to make 1798 folds from"),
        ({"repeats": 2, "test_split": 0.0}, "No examples are held out, so repeats could not be"),
        ({"folds": 2, "monitor": "macro_f2"}, "no metric named 'macro_f2'. The nearest: macro_f1"),
        ({"folds": 2, "optimizer": "sdg"}, "no optimizer named 'sdg'"),
        ({"folds": 2, "epoch": 3}, "no setting named 'epoch'"),
        ({"fold": "5/3"}, "--fold is '5/3'; it is one of two folds or more"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_made(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(FolioError, match=message):
        torchfolio.train("softmax_regression", "digits", out=tmp_path / "runs", **QUICK | settings)
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_holds_runs_is_refused(
    whole: Folds, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in (["--folds", "3"], ["--repeats", "2"], []):
        words = ["train", "softmax_regression", "digits", "--out", str(whole.path), *more]
        assert folio(words) == 2
        assert f"{whole.path} holds a run already. Choose another --out" in capsys.readouterr().err


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FolioError, match=r"file/runs cannot be made: .*\. Choose another --out"):
        folds_of("softmax_regression", tmp_path / "file" / "runs", folds=2)


def test_a_damaged_plan_is_named(whole: Folds, tmp_path: Path) -> None:
    shutil.copy(whole.path / "recipe.toml", tmp_path)
    plan = json.loads((whole.path / "folds.json").read_text(encoding="utf-8"))
    for broken in (plan | {"plan": {"folds": 3}}, {"format_version": 1}):
        (tmp_path / "folds.json").write_text(json.dumps(broken), encoding="utf-8")
        with pytest.raises(FolioError, match=r"folds\.json is damaged: (its plan|it lacks)"):
            Folds(tmp_path)
