"""``folio compare`` of runs of several labels a picture."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score

import torchfolio
from labelled_digits import SETTINGS, rows_of, table_of, write_columns, write_digits
from torchfolio import FolioError, RequestError, Run
from torchfolio.cli.app import run as folio
from torchfolio.comparison.runs import answers_of, compare_runs
from torchfolio.evaluation.answers import SeveralLabels
from torchfolio.evaluation.paired import Pair
from torchfolio.tasks.multilabel_classification import MultilabelClassification

QUICK = SETTINGS | {"report": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return write_columns(folder, write_digits(folder))


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("标签 runs")
    return [
        torchfolio.train("mlp", data, out=folder / "long", epochs=8, **QUICK),
        torchfolio.train("softmax_regression", data, out=folder / "short", epochs=1, **QUICK),
    ]


def told(run: Run) -> tuple[Any, Any, Any]:
    """Return truth, answers and probabilities of a run's test split, in the order of the names."""
    rows = rows_of(run.path / "predictions" / "test.csv")
    return table_of(sorted(rows, key=lambda row: row["input"]))


def test_average_precision_decides_and_all_labels_right_is_counted(runs: list[Run]) -> None:
    found = compare_runs([run.path for run in runs], speed=False)
    assert list(found.findings) == ["mean_average_precision", "subset_accuracy"]
    (truth, *one), (_, *other) = map(told, runs)
    [finding] = found.findings["mean_average_precision"]
    areas = [average_precision_score(truth, likely) for _, likely in (one, other)]
    # the table that scikit-learn reads here has six digits
    assert finding.gap.difference.value == pytest.approx(areas[0] - areas[1], abs=1e-4)
    values = [run.metrics["metrics"]["mean_average_precision"]["value"] for run in runs]
    assert finding.gap.difference.value == pytest.approx(values[0] - values[1], abs=1e-12)
    assert finding.p == finding.gap.p == pytest.approx(2 / 1001)
    assert finding.words.startswith("long is better: +")
    [whole] = found.findings["subset_accuracy"]
    right = [(answers == truth).all(1) for answers, _ in (one, other)]
    counts = [int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())]
    assert isinstance(whole.gap, Pair)
    assert [whole.gap.only_first, whole.gap.only_second] == counts
    assert whole.p == pytest.approx(binomtest(counts[0], sum(counts), 0.5).pvalue)
    assert found.examples == len(truth) == 63
    assert found.sides[1].parameters == 784 * 4 + 4


def test_a_run_beside_itself_shows_nothing(runs: list[Run]) -> None:
    found = compare_runs([runs[0].path, runs[0].path], speed=False)
    for [finding] in found.findings.values():
        assert finding.words == ("no evidence of a difference: +0.00 points [+0.00, +0.00], p = 1")


def test_the_command_prints_two_lines_a_pair_and_writes_a_page(
    runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "verglichen 比.html"
    paths = [str(run.path) for run in runs]
    assert folio(["compare", *paths, "--out", str(page), "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    header = next(line for line in lines if line.startswith("run "))
    titles = ("mean average precision", "macro F1", "micro F1", "subset accuracy", "parameters")
    places = [header.index(each) for each in titles]
    assert places == sorted(places)
    figure = runs[0].metrics["metrics"]["mean_average_precision"]
    percent = {name: f"{100 * figure[name]:.2f}" for name in ("value", "low", "high")}
    shown = f"{percent['value']} % [{percent['low']}, {percent['high']}]"
    assert any(line.startswith("long ") and shown in line for line in lines)
    assert any(line.startswith("long - short, mean average precision: long is") for line in lines)
    assert any(line.startswith("long - short, subset accuracy: ") for line in lines)
    text = page.read_text(encoding="utf-8")
    for words in (
        "2 runs compared", "63 test examples", "Differences of mean average precision",
        "Differences of subset accuracy", "at or beyond zero", "McNemar&#39;s exact test",
        "Mean average precision with its 95 % interval",
    ):  # fmt: skip
        assert words in text, words
    assert folio(["compare", *paths, "--json", "--device", "cpu"]) == 0
    document = json.loads(capsys.readouterr().out)
    [pair] = document["pairs"]
    assert pair["metric"] == "mean_average_precision"
    assert pair["p_adjusted"] == pair["p"] < 0.05
    assert {"only_first", "only_second", "disagree", "p", "p_adjusted", "verdict"} <= set(
        pair["subset_accuracy"]
    )
    assert "only_first" not in pair
    assert all(each["latency_ms"] > 0 for each in document["runs"])


def test_classes_and_labels_are_not_compared(
    runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = torchfolio.train(
        "softmax_regression", "digits", out=tmp_path / "classes", epochs=1, **QUICK
    )
    assert folio(["compare", str(classes.path), str(runs[0].path)]) == 2
    said = capsys.readouterr().err
    assert "classes is a run of image-classification and long one of multilabel-classif" in said
    assert "Compare runs of one task" in said


def test_a_task_whose_answers_are_not_compared_says_so(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MultilabelClassification, "Compared", None)
    with pytest.raises(RequestError, match="long is a run of multilabel-classification; compare"):
        compare_runs([run.path for run in runs], speed=False)


def test_other_examples_are_refused(runs: list[Run], data: Path, tmp_path: Path) -> None:
    other = torchfolio.train(
        "softmax_regression", data, epochs=1, seed=1, out=tmp_path / "other", **QUICK
    )
    with pytest.raises(RequestError, match="were tested on different examples: 63 and 63, of wh"):
        compare_runs([runs[0].path, other.path], speed=False)


def test_other_truth_is_refused(runs: list[Run], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(runs[0].path, copy)
    table = copy / "predictions" / "test.csv"
    text = table.read_text(encoding="utf-8")
    assert "below five|one or seven" in text
    table.write_text(text.replace(",below five|one or seven,", ",below five,"), encoding="utf-8")
    with pytest.raises(RequestError, match="of them have different labels"):
        compare_runs([runs[1].path, copy], speed=False)


def test_answers_are_in_the_order_of_the_names_with_their_groups_and_probabilities(
    runs: list[Run], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(runs[0].path, copy)
    rows = rows_of(copy / "predictions" / "test.csv")
    grouped = [row | {"group": f"film {len(row['labels'])}"} for row in rows]
    Run(copy).folder.write_table("predictions/test.csv", grouped)
    found = answers_of(Run(copy).folder, "test", SeveralLabels)
    assert [row["input"] for row in rows] != sorted(row["input"] for row in rows)
    ordered = sorted(grouped, key=lambda row: row["input"])
    truth, _, likely = table_of(ordered)
    assert found.names == [f"1 {row['input']}" for row in ordered]
    assert found.groups is not None
    assert found.groups.tolist() == [row["group"] for row in ordered]
    assert (found.arrays["targets"] == truth).all()
    assert found.arrays["probabilities"] == pytest.approx(likely, abs=6e-7)
    assert found.given.tolist() == [row["prediction"] for row in ordered]


def test_probabilities_that_are_gone_or_damaged_are_named(runs: list[Run], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(runs[0].path, copy)
    table = copy / "predictions" / "test.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(FolioError, match=r"test\.csv are no pair of one run.*folio resume .*copy'"):
        compare_runs([runs[0].path, copy], speed=False)
    arrays = copy / "predictions" / "test.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:-9])
    with pytest.raises(FolioError, match=r"test\.safetensors is damaged"):
        compare_runs([runs[0].path, copy], speed=False)
    arrays.unlink()
    with pytest.raises(RequestError, match=r"no test\.safetensors.*'folio resume .*copy' measures"):
        compare_runs([runs[0].path, copy], speed=False)
    Run(copy).resume(report=False)
    found = compare_runs([runs[0].path, copy], speed=False)
    assert found.findings["mean_average_precision"][0].gap.difference.value == 0
