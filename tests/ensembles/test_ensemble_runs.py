"""``folio ensemble``: several runs become one, which is used as any other."""

import csv
import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import torchfolio
from torchfolio import FolioError, RequestError, Run
from torchfolio.cli.app import run as folio
from torchfolio.comparison.runs import compare_runs
from torchfolio.data.readers import open_dataset
from torchfolio.evaluation.speed import size_of
from torchfolio.export.exported import Exported
from torchfolio.tasks.combination import LEAST
from torchfolio.tasks.image_classification_report import class_probabilities

SETTINGS: dict[str, Any] = {"device": "cpu", "threads": 1, "workers": 0, "report": False}
NETWORKS = ("lenet5", "softmax_regression", "mlp")
CLASSES = [str(each) for each in range(10)]


def trained(network: str, out: Path, data: Any = "digits", **settings: Any) -> Run:
    return torchfolio.train(network, data, out=out, epochs=1, **(SETTINGS | settings))


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("成员 runs")
    return [trained(network, folder / network) for network in NETWORKS]


@pytest.fixture(scope="module")
def joined(members: list[Run], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """An ensemble by each method; the runs that they are made of are then moved away."""
    folder = tmp_path_factory.mktemp("合奏 ensembles")
    copies = [shutil.copytree(run.path, folder / "copies" / run.name) for run in members]
    before = contents(folder / "copies")
    found = {
        method: torchfolio.ensemble(
            copies, method=method, out=folder / method, device="cpu", report=method != "mean"
        )
        for method in ("mean", "weighted", "vote", "stack")
    }
    assert contents(folder / "copies") == before
    shutil.rmtree(folder / "copies")
    return found


def contents(folder: Path) -> dict[str, str]:
    """Return a digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def told(run: Run) -> tuple[list[str], NDArray[np.float64], list[str], list[str]]:
    """Return of a run's test predictions: names, probabilities, answers, labels."""
    with (run.path / "predictions" / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["input"])
    shares = [[float(row[f"p({name})"]) for name in CLASSES] for row in rows]
    return (
        [row["input"] for row in rows],
        np.array(shares),
        [row["prediction"] for row in rows],
        [row["label"] for row in rows],
    )


def said(run: Run, split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return what a run says of a split, and its labels."""
    dataset, indices = open_dataset("digits"), run.folder.splits()[split]
    task, parts, context = run.ready("cpu", report=False)
    found = class_probabilities(task, task.answering(parts, context), dataset, indices, context)
    assert dataset.labels is not None
    return found, dataset.labels[indices]


def test_the_mean_is_that_of_the_members(members: list[Run], joined: dict[str, Run]) -> None:
    each = [told(run) for run in members]
    names, shares, answers, labels = told(joined["mean"])
    assert names == each[0][0]
    assert labels == each[0][3]
    mean = np.mean([shares for _, shares, _, _ in each], axis=0)
    assert shares == pytest.approx(mean, abs=2e-6)
    assert np.mean(np.array(answers) == labels) == pytest.approx(
        joined["mean"].metrics["metrics"]["accuracy"]["value"]
    )


def test_the_vote_is_the_majority(members: list[Run], joined: dict[str, Run]) -> None:
    each = [told(run) for run in members]
    mean = np.mean([shares for _, shares, _, _ in each], axis=0)
    for place, answer in enumerate(told(joined["vote"])[2]):
        votes = Counter(answers[place] for _, _, answers, _ in each)
        most = [name for name, count in votes.items() if count == max(votes.values())]
        assert answer == max(most, key=lambda name: mean[place][int(name)])


def test_the_weights_have_the_least_log_loss_on_validation_data(
    members: list[Run], joined: dict[str, Run]
) -> None:
    shares, labels = zip(*[said(run, "val") for run in members], strict=True)
    likelihoods = np.stack(shares)[:, np.arange(len(labels[0])), labels[0]].astype(np.float64)
    weights = np.array(
        [each["weight"] for each in joined["weighted"].metrics["details"]["ensemble"]["members"]]
    )
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    loss = -np.log(weights @ likelihoods).mean()
    grid = np.array([[a, b, 20 - a - b] for a in range(21) for b in range(21 - a)]) / 20
    assert loss <= (-np.log(grid @ likelihoods).mean(1)).min() + 1e-7
    combined = np.tensordot(weights, np.stack([said(run, "test")[0] for run in members]), 1)
    assert said(joined["weighted"], "test")[0] == pytest.approx(combined, abs=1e-5)


def test_the_stack_is_scikit_learns_fitted_on_validation_data(
    members: list[Run], joined: dict[str, Run]
) -> None:
    def features(split: str) -> NDArray[np.float64]:
        shares = np.stack([said(run, split)[0] for run in members]).astype(np.float64)
        return np.hstack(np.log(np.maximum(shares, LEAST)))

    labels = said(members[0], "val")[1]
    expected = LogisticRegression(C=1.0, tol=1e-8, max_iter=20_000).fit(features("val"), labels)
    found, _ = said(joined["stack"], "test")
    assert found == pytest.approx(expected.predict_proba(features("test")), abs=1e-3)


def test_members_and_pairs_have_the_figures_of_their_own_runs(
    members: list[Run], joined: dict[str, Run]
) -> None:
    details = joined["mean"].metrics["details"]["ensemble"]
    for run, member in zip(members, details["members"], strict=True):
        assert member["name"] == run.name
        assert member["network"] == run.name
        for name in ("accuracy", "log_loss"):
            assert member[name] == pytest.approx(run.metrics["metrics"][name], abs=1e-6)
    found = compare_runs([joined["mean"].path, *(run.path for run in members)], speed=False)
    compared = [finding.gap for finding in found.findings["accuracy"]]
    for pair, expected in zip(details["pairs"], compared[:3], strict=True):
        assert pair["difference"]["value"] == pytest.approx(expected.difference.value)
        assert pair["difference"]["low"] == pytest.approx(expected.difference.low, abs=0.02)
        assert pair["p"] == pytest.approx(expected.p)
    for counts, expected in zip(details["disagreement"], compared[3:], strict=True):
        assert counts["disagree"] == expected.disagree
        assert counts["both"] == expected.both
    answers = np.array([told(run)[2] for run in members])
    assert details["unanimous"] == int((answers == answers[0]).all(0).sum())
    right = (answers == np.array(told(members[0])[3])).any(0)
    assert details["oracle"]["value"] == pytest.approx(right.mean())


def test_an_ensemble_answers_without_the_runs_it_was_made_of(
    joined: dict[str, Run], tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(joined["stack"].path, tmp_path / "搬 moved"))
    names = {path.relative_to(moved).as_posix() for path in moved.rglob("*") if path.is_file()}
    assert names >= {
        "recipe.toml", "data.json", "split.csv", "environment.json", "metrics.json", "report.html",
        "preprocessing/task.json", "preprocessing/task.safetensors", "weights/best.safetensors",
        "predictions/test.csv",
    }  # fmt: skip
    run = Run(moved)
    result = run.evaluate(device="cpu", report=False)
    assert result["metrics"] == joined["stack"].metrics["metrics"]
    task, parts = run.load()
    assert [each["name"] for each in task.state["members"]] == list(NETWORKS)
    recipe = task.state["members"][0]["recipe"]
    assert recipe["network"]["name"] == "lenet5"
    assert recipe["training"]["epochs"] == 1
    assert list(parts) == ["member_1", "member_2", "member_3", "combination"]
    validated = run.evaluate(split="val", device="cpu", report=True)
    assert validated["examples"] == 270
    page = (Path(validated["folder"]) / "report.html").read_text(encoding="utf-8")
    assert "was fitted to these very examples" in page


def test_what_was_fitted_says_so_where_it_is_measured_on_the_same_examples(
    joined: dict[str, Run],
) -> None:
    def told_of(method: str, split: str) -> bool:
        found = joined[method].evaluate(split=split, device="cpu", report=False)
        notes = found["details"]["notes"]
        return any("was fitted to these very examples" in each for each in notes)

    methods = ("mean", "weighted", "vote", "stack")
    assert [told_of(method, "val") for method in methods] == [False, True, False, True]
    assert not any(told_of(method, "test") for method in ("weighted", "stack"))


def test_it_predicts_as_it_was_measured(
    joined: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, dataset = joined["weighted"], open_dataset("digits")
    names, shares, answers, _ = told(run)
    indices = {dataset.records.name(int(each)): int(each) for each in run.folder.splits()["test"]}
    broken = tmp_path / "坏 broken.png"
    broken.write_bytes(b"no picture")
    files = [tmp_path / f"{place}.png" for place in range(3)]
    for place, file in enumerate(files):
        Image.fromarray(dataset.records.pixels(indices[names[place]])[..., 0]).save(file)
    inputs = [str(broken), *map(str, files)]
    assert folio(["predict", str(run.path), *inputs, "--top", "2", "--json", "--quiet"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert "broken.png" in rows[0]["error"]
    for place, row in enumerate(rows[1:]):
        assert row["prediction"] == answers[place]
        assert row["probability"] == pytest.approx(shares[place].max(), abs=1e-5)
        assert len(row["top"]) == 2
    array = dataset.records.pixels(indices[names[0]])[..., 0]
    assert next(run.predict([array]))["prediction"] == answers[0]
    [drawn] = run.predict([files[0]], pictures=tmp_path / "drawn")
    assert Path(drawn["picture"]).is_file()


@pytest.mark.parametrize("method", ["mean", "weighted", "vote", "stack"])
def test_it_is_exported_as_one_file(joined: dict[str, Run], method: str, tmp_path: Path) -> None:
    run, records = joined[method], open_dataset("digits").records
    pictures = [records.pixels(index)[..., 0] for index in range(12)]
    expected = list(run.predict(pictures))
    for suffix, kind in ((".onnx", "onnx"), (".pt2", "torch")):
        found = run.export(kind, tmp_path / f"合奏{suffix}")
        assert found["torch"] == found["exported"]
        file = Exported(found["file"])
        # LeNet-5 takes pictures of 32 x 32, the other two of 28 x 28
        assert [(each["name"], each["size"]) for each in file.facts["inputs"]] == [
            ("images_32", 32),
            ("images_28", 28),
        ]
        for row, other in zip(file.predict(pictures), expected, strict=True):
            assert row["prediction"] == other["prediction"]
            assert row["probability"] == pytest.approx(other["probability"], abs=1e-5)
    with pytest.raises(RequestError, match="Export its members, or take --format onnx"):
        run.export("safetensors")


def test_it_is_measured_on_other_data(joined: dict[str, Run], tmp_path: Path) -> None:
    dataset = open_dataset("digits")
    assert dataset.labels is not None
    for index in joined["mean"].folder.splits()["test"][:30]:
        target = tmp_path / "data" / dataset.classes[dataset.labels[index]] / f"{index}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dataset.records.pixels(int(index))[..., 0]).save(target)
    result = joined["mean"].evaluate(tmp_path / "data", device="cpu", report=False)
    assert result["examples"] == 30
    assert result["copies_of_training"] == 0
    assert len(result["details"]["ensemble"]["members"]) == 3


def test_costs_are_the_sums_over_the_members(
    members: list[Run], joined: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(network: nn.Module, example: Tensor) -> dict[str, Any]:
        """Take a millisecond a value of a picture, whatever else the machine does."""
        times = dict.fromkeys(("latency_ms", "latency_low_ms", "latency_high_ms"), example.numel())
        return times | {"throughput": 1.0, "throughput_batch": 1} | size_of(network)

    monkeypatch.setattr("torchfolio.tasks.image_classification_report.measure_speed", timed)
    found = compare_runs([joined["mean"].path, *(run.path for run in members)], device="cpu")
    together, *each = found.sides
    assert together.network == "lenet5 + softmax_regression + mlp"
    assert together.parameters == sum(side.parameters for side in each)
    assert together.macs == sum(side.macs for side in each)
    assert each[1].macs == 784 * 10
    assert together.seconds == pytest.approx(sum(side.seconds or 0 for side in each), abs=0.01)
    assert [side.latency for side in each] == [32 * 32, 28 * 28, 28 * 28]
    assert together.latency == 32 * 32 + 2 * 28 * 28
    speed = joined["vote"].metrics["details"]["speed"]
    assert speed["parameters"] == together.parameters


def test_the_report_shows_members_gains_and_disagreement(joined: dict[str, Run]) -> None:
    page = (joined["stack"].path / "report.html").read_text(encoding="utf-8")
    for text in (
        "lenet5 + softmax_regression + mlp on digits", "What the ensemble gains",
        "Where members disagree", "at least one member is right", "Coefficients",
        "only the ensemble right", "Where lenet5 looks", "Worst mistakes", "Environment",
    ):  # fmt: skip
        assert text in page, text
    assert "train it again" not in page
    assert "Course of the training" not in page
    assert (joined["stack"].path / "figures" / "accuracy-of-each.svg").is_file()
    assert not (joined["mean"].path / "report.html").exists()


def test_the_command_prints_a_table_and_json(
    members: list[Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [str(run.path) for run in members[:2]]
    flags = ["--method", "weighted", "--device", "cpu", "--no-report"]
    assert folio(["ensemble", *paths, *flags]) == 0
    shown = capsys.readouterr().out
    assert "fitting weighted on 270 validation examples" in shown
    assert "test split, 270 examples:" in shown
    assert "ensemble - softmax_regression: " in shown
    assert "lenet5, softmax_regression: different answers to " in shown
    assert "at least one member is right on " in shown
    assert (tmp_path / "runs" / "ensemble-digits-1" / "metrics.json").is_file()
    assert folio(["ensemble", *paths, "--json", "--quiet", "--device", "cpu", "--no-report"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert captured.err == ""
    assert Path(document["run"]) == Path("runs/ensemble-digits-2")
    assert {"task", "metrics", "baseline", "digest", "training"} <= set(document)
    assert document["method"] == "mean"
    assert [each["name"] for each in document["members"]] == ["lenet5", "softmax_regression"]
    assert document["disagreement"][0]["second"] == "softmax_regression"
    assert document["pairs"][0]["p_adjusted"] >= document["pairs"][0]["p"]


def test_the_same_members_give_the_same_ensemble(
    members: list[Run], joined: dict[str, Run], tmp_path: Path
) -> None:
    again = torchfolio.ensemble(
        members, method="stack", out=tmp_path / "again", device="cpu", report=False
    )
    assert again.metrics["digest"] == joined["stack"].metrics["digest"]
    assert again.metrics["metrics"] == joined["stack"].metrics["metrics"]


def test_an_ensemble_stopped_while_it_was_measured_is_resumed_to_the_same_end(
    members: list[Run],
    joined: dict[str, Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    out, whole = tmp_path / "停 stopped", joined["stack"]
    command = ["ensemble", *(str(run.path) for run in members), "--method", "stack"]
    command += ["--device", "cpu", "--out", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr("torchfolio.tasks.image_ensemble.ImageEnsemble.evaluate", stop)
        assert folio(command) == 1
    assert f"whole and saved. 'folio resume {out}' measures it" in capsys.readouterr().err
    assert not (out / "metrics.json").exists()
    assert folio(command) == 2
    assert f"go on with 'folio resume {out}'" in capsys.readouterr().err
    assert folio(["compare", str(out), str(members[0].path)]) == 2
    assert f"is not finished: it has no metrics.json. 'folio resume {out}'" in (
        capsys.readouterr().err
    )
    assert folio(["resume", str(out), "--json", "--device", "cpu"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["metrics"] == whole.metrics["metrics"]
    assert document["digest"] == whole.metrics["digest"]
    found = Run(out)
    assert found.metrics["training"] == whole.metrics["training"]
    assert found.metrics["details"]["ensemble"] == whole.metrics["details"]["ensemble"]
    assert told(found)[0] == told(whole)[0]
    assert (out / "report.html").is_file()
    found = compare_runs([out, members[0].path], device="cpu", speed=False)
    assert list(found.findings) == ["accuracy"]


def test_a_finished_ensemble_is_only_measured_again(joined: dict[str, Run], tmp_path: Path) -> None:
    moved = Path(shutil.copytree(joined["weighted"].path, tmp_path / "again"))
    before = contents(moved)
    Run(moved).resume(report=False, device="cpu")
    changed = {name for name, each in contents(moved).items() if each != before.get(name)}
    assert changed <= {"metrics.json", "log.txt"}  # the run's name, the speed of this moment
    kept = ("metrics", "baseline", "digest", "training", "split", "examples")
    again, once = Run(moved).metrics, joined["weighted"].metrics
    assert [again[key] for key in kept] == [once[key] for key in kept]


def test_what_is_of_one_network_names_the_members(
    joined: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(joined["mean"].path)
    picture = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(picture)
    named = "that is of one network. Name the run of a member, here lenet5, softmax_regression, mlp"
    vectors, drawn, further = (str(tmp_path / name) for name in ("v.npz", "drawn", "further"))
    for words, message in (
        (["features", run, str(picture), "--out", vectors], f"has no features: {named}"),
        (["explain", run, str(picture), "--out", drawn], f"is not explained: {named}"),
        (["train", "lenet5", "digits", "--weights", run, "--out", further], "of several parts"),
        (["features", "lenet5", str(picture), "--weights", run], "of several parts"),
    ):
        assert folio(words) == 2
        assert message in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]
    parts = r"of several parts \(member_1, member_2, member_3, combination\), .* run of a member"
    with pytest.raises(RequestError, match=parts):
        torchfolio.create("lenet5", weights=run)
    with pytest.raises(RequestError, match=r"no single network but member_1, .* run of a member"):
        _ = joined["mean"].network


def test_what_cannot_be_a_member_is_refused(
    members: list[Run], joined: dict[str, Run], tmp_path: Path
) -> None:
    one, other = members[0].path, members[1].path
    cases: list[tuple[list[Path], str]] = [
        ([one], "Give two runs or more: folio ensemble"),
        ([one, one], "lenet5 is named twice. Name each member once"),
        ([one, other, other.parent / "lenet5"], "lenet5 is named twice"),
        ([one, joined["mean"].path], "is an ensemble itself. Name the runs that it was made of"),
        ([one, tmp_path / "none"], "is no run: it has no recipe.toml"),
    ]
    for paths, message in cases:
        with pytest.raises(RequestError, match=message):
            torchfolio.ensemble(paths, out=tmp_path / "out")
    unfinished = Path(shutil.copytree(other, tmp_path / "unfinished"))
    (unfinished / "metrics.json").unlink()
    with pytest.raises(RequestError, match=r"is not finished: it has no metrics.*'folio resume"):
        torchfolio.ensemble([one, unfinished], out=tmp_path / "out")
    with pytest.raises(RequestError, match=r"method in the settings is 'wieghted'; .*weighted"):
        torchfolio.ensemble([one, other], method="wieghted")
    with pytest.raises(RequestError, match="holds a run already"):
        torchfolio.ensemble([one, other], out=one)
    assert not (tmp_path / "out").exists()


def test_runs_on_other_splits_classes_or_data_are_refused(
    members: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = str(members[0].path)
    seeded = trained("softmax_regression", tmp_path / "seeded", seed=1)
    assert folio(["ensemble", one, str(seeded.path)]) == 2
    shown = capsys.readouterr().err
    assert "lenet5 and seeded divide the data differently" in shown
    assert "by seed 0" in shown
    assert "by seed 1" in shown
    assert (
        "Train all members with the same --split-seed (which is --seed unless given), --val-split, "
        "--test-split, --fold and --duplicates."
    ) in shown
    alike = trained("softmax_regression", tmp_path / "alike", seed=1, split_seed=0)
    command = ["ensemble", one, str(alike.path), "--no-report", "--device", "cpu"]
    assert folio([*command, "--out", str(tmp_path / "both")]) == 0
    renamed = Path(shutil.copytree(members[1].path, tmp_path / "renamed"))
    described = json.loads((renamed / "data.json").read_text(encoding="utf-8"))
    described["classes"][0] = "nought"
    (renamed / "data.json").write_text(json.dumps(described), encoding="utf-8")
    assert folio(["ensemble", one, str(renamed)]) == 2
    assert "have different classes: 0, 1" in capsys.readouterr().err
    random = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "photos" / f"{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (28, 28), np.uint8)).save(path)
    other = trained("softmax_regression", tmp_path / "other", tmp_path / "photos")
    assert folio(["ensemble", one, str(other.path)]) == 2
    shown = capsys.readouterr().err
    assert "lenet5 and other were trained on different data" in shown
    assert "photos (40)" in shown
    again = trained("mlp", tmp_path / "again", tmp_path / "photos")
    shutil.rmtree(tmp_path / "photos" / "1")
    with pytest.raises(FolioError, match="have changed since the run began"):
        torchfolio.ensemble([other, again], out=tmp_path / "gone")


def test_repeats_of_one_split_make_an_ensemble(tmp_path: Path) -> None:
    whole = torchfolio.train(
        "softmax_regression", "digits", repeats=2, epochs=1, out=tmp_path / "whole", **SETTINGS
    )
    run = torchfolio.ensemble(
        [each.path for each in whole.runs], out=tmp_path / "deep", device="cpu", report=False
    )
    assert [each["name"] for each in run.load()[0].state["members"]] == ["repeat-1", "repeat-2"]
    assert run.recipe.network["name"] == "2 softmax_regression"
    one, other = (each.network.state_dict()["linear.weight"] for each in whole.runs)
    assert not torch.equal(one, other)  # from two seeds


def test_a_stack_of_too_many_classes_is_refused_before_any_work(
    members: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchfolio.ensembles.fitting.MOST", 199)
    monkeypatch.setattr(
        "torchfolio.ensembles.making.data_of", lambda *_: pytest.fail("data were read")
    )
    with pytest.raises(RequestError, match=r"2 members and 10 classes has 200 coefficients"):
        torchfolio.ensemble(members[:2], method="stack", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_validation_data_nothing_can_be_fitted(tmp_path: Path) -> None:
    runs = [
        trained(network, tmp_path / network, val_split=0.0)
        for network in ("softmax_regression", "mlp")
    ]
    with pytest.raises(RequestError, match=r"fitted on validation data, and the runs have none"):
        torchfolio.ensemble(runs, method="stack", out=tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()
    voted = torchfolio.ensemble(
        runs, method="vote", out=tmp_path / "out", device="cpu", report=False
    )
    assert voted.metrics["split"] == "test"


def test_without_test_data_what_was_fitted_is_not_measured_on_its_own_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [
        trained(network, tmp_path / network, test_split=0.0)
        for network in ("softmax_regression", "mlp")
    ]
    paths = [str(run.path) for run in runs]
    flags = ["--device", "cpu", "--method"]
    assert folio(["ensemble", *paths, *flags, "weighted", "--out", str(tmp_path / "a")]) == 0
    assert "no examples were held out: nothing was measured" in capsys.readouterr().out
    assert Run(tmp_path / "a").metrics["metrics"] == {}
    assert Run(tmp_path / "a").resume(report=False, device="cpu").metrics["metrics"] == {}
    assert folio(["ensemble", *paths, *flags, "mean", "--out", str(tmp_path / "b")]) == 0
    assert Run(tmp_path / "b").metrics["split"] == "val"
