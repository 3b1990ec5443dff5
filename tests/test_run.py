"""The main job from data to report, in Python and by the command, on the built-in digits."""

import csv
import errno
import io
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import torchfolio
from torchfolio import FolioError, RequestError, Run
from torchfolio.cli.app import run as folio
from torchfolio.data.readers import open_dataset
from torchfolio.tasks.image_classification import ImageClassification

SETTINGS = {"epochs": 2, "device": "cpu", "threads": 1, "workers": 0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "手写 digits"  # a Chinese name with a space
    return torchfolio.train("lenet5", "digits", out=out, **SETTINGS)


@pytest.fixture(scope="module")
def pictures(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first test pictures of the run as PNG files in class folders."""
    folder = tmp_path_factory.mktemp("pictures")
    dataset = open_dataset("digits")
    assert dataset.labels is not None
    for index in trained.folder.splits()["test"][:40]:
        target = folder / dataset.classes[dataset.labels[index]] / f"{index}.png"
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(dataset.records.pixels(int(index))[..., 0]).save(target)
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_holds_what_the_design_lists(trained: Run) -> None:
    names = {path.relative_to(trained.path).as_posix() for path in trained.path.rglob("*")}
    assert names >= {
        "recipe.toml", "data.json", "split.csv", "preprocessing/task.json", "history.csv",
        "weights/best.safetensors", "weights/last.safetensors", "state", "metrics.json",
        "predictions/test.csv", "report.html", "figures", "environment.json", "log.txt",
    }  # fmt: skip
    suffixes = {path.suffix for path in trained.path.rglob("*") if path.is_file()}
    assert suffixes <= {".toml", ".json", ".csv", ".safetensors", ".html", ".txt", ".svg", ""}
    for path in trained.path.glob("*.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["format_version"] == 1


def test_the_network_learns_and_beats_the_majority(trained: Run) -> None:
    accuracy = trained.metrics["metrics"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["value"] > 0.85 > 0.2 > trained.metrics["baseline"]["accuracy"]["value"]


def test_metrics_are_those_of_the_predictions_file(trained: Run) -> None:
    rows = rows_of(trained.path / "predictions" / "test.csv")
    right = [row["label"] == row["prediction"] for row in rows]
    assert trained.metrics["metrics"]["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert trained.metrics["examples"] == len(rows)


def test_splits_are_disjoint_and_whole(trained: Run) -> None:
    splits = trained.folder.splits()
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(1797))


def test_the_run_trained_again_with_its_recipe_has_the_same_weights(
    trained: Run, tmp_path: Path
) -> None:
    again = torchfolio.train(
        "lenet5", "digits", out=tmp_path / "again", recipe=trained.path / "recipe.toml"
    )
    assert again.metrics["digest"] == trained.metrics["digest"]
    assert again.recipe.as_toml()["training"] == trained.recipe.as_toml()["training"]


def test_a_finished_run_resumed_stays_what_it_is(trained: Run) -> None:
    digest = trained.metrics["digest"]
    assert Run(trained.path).resume(report=False).metrics["digest"] == digest


def test_ctrl_c_while_measuring_leaves_a_training_that_resume_measures(
    trained: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "run"
    flags = ["--out", str(out), "--epochs", "2", "--threads", "1", "--workers", "0"]
    with monkeypatch.context() as patch:
        patch.setattr(ImageClassification, "evaluate", interrupted)
        assert folio(["train", "lenet5", "digits", *flags, "--no-report"]) == 1
    told = capsys.readouterr().err
    assert "Stopped by Ctrl-C while measuring; the training is complete and saved" in told
    assert f"'folio resume {out}' measures it" in told
    assert not (out / "metrics.json").exists()
    history = rows_of(out / "history.csv")
    assert [row["epoch"] for row in history] == ["1", "2"]
    assert folio(["resume", str(out), "--no-report", "--quiet"]) == 0
    assert rows_of(out / "history.csv") == history  # nothing was trained again
    resumed = Run(out).metrics
    assert resumed["metrics"] == trained.metrics["metrics"]
    assert resumed["digest"] == trained.metrics["digest"]
    assert resumed["training"]["reason"] == trained.metrics["training"]["reason"]


def test_predict_answers_as_evaluate_measured(trained: Run, pictures: Path) -> None:
    measured = {row["input"]: row for row in rows_of(trained.path / "predictions" / "test.csv")}
    dataset = open_dataset("digits")
    for answer in Run(trained.path).predict(sorted(pictures.rglob("*.png"))):
        row = measured[dataset.records.name(int(Path(answer["input"]).stem))]
        assert answer["prediction"] == row["prediction"]
        assert answer["probability"] == pytest.approx(float(row["probability"]), abs=1e-5)


def test_predict_answers_every_input_and_exits_with_1_if_one_failed(
    trained: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "破 broken.png"
    broken.write_bytes(b"no picture")
    good = next(pictures.rglob("*.png"))
    inputs = [str(good), str(broken), str(tmp_path / "missing.png"), str(good)]
    assert folio(["predict", str(trained.path), *inputs, "--json", "--quiet"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [row["input"] for row in rows] == inputs
    assert [row["error"] is None for row in rows] == [True, False, False, True]
    assert rows[0]["top"] == rows[3]["top"]
    assert "missing.png" in rows[2]["error"]


def test_predict_takes_folders_patterns_and_standard_input(
    trained: Run,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    count = len(list(pictures.rglob("*.png")))
    table = tmp_path / "answers.csv"
    assert folio(["predict", str(trained.path), str(pictures), "--out", str(table)]) == 0
    assert len(rows_of(table)) == count
    assert folio(["predict", str(trained.path), str(pictures / "*" / "*.png"), "--json"]) == 0
    capsys.readouterr()
    one = next(pictures.rglob("*.png"))
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{one}\n\n{one}\n"))
    assert folio(["predict", str(trained.path), "-", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert folio(["predict", str(trained.path), str(tmp_path / "*.none")]) == 2
    assert folio(["predict", str(trained.path), str(one), "--tpo", "3"]) == 2


def test_the_table_of_answers_has_the_classes_in_columns(
    trained: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, broken = str(next(pictures.rglob("*.png"))), str(tmp_path / "missing.png")
    [row] = trained.predict([good], top=2)
    assert row["prediction"] == row["top"][0]["class"]
    assert len(row["top"]) == 2
    table = tmp_path / "answers.csv"
    flags = ["--top", "2", "--out", str(table), "--quiet"]
    assert folio(["predict", str(trained.path), broken, good, *flags]) == 1
    failed, answered = rows_of(table)
    common = ["input", "prediction", "probability", "error"]
    assert list(answered) == [*common, "class_1", "probability_1", "class_2", "probability_2"]
    assert list(answered.values()) == [
        good, row["prediction"], str(row["probability"]), "",
        *(str(each[key]) for each in row["top"] for key in ("class", "probability")),
    ]  # fmt: skip
    assert failed.pop("error") == f"There is no file {broken}."
    assert list(failed.values()) == [broken, "", "", "", "", "", ""]
    assert folio(["predict", str(trained.path), broken, *flags]) == 1
    assert list(rows_of(table)[0]) == common
    capsys.readouterr()
    assert folio(["predict", str(trained.path), good, "--top", "2"]) == 0
    first, second = (f"{each['class']} {100 * each['probability']:.1f}%" for each in row["top"])
    assert capsys.readouterr().out == f"{good}: {first}, {second}\n"
    assert folio(["predict", str(trained.path), good, "--top", "0"]) == 2
    assert "top in the settings is 0; it should be 1 or more" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_is_named(
    trained: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    one, folder = next(pictures.rglob("*.png")), tmp_path / "drawn"
    assert folio(["predict", str(trained.path), str(one), "--pictures", str(folder)]) == 1
    told = capsys.readouterr()
    assert f"{folder / one.name} cannot be written: No space left on device. Free" in told.err
    assert "choose another folder" in told.err
    assert list(folder.iterdir()) == []


def test_predict_draws_pictures(trained: Run, pictures: Path, tmp_path: Path) -> None:
    one = next(pictures.rglob("*.png"))
    rows = list(trained.predict([one, one], pictures=tmp_path / "drawn"))
    assert [Path(row["picture"]).is_file() for row in rows] == [True, True]
    assert rows[0]["picture"] != rows[1]["picture"]


def test_evaluate_on_other_data_matches_classes_by_name(trained: Run, pictures: Path) -> None:
    result = trained.evaluate(pictures, report=False)
    answers = trained.predict(sorted(pictures.rglob("*.png")))
    right = [answer["prediction"] == Path(answer["input"]).parent.name for answer in answers]
    assert result["metrics"]["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert (Path(result["folder"]) / "metrics.json").is_file()
    assert Path(result["folder"]).parent == trained.path / "evaluations"


def test_a_report_names_what_was_measured(trained: Run, pictures: Path) -> None:
    def page(result: dict[str, Any]) -> str:
        return (Path(result["folder"]) / "report.html").read_text(encoding="utf-8")

    other = page(trained.evaluate(pictures))
    assert f"{trained.recipe.network['name']} on {pictures.name}</h1>" in other
    assert ", all data" in other
    assert "Data of the training</h2>" in other
    own = page(trained.evaluate(split="val"))
    assert f"{trained.recipe.network['name']} on {trained.folder.data()['name']}</h1>" in own
    assert ", val split" in own
    assert "Data of the training" not in own


def test_evaluate_counts_copies_of_training_examples(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for name in ("cat", "dog"):
        for split, count in (("train", 12), ("test", 4)):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = noise.integers(0, 256, (28, 28), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    shutil.copytree(tmp_path / "data" / "test", tmp_path / "other")
    out = tmp_path / "run"
    settings = {"epochs": 1, "val_split": 0.0, "threads": 1, "workers": 0}
    run = torchfolio.train("softmax_regression", tmp_path / "data", out=out, **settings)
    assert run.evaluate(tmp_path / "other", report=False)["copies_of_training"] == 0
    for number in range(3):
        copy = tmp_path / "data" / "train" / "cat" / f"{number}.png"
        shutil.copy(copy, tmp_path / "other" / "cat" / f"again-{number}.png")
    said: list[str] = []
    result = run.evaluate(tmp_path / "other", say=said.append)
    assert result["copies_of_training"] == 3
    text = "3 of 11 examples are exact copies of training examples"
    assert any(text in line for line in said)
    assert text in (Path(result["folder"]) / "report.html").read_text(encoding="utf-8")
    shutil.rmtree(tmp_path / "data")
    assert run.evaluate(tmp_path / "other", report=False)["copies_of_training"] is None


def test_evaluate_names_a_class_that_the_run_does_not_know(trained: Run, tmp_path: Path) -> None:
    for name in ("1", "eleven"):
        (tmp_path / name).mkdir()
        Image.new("L", (32, 32), len(name)).save(tmp_path / name / "a.png")
    with pytest.raises(RequestError, match="no class of this run named 'eleven'"):
        trained.evaluate(tmp_path)


def test_a_second_training_into_a_run_is_refused(trained: Run) -> None:
    with pytest.raises(RequestError, match="holds a run already"):
        torchfolio.train("lenet5", "digits", out=trained.path, **SETTINGS)


def test_a_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert folio(["train", "mlp", "digits", "--dry-run", "--json", "--threads", "1"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["estimate"]["seconds"] > 0
    assert document["estimate"]["peak_memory_bytes"] > 0
    assert document["data"]["splits"] == {"train": 1257, "val": 270, "test": 270}
    assert list(tmp_path.iterdir()) == []


def test_train_prints_the_documents_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "softmax-regression", "digits", "--epochs", "1", "--out"]
    assert folio([*arguments, str(tmp_path / "run"), "--threads", "1", "--json", "--quiet"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert {"run", "task", "metrics", "baseline", "digest"} <= set(document)
    assert set(document["metrics"]["accuracy"]) == {"value", "low", "high"}
    assert captured.err == ""


def test_create_builds_plain_modules_and_takes_a_runs_weights(trained: Run) -> None:
    import torch

    network = torchfolio.create("lenet5", num_classes=10, weights=trained.path)
    images = torch.rand(3, 1, 32, 32)
    assert torch.equal(network.eval()(images), trained.network(images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs in .* is 0; it should be 1 or more"),
        ({"epoch": 1}, "no setting named 'epoch'. The nearest: epochs"),
        ({"optimizer": "foo"}, "no optimizer named 'foo'. torch's are: sgd, asgd, .*lbfgs, muon"),
        ({"weights": ""}, "weights is ''; it should be the path of a weight file or of a run"),
        ({"threads": 100_000}, "threads in .* is 100000; it should be 1024 or less"),
        ({"grad_clip": 0.0}, "grad_clip in .* is 0.0; it should be 1e-06 or more"),
        ({"optimizer": "sdg"}, "no optimizer named 'sdg'. The nearest: sgd"),
        (
            {"momentum": 0.9, "optimizer": "adam"},
            "no setting of the optimizer adam named 'momentum'",
        ),
        ({"set": {"widht": 3}}, "no argument of lenet5 named 'widht'"),
        ({"image_size": 64}, "takes images of 32 x 32"),
        ({"device": "cuda:99"}, "no device 'cuda:99'"),
        ({"recipe": "papers"}, "should be paper, modern or a TOML file"),
        ({"transfer": "some", "weights": "no.pth"}, "no.pth"),
        ({"normalize": "3:1"}, "the lower first"),
    ],
)
def test_a_wrong_setting_is_named(
    settings: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=message):
        torchfolio.train("lenet5", "digits", out=tmp_path / "run", **settings)


def test_data_that_changed_since_are_refused_on_resume(pictures: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(pictures, data)
    run = torchfolio.train("softmax_regression", data, out=tmp_path / "run", **SETTINGS)
    next(data.rglob("*.png")).unlink()
    with pytest.raises(FolioError, match="have changed since the run began"):
        Run(run.path).resume()


def test_evaluate_measures_the_test_split_that_other_data_bring(
    trained: Run, pictures: Path, tmp_path: Path
) -> None:
    shutil.copytree(pictures, tmp_path / "data" / "train")
    shutil.copytree(pictures / "1", tmp_path / "data" / "test" / "1")
    count = len(list((pictures / "1").iterdir()))
    result = trained.evaluate(tmp_path / "data", report=False)
    assert (result["split"], result["examples"]) == ("test", count)
    with pytest.raises(RequestError, match="no split named 'val'"):
        trained.evaluate(tmp_path / "data", split="val")
    assert trained.evaluate(pictures, report=False)["split"] == "all"


def test_set_of_what_the_data_decide_is_refused(tmp_path: Path) -> None:
    for key in ("num_classes", "in_channels", "image_size"):
        with pytest.raises(RequestError, match=f"--set gives {key}, which follows the data"):
            torchfolio.train("mlp", "digits", out=tmp_path / "run", set={key: 3})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training = 3", "training of .* is 3; it should be a section"),
        ("[optimizer]\nnetwork = 3", "optimizer.network of .* is 3; it should be a section"),
        ("[data]\nval_spilt = 0.4", "named 'val_spilt'. The nearest: val_split"),
        ("format_version = 7", "has format version 7; this release reads 1"),
        ("[training]\nseed = 'abc'", "seed in .* is 'abc'; it should be of type int"),
        ("[network]\nset = 5", r"set in \[network\] of .* is 5, not a table"),
        ("[network]\nweights = 5", r"weights in \[network\] of .* is 5, not a text"),
        ("[network]\nname = 'resnet18'", "is a recipe of resnet18, not of"),
        ("[optimizer.network]\nlr = 0.1", "names no optimizer"),
        ("[optimizer.network]\nname = 'sgd'\nlr = 'a'", "'a', not a number"),
        ("[network]\nwieghts = 'x'", "named 'wieghts'. The nearest: weights"),
        ("[trainin]\nepochs = 1", "no section in .* named 'trainin'"),
        ("epochs = ", "is not TOML"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(text: str, message: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=message):
        torchfolio.train("mlp", "digits", out=tmp_path / "run", recipe=recipe)


def test_lbfgs_trains_a_network_with_batch_norm(tmp_path: Path, pictures: Path) -> None:
    run = torchfolio.train(
        "resnet20", pictures, out=tmp_path / "run", optimizer="lbfgs", report=False,
        lr=0.1, epochs=1, threads=1, workers=0,
    )  # fmt: skip
    assert run.recipe.training.channels_last is False
    assert run.metrics["training"]["updates"] >= 1


def test_the_memory_layout_is_part_of_the_recipe(tmp_path: Path, pictures: Path) -> None:
    run = torchfolio.train("resnet20", pictures, out=tmp_path / "run", report=False, epochs=1)
    assert run.recipe.training.channels_last is True


def test_a_long_strip_is_drawn_within_bounds(trained: Run, tmp_path: Path) -> None:
    strip = tmp_path / "strip.png"
    Image.new("L", (1, 1500), 255).save(strip)
    [row] = trained.predict([strip], pictures=tmp_path / "drawn")
    with Image.open(row["picture"]) as image:
        assert max(image.size) <= 1000


def test_an_empty_input_is_not_the_whole_folder(
    trained: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folio(["predict", str(trained.path), ""]) == 2
    assert "An argument is empty" in capsys.readouterr().err


def test_without_a_test_split_the_validation_split_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = torchfolio.train("softmax_regression", "digits", out=out, test_split=0.0, **SETTINGS)
    assert run.metrics["split"] == "val"
    best = next(row for row in run.history if row["epoch"] == run.metrics["training"]["best_epoch"])
    assert run.metrics["metrics"]["accuracy"]["value"] == pytest.approx(best["val_accuracy"])
    assert (run.path / "predictions" / "val.csv").is_file()
    assert (run.path / "report.html").is_file()


def test_without_examples_held_out_nothing_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "softmax-regression", "digits", "--epochs", "1", "--threads", "1"]
    shares = ["--val-split", "0", "--test-split", "0"]
    assert folio([*arguments, *shares, "--out", str(tmp_path / "run")]) == 0
    assert "nothing was measured" in capsys.readouterr().out
    assert Run(tmp_path / "run").metrics["metrics"] == {}
    assert folio(["resume", str(tmp_path / "run")]) == 0


def test_a_run_from_a_machine_with_another_device_is_used_here(
    trained: Run, pictures: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained.path, tmp_path / "run")
    recipe = tmp_path / "run" / "recipe.toml"
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text.replace('device = "cpu"', 'device = "cuda:99"'), encoding="utf-8")
    run = Run(tmp_path / "run")
    assert run.evaluate(device="cpu", report=False)["metrics"] == trained.metrics["metrics"]
    assert run.evaluate(pictures, device="cpu", report=False)["copies_of_training"] == 0
    with pytest.raises(RequestError, match="no device 'cuda:99' on this machine"):
        run.resume()
    assert run.resume(device="cpu", report=False).metrics["digest"] == trained.metrics["digest"]


def test_predict_has_the_pixels_that_evaluate_has(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for split, deep in (("train", True), ("test", False)):
        for name in ("cat", "dog"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for number in range(6 if deep else 14):  # most are 8 bits deep, those of training 16
                pixels = noise.integers(0, 65536 if deep else 256, (28, 28))
                kept = pixels.astype(np.uint16 if deep else np.uint8)
                Image.fromarray(kept).save(folder / f"{number}.png")
    for name, colours in (("grey", "L"), ("colour", "RGB")):
        target = tmp_path / "data" / "test" / "cat"
        pixels = noise.integers(0, 256, (28, 28, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(colours).save(target / f"{name}.png")
    out = tmp_path / "run"
    run = torchfolio.train("lenet5", tmp_path / "data", out=out, val_split=0.0, **SETTINGS)
    task, _ = run.load()
    assert isinstance(task, ImageClassification)
    assert (task.state["depth"], task.state["channels"]) == (16, 1)
    assert 0 <= task.state["fill"] <= 1
    assert task.state["mean"].item() == pytest.approx(0.5 * 28**2 / 32**2 + 0.12, abs=0.15)
    dataset = open_dataset(tmp_path / "data")
    for index in range(len(dataset)):
        inside = task.pictures.fitted(dataset, np.array([index]))[0]
        path = tmp_path / "data" / dataset.records.name(index)
        assert (task.pictures.read(path) == inside).all()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (np.zeros((28, 28, 600), np.uint8), "An array of shape .*uint8 is no picture"),
        (np.zeros((28, 28), np.int64), "int64 is no picture"),
        (np.zeros(28, np.uint8), "is no picture"),
        (np.zeros((0, 28), np.uint8), "is no picture"),
        (np.full((28, 28), np.nan, np.float32), "not from 0 to 1"),
        (np.full((28, 28), 255.0), "not from 0 to 1"),
        (b"picture", "A bytes is no picture"),
        (None, "A NoneType is no picture"),
    ],
)
def test_what_is_no_picture_gets_a_row_with_its_error(
    trained: Run, item: object, message: str, tmp_path: Path
) -> None:
    good = np.zeros((28, 28), np.uint8)
    first, second = trained.predict([item, good], pictures=tmp_path)
    assert re.search(message, first["error"])
    assert first["prediction"] is None
    assert (second["input"], second["error"]) == ("array 28x28 uint8", None)
    assert second["picture"] is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 1}, "Batch norm cannot train on one value a channel"),
        ({"batch_size": 16, "accumulate": 16}, "Batch norm cannot train on one value a channel"),
    ],
)
def test_batch_norm_of_one_example_is_explained(
    settings: dict[str, int], message: str, tmp_path: Path
) -> None:
    wanted = SETTINGS | {"epochs": 1, "set": {"form": "batch-normalised"}} | settings
    with pytest.raises(RequestError, match=message):
        torchfolio.train("mlp_bn", "digits", out=tmp_path / "run", **wanted)


def test_more_pieces_than_examples_are_as_many_as_there_are(tmp_path: Path) -> None:
    settings = SETTINGS | {"epochs": 1, "batch_size": 16, "accumulate": 17}
    out = tmp_path / "run"
    run = torchfolio.train("softmax_regression", "digits", out=out, report=False, **settings)
    assert np.isfinite(run.history[0]["train_loss"])


def test_the_metric_to_monitor_is_known_before_anything_is_made(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.full((28, 28), 10 * number + (name == "b"), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    data, out = tmp_path / "data", tmp_path / "run"
    with pytest.raises(RequestError, match="no metric named 'top5_accuracy'"):
        torchfolio.train("softmax_regression", data, out=out, monitor="top5_accuracy", **SETTINGS)
    assert not out.exists()
    run = torchfolio.train(
        "softmax_regression", data, out=out, monitor="macro-f1", report=False, **SETTINGS
    )
    assert run.metrics["training"]["monitor"] == "macro_f1"


def test_a_state_of_another_training_is_named_on_resume(trained: Run, tmp_path: Path) -> None:
    import torch

    copy = tmp_path / "run"
    shutil.copytree(trained.path, copy)
    state = trained.folder.state()
    assert state is not None
    run = Run(copy)
    without = {key: value for key, value in state.items() if key != "optimizers"}
    parts = {"network": {"weight": torch.zeros(3)}}
    for foreign in (without, state | {"parts": parts}, state | {"progress": {"steps": 3}}):
        run.folder.write_state(foreign, 999_999_999)
        with pytest.raises(FolioError, match=r"newest state in .*state does not belong.*remove it"):
            run.resume(report=False)
    for path in run.folder.states()[-1:]:
        path.unlink()
    run.folder.write_state(state, 999_999_999)
    assert run.resume(report=False).metrics["digest"] == trained.metrics["digest"]
