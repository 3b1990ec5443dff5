import json
from pathlib import Path

import pytest

from torchfolio.cli.app import run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "的 cache"
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(folder))
    (folder / "scans").mkdir(parents=True)
    (folder / "scans" / "a.npz").write_bytes(bytes(2**20))
    (folder / "archives" / "b" / "deep").mkdir(parents=True)
    (folder / "archives" / "b" / "deep" / "c").write_bytes(bytes(3 * 2**20))
    (folder / "a letter.txt").write_text("mine", encoding="utf-8")
    (folder / "photos").mkdir()
    (folder / "photos" / "mine.jpg").write_bytes(b"mine")
    return folder


def test_it_says_what_is_held(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache"]) == 0
    out = capsys.readouterr().out
    assert "unpacked archives" in out
    assert "3.0 MiB" in out
    assert run(["cache", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["folder"] == str(folder)
    assert document["contents"] == [
        {"kind": "scans", "entries": 1, "bytes": 2**20},
        {"kind": "archives", "entries": 1, "bytes": 3 * 2**20},
    ]
    assert document["removed"] == 0


def test_clear_removes_ours_only(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "--clear", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["contents"], document["removed"]) == ([], 4 * 2**20)
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert left == ["a letter.txt", "photos/mine.jpg"]
    assert run(["cache"]) == 0


def test_without_a_folder_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(tmp_path / "none"))
    assert run(["cache", "--clear"]) == 0
    assert not (tmp_path / "none").exists()
