"""``folio explain`` as a whole, on runs of digits."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import torchfolio
from torchfolio import Run
from torchfolio.cli.app import run as folio
from torchfolio.data.readers import open_dataset

SETTINGS = {"epochs": 1, "device": "cpu", "threads": 1, "workers": 0, "report": False}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "手写 digits"  # a Chinese name with a space
    return torchfolio.train("lenet5", "digits", out=out, **SETTINGS)


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("flat") / "run"
    return torchfolio.train("softmax_regression", "digits", out=out, **SETTINGS)


@pytest.fixture(scope="module")
def holiday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three digits, wide, tall and square."""
    folder = tmp_path_factory.mktemp("pictures") / "假日 pictures"
    folder.mkdir()
    dataset = open_dataset("digits")
    for index, size in enumerate([(64, 64), (90, 60), (60, 90)]):
        picture = Image.fromarray(dataset.records.pixels(index)[..., 0])
        picture.resize(size).save(folder / f"{index}.png")
    return folder


def test_every_input_gets_a_picture_and_a_row(
    trained: Run, holiday: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = [str(trained.path), str(holiday), "--out", str(out)]
    assert folio(["explain", *arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    answers = list(trained.predict(sorted(holiday.iterdir())))
    for row, answer in zip(rows, answers, strict=True):
        assert row["input"] == answer["input"]
        assert row["prediction"] == answer["prediction"] == row["class"]
        assert row["probability"] == pytest.approx(answer["probability"])
        assert (row["method"], row["layer"], row["error"]) == ("grad-cam", "c3", None)
        assert Path(row["picture"]).parent == out
        Image.open(row["picture"]).verify()
    assert len(list(out.iterdir())) == 3


def test_a_person_reads_a_line_an_input(
    flat: Run, holiday: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, one = tmp_path / "out", str(holiday / "1.png")
    arguments = ["explain", str(flat.path), one, "--out", str(out), "--class", "7"]
    assert folio(arguments) == 0
    first, second = capsys.readouterr().out.splitlines()
    [answer] = flat.predict([one])
    told = f"{one}: {answer['prediction']} {answer['probability']:.1%}; occlusion"
    assert first == f"{told} of 7: {out / '1.png'}"
    assert second == f"1 picture in {out}"
    assert folio([*arguments, "--quiet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_file_that_cannot_be_read_has_its_error_and_the_others_their_pictures(
    trained: Run, holiday: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, gone = tmp_path / "out", str(tmp_path / "gone.png")
    inputs = [gone, str(holiday / "0.png")]
    assert folio(["explain", str(trained.path), *inputs, "--out", str(out), "--json"]) == 1
    told = capsys.readouterr()
    bad, good = json.loads(told.out)
    assert bad["error"] == f"There is no file {gone}."
    assert (bad["prediction"], bad["picture"]) == (None, None)
    assert good["picture"] == str(out / "0.png")
    assert "1 of 2 inputs could not be read" in told.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "explain needs an input"),
        (["x.png"], "explain needs --out FOLDER"),
        (["x.png", "--metod", "rollout", "--out", "o"], "Unknown option: --metod"),
        (["x.png", "--out", "o", "--method", "rollout"], "has no attention, which rollout follows"),
        (["x.png", "--out", "o", "--layer", "c4"], "no layer with a map named 'c4'. The nearest"),
        (["x.png", "--out", "o", "--class", "10"], "no class of this run named '10'. The nearest"),
        (["x.png", "--out", ""], "--out is empty"),
        (["nothing-*.png", "--out", "o"], "No file matches"),
    ],
)
def test_a_wrong_request_exits_with_2(
    trained: Run,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert folio(["explain", str(trained.path), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert folio(["explain", str(tmp_path), "x.png", "--out", str(tmp_path / "o")]) == 2
    assert "is no run" in capsys.readouterr().err


def test_python_takes_arrays_too(flat: Run, tmp_path: Path) -> None:
    picture = np.zeros((28, 28), np.uint8)
    picture[4:24, 13:16] = 255
    [row] = flat.explain([picture], tmp_path / "out")
    assert row["input"] == "array 28x28 uint8"
    assert row["picture"] == str(tmp_path / "out" / "array.png")


def test_a_run_of_capsules_has_in_its_report_what_they_draw(tmp_path: Path) -> None:
    digits = open_dataset("digits")
    for name, chosen in (("a/b", 0), ("猫", 1)):
        folder = tmp_path / "data" / name.replace("/", "∕")  # a division sign, not a folder
        folder.mkdir(parents=True)
        for index in np.flatnonzero(digits.labels == chosen)[:30]:
            pixels = digits.records.pixels(int(index))[..., 0]
            Image.fromarray(pixels).resize((17, 17)).save(folder / f"{index}.png")
    settings = SETTINGS | {"report": True, "epochs": 3, "image_size": 17}
    run = torchfolio.train("capsnet", tmp_path / "data", out=tmp_path / "run", **settings)
    report = (run.path / "report.html").read_text(encoding="utf-8")
    assert "Drawn by the network" in report
    assert "Grad-CAM at conv1" in report  # 17 pixels leave the next layer one place
    files = {path.name for path in (run.path / "figures").iterdir()}
    assert files >= {"capsule-of-猫.svg", "right-answers-drawn-again.svg"}
    one = str(next((tmp_path / "data" / "猫").iterdir()))
    assert folio(["explain", str(run.path), one, "--out", str(tmp_path / "o")]) == 0
    assert len(list((tmp_path / "o").iterdir())) == 1
