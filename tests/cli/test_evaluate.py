"""``folio evaluate`` reads other data by the same flags as ``folio train``."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import torchfolio
from torchfolio.cli.app import run as folio
from torchfolio.data.readers import open_dataset
from torchfolio.errors import RequestError
from torchfolio.run import Run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on a table whose column of classes has a name that says nothing."""
    folder = tmp_path_factory.mktemp("table")
    random = np.random.default_rng(0)
    lines = []
    for index in range(40):
        pixels = random.integers(0, 256, (28, 28)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
        lines.append(f"{index}.png,{'even' if index % 2 == 0 else 'odd'},x")
    (folder / "t.csv").write_text("a,b,c\n" + "\n".join(lines), encoding="utf-8")
    (folder / "other.csv").write_text("a,d,c\n" + "\n".join(lines), encoding="utf-8")
    settings = {"label_column": "b", "val_split": 0.0, "epochs": 1, "threads": 1, "workers": 0}
    return torchfolio.train("softmax_regression", folder / "t.csv", out=folder / "run", **settings)


def examples(capsys: pytest.CaptureFixture[str], *arguments: str) -> int:
    assert folio(["evaluate", *arguments, "--json", "--no-report"]) == 0
    return int(json.loads(capsys.readouterr().out)["examples"])


def test_other_data_are_read_as_the_runs_own(
    trained: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    table = str(trained.path.parent / "t.csv")
    assert examples(capsys, str(trained.path), table) == 40
    assert trained.evaluate(table, report=False)["examples"] == 40


def test_the_flags_of_the_reader_go_before_what_the_run_says(
    trained: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run, table = str(trained.path), str(trained.path.parent / "other.csv")
    assert folio(["evaluate", run, table]) == 2
    assert "no column in other.csv named 'b'" in capsys.readouterr().err
    assert examples(capsys, run, table, "--label-column", "d") == 40
    assert examples(capsys, run, "--label-column=d", table) == 40
    # a reader that is named takes nothing from the run
    assert folio(["evaluate", run, table, "--reader", "image-table"]) == 2
    assert "Name it with --label-column" in capsys.readouterr().err


def test_data_known_by_name_are_fetched_where_download_is_given(
    trained: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("offline")

    monkeypatch.setenv("TORCHFOLIO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    assert folio(["evaluate", str(trained.path), "mnist"]) == 2
    assert "Add --download" in capsys.readouterr().err
    assert folio(["evaluate", "--download", str(trained.path), "mnist"]) == 1
    assert "cannot be fetched: offline" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [["--reader", "image-table"], ["--on-error", "stop"], ["--download"]]
)
def test_flags_of_other_data_without_data_are_refused(
    trained: Run, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert folio(["evaluate", str(trained.path), *flags]) == 2
    name = flags[0].strip("-").replace("-", "_")
    assert f"{name}: these say how other data are read, and none are named" in (
        capsys.readouterr().err
    )


def test_data_that_are_open_already_take_no_reader(trained: Run) -> None:
    dataset = open_dataset(trained.path.parent / "t.csv", reader_options={"label_column": "b"})
    assert trained.evaluate(dataset, report=False)["examples"] == 40
    with pytest.raises(RequestError, match="label_column: these say how other data are read"):
        trained.evaluate(dataset, label_column="b")


def test_help_has_the_flags_of_the_data(trained: Run, capsys: pytest.CaptureFixture[str]) -> None:
    table = str(trained.path.parent / "t.csv")
    assert folio(["evaluate", str(trained.path), table, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Reader image-table" in text
    assert "--label-column" in text


def test_help_without_data_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from torchfolio.cli.app import run; run(['evaluate', '--help'])\n"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--download" in done.stdout
