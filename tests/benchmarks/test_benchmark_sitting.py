import json
import sys
from pathlib import Path

import pytest

from benchmarks import results, sitting
from benchmarks.process import measure
from benchmarks.sitting import Sitter, contestants, interleaved
from benchmarks.workloads import all_workloads
from benchmarks.workloads.base import Command, Place, Workload, reached

FACTS = {
    "machine": "Abacus", "hardware": "Abacus, 2 cores", "device": "cpu", "threads": 2,
    "versions": {"torchfolio": "1"}, "ceiling": {}, "macs": None,
}  # fmt: skip


def saying(accuracy: float) -> Command:
    code = f"import json; print(json.dumps({{'accuracy': {accuracy}, 'examples': 1000}}))"
    return Command([sys.executable, "-c", code])


def workload() -> Workload:
    def ours(place: Place) -> Command:
        return saying(0.9 + place.seed / 1000)

    commands = {"ours": ours, "b": lambda _: saying(0.8), "c": lambda _: saying(0.1)}
    return Workload(name="w", title="a work", commands=commands, standard=("b", "c"), chance=0.1)


def test_contestants_take_turns() -> None:
    order = [(number, name) for number, name, _ in interleaved(["a", "b", "c"], 2)]
    assert order == [(0, "a"), (0, "b"), (0, "c"), (1, "a"), (1, "b"), (1, "c")]
    assert [last for *_, last in interleaved(["a", "b"], 1)] == [False, True]


def test_ours_runs_first_beside_the_usual_peers_or_those_asked_for() -> None:
    assert contestants(workload(), None) == ["ours", "b", "c"]
    assert contestants(workload(), ["c", "c"]) == ["ours", "c"]
    assert contestants(workload(), []) == ["ours"]
    with pytest.raises(SystemExit, match="no contestant 'd'; it has: b, c"):
        contestants(workload(), ["d"])


def test_rounds_are_kept_and_add_up_over_sittings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sitting, "ask_machine", lambda *_: FACTS)
    sitter = Sitter(tmp_path / "work", "full", sys.executable, 60, tmp_path / "out")
    sitter.sit(workload(), None, 2)
    sitter.sit(workload(), ["b"], 1)
    (sittings,) = results.gather(tmp_path / "out").values()
    rounds = results.rounds_of(sittings)
    assert [sorted(each) for each in rounds] == [["b", "c", "ours"]] * 2 + [["b", "ours"]]
    assert [each["ours"]["seed"] for each in rounds] == [0, 1, 2]
    assert [each["ours"]["accuracy"] for each in rounds] == [0.9, 0.901, 0.902]
    assert [each["c"]["why"][:9] for each in rounds[:2]] == ["at chance"] * 2
    assert rounds[0]["b"]["why"] == ""
    assert sittings[0]["commands"]["b"].startswith("python -c")
    assert str(tmp_path) not in json.dumps(sittings)
    assert list((tmp_path / "work" / "runs").iterdir()) == []


def test_accuracy_is_read_off_what_is_printed() -> None:
    from benchmarks.data import Data

    data = Data("data", 10, 2, 7)
    ours = {"metrics": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}}
    assert reached(ours, data) == (0.5, 7)
    assert reached({"accuracy": 0.25, "examples": 4}, data) == (0.25, 4)
    assert reached(None, data) is None


def test_our_command_marks_its_first_step(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.ours", "train", "softmax_regression", "digits"]
    command += ["--epochs", "1", "--no-report", "--json", "--quiet", "--out", "run"]
    found = measure(command, {"TORCHFOLIO_CACHE": str(tmp_path / "cache")}, tmp_path, 300)
    assert found["status"] == 0, found["errors"]
    assert 0 < found["first_step"] < found["wall"]
    assert 0.5 < found["output"]["metrics"]["accuracy"]["value"] <= 1


@pytest.mark.parametrize("name", all_workloads())
def test_every_contestant_of_a_workload_is_called_alike(name: str, tmp_path: Path) -> None:
    from benchmarks.data import MAKERS, Data

    found = all_workloads()[name]
    data = Data(str(tmp_path / "data"), 100, 10, 10) if found.data else None
    assert found.data is None or found.data in MAKERS
    place = Place(tmp_path / "run", tmp_path / "kept", seed=3, data=data, python=sys.executable)
    commands = {each: make(place).arguments for each, make in found.commands.items()}
    assert next(iter(commands)) == "ours"
    assert set(found.standard) <= set(commands)
    if name.startswith("time_"):
        return
    for flag in ("--epochs", "--batch-size", "--lr", "--optimizer", "--schedule", "--seed"):
        given = {each[each.index(flag) + 1] for each in commands.values() if flag in each}
        assert len(given) <= 1, f"{name}: {flag} differs: {given}"
