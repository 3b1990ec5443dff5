"""``folio compare``: two runs on the same examples, as a table, JSON and a page."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import torchfolio
from torchfolio.cli.app import run as folio
from torchfolio.comparison.runs import compare_runs
from torchfolio.errors import RequestError
from torchfolio.evaluation.paired import Pair
from torchfolio.run import Run

SETTINGS: dict[str, Any] = {"device": "cpu", "threads": 1, "workers": 0, "report": False}
SEEDS = {"first": 0, "trained": 1, "tested": 0}  # of the training pictures


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


def write_pictures(folder: Path, seed: int) -> Path:
    """Pictures of noise in folders, the same names for every seed; those of test are given."""
    for split, count in (("train", 8), ("test", 4)):
        generator = np.random.default_rng(seed if split == "train" else 0)
        for name in ("ant", "bee"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (28, 28)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Runs on data of the same names and labels: as they are, trained on, or tested on, others."""
    folder = tmp_path_factory.mktemp("alike")
    data = {name: write_pictures(folder / f"{name} data", seed) for name, seed in SEEDS.items()}
    other = data["tested"] / "test" / "ant" / "1.png"
    Image.fromarray(255 - np.array(Image.open(other))).save(other)
    return {
        name: torchfolio.train("softmax_regression", path, epochs=1, out=folder / name, **SETTINGS)
        for name, path in data.items()
    }


def test_other_pictures_of_the_same_names_and_labels_are_refused(
    alike: dict[str, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    assert folio(["compare", str(alike["first"].path), str(alike["tested"].path)]) == 2
    assert (
        "first and tested were tested on different examples: those of "
        f"{alike['first'].folder.data()['path']} and {alike['tested'].folder.data()['path']} have "
        "the same names and labels, and other contents. Train both on the same data."
    ) in capsys.readouterr().err


def test_data_that_differ_in_training_alone_are_compared(alike: dict[str, Run]) -> None:
    runs = [alike["first"], alike["trained"]]
    assert len({run.folder.data()["fingerprint"] for run in runs}) == 2
    found = compare_runs([run.path for run in runs], speed=False)
    assert (found.notes, found.examples) == ([], 8)


def test_what_is_not_known_of_the_examples_is_said(
    alike: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of runs that keep no digest of what they were tested on."""
    copies = [
        Path(shutil.copytree(alike[name].path, tmp_path / name)) for name in ("first", "tested")
    ]
    for copy in copies:
        metrics = json.loads((copy / "metrics.json").read_text(encoding="utf-8"))
        del metrics["tested"]
        (copy / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    words = ["compare", *map(str, copies), "--no-speed"]
    assert folio([*words, "--json", "--quiet", "--out", str(tmp_path / "page.html")]) == 0
    [note] = json.loads(capsys.readouterr().out)["notes"]
    assert note.startswith("first and tested had data of other contents, ")
    assert "only that names and labels are" in note
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "first and tested had data of other contents" in page
    assert "on 8 test examples, of the same names and labels" in page
    assert folio([*words, "--quiet"]) == 0
    assert note in capsys.readouterr().out
    same = Path(shutil.copytree(copies[0], tmp_path / "same"))
    assert compare_runs([copies[0], same], speed=False).notes == []


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
