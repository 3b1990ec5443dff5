"""Grading what others wrote: the list, a folder of files, and what is said of them."""

from pathlib import Path

import pytest

from tools import collected
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
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(collected, "RESULTS", tmp_path / "results.json")
    (tmp_path / "net.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "collected.toml").write_text(LIST, encoding="utf-8")
    return tmp_path


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
    for row in (right, wrong, wrong | {"cause_right": False}):
        collected.add(row)
    assert len(collected.read()) == 2
    text = "\n".join(collected.section(collected.read()))
    assert (
        "Of 1 that are the network, 1 pass. Of 1 that are not, 0 pass, 1 have the right layer "
        "named and 0 the right cause."
    ) in text
    assert "models/net.py | `Net(nn.ReLU)` | `mlp` | passed | right |  | right |" in text
    assert "| `net.3` | right | `mlp-sigmoid` | wrong: `mlp-sigmoid` |" in text
    assert collected.told(right | {"passed": False}).startswith(
        "somebody/nets Net(nn.ReLU) as mlp: FAILED"
    )
    assert "PASSED, and should not" in collected.told(wrong | {"passed": True})


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
