import os
from pathlib import Path

import pytest

from torchfolio.cli.targets import require_writable
from torchfolio.errors import FolioError


def test_what_can_be_written_passes_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("", encoding="utf-8")
    for path in (tmp_path / "old.csv", tmp_path / "new.csv", tmp_path / "a" / "b" / "new.csv"):
        require_writable(path, "--out")
    assert [each.name for each in tmp_path.iterdir()] == ["old.csv"]


def test_what_cannot_be_written_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FolioError, match=r"x\.csv cannot be written: .*file is a file\. Choose an"):
        require_writable(tmp_path / "file" / "x.csv", "--out")
    with pytest.raises(FolioError, match=r"it is a folder\. Choose another --html"):
        require_writable(tmp_path, "--html")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(FolioError, match="there is no right to write into"):
        require_writable(tmp_path / "new" / "x.csv", "--out")
