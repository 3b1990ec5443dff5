"""Several labels a picture from table to report, in Python and by the command."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from sklearn import metrics

import torchfolio
from labelled_digits import (
    COUNT,
    LABELS,
    SETTINGS,
    rows_of,
    table_of,
    write_columns,
    write_digits,
)
from torchfolio import RequestError, Run
from torchfolio.cli.app import run as folio
from torchfolio.evaluation.thresholds import choose_thresholds
from torchfolio.export.exported import Exported
from torchfolio.export.facts import SUFFIXES


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return write_columns(folder, write_digits(folder))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "标签 run"
    return torchfolio.train("lenet5", data, out=out, epochs=8, lr=0.05, **SETTINGS)


def test_the_network_learns_and_beats_the_shares(trained: Run) -> None:
    found, baseline = trained.metrics["metrics"], trained.metrics["baseline"]
    area = found["mean_average_precision"]
    assert area["low"] <= area["value"] <= area["high"]
    assert area["value"] > 0.85 > 0.55 > baseline["mean_average_precision"]["value"]
    assert found["macro_f1"]["value"] > 0.7 > baseline["macro_f1"]["value"]
    assert trained.metrics["task"] == "multilabel-classification"
    assert trained.metrics["training"]["monitor"] == "mean_average_precision"


def test_metrics_are_those_of_the_predictions_file(trained: Run) -> None:
    truth, answers, likely = table_of(rows_of(trained.path / "predictions" / "test.csv"))
    found = {name: each["value"] for name, each in trained.metrics["metrics"].items()}
    assert len(truth) == trained.metrics["examples"] == 63
    wanted = {
        "mean_average_precision": metrics.average_precision_score(truth, likely),
        "macro_f1": metrics.f1_score(truth, answers, average="macro"),
        "micro_f1": metrics.f1_score(truth, answers, average="micro"),
        "subset_accuracy": metrics.accuracy_score(truth, answers),
        "hamming_loss": metrics.hamming_loss(truth, answers),
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)


def test_probabilities_and_truth_are_kept_as_they_are_in_the_order_of_the_table(
    trained: Run,
) -> None:
    truth, answers, likely = table_of(rows_of(trained.path / "predictions" / "test.csv"))
    kept = load_file(trained.path / "predictions" / "test.safetensors")
    assert kept.keys() == {"probabilities", "targets"}
    assert str(kept["probabilities"].dtype) == "float32"
    assert kept["probabilities"] == pytest.approx(likely, abs=6e-7)  # the table has six digits
    assert (kept["targets"] == truth).all()
    assert ((kept["probabilities"] >= trained.metrics["details"]["thresholds"]) == answers).all()


def test_thresholds_are_chosen_on_validation_data_and_kept_in_the_run(trained: Run) -> None:
    kept = trained.folder.preprocessing()["thresholds"]
    result = Run(trained.path).evaluate(split="val", report=False)
    truth, answers, likely = table_of(rows_of(Path(result["folder"]) / "predictions.csv"))
    # the file has six digits, and the thresholds lie halfway between two answers
    assert kept == pytest.approx(choose_thresholds(likely, truth).values, abs=2e-6)
    assert kept == result["details"]["thresholds"] == trained.metrics["details"]["thresholds"]
    assert (answers == (likely >= kept)).all()
    assert any("chosen on these very examples" in note for note in result["details"]["notes"])
    assert not any("these very" in note for note in trained.metrics["details"]["notes"])
    assert "thresholds chosen on 63 validation" in (trained.path / "log.txt").read_text("utf-8")


def test_the_history_has_the_figures_that_validation_data_give_in_the_end(trained: Run) -> None:
    best = trained.metrics["training"]["best_epoch"]
    row = trained.history[best - 1]
    found = Run(trained.path).evaluate(split="val", report=False)["metrics"]
    for name in ("mean_average_precision", "macro_f1", "micro_f1", "log_loss"):
        assert row[f"val_{name}"] == pytest.approx(found[name]["value"], abs=1e-4), name


def test_a_finished_run_resumed_stays_what_it_is(trained: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained.path, copy)
    again = Run(copy).resume(report=False)
    assert again.metrics["digest"] == trained.metrics["digest"]
    assert again.metrics["metrics"] == trained.metrics["metrics"]
    assert again.folder.preprocessing()["thresholds"] == trained.metrics["details"]["thresholds"]


def test_the_run_trained_again_with_its_recipe_has_the_same_weights(
    trained: Run, data: Path, tmp_path: Path
) -> None:
    recipe = trained.path / "recipe.toml"
    again = torchfolio.train("lenet5", data, out=tmp_path / "again", recipe=recipe, report=False)
    assert again.metrics["digest"] == trained.metrics["digest"]
    assert again.metrics["metrics"] == trained.metrics["metrics"]
    assert trained.recipe.task["augment"] == "shift"  # of the recipe for one class


def test_the_report_tells_all_of_it(trained: Run) -> None:
    text = (trained.path / "report.html").read_text(encoding="utf-8")
    for words in (
        "Mean average precision", "Worst misses", "Where it looks", "Labels together in truth",
        "Labels together in answers", "Average precision by label", "Each label", "threshold",
        "Precision and recall", "Calibration", "share with the label", "Hamming loss",
        "several labels a picture, a column each", "one or seven", "stratified by label",
    ):  # fmt: skip
        assert words in text, words
    assert "Confusion" not in text
    assert (trained.path / "figures" / "labels-together-in-truth.svg").is_file()


# Answers


def test_predict_answers_as_evaluate_measured(trained: Run, data: Path) -> None:
    measured = {row["input"]: row for row in rows_of(trained.path / "predictions" / "test.csv")}
    names = sorted(measured)[:20]
    for name, row in zip(names, Run(trained.path).predict([data.parent / n for n in names])):  # noqa: B905
        wanted = [each for each in measured[name]["prediction"].split("|") if each]
        assert sorted(row["prediction"]) == sorted(wanted)
        for label in LABELS:
            found = row["probability"][label]
            assert found == pytest.approx(float(measured[name][f"p({label})"]), abs=1e-5)


def test_predict_prints_writes_and_draws(
    trained: Run, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = [str(data.parent / "图 片" / f"{number}.png") for number in (0, 1)]
    missing = str(tmp_path / "missing.png")
    words = ["predict", str(trained.path), *inputs, missing, "--top", "2"]
    assert folio([*words, "--json", "--quiet"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert isinstance(rows[0]["prediction"], list)
    assert set(rows[0]["probability"]) == set(LABELS)
    assert [len(row["top"]) for row in rows] == [2, 2, 0]
    assert (rows[2]["prediction"], rows[2]["probability"]) == (None, None)
    assert "There is no file" in rows[2]["error"]
    out, pictures = tmp_path / "answers.csv", tmp_path / "drawn"
    assert folio([*words, "--out", str(out), "--pictures", str(pictures), "--quiet"]) == 1
    table = rows_of(out)
    assert list(table[0]) == ["input", "prediction", *(f"p({name})" for name in LABELS), "error"]
    assert table[0]["prediction"].split("|") == rows[0]["prediction"]
    assert len(list(pictures.glob("*.png"))) == 2
    capsys.readouterr()
    assert folio([*words[:4], "--top", "1"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"{inputs[0]}: {', '.join(rows[0]['prediction'])} (")


# Other data


def test_other_data_are_measured_as_the_run_reads_tables(trained: Run, tmp_path: Path) -> None:
    rows = write_digits(tmp_path, 60, start=600)
    table = write_columns(tmp_path, rows, start=600)
    result = Run(trained.path).evaluate(table)
    assert result["examples"] == 60
    assert result["metrics"]["mean_average_precision"]["value"] > 0.7
    assert not any("these very" in note for note in result["details"]["notes"])
    assert (Path(result["folder"]) / "report.html").is_file()
    # as lists of labels: the run's own columns are taken unless the reader is named
    lists = ["|".join(name for name, yes in zip(LABELS, row, strict=True) if yes) for row in rows]
    lines = [f"图 片/{number}.png,{cell}" for number, cell in enumerate(lists, 600)]
    other = tmp_path / "lists.csv"
    other.write_text("file,tags\n" + "\n".join(lines), encoding="utf-8")
    with pytest.raises(RequestError, match=r"no column in lists\.csv named 'even'"):
        Run(trained.path).evaluate(other, report=False)
    again = Run(trained.path).evaluate(other, reader="image-table", report=False)
    assert again["metrics"] == result["metrics"]
    with pytest.raises(RequestError, match="says nothing of 'below five', 'round', 'one or seven'"):
        Run(trained.path).evaluate(table, label_columns="even", report=False)


def test_data_of_one_class_are_no_data_for_the_run(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="does multilabel-classification; digits holds data for"):
        Run(trained.path).evaluate("digits", report=False)
    with pytest.raises(RequestError, match="lenet5_original does image-classification; the data"):
        torchfolio.train("lenet5_original", trained.folder.data()["path"], out=tmp_path / "run")


# Without validation, without test


def test_without_validation_data_thresholds_stay_in_the_middle(data: Path, tmp_path: Path) -> None:
    run = torchfolio.train(
        "lenet5", data, out=tmp_path / "run", epochs=1, val_split=0.0, report=False, **SETTINGS
    )
    assert "thresholds" not in run.folder.preprocessing()
    assert run.metrics["details"]["thresholds"] == [0.5] * 4
    assert any("every one is 0.5" in note for note in run.metrics["details"]["notes"])


def test_without_test_data_the_flattery_is_told(data: Path, tmp_path: Path) -> None:
    run = torchfolio.train(
        "lenet5", data, out=tmp_path / "run", epochs=1, test_split=0.0, report=False, **SETTINGS
    )
    assert run.metrics["split"] == "val"
    assert any("these very examples" in note for note in run.metrics["details"]["notes"])


# The command


def test_the_command_says_how_it_read_the_table(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["lenet5", str(data), "--epochs", "1", "--device", "cpu", "--threads", "1"]
    assert folio(["train", *words, "--out", str(tmp_path / "run"), "--no-report"]) == 0
    told = capsys.readouterr().out
    assert "420 examples, 4 labels" in told
    assert "read as: several labels a picture, a column each: 'even', 'below five'" in told
    assert "thresholds chosen on 63 validation pictures" in told
    assert "  mean_average_precision" in told
    assert folio(["train", *words, "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["recipe"]["task"]["name"] == "multilabel-classification"
    assert document["recipe"]["data"]["reader_options"] == {"label_columns": ",".join(LABELS)}


def test_flags_say_how_a_table_is_read(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(data)
    lines = [
        f"{row['file']},{'ab'[n % 2]},{row['even']},{row['round']}" for n, row in enumerate(rows)
    ]
    table = data.parent / "two.csv"
    table.write_text("file,batch,even,round\n" + "\n".join(lines), encoding="utf-8")
    words = ["train", "lenet5", str(table), "--dry-run", "--json"]
    try:
        assert folio(words) == 2
        assert "with --label-columns 'even,round'" in capsys.readouterr().err
        for flags, task in (
            (["--label-columns", "even,round"], "multilabel-classification"),
            (["--label-column=batch"], "image-classification"),
            (["--label-column", "batch", "--separator", "|"], "multilabel-classification"),
        ):
            assert folio([*words, *flags]) == 0
            document = json.loads(capsys.readouterr().out)
            assert document["recipe"]["task"]["name"] == task
        assert folio(["train", "lenet5", str(table), "--help"]) == 0  # which shows those flags
        assert "--label-columns" in capsys.readouterr().out
    finally:
        table.unlink()


def test_an_unknown_metric_names_those_there_are(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no metric named 'accuracy'"):
        torchfolio.train("lenet5", data, out=tmp_path / "run", monitor="accuracy", **SETTINGS)
    with pytest.raises(RequestError, match="no setting named 'sampler'"):
        torchfolio.train("lenet5", data, out=tmp_path / "run", sampler="balanced", **SETTINGS)


def test_an_exported_file_answers_by_the_thresholds_of_the_run(
    trained: Run, data: Path, tmp_path: Path
) -> None:
    truth, answers, _ = table_of(rows_of(trained.path / "predictions" / "test.csv"))
    pictures = sorted((data.parent / "图 片").iterdir())[:20]
    expected = list(trained.predict(pictures))
    for kind in ("onnx", "torch"):
        found = trained.export(kind, tmp_path / f"标签{SUFFIXES[kind]}")
        assert (found["metric"], found["split"]) == ("subset_accuracy", "val")
        assert found["torch"] == found["exported"]
        file = Exported(found["file"])
        assert file.facts["thresholds"] == trained.folder.preprocessing()["thresholds"]
        rows = list(file.predict(pictures, top=3))
        assert [row["prediction"] for row in rows] == [row["prediction"] for row in expected]
        for row, other in zip(rows, expected, strict=True):
            assert row["probability"] == pytest.approx(other["probability"], abs=1e-5)
            assert file.answers.line(row) == trained.load()[0].line(other)
    whole = trained.export("onnx", tmp_path / "whole.onnx", check=data)
    assert whole["examples"] == COUNT
    assert (truth == answers).all(1).mean() > 0.3  # what is shared is more than nothing


def test_an_exported_file_without_thresholds_takes_one_half(data: Path, tmp_path: Path) -> None:
    run = torchfolio.train(
        "softmax_regression", data, out=tmp_path / "run", epochs=1, val_split=0, report=False,
        **SETTINGS,
    )  # fmt: skip
    file = Exported(run.export("onnx")["file"])
    assert "thresholds" not in file.facts
    for row in file.predict(sorted((data.parent / "图 片").iterdir())[:5]):
        likely = row["probability"]
        assert set(row["prediction"]) == {name for name in likely if likely[name] >= 0.5}
