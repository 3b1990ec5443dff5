"""``folio train --folds`` and ``--repeats`` with several labels a picture, and their comparison."""

import json
import signal
import statistics
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy import stats
from sklearn import metrics as sklearn_metrics
from small_folds import FLAGS, QUICK

import torchfolio
from labelled_digits import COUNT, LABELS, rows_of, table_of, write_columns, write_digits
from torchfolio import Folds, FolioError, RequestError
from torchfolio.cli.app import run as folio
from torchfolio.folds.comparison import compare_runs
from torchfolio.run import Monitor


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return write_columns(folder, write_digits(folder))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Folds:
    out = tmp_path_factory.mktemp("runs") / "三 folds"
    settings = QUICK | {"epochs": 6, "report": True}
    found = torchfolio.train("mlp", data, folds=3, out=out, **settings)
    assert isinstance(found, Folds)
    return found


@pytest.fixture(scope="module")
def flat(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Folds:
    out = tmp_path_factory.mktemp("runs") / "flat"
    return torchfolio.train("softmax_regression", data, folds=3, out=out, **QUICK)


def values(whole: Folds, metric: str) -> NDArray[np.float64]:
    return np.array([run.metrics["metrics"][metric]["value"] for run in whole.runs])


def test_every_picture_is_tested_once_and_labels_are_in_proportion(whole: Folds) -> None:
    splits = [run.folder.splits()["test"] for run in whole.runs]
    assert sorted(np.concatenate(splits).tolist()) == list(range(COUNT))
    truth, _, _ = table_of(rows_of(whole.path / "predictions/test.csv"))
    folds = np.repeat([1, 2, 3], [len(each) for each in splits])
    counts = np.array([truth[folds == number].sum(0) for number in (1, 2, 3)])
    assert np.ptp(counts, axis=0).max() <= 3
    assert "stratified by label" in whole.runs[0].folder.data()["split"]["rule"]


def test_the_figures_of_all_together_are_those_of_scikit_learn(whole: Folds) -> None:
    truth, answers, _ = table_of(rows_of(whole.path / "predictions/test.csv"))
    kept = load_file(whole.path / "predictions/test.safetensors")
    assert (kept["targets"] == truth).all()
    likely = kept["probabilities"]
    found = {name: figure["value"] for name, figure in whole.metrics["metrics"].items()}
    wanted = {
        "mean_average_precision": sklearn_metrics.average_precision_score(truth, likely),
        "micro_average_precision": sklearn_metrics.average_precision_score(
            truth, likely, average="micro"
        ),
        "macro_f1": sklearn_metrics.f1_score(truth, answers, average="macro"),
        "micro_f1": sklearn_metrics.f1_score(truth, answers, average="micro"),
        "subset_accuracy": sklearn_metrics.accuracy_score(truth, answers),
        "hamming_loss": sklearn_metrics.hamming_loss(truth, answers),
        "log_loss": sklearn_metrics.log_loss(truth.ravel(), likely.ravel().astype(np.float64)),
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-5)
    assert whole.metrics["examples"] == COUNT
    assert whole.metrics["details"]["labels"] == list(LABELS)
    shares = truth.mean(0)
    baseline = whole.metrics["baseline"]["mean_average_precision"]["value"]
    assert baseline == pytest.approx(shares.mean(), abs=1e-6)


def test_each_answer_is_by_the_thresholds_of_its_own_network(whole: Folds) -> None:
    rows = rows_of(whole.path / "predictions/test.csv")
    likely = load_file(whole.path / "predictions/test.safetensors")["probabilities"]
    different = set()
    for number, run in enumerate(whole.runs, 1):
        own = rows_of(run.path / "predictions/test.csv")
        place = {"repeat": "1", "fold": str(number)}
        assert [row for row in rows if row["fold"] == str(number)] == [place | row for row in own]
        mine = [row["fold"] == str(number) for row in rows]
        limits = run.folder.preprocessing()["thresholds"]
        different.add(tuple(limits))
        _, answers, _ = table_of(own)
        assert ((likely[mine] >= limits) == answers).all()
    assert len(different) == 3
    assert "threshold" not in whole.metrics["details"]["per_label"][0]


def test_mean_and_deviation_are_those_of_the_runs(whole: Folds) -> None:
    for name, figure in whole.metrics["metrics"].items():
        own = values(whole, name).tolist()
        assert figure["mean"] == pytest.approx(statistics.mean(own))
        assert figure["std"] == pytest.approx(statistics.stdev(own))
        assert figure["low"] <= figure["value"] <= figure["high"]


def test_the_page_shows_the_figures_of_labels(whole: Folds) -> None:
    page = (whole.path / "report.html").read_text(encoding="utf-8")
    for words in (
        "mlp on labels, 3 folds", "Mean average precision of each run", "Micro F1",
        "Subset accuracy", "mean average precision and its standard deviation over 3 runs",
        "Labels together in truth", "Each network has its own.", "one or seven",
    ):  # fmt: skip
        assert words in page, words
    assert "Confusion" not in page


def test_repeats_of_folds_are_one_unit_a_picture(data: Path, tmp_path: Path) -> None:
    found = torchfolio.train(
        "softmax_regression", data, folds=2, repeats=2, out=tmp_path / "runs", **QUICK
    )
    assert found.metrics["examples"] == 2 * COUNT
    assert found.metrics["details"]["units"] == COUNT
    other = torchfolio.train(
        "softmax_regression", data, folds=2, repeats=2, lr=0.001, out=tmp_path / "other", **QUICK
    )
    compared = compare_runs([found.path, other.path], speed=False)
    assert compared.examples == 2 * COUNT
    [pair] = compared.as_json()["pairs"]
    assert pair["degrees_of_freedom"] == 3
    assert pair["bootstrap_p"] is None  # each picture was tested twice
    assert pair["subset_accuracy"]["sign_flips_p"] is None


def test_resume_ends_as_one_left_alone(flat: Folds, data: Path, tmp_path: Path) -> None:
    class Stopping(Monitor):
        at = 0

        def begins(self, number: int, total: int, name: str) -> None:
            self.at = number

        def updated(self, loop: Any, loss: float | None) -> None:
            if (self.at, loop.progress.update) == (2, 5):
                signal.raise_signal(signal.SIGINT)

    settings = QUICK | {"out": tmp_path / "runs", "folds": 3, "watcher": Stopping()}
    with pytest.raises(FolioError, match="In fold 2 of 3: Stopped"):
        torchfolio.train("softmax_regression", data, **settings)
    resumed = Folds(tmp_path / "runs").resume(report=False)
    assert resumed.metrics["digest"] == flat.metrics["digest"]
    assert resumed.metrics["metrics"] == flat.metrics["metrics"]


# Without validation


def test_without_validation_every_threshold_is_one_half(data: Path, tmp_path: Path) -> None:
    found = torchfolio.train(
        "softmax_regression", data, repeats=2, val_split=0.0, out=tmp_path / "runs", **QUICK
    )
    assert any("every one is 0.5" in note for note in found.metrics["details"]["notes"])
    _, answers, _ = table_of(rows_of(found.path / "predictions/test.csv"))
    likely = load_file(found.path / "predictions/test.safetensors")["probabilities"]
    assert ((likely >= 0.5) == answers).all()


# Compared


def test_each_metric_has_the_test_of_nadeau_and_bengio(whole: Folds, flat: Folds) -> None:
    found = compare_runs([whole.path, flat.path], speed=False)
    assert list(found.findings) == ["mean_average_precision", "subset_accuracy"]
    for metric, [finding] in found.findings.items():
        differences = values(whole, metric) - values(flat, metric)
        # three folds of 140, each tested by networks that learnt from the other 280
        variance = (1 / 3 + 140 / 280) * differences.var(ddof=1)
        t = differences.mean() / sqrt(variance)
        assert finding.test.t == pytest.approx(t)
        assert finding.p == finding.test.p == pytest.approx(2 * stats.t.sf(abs(t), 2))
        pooled = [each.metrics["metrics"][metric]["value"] for each in (whole, flat)]
        assert finding.gap.difference.value == pytest.approx(pooled[0] - pooled[1], abs=1e-9)


def test_mcnemar_counts_all_answers_together(whole: Folds, flat: Folds) -> None:
    [finding] = compare_runs([whole.path, flat.path], speed=False).findings["subset_accuracy"]
    right = [
        {row["input"] for row in rows_of(each.path / "predictions/test.csv")
         if row["correct"] == "1"}
        for each in (whole, flat)
    ]  # fmt: skip
    pair: Any = finding.gap
    counts = [len(right[0] - right[1]), len(right[1] - right[0])]
    assert [pair.only_first, pair.only_second] == counts
    assert pair.p == pytest.approx(stats.binomtest(counts[0], sum(counts), 0.5).pvalue)


def test_the_command_prints_a_table_and_writes_a_page(
    whole: Folds, flat: Folds, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "compared.html"
    paths = [str(whole.path), str(flat.path)]
    assert folio(["compare", *paths, "--out", str(page), "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    figure = whole.metrics["metrics"]["mean_average_precision"]
    percent = {name: f"{100 * figure[name]:.2f}" for name in ("value", "std", "low")}
    assert f"{percent['value']} ± {percent['std']} % [{percent['low']}, " in told
    assert "三 folds - flat, mean average precision: " in told
    assert "三 folds - flat, subset accuracy: " in told
    text = page.read_text(encoding="utf-8")
    for words in (
        "Run by run: mean average precision", "All answers together: subset accuracy",
        "Scores of different networks are put in one order.", "McNemar&#39;s exact test",
    ):  # fmt: skip
        assert words in text, words
    assert folio(["compare", *paths, "--json", "--no-speed"]) == 0
    [pair] = json.loads(capsys.readouterr().out)["pairs"]
    assert pair["metric"] == "mean_average_precision"
    assert 0 < pair["bootstrap_p"] <= 1
    assert pair["subset_accuracy"]["mcnemar_p"] <= 1


def test_folders_of_classes_and_of_labels_are_not_compared(flat: Folds, tmp_path: Path) -> None:
    classes = torchfolio.train(
        "softmax_regression", "digits", folds=3, out=tmp_path / "classes", **QUICK
    )
    with pytest.raises(RequestError, match="flat is a run of multilabel-classification and cla"):
        compare_runs([flat.path, classes.path], speed=False)


# The command, and data with very rare labels


def test_the_command_names_the_fold_and_its_figure(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    words = ["train", "softmax_regression", str(data), "--folds", "2", "--out", str(out), *FLAGS]
    assert folio(words) == 0
    told = capsys.readouterr().out
    assert "2 folds: softmax_regression on labels, in" in told
    assert "fold 2 of 2: mean_average_precision 0." in told
    assert "2 folds, 420 examples:" in told
    assert "  mean_average_precision" in told


def test_folds_in_which_nothing_has_a_label_have_no_average_precision_to_compare(
    tmp_path: Path,
) -> None:
    rows = [[0, 0] for _ in range(40)]
    rows[3], rows[17] = [1, 0], [1, 1]
    folder = tmp_path / "data"
    write_digits(folder, 40)
    lines = ["file,smoke,fire"]
    lines += [f"图 片/{number}.png,{a},{b}" for number, (a, b) in enumerate(rows)]
    (folder / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    found = torchfolio.train(
        "softmax_regression", folder / "labels.csv", folds=4, out=tmp_path / "runs",
        val_split=0.0, label_columns="smoke,fire", **QUICK,
    )  # fmt: skip
    rule = found.runs[0].folder.data()["split"]["rule"]
    assert "2 labels not in every fold, label 'fire' in 1 of the 4 alone" in rule
    none = [
        run.name
        for run in found.runs
        if run.metrics["metrics"]["mean_average_precision"]["value"] is None
    ]
    assert len(none) == 2
    assert found.metrics["metrics"]["mean_average_precision"]["value"] is not None
    with pytest.raises(RequestError, match=f"{none[0]} has no mean average precision: none of"):
        compare_runs([found.path, found.path], speed=False)
