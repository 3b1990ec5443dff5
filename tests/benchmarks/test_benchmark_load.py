"""Loads of a few files: what is written, what a slow disk slows, and what is kept of a failure."""

import json
import os
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from benchmarks import load as loading
from benchmarks.load import Load, keep, loads, main, origin, rows_of, write
from benchmarks.tables import load as table


def test_the_first_class_has_one_picture_in_folders_and_in_a_table(tmp_path: Path) -> None:
    folders = write(Load("folders", 12, 3), tmp_path / "folders")
    counts = {each.name: len(list(each.iterdir())) for each in sorted(folders.iterdir())}
    assert counts == {"class-00000": 1, "class-00001": 7, "class-00002": 4}
    beside = write(Load("table", 12, 3, table=True), tmp_path / "table")
    rows = (beside / "labels.csv").read_text(encoding="utf-8").splitlines()
    assert rows[:2] == ["path,label", "000000.png,class-00000"]
    assert len(rows) == 13


def test_very_many_classes_have_twenty_pictures_each() -> None:
    assert [(each.name, each.files, each.classes) for each in loads([20, 200])] == [
        ("folders", 20, 10), ("table", 20, 10), ("folders", 200, 10), ("table", 200, 10),
        ("many classes", 200, 10), ("slow disk", 20, 10),
    ]  # fmt: skip


COUNTING = """
import atexit
import os
import time

plain, waits = time.sleep, []


def sleep(seconds):
    if seconds == 0.01:
        waits.append(seconds)
    plain(seconds)


def write():
    with open(os.environ["WAITS"], "w", encoding="utf-8") as file:
        file.write(str(len(waits)))


time.sleep = sleep
atexit.register(write)
"""  # Python reads a module of this name as it starts


def test_a_slow_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "SLOW_MS", 10.0)
    (tmp_path / "counting").mkdir()
    (tmp_path / "counting" / "sitecustomize.py").write_text(COUNTING, encoding="utf-8")
    paths = [str(tmp_path / "counting"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("WAITS", str(tmp_path / "waits"))
    [row] = islice(rows_of(Load("slow disk", 6, 2, slow=True), tmp_path), 1)
    assert (row["verb"], row["cache"], row["status"]) == ("check", "cold", 0)
    # what every reader lists to know the layout is more than thirty accesses, one after another
    assert int((tmp_path / "waits").read_text(encoding="utf-8")) > 30
    assert row["memory_mb"] > 10


def slow_row(**more: Any) -> dict[str, Any]:
    row = {"data": "folders", "files": 20, "classes": 10, "verb": "train", "cache": "cold",
           "wall": 2.5, "cpu": 2.0, "first_step": 1.5, "memory_mb": 300.0, "anonymous_mb": 200.0,
           "status": 0, "run_mb": 1.5, "date": "2026-11-28"}  # fmt: skip
    return row | more


ABOUT: dict[str, Any] = {"machine": "Abacus", "slow_disk_ms": 5.0, "code": "0123",
                         "versions": {"torch": "2", "torchfolio": "1"}}  # fmt: skip


def test_rows_are_kept_as_they_come_and_failures_with_their_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results" / "load.json"
    monkeypatch.setattr(loading, "RESULTS", path)
    monkeypatch.setattr(loading, "SIZES", [20])
    monkeypatch.setattr(loading, "origin", lambda: ABOUT)
    monkeypatch.setattr(sys, "argv", ["load", "--only", "folders"])
    fails = {"wall": 1.0, "cpu": 1.0, "first_step": None, "memory": 10**7, "anonymous": None,
             "errors": "error: it is broken"}  # fmt: skip
    seen: list[int] = []

    def measured(*_: Any) -> dict[str, Any]:
        if path.is_file():
            seen.append(len(json.loads(path.read_text(encoding="utf-8"))["rows"]))
        return fails | {"status": int(len(seen) == 1)}

    monkeypatch.setattr(loading, "measure", measured)
    keep(path, slow_row(data="slow disk"), ABOUT)
    with pytest.raises(SystemExit, match="1 commands failed"):
        main()
    assert seen == [1, 2, 3, 4]
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [row["data"] for row in rows] == ["slow disk", *["folders"] * 4]
    assert [row["status"] for row in rows] == [0, 1, 0, 0, 0]
    assert rows[1]["errors"] == "error: it is broken"
    assert main() is None  # measured again, they take the places of the old ones
    assert len(json.loads(path.read_text(encoding="utf-8"))["rows"]) == 5
    before = path.read_bytes()
    monkeypatch.setattr(sys, "argv", ["load", "--only", "folders", "--sizes", "30"])
    assert main() is None  # a trial is not published
    assert path.read_bytes() == before
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--json", str(tmp_path / "trial.json")])
    assert main() is None
    assert len(json.loads((tmp_path / "trial.json").read_text(encoding="utf-8"))["rows"]) == 4


@pytest.mark.parametrize("name", sorted(ABOUT))
def test_rows_of_another_origin_do_not_stay(name: str, tmp_path: Path) -> None:
    path = tmp_path / "load.json"
    keep(path, slow_row(), ABOUT)
    keep(path, slow_row(verb="check"), ABOUT)
    assert len(json.loads(path.read_text(encoding="utf-8"))["rows"]) == 2
    other = {"machine": "Pascaline", "slow_disk_ms": 7.0, "code": "4567", "versions": {}}
    keep(path, slow_row(), ABOUT | {name: other[name]})
    [row] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert row["verb"] == "train"


def test_the_origin_names_versions_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "code_digest", lambda: "0123")
    found = origin()
    assert found.keys() == ABOUT.keys()
    assert found["code"] == "0123"
    assert found["versions"].keys() == {"torchfolio", "torch"}


def test_the_table_shows_memory_run_and_failure(tmp_path: Path) -> None:
    path = tmp_path / "load.json"
    assert table(path) == []
    keep(path, slow_row(), ABOUT)
    keep(path, slow_row(verb="check", status=1, first_step=None, run_mb=None), ABOUT)
    lines = table(path)
    assert (
        "| folders | 20 | 10 | train | cold | 2.5 | 1.5 | 300.0 | 200.0 | 1.5 | 2026-11-28 |"
        in lines
    )
    failed = "| folders | 20 | 10 | check | cold | failed after 2.5 |  | 300.0 | 200.0 |  |"
    assert f"{failed} 2026-11-28 |" in lines
    assert any("on Abacus; torch 2,\ntorchfolio 1:" in line for line in lines)


def test_only_the_slow_folder_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHFOLIO_SLOW_DISK", f"{tmp_path / 'data'}:7")
    from benchmarks import slow_disk

    waited: list[float] = []
    monkeypatch.setattr(slow_disk.time, "sleep", waited.append)
    monkeypatch.setattr(slow_disk, "fast_stat", os.stat, raising=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.png").touch()
    slow_disk.wait("open", (tmp_path / "data" / "one.png", "r", 0))
    slow_disk.wait("os.scandir", (str(tmp_path / "data"),))
    slow_disk.wait("open", (str(tmp_path / "elsewhere"), "r", 0))
    slow_disk.wait("import", (str(tmp_path / "data"),))
    assert slow_disk.slow_stat(tmp_path / "data" / "one.png").st_size == 0
    assert slow_disk.slow_stat(tmp_path).st_mode
    assert waited == [0.007] * 3
