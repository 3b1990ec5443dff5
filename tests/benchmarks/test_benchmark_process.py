import os
import sys
from pathlib import Path

import pytest

from benchmarks.process import MARKS, last_document, measure, read_marks

MIB = 2**20
UNIX = pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system counts no CPU time")
LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")


def run(code: str, folder: Path, limit: float = 60) -> dict[str, object]:
    return measure([sys.executable, "-c", code], {}, folder, limit)


@UNIX
def test_cpu_time_is_that_of_the_process_and_its_children(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.4: pass"
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy!r}])\n{busy}"
    found = run(code, tmp_path)
    assert 0.8 <= found["cpu"] < 1.6  # and the start of two interpreters
    assert found["wall"] >= 0.8


@UNIX
def test_sleeping_takes_time_but_no_cpu_time(tmp_path: Path) -> None:
    found = run("import time; time.sleep(1)", tmp_path)
    assert found["wall"] >= 1
    assert found["cpu"] < 0.8


@LINUX
def test_memory_is_the_largest_that_was_held(tmp_path: Path) -> None:
    code = f"import time; x = b'x' * (200 * {MIB}); time.sleep(0.8); del x; time.sleep(0.3)"
    found = run(code, tmp_path)
    assert 200 * MIB < found["memory"] < 260 * MIB
    assert 200 * MIB < found["anonymous"] <= found["memory"]


@LINUX
def test_memory_of_all_counts_the_children(tmp_path: Path) -> None:
    hold = f"x = b'x' * (100 * {MIB}); import time; time.sleep(0.8)"
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {hold!r}])\n{hold}\nchild.wait()"
    )
    found = run(code, tmp_path)
    assert found["memory_all"] > 200 * MIB
    assert found["memory"] < 150 * MIB


def test_a_mark_is_the_time_since_the_start(tmp_path: Path) -> None:
    code = (
        "import time; from benchmarks.process import mark\n"
        "time.sleep(0.5); mark('first_step'); time.sleep(0.5); mark('first_step')"
    )
    found = run(code, tmp_path)
    assert 0.5 <= found["first_step"] <= found["wall"] - 0.5


def test_nothing_is_marked_without_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from benchmarks.process import mark

    monkeypatch.delenv(MARKS, raising=False)
    monkeypatch.chdir(tmp_path)
    mark("first_step")
    assert list(tmp_path.iterdir()) == []
    assert read_marks(tmp_path / "marks") == {}


def test_status_output_and_errors_are_told(tmp_path: Path) -> None:
    code = "import sys; print('{\"accuracy\": 0.5}'); sys.exit('no such file')"
    found = run(code, tmp_path)
    assert found["status"] == 1
    assert found["output"] == {"accuracy": 0.5}
    assert found["errors"] == "no such file\n"


def test_a_process_over_its_limit_is_killed(tmp_path: Path) -> None:
    found = run("import time; time.sleep(60)", tmp_path, limit=0.5)
    assert found["wall"] < 30
    assert found["status"] != 0
    assert found["errors"].endswith("killed after 0.5 s")


def test_the_last_document_of_an_output_is_found() -> None:
    assert last_document('{\n "a": 1\n}\n') == {"a": 1}
    assert last_document('10 %\r100 %\r{"a": 2}\n') == {"a": 2}
    assert last_document('{"a": 1}\n{"a": 2}\n') == {"a": 2}
    assert last_document('[{"a": 1}]') == [{"a": 1}]
    assert last_document("3\nnothing\n") is None
