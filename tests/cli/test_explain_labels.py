"""``folio explain`` on a run of several labels a picture."""

import json
from pathlib import Path

import pytest
from PIL import Image

import torchfolio
from labelled_digits import LABELS, SETTINGS, write_columns, write_digits
from torchfolio import Run
from torchfolio.cli.app import run as folio


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return write_columns(folder, write_digits(folder, 120))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "run"
    return torchfolio.train("lenet5", data, out=out, epochs=1, report=False, **SETTINGS)


def test_a_line_has_the_labels_given_and_the_one_explained(
    trained: Run, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, out = str(data.parent / "图 片" / "3.png"), tmp_path / "out"
    [answer] = trained.predict([one])
    given = ", ".join(f"{each} {answer['probability'][each]:.1%}" for each in answer["prediction"])
    likely = max(answer["prediction"] or LABELS, key=answer["probability"].__getitem__)
    assert folio(["explain", str(trained.path), one, "--out", str(out)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{one}: {given or 'no label'}; grad-cam at c3 of {likely}: {out / '3.png'}"
    assert second == f"1 picture in {out}"
    Image.open(out / "3.png").verify()


@pytest.mark.parametrize("flag", ["--label", "--class"])
def test_a_label_that_is_named_is_explained(
    flag: str, trained: Run, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", str(trained.path), str(data.parent / "图 片" / "1?.png")]
    words += ["--out", str(tmp_path / "o")]
    assert folio([*words, flag, "one or seven", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 10
    assert {row["class"] for row in rows} == {"one or seven"}
    assert all(set(row["probability"]) == set(LABELS) for row in rows)
    assert len(list((tmp_path / "o").iterdir())) == 10


def test_a_label_that_does_not_exist_is_a_wrong_request(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", str(trained.path), "x.png", "--out", str(tmp_path / "o")]
    assert folio([*words, "--label", "evn"]) == 2
    assert "no label of this run named 'evn'. The nearest: even" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
