"""How ``folio train`` finds which flags apply, before it reads any."""

import urllib.error
import urllib.request
from pathlib import Path

import pytest

import torchfolio
from torchfolio.cli.app import run
from torchfolio.errors import RequestError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(tmp_path / "cache"))


def test_data_known_by_name_are_fetched_where_download_is_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("offline")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    assert run(["train", "lenet5", "mnist", "--dry-run"]) == 2
    assert "Add --download" in capsys.readouterr().err
    assert run(["train", "lenet5", "mnist", "--dry-run", "--download"]) == 1
    assert "cannot be fetched: offline" in capsys.readouterr().err


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_folder_that_holds_a_run_is_refused_before_anything_is_read(
    dry: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("the data were read")

    monkeypatch.setattr("torchfolio.training.start.open_dataset", read)
    (tmp_path / "recipe.toml").write_text("", encoding="utf-8")
    assert run(["train", "lenet5", "digits", "--out", str(tmp_path), *dry]) == 2
    assert f"{tmp_path} holds a run already. Choose another --out" in capsys.readouterr().err
    with pytest.raises(RequestError, match="holds a run already"):
        torchfolio.train("lenet5", "digits", out=tmp_path)
    below = tmp_path / "recipe.toml" / "run"
    assert run(["train", "lenet5", "digits", "--out", str(below), *dry]) == 1
    assert "recipe.toml is a file. Choose another --out." in capsys.readouterr().err


@pytest.mark.parametrize("flag", [["--reader=image-table"], ["--reader", "image-table"]])
def test_the_flags_are_those_of_the_reader_that_is_named(
    flag: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.csv").write_text("a,b\n", encoding="utf-8")
    assert run(["train", "lenet5", str(tmp_path / "table.csv"), *flag, "--help"]) == 0
    assert "--label-column" in capsys.readouterr().out
