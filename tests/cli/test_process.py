"""The process of a command: what it imports, how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = "torch._dynamo sympy torchvision torchmetrics scipy matplotlib captum jinja2 rich triton"


def python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, encoding="utf-8"
    )


@pytest.mark.parametrize("network", ["lenet5", "resnet20"])
def test_a_training_without_a_report_imports_only_what_it_needs(
    network: str, tmp_path: Path
) -> None:
    flags = ["--epochs", "1", "--batch-size", "256", "--no-report", "--quiet", "--json"]
    words = ["train", network, "digits", *flags, "--out", str(tmp_path / "run")]
    found = python(
        "import sys; from torchfolio.cli.app import run\n"
        f"status = run({words!r})\n"
        f"print([name for name in {HEAVY!r}.split() if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(status)"
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr.splitlines()[-1] == "[]"
    assert json.loads(found.stdout)["metrics"]["accuracy"]["value"] >= 0
    details = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))["details"]
    assert "speed" not in details  # it belongs to the report


def test_listing_and_help_import_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from torchfolio.cli.app import run\n"
        "run(['--help']); run(['list'])\n"
        "assert not {'torch', 'numpy', 'rich.console'} & set(sys.modules)\n"
    )
    found = python(code)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["--version"], 0, ""),
        (["check", "no such folder"], 2, "no such folder"),
        (["shwo"], 2, "show"),
    ],
)
def test_the_command_ends_with_its_status_and_everything_written(
    words: list[str], status: int, text: str
) -> None:
    command = [sys.executable, "-m", "torchfolio", *words]
    found = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    assert found.returncode == status
    assert text in found.stderr


def test_leaving_waits_for_threads_and_runs_what_is_registered_for_the_end() -> None:
    found = python(
        "import atexit, sys, threading, time\n"
        "from torchfolio.cli.process import leave\n"
        "atexit.register(lambda: print('registered'))\n"
        "def work():\n"
        "    time.sleep(0.2)\n"
        "    print('worked')\n"
        "threading.Thread(target=work).start()\n"
        "print('x' * 100_000)\n"
        "leave(7)\n"
    )
    assert found.returncode == 7
    assert found.stdout == f"{'x' * 100_000}\nworked\nregistered\n"


def test_the_collector_works_again_after_imports() -> None:
    found = python(
        "import gc\n"
        "from torchfolio.cli.process import quick_imports\n"
        "with quick_imports():\n"
        "    assert not gc.isenabled()\n"
        "    kept = [[] for _ in range(1000)]\n"
        "assert gc.isenabled() and gc.get_freeze_count() >= 1000\n"
    )
    assert found.returncode == 0, found.stderr


def test_the_garbage_of_later_work_is_not_kept() -> None:
    code = (
        "import gc, weakref; from torchfolio.cli.process import quick_imports\n"
        "class Cycle: pass\n"
        "with quick_imports(): pass\n"
        "one = Cycle(); one.itself = one; watched = weakref.ref(one)\n"
        "with quick_imports(): del one\n"
        "gc.collect(); assert watched() is None; assert gc.isenabled()\n"
    )
    found = python(code)
    assert found.returncode == 0, found.stderr
