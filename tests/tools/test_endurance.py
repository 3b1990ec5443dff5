"""A sample of ``make endurance``: real processes, really killed."""

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tools.endurance import __main__ as command
from tools.endurance import together
from tools.endurance.crashes import spread
from tools.endurance.dropout import RATE, drop_before_last
from tools.endurance.plan import ONCE, PARTS, asked, missing, share
from tools.endurance.trial import Bench, BrokenError
from torchfolio import create

ROOT = Path(__file__).parents[2]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")


def endured(told: Path, name: str, *parts: str) -> dict[str, Any]:
    """What a sample of one finds when parts of it are done to one network."""
    request = ["--sample", "1", "--kills", "1", "--json", str(told), "--only", *parts]
    done = subprocess.run(
        [sys.executable, "-m", "tools.endurance", *request, "--", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))["networks"][name]
    assert found["training"]["reason"] == "patience"  # early stopping had its say
    assert found["events"] > 100
    return found


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parts"),
    [("lenet5", ["kill", "random"]), ("lenet5", ["power", "full", "denied"]),
     ("resnet20", ["kill"])],
)  # fmt: skip
def test_trainings_killed_and_starved_end_as_one_left_alone(
    name: str, parts: list[str], tmp_path: Path
) -> None:
    found = endured(tmp_path / "told.json", name, *parts)
    for part in parts:
        assert found[part]["same"] is True
        assert found[part]["kills" if part == "random" else "struck"] == 1


@LINUX
@pytest.mark.slow
def test_damaged_files_are_told_of_or_not_needed(tmp_path: Path) -> None:
    found = endured(tmp_path / "told.json", "lenet5", "damage")
    assert found["damage"]["cases"] >= 18  # nine files, each cut off and ended with zeros
    assert found["damage"]["ended"]["environment.json"] == {"the same weights": 2}
    assert found["damage"]["ended"]["recipe.toml"] == {"a clear error": 2}


@LINUX
@pytest.mark.slow
def test_one_of_two_trainings_into_one_folder_is_refused(tmp_path: Path) -> None:
    refused = endured(tmp_path / "told.json", "lenet5", "together")["together"]["refused"]
    assert "holds a run already" in refused["train"]
    assert "Another process is training into" in refused["resume"]
    assert "Another process is training into" in refused["train, locked"]
    assert set(refused) == {"begun at once", "train", "resume", "train, locked"}


@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_dropout_is_in_training_alone_and_no_part_of_the_weights(name: str) -> None:
    torch.manual_seed(0)
    network = create(name, num_classes=3)
    images = torch.rand(4, 1 if name == "lenet5" else 3, 32, 32)
    names, expected = list(network.state_dict()), network.eval()(images)
    drop_before_last(network)
    assert torch.equal(network(images), expected)
    assert list(network.state_dict()) == names
    seen: list[torch.Tensor] = []
    *_, last = (each for each in network.modules() if isinstance(each, torch.nn.Linear))
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        network.train()(images)
    assert torch.equal(seen[0] == 0, seen[1] == 0)
    assert not torch.equal(seen[0] == 0, seen[2] == 0)
    assert 0 < (seen[0] == 0).float().mean() < 0.7
    assert RATE == 0.2


def test_a_sample_is_spread_over_all() -> None:
    assert spread(range(1, 12), 3) == [1, 6, 11]
    assert spread(range(1, 12), 1) == [6]
    assert spread([4, 5], 3) == [4, 5]


def test_kills_are_shared_among_the_networks() -> None:
    names = ["lenet5", "resnet20", "mlp"]
    request = Namespace(networks=names, kills=100, seed=4, sample=5)
    assert [share(name, request) for name in names] == [34, 33, 33]
    assert asked("mlp", "random", request) == {"kills": 33, "seed": 4}
    assert asked("mlp", "kill", request) == {"sample": 5}


@LINUX
def test_a_network_without_a_random_kill_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["endurance", "--kills", "1"])
    with pytest.raises(SystemExit):
        command.main()
    assert "--kills needs one for each network at least" in capsys.readouterr().err


class LeftAlone:
    """A bench on which nothing is trained."""

    seconds = 1.0
    events = ()
    digest = "0123"

    def __init__(self, folder: Path, train: list[str]) -> None:
        self.out, self.train = folder, train
        self.alone = {"digest": self.digest, "training": {}}

    def leave_alone(self) -> None:
        recipe = '[training]\ndevice = "cpu"\nthreads = 1\n'
        (self.out / "recipe.toml").write_text(recipe, encoding="utf-8")


@LINUX
def test_what_was_found_before_one_breaks_is_kept_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    breaks: list[str] = []

    def does(_: Any, part: str, request: Any) -> dict[str, Any]:
        if part in breaks:
            raise BrokenError("it ends otherwise")
        done.append(part)
        return {"same": True, "kills": request.kills}

    def read() -> Any:
        return json.loads(told.read_text(encoding="utf-8"))

    def endure(*words: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["endurance", "lenet5", "--json", str(told), *words])
        done.clear()
        command.main()
        return read()["networks"]["lenet5"]

    told = tmp_path / "told.json"
    monkeypatch.setattr(command, "Bench", LeftAlone)
    monkeypatch.setattr(command, "warm", lambda _: None)
    monkeypatch.setattr(command, "code_digest", lambda *_: "code")
    monkeypatch.setattr(command, "DOES", dict.fromkeys(command.PARTS, does))
    some = ("--only", "report", "random", "damage")
    breaks.append("random")
    with pytest.raises(SystemExit, match="BROKEN: it ends otherwise"):
        endure(*some)
    assert list(read()["networks"]["lenet5"])[-2:] == ["report", "random"]
    assert read()["networks"]["lenet5"]["random"]["broken"] == "it ends otherwise"
    breaks.clear()
    endure(*some, "--go-on")
    assert done == ["random", "damage"]
    assert len(read()["commands"]) == 1  # as it would be given for the whole
    endure(*some, "--go-on")
    assert done == []
    endure(*some, "--go-on", "--kills", "3")  # what is asked for otherwise is done again
    assert done == ["random"]
    endure(*some, "--go-on", "--kills", "3", "--sample", "5")
    assert done == ["report", "damage"]
    found = endure("--only", "report")
    assert found["damage"]["asked"] == {"sample": 5}
    assert "lenet5, damage: a sample" in read()["missing"]
    assert not any("lenet5, report" in each for each in read()["missing"])
    breaks.append("report")  # what held before breaks now
    with pytest.raises(SystemExit, match="BROKEN"):
        endure("--only", "report")
    assert "same" not in read()["networks"]["lenet5"]["report"]
    assert "lenet5, report: broken" in read()["missing"]
    breaks.clear()
    monkeypatch.setattr(command, "code_digest", lambda *_: "other code")
    assert "damage" not in endure("--only", "report")
    assert len(read()["commands"]) == 1
    monkeypatch.setattr(LeftAlone, "digest", "4567")  # another training: no old figure stays
    found = endure("--only", "damage", "--go-on")
    assert found["digest"] == "4567"
    assert "report" not in found
    monkeypatch.setattr(LeftAlone, "leave_alone", does_not_begin)
    with pytest.raises(SystemExit, match="left alone, it fails"):
        endure("--only", "damage")
    assert read()["networks"] == {}


@LINUX
def test_a_sample_leaves_the_record_of_the_whole_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole.json"
    monkeypatch.setattr(command, "RESULTS", whole)
    monkeypatch.setattr(command, "Bench", LeftAlone)
    monkeypatch.setattr(command, "warm", lambda _: None)
    monkeypatch.setattr(command, "DOES", dict.fromkeys(command.PARTS, lambda *_: {"same": True}))

    def endure(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["endurance", "lenet5", *words])
        command.main()

    endure("--sample", "9")
    endure("--kills", "9")
    assert not whole.exists()
    endure()
    content = whole.read_bytes()
    assert json.loads(content)["networks"]["lenet5"]["kill"]["same"] is True
    endure("--sample", "9", "--json", str(tmp_path / "sample.json"))
    endure("--sample", "9")
    assert whole.read_bytes() == content
    sample = json.loads((tmp_path / "sample.json").read_text(encoding="utf-8"))
    assert sample["networks"]["lenet5"]["kill"]["asked"] == {"sample": 9}


def test_make_names_no_file_that_a_sample_would_replace() -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    (line,) = (each for each in lines if "-m tools.endurance" in each)
    assert "--json" not in line


def does_not_begin(_: Any) -> None:
    raise BrokenError("left alone, it fails")


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script, which finds others beside itself; none of them stays imported."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import results_page

    yield results_page
    beside = {path.stem for path in (ROOT / "tools").glob("*.py")}
    for name in beside & set(sys.modules) - before:
        del sys.modules[name]


def test_the_page_says_yes_and_no(page: Any) -> None:
    assert page.said({"same": True, "struck": 1200}) == "same yes, struck 1,200"
    assert page.said(False) == "no"
    assert page.said("it | fails:\nso") == "it \\| fails: so"


def test_the_page_says_that_all_ended_well_where_all_of_it_did(page: Any) -> None:
    whole = {
        name: {"events": 9}
        | {part: {"same": True, "asked": {}} for part in PARTS if first or part not in ONCE}
        for first, name in ((True, "lenet5"), (False, "resnet20"))
    }
    about = {"machine": "Abacus", "threads": 1, "date": "2026-11-28", "seconds": 60,
             "versions": {"torch": "2", "torchfolio": "1"}, "commands": ["endure"]}  # fmt: skip

    def lines() -> str:
        test = about | {"networks": whole, "missing": missing(whole)}
        return "\n".join(page.endurance_lines(test))

    assert missing(whole) == []
    assert "Every one ended with the weights" in lines()
    assert "| lenet5 | 9 | kill | same: yes |" in lines()
    whole["resnet20"]["random"] = {"broken": "it ends otherwise", "asked": {}}
    del whole["lenet5"]["together"]
    whole["lenet5"]["power"] = {"same": True, "asked": {"sample": 2}}
    assert missing(whole) == [
        "lenet5, power: a sample", "resnet20, random: broken", "lenet5, together: not done"
    ]  # fmt: skip
    assert "Every one ended with the weights" not in lines()
    assert "not those of the whole" in lines()
    assert "| resnet20 | 9 | random | broken: it ends otherwise |" in lines()


@LINUX
def test_who_waits_is_ended_when_another_is_refused_for_a_wrong_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[subprocess.Popen[str]] = []

    def start(arguments: list[str], _: Path) -> subprocess.Popen[str]:
        wrong = len(begun) in (1, 2)  # the second one at once, and the first that comes later
        program = "import sys; sys.exit(2)" if wrong else "import time; time.sleep(600)"
        pipe = subprocess.PIPE
        begun.append(
            subprocess.Popen([sys.executable, "-c", program], stdout=pipe, stderr=pipe, text=True)
        )
        return begun[-1]

    def refusal(process: Any, *words: str) -> str:
        process.wait()
        if begun.index(process) == 2:
            raise BrokenError("not refused as it should be")
        return words[0]

    monkeypatch.setattr(together, "start", start)
    monkeypatch.setattr(together, "refusal", refusal)
    monkeypatch.setattr(together, "await_file", lambda *_: None)
    bench = Bench(tmp_path, ["lenet5", "data", "--epochs", "1", "--patience", "1"])
    try:
        with pytest.raises(BrokenError, match="not refused as it should be"):
            together.two_trainings(bench)
        assert [each.returncode for each in begun] == [-9, 2, 2, -9, -9]
    finally:
        for process in begun:
            process.kill()


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
