"""The command as a whole: verbs, exit status, JSON, and how quickly it answers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from torchfolio.cli.app import VERBS, run


def folio(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torchfolio", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb} " in text for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    assert f"Example: folio {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "no verb named 'trian'. The nearest: train"),
        (["list", "--tsk", "x"], "Unknown option: --tsk"),
        (["show", "resnet51"], "no network named 'resnet51'. The nearest: resnet5"),
        (["train", "lenet", "digits"], "no network named 'lenet'. The nearest: lenet5"),
        (["train", "lenet5", "digits", "--epoch", "3"], "--epoch"),
        (["train", "lenet5", "no-such-folder"], "no-such-folder"),
        (["resume", "no-such-run"], "no-such-run is no run"),
        (["predict", "no-such-run"], "predict needs an input"),
    ],
)
def test_a_wrong_request_exits_with_2_and_says_what_to_do(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["check", "digits", "--html", ""], "--html"),
        (["check", "digits", "--html="], "--html"),
        (["check", ""], "An argument"),
        (["train", "lenet5", "digits", "--weights", ""], "--weights"),
        (["predict", "run", "x.png", "--pictures="], "--pictures"),
        (["predict", "run", ""], "An argument"),
        (["predict", "run", "--", ""], "An argument"),
        (["evaluate", "run", ""], "An argument"),
        (["show", "lenet5", "--svg", ""], "--svg"),
    ],
)
def test_an_empty_value_is_refused_before_it_means_this_folder(
    arguments: list[str],
    place: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    assert f"error: {place} is empty: an unset variable, perhaps." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_part_of_a_value_is_none_of_that(capsys: pytest.CaptureFixture[str]) -> None:
    run(["show", "mlp", "--set", "activation="])
    assert "is empty" not in capsys.readouterr().err


def test_what_the_system_refuses_is_said_with_the_file_and_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "ro/x")

    monkeypatch.setattr("torchfolio.cli.list.list_", refuse)
    monkeypatch.setitem(VERBS, "check", ("torchfolio.cli.list:list_", ""))
    assert run(["check", "digits"]) == 1
    assert capsys.readouterr().err == (
        "error: ro/x: Permission denied. Look at the path and at your rights there, or choose "
        "another.\n"
    )


def test_json_is_one_document_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "lenet5", "--json"]) == 0
    names = [each["name"] for each in json.loads(capsys.readouterr().out)]
    assert "lenet5" in names
    assert run(["list", "no-such", "--json"]) == 2
    assert "no-such" in json.loads(capsys.readouterr().out)["error"]


def test_hyphen_and_underscore_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "LENET5-original", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "lenet5_original"


@pytest.mark.parametrize("arguments", [["--help"], ["list"]])
def test_help_and_list_import_neither_torch_nor_numpy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom torchfolio.cli.app import run\n"
        f"assert run({arguments!r}) == 0\n"
        "sys.exit(bool({'torch', 'numpy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("arguments", [["--help"], ["list"]])
def test_help_and_list_answer_within_300_milliseconds(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no clock of child processes")
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))  # bytecode is compiled once, kept here
    folio(*arguments)
    seconds = []
    for _ in range(7):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert folio(*arguments).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # processor time: what the wall would show on a machine that does nothing else
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.3
