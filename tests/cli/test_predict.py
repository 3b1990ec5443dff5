"""``folio predict`` for a task without classes: flags, lines, columns and pictures are its own."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from torchfolio.cli.app import run as folio
from torchfolio.cli.predict import expand
from torchfolio.errors import FolioError, RequestError
from torchfolio.options import option
from torchfolio.run import Run
from torchfolio.tasks.base import Context, Parts, Task
from torchfolio.tasks.registry import TASKS
from torchfolio.training.folder import RunFolder
from torchfolio.training.options import TrainingOptions
from torchfolio.training.recipes import Recipe


@dataclass(frozen=True)
class MeasureOptions:
    """Settings of the answers."""

    lines: int = option(2, "How many lines to measure.", low=1)
    total: bool = option(True, "Add them up.")


class Measure(Task):
    """Text files: the length of each line, times the one weight of the network."""

    name = "line-lengths"
    kinds = ("text",)
    AnswerOptions = MeasureOptions
    monitor = "loss"
    higher_is_better = {"loss": False}  # noqa: RUF012

    def parts(self, *_: Any, **__: Any) -> Parts:
        return Parts(network=nn.Linear(1, 1, bias=False))

    def prepare(self, *_: Any) -> Any:
        raise NotImplementedError

    load = steps = predict = meter = evaluate = prepare  # it is never trained here

    @torch.inference_mode()
    def answer(
        self, parts: Parts, inputs: Sequence[Any], context: Context, options: MeasureOptions
    ) -> Iterator[dict[str, Any]]:
        for item in inputs:
            try:
                text = Path(item).read_text(encoding="utf-8")
            except OSError as error:
                yield {"input": item, "prediction": None, "error": error.strerror}
                continue
            lengths = torch.tensor([[float(len(line))] for line in text.splitlines()])
            lengths = lengths[: options.lines].to(context.device)
            found = parts.network(lengths).flatten().tolist()
            total = sum(found) if options.total else None
            yield {"input": item, "prediction": found, "total": total, "error": None}

    def line(self, row: dict[str, Any]) -> str:
        return " + ".join(f"{each:g}" for each in row["prediction"]) + f" = {row['total']}"

    def cells(self, row: dict[str, Any]) -> dict[str, Any]:
        lengths = {f"line_{number}": each for number, each in enumerate(row["prediction"], 1)}
        return super().cells(row) | lengths


class Plain(Measure):
    """The same, where lines, columns and flags are those that every task has."""

    AnswerOptions = Task.AnswerOptions
    line, cells = Task.line, Task.cells

    def answer(
        self, parts: Parts, inputs: Sequence[Any], context: Context, options: Any
    ) -> Iterator[dict[str, Any]]:
        yield from super().answer(parts, inputs, context, MeasureOptions(lines=1))


class Drawing(Measure):
    """The same, with a picture: the total as a text file."""

    def picture(self, row: dict[str, Any], target: Path) -> Path:
        path = target / f"{Path(row['input']).stem}.txt"
        path.write_text(str(row["total"]), encoding="utf-8")
        return path


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the run of a task that is in the registry for the length of a test; its weight is 2."""

    def make(kind: type[Task]) -> str:
        module = ModuleType("torchfolio.tasks.lengths")
        module.Kind = kind  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(TASKS, kind.name, "lengths:Kind")
        folder = RunFolder.create(tmp_path / "run")
        network = {"name": "softmax_regression"}
        options = TrainingOptions(device="cpu", threads=1)
        folder.write_recipe(Recipe(network, {}, {"name": kind.name}, options, {}))
        folder.write_preprocessing({})
        folder.write_weights("best", {"network": {"weight": torch.tensor([[2.0]])}})
        return str(folder.path)

    return make


@pytest.fixture
def texts(tmp_path: Path) -> list[str]:
    """Files with lines of 1, 2, 3 and of 4 letters, and between them one that is not there."""
    (tmp_path / "a.txt").write_text("a\nbb\nccc\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("dddd\n", encoding="utf-8")
    return [str(tmp_path / name) for name in ("a.txt", "gone.txt", "b.txt")]


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_the_lines_are_those_of_the_task(
    make_run: Any, texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert folio(["predict", make_run(Measure), *texts]) == 1
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        f"{texts[0]}: 2 + 4 = 6.0",
        f"{texts[1]}: error: No such file or directory",
        f"{texts[2]}: 8 = 8.0",
    ]
    assert "1 of 3 inputs could not be read" in told.err


def test_the_columns_are_those_of_the_task(make_run: Any, texts: list[str], tmp_path: Path) -> None:
    table = tmp_path / "answers.csv"
    flags = ["--lines", "3", "--no-total", "--out", str(table), "--quiet"]
    assert folio(["predict", make_run(Measure), texts[1], texts[2], texts[0], *flags]) == 1
    assert read(table) == [
        ["input", "total", "error", "line_1", "line_2", "line_3"],
        [texts[1], "", "No such file or directory", "", "", ""],
        [texts[2], "", "", "8.0", "", ""],
        [texts[0], "", "", "2.0", "4.0", "6.0"],
    ]


def test_a_table_of_errors_only_has_a_row_for_each(
    make_run: Any, texts: list[str], tmp_path: Path
) -> None:
    table = tmp_path / "answers.csv"
    assert folio(["predict", make_run(Measure), texts[1], "--out", str(table)]) == 1
    assert read(table) == [
        ["input", "prediction", "error"],
        [texts[1], "", "No such file or directory"],
    ]


def test_json_is_the_rows_of_the_task(
    make_run: Any, texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert folio(["predict", make_run(Measure), texts[0], "--lines", "1", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert row == {"input": texts[0], "prediction": [2.0], "total": 2.0, "error": None}


def test_the_flags_come_before_the_run_and_with_an_equals_sign(
    make_run: Any, texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert folio(["predict", "--lines=1", "--quiet", make_run(Measure), "--", texts[0]]) == 0
    assert capsys.readouterr().out == f"{texts[0]}: 2 = 2.0\n"


def test_a_task_need_not_say_how_its_answers_are_shown(
    make_run: Any, texts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(Plain)
    assert folio(["predict", run, texts[2]]) == 0
    assert capsys.readouterr().out == f"{texts[2]}: [8.0]\n"
    assert folio(["predict", run, texts[2], "--out", str(tmp_path / "t.csv")]) == 0
    assert read(tmp_path / "t.csv") == [["input", "total", "error"], [texts[2], "8.0", ""]]
    assert folio(["predict", run, texts[2], "--lines", "1"]) == 2
    assert "Unknown option: --lines" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lines", "0"], "lines in the settings is 0; it should be 1 or more"),
        (["--lines", "two"], "--lines"),
        (["--top", "3"], "Unknown option: --top"),
    ],
)
def test_a_wrong_flag_of_the_answers_is_named(
    flags: list[str],
    message: str,
    make_run: Any,
    texts: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert folio(["predict", make_run(Measure), texts[0], *flags]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_python_takes_the_same_settings(make_run: Any, texts: list[str]) -> None:
    run = Run(make_run(Measure))
    [row] = run.predict([texts[0]], lines=3, total=False)
    assert (row["prediction"], row["total"]) == ([2.0, 4.0, 6.0], None)
    with pytest.raises(RequestError, match="no setting in the settings named 'line'"):
        run.predict([texts[0]], line=3)  # said at once, not at the first row


def test_the_help_of_a_run_has_the_flags_of_its_task(
    make_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folio(["predict", make_run(Measure), "--help"]) == 0
    text = capsys.readouterr().out
    assert "--lines INT" in text
    assert "How many lines to measure. [default: 2]" in text
    assert "--top" not in text


def test_the_help_without_a_run_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from torchfolio.cli.app import run; run(['predict', '--help'])\n"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "folio predict RUN --help" in done.stdout


def test_a_flag_of_the_answers_must_not_be_one_of_the_verb(
    make_run: Any, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True)
    class Clash:
        device: str = option("", "Where.")

    monkeypatch.setattr(Measure, "AnswerOptions", Clash)
    run = make_run(Measure)
    from torchfolio.cli.predict import predict

    with pytest.raises(FolioError, match="--device is a flag of the verb and"):
        predict([run, texts[0]])


def test_a_folder_inside_that_cannot_be_listed_has_a_row_with_its_error(
    make_run: Any,
    texts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    locked = tmp_path / "in" / "locked"
    (tmp_path / "in" / "open").mkdir(parents=True)
    locked.mkdir()
    (tmp_path / "in" / "open" / "a.txt").write_text("a\n", encoding="utf-8")
    listed = os.scandir

    def closed(path: Any = ".") -> Any:
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", closed)
    run = make_run(Measure)
    assert folio(["predict", run, str(tmp_path / "in"), "--json"]) == 1
    told = capsys.readouterr()
    good, bad = json.loads(told.out)
    assert good["prediction"] == [2.0]
    assert (bad["input"], bad["prediction"]) == (str(locked), None)
    assert bad["error"].startswith(f"{locked} cannot be listed: Permission denied. Give")
    assert "1 of 2 inputs could not be read" in told.err
    assert folio(["predict", run, str(locked)]) == 1  # no answer, and still a row
    assert f"{locked}: error: {locked} cannot be listed" in capsys.readouterr().out


def test_files_of_a_folder_are_in_order_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.png", "a.png", "b/.hidden.png", "c/Thumbs.db", "c/d/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [Path(each).relative_to(tmp_path).as_posix() for each in expand([str(tmp_path)], [])]
    assert found == ["a.png", "b/10.png", "b/2.png", "c/d/e.png"]


def test_a_file_that_cannot_be_written_is_named_before_any_answer(
    make_run: Any,
    texts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def answer(*_: object) -> None:
        raise AssertionError("it was answered")

    monkeypatch.setattr(Measure, "answer", answer)
    table = Path(texts[0]) / "answers.csv"
    assert folio(["predict", make_run(Measure), texts[0], "--out", str(table)]) == 1
    assert f"{texts[0]} is a file. Choose another --out." in capsys.readouterr().err


# Pictures


def test_pictures_are_written_and_counted(
    make_run: Any, texts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "drawn"
    assert folio(["predict", make_run(Drawing), *texts, "--pictures", str(folder)]) == 1
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == {
        "a.txt": "6.0",
        "b.txt": "8.0",
    }
    assert f"2 pictures in {folder}" in capsys.readouterr().out


def test_a_task_without_pictures_does_not_say_that_it_drew_some(
    make_run: Any, texts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "drawn"
    assert folio(["predict", make_run(Measure), texts[0], "--pictures", str(folder)]) == 0
    assert f"0 pictures in {folder}" in capsys.readouterr().out


def test_a_folder_of_pictures_that_cannot_be_made_is_named_before_any_answer(
    make_run: Any, texts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    run = make_run(Drawing)
    for place, reason in (("file", "it is a file"), ("file/in", "")):
        folder = tmp_path / place
        assert folio(["predict", run, texts[0], "--pictures", str(folder)]) == 1
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith(f"error: The folder {folder} for pictures cannot be made:")
        assert reason in told.err
        assert told.err.endswith("Choose another --pictures.\n")
