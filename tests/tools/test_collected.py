"""Grading what others wrote: the list, a folder of files, and what is said of them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tools import collected, rows
from torchfolio.networks.catalogue import cards
from torchfolio.verification.departures import DEPARTURES

READ = {"bias", "size", "layer", "function", "order", "frozen", "detached", "stride", "padding",
        "dilation", "epsilon", "momentum"}  # fmt: skip
CODE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), act(), nn.Linear(256, 10))

    def forward(self, x):
        print("looking")
        return self.net(x)
"""
LIST = """
[[implementation]]
of = "somebody/nets"
repository = "somebody/nets"
commit = "0123abc"
path = "models/net.py"
file = "net.py"
make = "Net(nn.ReLU)"
as = "mlp"

[[implementation]]
of = "somebody/nets"
repository = "somebody/nets"
commit = "0123abc"
path = "models/net.py"
file = "net.py"
make = "Net(nn.Sigmoid)"
as = "mlp"
layer = "net.3"
causes = ["mlp-sigmoid"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(collected, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    (tmp_path / "net.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "collected.toml").write_text(LIST, encoding="utf-8")
    yield tmp_path
    for name in [each for each in sys.modules if each.startswith("collected_")]:
        del sys.modules[name]
    assert not {"net", "utils"} & (set(sys.modules) - before)  # no file stands for another module


def test_files_of_a_folder_are_graded_each_in_a_process_of_its_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collected.run(["Sigmoid"], folder, missing=False)
    assert "Net(nn.Sigmoid) as mlp: layer right, cause right" in capsys.readouterr().out
    (row,) = collected.read()
    assert row["source"] == "somebody/nets 0123abc models/net.py"
    assert (row["layer"], row["side"], row["causes"]) == ("net.3", "input", ["mlp-sigmoid"])
    collected.run(["Sigmoid"], folder, missing=True)
    assert capsys.readouterr().out == ""
    assert "looking" not in str(collected.read())


def test_rows_are_counted_by_what_should_be(folder: Path) -> None:
    right, wrong = (collected.graded(entry, folder) for entry in collected.entries(folder))
    assert right["passed"]
    assert not wrong["passed"]
    for row in (right, wrong, wrong | {"causes": ["mlp-elu"], "cause": "ELU (mlp-elu)"}):
        collected.add(row)
    assert len(collected.read()) == 2
    text = "\n".join(collected.section(collected.read()))
    assert (
        "Of 1 that are the network, 1 pass. Of 1 that are not, 0 pass, 1 have the right layer "
        "named and 0 the right cause."
    ) in text
    assert "models/net.py | `Net(nn.ReLU)` | `mlp` | passed | right |  | right |" in text
    assert "| `net.3` | right | `mlp-elu` | wrong: `mlp-sigmoid` |" in text
    right, wrong = collected.read()
    assert collected.told(right | {"passed": False}).startswith(
        "somebody/nets Net(nn.ReLU) as mlp: FAILED"
    )
    assert "PASSED, and should not" in collected.told(wrong | {"passed": True})


FAILING = """
[[implementation]]
of = "somebody/nets"
file = "torch.py"
make = "Net()"
as = "mlp"

[[implementation]]
of = "somebody/nets"
file = "utils.py"
make = "Net(1)"
as = "mlp"
layer = "net.1"
causes = ["bias"]

[[implementation]]
of = "somebody/nets"
file = "utils.py"
make = "nn.Identity()"
as = "mlp"
"""


def test_what_fails_or_takes_too_long_is_wrong_and_the_rest_is_graded(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "collected.toml").write_text(FAILING, encoding="utf-8")
    (folder / "torch.py").write_text("raise ValueError('not for you')", encoding="utf-8")
    (folder / "utils.py").write_text("import os\nos._exit(3)", encoding="utf-8")
    run = subprocess.run

    def bounded(command: list[str], **options: Any) -> Any:
        if command[3] == "2":
            raise subprocess.TimeoutExpired(command, options["timeout"])
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", bounded)
    collected.run([], folder, missing=False)
    rows = collected.read()
    assert [row["error"] for row in rows] == [
        "ValueError: not for you", "it ends with 3", "it takes more than 900 s"
    ]  # fmt: skip
    assert not any(row[what] for row in rows for what in ("passed", "layer_right", "cause_right"))
    assert "Net() as mlp: NOT GRADED, ValueError: not for you; " in capsys.readouterr().out
    text = "\n".join(collected.section(rows))
    assert "| ValueError: not for you | wrong: it is the network |" in text
    assert "| it ends with 3 | wrong: `net.1` |  | wrong: `bias` |" in text


def test_a_file_stands_for_no_module_of_its_name(folder: Path) -> None:
    (folder / "torch.py").write_text("from torch.nn import Identity", encoding="utf-8")
    entry = {"of": "somebody", "file": "torch.py", "make": "Identity()", "as": "mlp"}
    assert type(collected.made(entry, folder)) is nn.Identity
    assert sys.modules["torch"] is torch


def test_of_a_library_the_list_says_what_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = next(each for each in collected.entries() if "layer" in each)
    monkeypatch.setattr(collected, "RESULTS", tmp_path / "results.json")
    row = collected.about(entry) | {"passed": False, "layer": "x", "causes": entry["causes"],
                                    "seconds": 1.0}  # fmt: skip
    for each in (row, row | {"make": "no_more()"}):
        collected.add(each)
    (found,) = collected.read()
    assert (found["layer_right"], found["cause_right"]) == (False, True)
    assert found["expected_layer"] == entry["layer"]
    assert len(collected.missing([found])) == len(collected.entries()) - 1
    text = "\n".join(collected.section([found]))
    assert f"Not graded yet, {len(collected.entries()) - 1} of the list:" in text
    assert "- timm: `create_model('resnet18')` as `resnet18`," in text


def test_every_row_of_a_library_is_in_the_list() -> None:
    listed = {collected.key(entry) for entry in collected.entries()}
    kept = [row for row in rows.read(collected.RESULTS) if "right" not in row]
    assert kept
    assert [collected.key(row) for row in kept if collected.key(row) not in listed] == []


def test_the_list_names_networks_and_causes_that_there_are() -> None:
    known = READ | {departure.name for departure in DEPARTURES}
    keys = [collected.key(entry) for entry in collected.entries()]
    assert len(set(keys)) == len(keys)
    for entry in collected.entries():
        assert entry["as"] in cards()
        assert ("layer" in entry) == ("causes" in entry) == ("why" in entry)
        assert set(entry.get("causes", [])) <= known, entry


def test_what_is_the_network_passes_and_what_is_not_never_does() -> None:
    rows = collected.read()
    assert [collected.told(row) for row in rows if row["right"] != row["passed"]] == []
    wrong = [row for row in rows if not row["right"]]
    assert sum(row["layer_right"] for row in wrong) >= 0.8 * len(wrong)
    assert sum(row["cause_right"] for row in wrong) >= 0.6 * len(wrong)
