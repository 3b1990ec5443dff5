"""``folio compare`` of folders of runs: the same folds, two tests, and words."""

import json
import shutil
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from small_folds import folds_of

from torchfolio import Folds
from torchfolio.cli.app import run as folio
from torchfolio.errors import RequestError
from torchfolio.evaluation.intervals import Interval
from torchfolio.evaluation.paired import Pair
from torchfolio.evaluation.resampled import corrected_t_test
from torchfolio.folds.comparison import compare_runs, verdict
from torchfolio.folds.plan import Plan
from torchfolio.run import Run


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> list[Folds]:
    folder = tmp_path_factory.mktemp("runs")
    return [
        folds_of("mlp", folder / "deep", folds=3, epochs=4),
        folds_of("softmax_regression", folder / "flat", folds=3),
    ]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Folds]:
    folder = tmp_path_factory.mktemp("seeds")
    return [
        folds_of("softmax_regression", folder / "one", repeats=3),
        folds_of("softmax_regression", folder / "other", repeats=3, seed=7, split_seed=0),
    ]


def accuracies(whole: Folds) -> np.ndarray:
    return np.array([run.metrics["metrics"]["accuracy"]["value"] for run in whole.runs])


def test_the_test_is_that_of_nadeau_and_bengio(wholes: list[Folds]) -> None:
    found = compare_runs([whole.path for whole in wholes], speed=False)
    [pair] = found.findings["accuracy"]
    differences = accuracies(wholes[0]) - accuracies(wholes[1])
    # three folds of 599, each tested by networks that learnt from the other 1,198
    variance = (1 / 3 + 599 / 1198) * differences.var(ddof=1)
    t = differences.mean() / sqrt(variance)
    assert pair.test.t == pytest.approx(t)
    assert pair.test.freedom == 2
    assert pair.p == pair.test.p == pytest.approx(2 * stats.t.sf(abs(t), 2))
    reach = stats.t.ppf(0.975, 2) * sqrt(variance)
    assert pair.test.difference.low == pytest.approx(differences.mean() - reach)


def test_the_counts_are_those_of_all_answers_together(wholes: list[Folds]) -> None:
    [pair] = compare_runs([whole.path for whole in wholes], speed=False).findings["accuracy"]
    right = [
        {row["input"] for run in whole.runs for row in run.folder.read_table("predictions/test.csv")
         if row["correct"] == "1"}
        for whole in wholes
    ]  # fmt: skip
    assert pair.gap.only_first == len(right[0] - right[1])
    assert pair.gap.only_second == len(right[1] - right[0])
    assert pair.gap.both + pair.gap.neither == 1797 - len(right[0] ^ right[1])
    counts = (pair.gap.only_first, pair.gap.only_second)
    assert pair.gap.p == pytest.approx(stats.binomtest(counts[0], sum(counts), 0.5).pvalue)
    difference = (len(right[0]) - len(right[1])) / 1797
    assert pair.gap.difference.value == pytest.approx(difference)


def test_a_folder_beside_itself_shows_nothing(wholes: list[Folds]) -> None:
    found = compare_runs([wholes[0].path, wholes[0].path], speed=False)
    assert [side.name for side in found.sides] == ["deep (1)", "deep (2)"]
    assert found.findings["accuracy"][0].words.startswith(
        "no evidence of a difference: +0.00 points [+0.00, +0.00]"
    )


def test_the_command_prints_a_table_and_writes_a_page(
    wholes: list[Folds], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "compared.html"
    paths = [str(whole.path) for whole in wholes]
    assert folio(["compare", *paths, "--out", str(page), "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    accuracy = wholes[0].metrics["metrics"]["accuracy"]
    percent = {name: f"{100 * accuracy[name]:.2f}" for name in ("value", "std", "low")}
    shown = f"{percent['value']} ± {percent['std']} % [{percent['low']}, "
    assert shown in told
    assert "deep - flat: " in told
    assert "(corrected t-test, 2 degrees of freedom)" in told
    text = page.read_text(encoding="utf-8")
    assert "2 networks compared on the same 3 folds" in text
    assert "1,797 answers each" in text
    assert "McNemar" in text
    assert folio(["compare", *paths, "--json", "--device", "cpu"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["network"] for each in document["runs"]] == ["mlp", "softmax_regression"]
    assert all(each["latency_ms"] > 0 for each in document["runs"])
    assert document["runs"][0]["metrics"]["accuracy"]["std"] == accuracy["std"]
    assert (document["folds"], document["repeats"], document["examples"]) == (3, 1, 1797)
    [pair] = document["pairs"]
    assert pair["degrees_of_freedom"] == 2
    assert pair["mcnemar_p"] < 0.05
    times = [run.metrics["training"]["seconds"] for run in wholes[0].runs]
    assert document["runs"][0]["training_seconds"] == pytest.approx(np.mean(times))


def test_repeats_of_folds_are_one_unit_an_example(tmp_path: Path) -> None:
    settings = {"folds": 2, "repeats": 2}
    one = folds_of("softmax_regression", tmp_path / "one", **settings)
    other = folds_of("softmax_regression", tmp_path / "other", lr=0.001, **settings)
    found = compare_runs([one.path, other.path], speed=False)
    [pair] = found.findings["accuracy"]
    assert found.examples == 2 * 1797
    assert pair.test.freedom == 3
    tested = sum(each["examples"] for each in one.metrics["folds"])
    learnt = sum(each["train"] + each["val"] for each in one.metrics["folds"])
    again = corrected_t_test(accuracies(one) - accuracies(other), tested / learnt)
    assert pair.test == again
    assert found.as_json()["pairs"][0]["sign_flips_p"] is None  # each example was tested twice


def test_repeats_alone_are_compared_by_seeds_and_by_examples(seeds: list[Folds]) -> None:
    found = compare_runs([whole.path for whole in seeds], speed=False)
    [pair] = found.findings["accuracy"]
    expected = stats.ttest_rel(accuracies(seeds[0]), accuracies(seeds[1]))
    assert pair.test.t == pytest.approx(expected.statistic)
    assert pair.test.p == pytest.approx(expected.pvalue)
    assert "interval over the examples, t-test over the seeds, 2 degrees of freedom" in pair.words


def test_of_repeats_alone_both_have_to_speak() -> None:
    plan = Plan(None, 3, 0, 0)
    test = corrected_t_test([0.04, 0.05, 0.06], ratio=0)
    clear, unclear = (
        Pair(20, 10, 70, 0, 30, difference=Interval(0.05, low, 0.09), p=0.1)
        for low in (0.01, -0.01)
    )
    assert verdict(plan, clear, test, 0.01, "one", "other").startswith(
        "one is better: +5.00 points"
    )
    assert verdict(plan, unclear, test, 0.01, "one", "other").startswith("no evidence of a diff")
    assert verdict(plan, clear, test, 0.2, "one", "other").startswith("no evidence of a difference")


def test_equal_differences_of_folds_are_no_evidence_by_themselves() -> None:
    plan = Plan(2, 1, 0, 0)
    test = corrected_t_test([0.05, 0.05], ratio=1)  # one picture of 20 in each of two folds
    assert test.p == 0
    low = Pair(2, 0, 30, 8, 2, difference=Interval(0.05, 0.0, 0.12), p=0.5)
    words = verdict(plan, low, test, test.p, "one", "other")
    assert words.startswith("no evidence of a difference: +5.00 points")
    high = Pair(20, 0, 30, 8, 20, difference=Interval(0.05, 0.03, 0.12), p=1e-6)
    assert verdict(plan, high, test, test.p, "one", "other").startswith("one is better")


def test_an_interval_of_a_single_unit_excludes_nothing() -> None:
    plan, nothing = Plan(None, 3, 0, 0), float("nan")
    test = corrected_t_test([0.04, 0.05, 0.06], ratio=0)
    gap = Pair(20, 10, 70, 0, 30, difference=Interval(0.05, nothing, nothing), p=1.0)
    words = verdict(plan, gap, test, 0.01, "one", "other")
    assert words.startswith("no evidence of a difference")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 2}, "folds 3 and 2. Train both on the same data with the same --folds"),
        ({"folds": 3, "seed": 1}, "split_seed 0 and 1"),
        ({"repeats": 2}, "folds 3 and none; repeats 1 and 2"),
    ],
)
def test_other_folds_are_refused(
    settings: dict[str, Any], message: str, wholes: list[Folds], tmp_path: Path
) -> None:
    other = folds_of("softmax_regression", tmp_path / "other", **settings)
    words = f"deep and other were not tested on the same folds: {message}"
    with pytest.raises(RequestError, match=words):
        compare_runs([wholes[0].path, other.path], speed=False)


def test_a_run_and_a_folder_are_not_compared(
    wholes: list[Folds], capsys: pytest.CaptureFixture[str]
) -> None:
    run = wholes[1].path / "fold-1"
    for paths in ([run, wholes[0].path], [wholes[0].path, run]):
        assert folio(["compare", *map(str, paths)]) == 2
        told = capsys.readouterr().err
        assert f"{run} is no folder of runs, as 'folio train --folds' makes them" in told
    with pytest.raises(RequestError, match="Give two folders of runs or more"):
        compare_runs([wholes[0].path])


def test_runs_of_two_folders_are_compared_as_runs(
    wholes: list[Folds], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(Run(whole.path / "fold-1").path) for whole in wholes]
    assert folio(["compare", *paths, "--no-speed"]) == 0
    assert "fold-1 (1) - fold-1 (2): " in capsys.readouterr().out


def test_an_unfinished_folder_is_refused(wholes: list[Folds], tmp_path: Path) -> None:
    copy = tmp_path / "half"
    shutil.copytree(wholes[1].path, copy)
    (copy / "metrics.json").unlink()
    with pytest.raises(
        RequestError, match=r"half is not finished: 3 of its 3 runs are\. 'folio re"
    ):
        compare_runs([wholes[0].path, copy], speed=False)
