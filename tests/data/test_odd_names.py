"""Names of files whose bytes are no UTF-8: Latin-1 and GBK, as old archives leave them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from torchfolio.data.readers import open_dataset
from torchfolio.run import Run, train

CLASS = os.fsdecode(b"caf\xe9")
NAME = os.fsdecode(b"\xc4\xe3")  # of GBK

pytestmark = pytest.mark.skipif(
    sys.platform in ("win32", "darwin"), reason="names are Unicode on this system"
)


@pytest.fixture
def folder(tmp_path: Path, draw) -> Path:
    root = tmp_path / os.fsdecode(b"na\xefve")
    for kind in (CLASS, "dog"):
        for index in range(8):
            draw(root / kind / f"{NAME}{index}.png", size=(32, 32))
    (root / "dog" / f"{NAME}.png").write_bytes(b"x")
    return root


def test_pictures_are_read_and_their_classes_can_be_shown(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert dataset.classes == (r"caf\udce9", "dog")
    assert dataset.records.name(0) == f"{CLASS}/{NAME}0.png"
    assert dataset.records.pixels(0).shape == (32, 32, 3)


def test_check_prints_them_and_writes_its_page_and_its_copy(folder: Path, tmp_path: Path) -> None:
    page, copy = tmp_path / "page.html", tmp_path / "copy"
    command = [sys.executable, "-m", "torchfolio", "check", str(folder)]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    for flags in (["--html", str(page), "--fix", str(copy)], ["--json"]):
        done = subprocess.run([*command, *flags], capture_output=True, env=environment)
        assert done.returncode == 0, done.stderr.decode()
        assert rb"dog/\udcc4\udce3.png" in done.stdout
    assert json.loads(done.stdout)["problems"][0]["path"] == f"dog/{NAME}.png"
    assert r"dog/\udcc4\udce3.png" in page.read_text(encoding="utf-8")
    assert r"dog/\udcc4\udce3.png" in (copy / "removed.csv").read_text(encoding="utf-8")
    assert (copy / "dog" / f"{NAME}7.png").read_bytes() == (
        folder / "dog" / f"{NAME}7.png"
    ).read_bytes()


@pytest.mark.slow
def test_a_run_on_them_is_read_again(folder: Path, tmp_path: Path) -> None:
    run = train("lenet5", folder, epochs=1, out=tmp_path / "run", report=False)
    again = Run(run.path)
    assert again.recipe.data["path"] == str(folder)
    assert again.folder.data()["problems"][0]["path"] == f"dog/{NAME}.png"
    assert r",caf\udce9/\udcc4\udce30.png" in (run.path / "split.csv").read_text(encoding="utf-8")
    assert again.resume(report=False).metrics["digest"] == run.metrics["digest"]
