"""``folio compare``: two runs on the same examples, as a table, JSON and a page."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import torchfolio
from torchfolio.cli.app import run as folio
from torchfolio.comparison.runs import compare_runs
from torchfolio.errors import RequestError
from torchfolio.evaluation.paired import Pair
from torchfolio.run import Run

SETTINGS: dict[str, Any] = {"device": "cpu", "threads": 1, "workers": 0, "report": False}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("runs")
    return [
        torchfolio.train("mlp", "digits", epochs=5, out=folder / "long", **SETTINGS),
        torchfolio.train(
            "softmax_regression", "digits", epochs=1, out=folder / "short", **SETTINGS
        ),
    ]


def test_the_counts_are_those_of_the_predictions(runs: list[Run]) -> None:
    found = compare_runs([run.path for run in runs], speed=False)
    rows = [run.folder.read_table("predictions/test.csv") for run in runs]
    right = [{row["input"] for row in table if row["correct"] == "1"} for table in rows]
    assert list(found.findings) == ["accuracy"]
    [finding] = found.findings["accuracy"]
    assert (finding.first, finding.second) == (0, 1)
    pair = finding.gap
    assert isinstance(pair, Pair)
    assert pair.only_first == len(right[0] - right[1])
    assert pair.only_second == len(right[1] - right[0])
    accuracies = [run.metrics["metrics"]["accuracy"]["value"] for run in runs]
    assert pair.difference.value == pytest.approx(accuracies[0] - accuracies[1])
    assert finding.p == pair.p  # one pair: nothing to adjust
    assert finding.words.startswith("long is better: +")
    assert found.sides[1].parameters == 7_850
    assert found.sides[0].macs == 784 * 256 + 256 * 10
    assert found.sides[0].latency is None


def test_a_run_beside_itself_shows_nothing(runs: list[Run]) -> None:
    found = compare_runs([runs[0].path, runs[0].path], speed=False)
    assert [side.name for side in found.sides] == ["long (1)", "long (2)"]
    [finding] = found.findings["accuracy"]
    assert finding.words.startswith("no evidence of a difference: +0.00 points")


def test_the_command_prints_a_table_and_writes_a_page(
    runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "compared.html"
    paths = [str(run.path) for run in runs]
    assert folio(["compare", *paths, "--out", str(page), "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "long - short: long is better: +" in told
    assert "7,850" in told
    text = page.read_text(encoding="utf-8")
    assert "2 runs compared" in text
    assert "270 test examples" in text
    assert folio(["compare", *paths, "--json", "--device", "cpu"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["network"] for each in document["runs"]] == ["mlp", "softmax_regression"]
    assert all(each["latency_ms"] > 0 for each in document["runs"])
    [pair] = document["pairs"]
    assert (pair["first"], pair["second"], pair["metric"]) == ("long", "short", "accuracy")
    assert pair["p_adjusted"] < 0.05
    assert pair["verdict"].startswith("long is better: +")
    assert document["examples"] == 270


def test_runs_tested_on_different_examples_are_refused(
    runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = torchfolio.train(
        "softmax_regression", "digits", epochs=1, seed=1, out=tmp_path / "other", **SETTINGS
    )
    assert folio(["compare", str(runs[0].path), str(other.path)]) == 2
    said = capsys.readouterr().err
    assert "long and other were tested on different examples: 270 and 270, of which" in said
    assert "with the same --seed" in said


def test_one_run_and_unmeasured_ones_are_refused(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="Give two runs or more"):
        compare_runs([runs[0].path])
    none = torchfolio.train(
        "softmax_regression", "digits", epochs=1, test_split=0.0, val_split=0.0,
        out=tmp_path / "none", **SETTINGS,
    )  # fmt: skip
    with pytest.raises(RequestError, match="has no predictions: nothing was held out"):
        compare_runs([none.path, runs[0].path], speed=False)


def test_data_of_other_contents_are_told(runs: list[Run], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(runs[1].path, tmp_path / "copy"))
    described = json.loads((copy / "data.json").read_text(encoding="utf-8"))
    told: list[str] = []
    compare_runs([runs[0].path, copy], speed=False, say=told.append)
    assert not any("other contents" in each for each in told)
    described |= {"fingerprint": "0" * 64, "path": "blurred"}
    (copy / "data.json").write_text(json.dumps(described), encoding="utf-8")
    compare_runs([runs[0].path, copy], speed=False, say=told.append)
    assert "long and copy had data of other contents, digits and blurred; " in told[-3]


@pytest.mark.parametrize(
    ("name", "message"), [("a.pdf", "should end in .html"), ("file/a.html", "is a file")]
)
def test_where_no_page_can_be_written_is_said_before_the_work(
    name: str, message: str, runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    words = ["compare", *(str(run.path) for run in runs), "--out", str(tmp_path / name)]
    assert folio(words) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert "measuring" not in error
