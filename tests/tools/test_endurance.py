"""A sample of ``make endurance``: real processes, really killed."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from tools.endurance.crashes import spread
from tools.endurance.dropout import RATE, drop_before_last
from tools.endurance.trial import BrokenError
from torchfolio import create

ROOT = Path(__file__).parents[2]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")


@LINUX
@pytest.mark.slow
def test_trainings_killed_starved_and_damaged_end_as_one_left_alone(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    request = ["--sample", "1", "--kills", "1", "--json", str(told)]
    done = subprocess.run(
        [sys.executable, "-m", "tools.endurance", *request, "--", "lenet5", "resnet20"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    networks = json.loads(told.read_text(encoding="utf-8"))["networks"]
    for found in networks.values():
        assert found["training"]["reason"] == "patience"  # early stopping had its say
        assert found["events"] > 100
        assert found["kill"]["struck"] == 1
    assert [found["random"]["kills"] for found in networks.values()] == [1, 0]
    found = networks["lenet5"]
    assert [found[part]["struck"] for part in ("power", "full", "denied", "report")] == [1] * 4
    assert found["damage"]["cases"] >= 16  # eight files, each cut off and ended with zeros
    assert found["damage"]["ended"]["recipe.toml"] == {"a clear error": 2}
    refused = found["together"]["refused"]
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


def test_kills_are_shared_among_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    from tools.endurance.__main__ import share

    names = ["lenet5", "resnet20", "mlp"]
    request = Namespace(networks=names, kills=100)
    assert [share(name, request) for name in names] == [34, 33, 33]


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


def test_what_was_found_before_one_breaks_is_kept_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # which the module sets: as it is, after this
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    from tools.endurance import __main__ as command

    done: list[str] = []

    def does(_: Any, part: str, request: Any) -> dict[str, Any]:
        if part == "random" and not request.go_on:
            raise BrokenError("it ends otherwise")
        done.append(part)
        return {"same": True, "kills": request.kills}

    def endure(*words: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["endurance", "lenet5", "--json", str(told), *words])
        command.main()
        return json.loads(told.read_text(encoding="utf-8"))

    told = tmp_path / "told.json"
    monkeypatch.setattr(command, "Bench", LeftAlone)
    monkeypatch.setattr(command, "warm", lambda _: None)
    monkeypatch.setattr(command, "DOES", dict.fromkeys(command.PARTS, does))
    with pytest.raises(SystemExit, match="BROKEN: it ends otherwise"):
        endure("--only", "report", "random", "damage")
    assert list(json.loads(told.read_text())["networks"]["lenet5"])[-1] == "report"
    found = endure("--only", "report", "random", "damage", "--go-on")
    assert done == ["report", "random", "damage"]
    assert len(found["commands"]) == 1  # as it would be given for the whole
    found = endure("--only", "report", "--kills", "3")
    assert found["networks"]["lenet5"]["report"] == {"same": True, "kills": 3}
    assert found["networks"]["lenet5"]["damage"] == {"same": True, "kills": 100}
    assert len(found["commands"]) == 2
    monkeypatch.setattr(LeftAlone, "digest", "4567")  # another training: no old figure stays
    found = endure("--only", "damage", "--go-on")
    assert found["networks"]["lenet5"]["digest"] == "4567"
    assert "report" not in found["networks"]["lenet5"]


def test_the_page_says_yes_and_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import results_page

    assert results_page.said({"same": True, "struck": 1200}) == "same yes, struck 1,200"
    assert results_page.said(False) == "no"
    for name in ("results_page", "studies_page", "studies", "trainings", "where", "origin"):
        sys.modules.pop(name, None)


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
