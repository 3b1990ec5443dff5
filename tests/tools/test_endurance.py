"""A sample of ``make endurance``: real processes, really killed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")


@LINUX
@pytest.mark.slow
def test_trainings_killed_at_numbered_and_random_moments_end_as_one_left_alone(
    tmp_path: Path,
) -> None:
    told = tmp_path / "told.json"
    request = ["--sample", "5", "--kills", "4", "--only", "kill", "power", "full", "random"]
    done = subprocess.run(
        [sys.executable, "-m", "tools.endurance", *request, "--json", str(told), "--", "lenet5"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(told.read_text(encoding="utf-8"))["networks"]["lenet5"]
    assert found["training"]["reason"] == "patience"  # early stopping had its say
    assert found["events"] > 100
    assert [found[part]["struck"] for part in ("kill", "power", "full")] == [5, 5, 5]
    assert found["random"]["kills"] == 4


STRUCK = """
import os, sys
from pathlib import Path
from tools.endurance.events import watch

folder, at, strike = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
watch([folder], at, strike, os.open(sys.argv[4], os.O_WRONLY | os.O_CREAT))
with (folder / "new").open("wb") as file:
    file.write(bytes(range(1, 101)))
    file.flush()
    os.fsync(file.fileno())
(folder / "new").rename(folder / "name")
(Path(sys.argv[1]).parent / "elsewhere").write_bytes(b"not watched")
(folder / "name").unlink()
"""


@LINUX
@pytest.mark.parametrize(
    ("at", "strike", "left"),
    [
        (1, "kill", {}),  # before it is made
        (2, "kill", {"new": b""}),  # before the write
        (3, "kill", {"new": bytes(range(1, 51))}),  # half of it is done
        (4, "kill", {"new": bytes(range(1, 101))}),  # before the flush
        (4, "power", {"new": bytes(100)}),  # what was not flushed is lost: zeros
        (3, "power", {"new": b""}),  # or cut off
        (5, "power", {"new": bytes(range(1, 101))}),  # before the rename
        (6, "kill", {"name": bytes(range(1, 101))}),  # before the removal
    ],
)
def test_a_strike_comes_at_its_event(
    at: int, strike: str, left: dict[str, bytes], tmp_path: Path
) -> None:
    folder, log = tmp_path / "watched", tmp_path / "log"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", STRUCK, str(folder), str(at), strike, str(log)],
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert done.returncode == -9
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == left
    assert len(log.read_text(encoding="utf-8").splitlines()) == 1
