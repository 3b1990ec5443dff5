"""One training by several processes: the same losses, each example once, and no one left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import several
import torch

from torchfolio import create
from torchfolio.errors import RequestError
from torchfolio.run import Run
from torchfolio.training.options import TrainingOptions
from torchfolio.training.processes import Processes, check_device, given_place
from torchfolio.training.sharding import units
from torchfolio.training.start import make_loop, prepare

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or sys.platform == "win32",
    reason="several processes need torch.distributed and a POSIX system",
)

HERE = Path(__file__).parent
QUICK = ["--workers", "0", "--no-report", "--device", "cpu"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """The environment of the tests, with our sources and without torch's own chatter."""
    paths = [str(HERE.parents[1] / "src"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)} | more


def torchrun(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", *arguments]


def told_once(number: int, folder: Path, tell: Callable[[Path], str]) -> dict[str, Any]:
    """What was told into a file; of the workers of pytest-xdist the first to ask has it told."""
    target, said = folder / f"{number}.json", folder / f"{number}.txt"
    try:
        (folder / f"{number}.begun").mkdir()
    except FileExistsError:
        for _ in range(3000):
            if said.exists():
                break
            time.sleep(0.1)
    else:
        words = "it broke off in another worker"
        try:
            words = tell(target)
        finally:
            said.write_text(words, encoding="utf-8")
    assert target.exists(), said.read_text(encoding="utf-8")
    return dict(json.loads(target.read_text(encoding="utf-8")))


def by_processes(number: int, folder: Path, *words: str) -> dict[str, Any]:
    """What several.py tells."""

    def tell(target: Path) -> str:
        command = torchrun("--nproc-per-node", str(number), str(HERE / "several.py"), str(target))
        done = subprocess.run(
            [*command, *words], env=environment(), capture_output=True, text=True, timeout=300
        )
        return done.stderr

    return told_once(number, folder, tell)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "several"
    place.mkdir(exist_ok=True)
    return place


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, Any]:
    def tell(target: Path) -> str:
        found = several.main(Processes(), folder, everything=True)
        target.write_text(json.dumps(found), encoding="utf-8")
        return ""

    return told_once(1, folder, tell)


@pytest.fixture(scope="module")
def two(folder: Path) -> dict[str, Any]:
    return by_processes(2, folder, "everything")


@pytest.fixture(scope="module")
def four(folder: Path) -> dict[str, Any]:
    return by_processes(4, folder)


def assert_alike(first: dict[str, Any], second: dict[str, Any]) -> None:
    """The same losses and the same history within 1e-5, and the same weights in all processes."""
    assert first["losses"] == pytest.approx(second["losses"], abs=1e-5)
    assert len(first["history"]) == len(second["history"])
    for one, other in zip(first["history"], second["history"], strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert len(set(second["weights"])) == 1


# Shares


def test_a_batch_is_cut_into_shares_that_make_it_up() -> None:
    batch = np.arange(100, 111)  # 11 examples: 4, 4 and 3
    shares = [Processes(rank, 3).pieces(batch, 1, 4) for rank in range(3)]
    assert [[piece.tolist() for piece in share] for share in shares] == [
        [[100, 101, 102, 103]],
        [[104, 105, 106, 107]],
        [[108, 109, 110]],
    ]


def test_each_process_has_two_examples_at_least_or_none_that_count() -> None:
    batch = np.arange(7)
    worlds = [Processes(rank, 4) for rank in range(4)]
    assert [world.counts(7, 12) for world in worlds] == [True, True, True, False]
    shares = [world.pieces(batch, 2, 12) for world in worlds]
    assert [[piece.tolist() for piece in share] for share in shares] == [
        [[0, 1], [2]],
        [[3], [4]],
        [[5], [6]],
        [[0], [0]],
    ]
    assert [world.counts(7, 1) for world in worlds] == [True] * 4


def test_each_measured_example_is_in_one_share() -> None:
    shares = Processes(0, 4).shares(np.arange(10))
    assert [share.tolist() for share in shares] == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]]


# The same training


@pytest.mark.parametrize("name", ["lenet5", "mlp"])
def test_two_and_four_processes_have_the_losses_of_one(
    name: str, alone: dict[str, Any], two: dict[str, Any], four: dict[str, Any]
) -> None:
    assert len(alone[name]["losses"]) == 100
    assert_alike(alone[name], two[name])
    assert_alike(alone[name], four[name])


@pytest.mark.parametrize("name", ["labels", "many", "lbfgs", "frozen", "thawed", "head alone"])
def test_two_processes_train_as_one(name: str, alone: dict[str, Any], two: dict[str, Any]) -> None:
    assert_alike(alone[name], two[name])


def test_features_are_computed_once_by_one_process_and_in_every_epoch_by_two(
    alone: dict[str, Any], two: dict[str, Any]
) -> None:
    assert alone["head alone"]["kept"] is True
    [line] = alone["head alone"]["lines"]
    assert line.startswith("features: what output reads is computed once")
    assert two["head alone"]["kept"] is False
    assert two["head alone"]["lines"] == [
        "features are computed in every epoch, not once: several processes train"
    ]


def test_batch_norm_of_each_share_trains_one_network(two: dict[str, Any]) -> None:
    assert len(set(two["normed"]["weights"])) == 1
    assert all(np.isfinite(two["normed"]["losses"]))


@pytest.mark.parametrize("name", ["adversaries", "critics"])
def test_two_processes_keep_several_parts_in_step(name: str, two: dict[str, Any]) -> None:
    assert len(two[name]["losses"]) == {"adversaries": 10, "critics": 5}[name]
    assert len(set(two[name]["weights"])) == 1


def test_one_process_that_is_asked_to_stop_stops_all(two: dict[str, Any]) -> None:
    assert two["stopped"]["reason"] == "stopped"
    assert len(two["stopped"]["losses"]) == 3


def test_time_is_the_same_in_all_processes(two: dict[str, Any]) -> None:
    assert len(set(two["minutes"]["seconds"])) == 1


@pytest.mark.parametrize("name", ["resumed", "thawed again"])
def test_the_same_number_of_processes_resumes_exactly(name: str, two: dict[str, Any]) -> None:
    without_stop, with_stop = two[name]["digests"]
    assert without_stop == with_stop


def test_each_process_computes_with_its_share_of_the_cores(two: dict[str, Any]) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert two["threads"] == max(1, (cores or 1) // 2)


# Split weights


def test_split_weights_train_as_whole_ones(alone: dict[str, Any], two: dict[str, Any]) -> None:
    whole, split = alone["sharded"], two["sharded"]
    assert len(whole["losses"]) == 10
    assert split["losses"] == pytest.approx(whole["losses"], abs=1e-5)
    for one, other in zip(whole["history"], split["history"], strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_blocks_are_split_by_themselves_and_train_as_copies_do(two: dict[str, Any]) -> None:
    copied, split = two["split"]["copied"], two["split"]["split"]
    assert len(copied["losses"]) == 3
    assert split["losses"] == pytest.approx(copied["losses"], abs=1e-5)
    assert split["buffers"] == pytest.approx(copied["buffers"], abs=1e-5)
    # 9 blocks and 19 batch norms (He et al. 2016, Section 4.2)
    assert len(split["buffers"]) == 2 * 19
    assert (copied["units"], copied["split"]) == ([False] * 9, 0)
    tensors = len(list(create("resnet20", num_classes=10).parameters()))
    assert (split["units"], split["split"]) == ([True] * 9, tensors)


def test_no_part_is_whole_on_its_device_when_it_is_split(two: dict[str, Any]) -> None:
    assert two["wholly placed"] == [False]


@pytest.mark.parametrize(
    ("name", "blocks"),
    # 3n blocks of two convolutions, n = 3 (He et al. 2016, Section 4.2); 12 layers and the head
    [("resnet20", 9), ("vit_ti_16", 13)],
)
def test_units_are_the_blocks_of_a_network(name: str, blocks: int) -> None:
    assert len(list(units(create(name, num_classes=10)))) == blocks


def test_split_weights_resume_exactly(two: dict[str, Any]) -> None:
    assert two["sharded"]["digest"] == two["sharded"]["again"][0] == two["sharded"]["again"][1]


def test_the_state_of_split_weights_goes_on_in_one_process(
    folder: Path, alone: dict[str, Any], two: dict[str, Any]
) -> None:
    tensors, header = several.read_tensors(folder / "sharded.safetensors")
    settings = several.QUICK | several.ADAMW | {"sharded": True}
    loop = make_loop(prepare("mlp", "digits", settings), several.unpack(header, tensors))
    assert loop.progress.update == 4
    listener = several.Losses()
    loop.run(listener)
    assert listener.losses == pytest.approx(alone["sharded"]["losses"][4:], abs=1e-5)


def test_a_state_of_whole_weights_goes_on_with_split_ones(two: dict[str, Any]) -> None:
    losses = two["whole then split"]
    assert len(losses["whole"]) == 5  # 1,257 in batches of 256
    assert losses["split"] == pytest.approx(losses["whole"], abs=1e-5)


def test_what_does_not_go_together_is_refused(two: dict[str, Any]) -> None:
    ema, lbfgs, norm = two["refusals"]
    assert "--ema needs whole ones" in ema
    assert "the optimizer lbfgs needs whole ones" in lbfgs
    assert "synchronised batch norm needs GPUs" in norm


def test_a_gpu_by_its_number_is_refused() -> None:
    start = prepare("lenet5", "digits", {"device": "cpu"})
    options = replace(start.recipe.training, device="cuda:1")
    check_device(Processes(), options)
    with pytest.raises(RequestError, match="Say --device cuda, and choose the GPUs by"):
        check_device(Processes(0, 2), options)


class Beside(Processes):
    """The first of two processes; ``gpus`` are theirs."""

    def __init__(self, *gpus: str) -> None:
        super().__init__(0, 2, 0, 2)
        self.gpus = list(gpus)

    def everyone(self, value: Any) -> list[Any]:
        assert value == self.gpus[0]
        return self.gpus


@pytest.mark.parametrize(
    ("backends", "gpus", "refused"),
    [
        ("cpu:gloo,cuda:nccl", ["one", "one"], True),
        ("cpu:gloo,cuda:nccl", ["one", "other"], False),  # also where each sees but its own
        ("cpu:gloo,cuda:gloo", ["one", "one"], False),
    ],
)
def test_two_processes_on_one_gpu_are_refused_unless_they_meet_by_gloo(
    backends: str, gpus: list[str], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.distributed, "get_backend_config", lambda: backends)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    seen = SimpleNamespace(uuid=gpus[0])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: seen)
    options = TrainingOptions(device="cuda")
    if not refused:
        check_device(Beside(*gpus), options)
        return
    with pytest.raises(RequestError, match="2 processes have 1 GPU among them, and NCCL wants"):
        check_device(Beside(*gpus), options)


def test_odd_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "first")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RequestError, match="RANK or WORLD_SIZE in the environment is no number"):
        given_place()


# The command


FOLIO = ("-m", "torchfolio")


class Started:
    """Processes of one training without torchrun, which would end the others when one dies."""

    def __init__(
        self, number: int, command: list[str], folder: Path, program: tuple[str, ...] = FOLIO
    ) -> None:
        port = str(free_port())
        self.outputs = [folder / f"output-{rank}.txt" for rank in range(number)]
        self.processes = []
        for rank, output in enumerate(self.outputs):
            place = environment(
                RANK=str(rank),
                WORLD_SIZE=str(number),
                LOCAL_RANK=str(rank),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=port,
            )
            with output.open("wb") as file:
                arguments = [sys.executable, *program, *command]
                self.processes.append(
                    subprocess.Popen(arguments, env=place, stdout=file, stderr=subprocess.STDOUT)
                )

    def said(self) -> list[str]:
        return [each.read_text(encoding="utf-8", errors="replace") for each in self.outputs]

    def wait_for(self, path: Path) -> None:
        for _ in range(1200):
            if path.exists():
                return
            assert all(each.poll() is None for each in self.processes), self.said()
            time.sleep(0.1)
        raise AssertionError(self.said())

    def end(self) -> list[int]:
        """Wait for all, and return their exit statuses."""
        try:
            return [each.wait(90) for each in self.processes]
        finally:
            for each in self.processes:
                each.kill()
                each.wait()


LONG = ["train", "mlp", "digits", "--epochs", "6", "--batch-size", "4", *QUICK]


@pytest.mark.parametrize("dies", [0, 1])  # the first one is where the processes meet
def test_one_process_killed_stops_the_other_and_the_run_goes_on_in_one(
    dies: int, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    started = Started(2, [*LONG, "--out", str(out)], tmp_path)
    started.wait_for(out / "history.csv")
    started.processes[dies].kill()
    began = time.monotonic()
    assert started.end()[1 - dies] == 1
    assert time.monotonic() - began < 60
    said = started.said()[1 - dies]
    assert f"Process {1 - dies} of 2 lost another process of this training" in said
    assert "go on with 'folio resume'" in said
    assert Run(out).folder.processes() == 2
    Run(out).resume(report=False)
    assert_whole(Run(out))


def test_the_first_process_killed_in_the_final_evaluation_stops_the_one_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, begun = tmp_path / "run", tmp_path / "evaluating"
    monkeypatch.setenv("EVALUATING", str(begun))
    command = ["train", "mlp", "digits", "--epochs", "1", *QUICK, "--out", str(out)]
    started = Started(2, command, tmp_path, (str(HERE / "evaluating.py"),))
    started.wait_for(begun)
    started.processes[0].kill()
    killed = time.monotonic()
    assert started.end()[1] == 1
    assert time.monotonic() - killed < 60
    assert "Process 1 of 2 lost another process of this training" in started.said()[1]
    Run(out).resume(report=False)
    assert Run(out).metrics["examples"] == 270
    assert len(Run(out).history) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the processes in /proc")
def test_torchrun_says_which_process_was_killed_and_the_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = torchrun("--nproc-per-node", "2", "-m", "torchfolio", *LONG, "--out", str(out))
    with (tmp_path / "said.txt").open("wb") as file:
        agent = subprocess.Popen(command, env=environment(), stdout=file, stderr=file)
    try:
        for _ in range(1200):
            if (out / "history.csv").exists():
                break
            assert agent.poll() is None
            time.sleep(0.1)
        children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text("ascii").split()
        ranks = {rank_of(int(child)): int(child) for child in children}
        os.kill(ranks["1"], signal.SIGKILL)
        killed = time.monotonic()
        assert agent.wait(90) == 1
        assert time.monotonic() - killed < 60
    finally:
        agent.kill()
        agent.wait()
    said = (tmp_path / "said.txt").read_text(encoding="utf-8", errors="replace")
    assert f"Signal 9 (SIGKILL) received by PID {ranks['1']}" in said
    Run(out).resume(report=False)
    assert_whole(Run(out))


def rank_of(process: int) -> str:
    """The rank that torchrun has given a process; "" where it has given none."""
    variables = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(each.partition("=")[::2] for each in variables if each).get("RANK", "")


def test_a_run_of_one_process_goes_on_in_two(tmp_path: Path) -> None:
    out = tmp_path / "run"
    alone = Started(1, [*LONG, "--out", str(out)], tmp_path)
    alone.wait_for(out / "history.csv")
    alone.processes[0].kill()
    alone.end()
    assert Run(out).folder.processes() == 1
    recipe = out / "recipe.toml"  # as if on a GPU, where the rule had graphs recorded
    text = recipe.read_text(encoding="utf-8")
    assert "graphs = false" in text
    recipe.write_text(text.replace("graphs = false", "graphs = true"), encoding="utf-8")
    assert Started(2, ["resume", str(out), "--no-report"], tmp_path).end() == [0, 0]
    assert_whole(Run(out))


def test_one_process_that_is_asked_to_end_saves_first(tmp_path: Path) -> None:
    out = tmp_path / "run"
    started = Started(1, [*LONG, "--out", str(out)], tmp_path)
    started.wait_for(out / "history.csv")
    started.processes[0].terminate()  # as Slurm and containers do
    assert started.end() == [1]
    state = Run(out).folder.state()
    assert state is not None
    update = state["progress"]["update"]
    said = f"Stopped by a request to end (SIGTERM) after {update:,} updates; everything is saved"
    assert said in " ".join(started.said()[0].split())
    Run(out).resume(report=False)
    assert_whole(Run(out))


def assert_whole(run: Run) -> None:
    """Six epochs, each example of the test split once, and something learned."""
    assert run.metrics["training"]["reason"] == "finished"
    assert [row["epoch"] for row in run.history] == [1, 2, 3, 4, 5, 6]
    assert run.metrics["examples"] == 270
    assert run.metrics["metrics"]["accuracy"]["value"] > 0.8


def test_split_weights_by_the_command(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ["train", "mlp", "digits", "--epochs", "2", "--sharded", *QUICK]
    started = Started(2, [*command, "--out", str(out)], tmp_path)
    assert started.end() == [0, 0], started.said()
    run = Run(out)
    assert run.recipe.training.sharded
    assert run.recipe.training.sync_norm is False  # as chosen for CPUs, and stored
    assert run.metrics["examples"] == 270
    again = run.evaluate(device="cpu", report=False)["metrics"]["accuracy"]["value"]
    assert again == pytest.approx(run.metrics["metrics"]["accuracy"]["value"], abs=0.01)
    assert again > 0.5


def test_torchrun_starts_the_installed_command(tmp_path: Path) -> None:
    folio = Path(sys.executable).with_name("folio")
    if not folio.is_file():
        pytest.skip("the command is not installed beside this Python")
    out = tmp_path / "run"
    command = torchrun("--nproc-per-node", "2", str(folio), "train", "mlp", "digits")
    done = subprocess.run(
        [*command, "--epochs", "1", "--out", str(out), *QUICK],
        env=environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Run(out).folder.processes() == 2
    assert Run(out).metrics["examples"] == 270


def test_an_error_of_all_is_said_by_the_first_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.toml").write_text("", encoding="utf-8")
    command = ["train", "mlp", "digits", "--json", "--out", str(tmp_path / "run"), *QUICK]
    started = Started(2, command, tmp_path)
    assert started.end() == [2, 1]
    first, second = started.said()
    assert "holds a run already" in first
    assert second == ""


@pytest.mark.slow
def test_torchrun_trains_on_two_hosts_and_ctrl_c_stops_both(tmp_path: Path) -> None:
    out, endpoint = tmp_path / "run", f"localhost:{free_port()}"
    command = torchrun(
        *("--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d"),
        *("--rdzv-endpoint", endpoint, "-m", "torchfolio", "train", "mlp", "digits"),
        *("--epochs", "500", "--batch-size", "64", "--out", str(out), *QUICK),
    )
    agents = []
    for number in range(2):
        with (tmp_path / f"host-{number}.txt").open("wb") as file:
            agents.append(
                subprocess.Popen(command, env=environment(), stdout=file, stderr=subprocess.STDOUT)
            )
    try:
        deadline = time.monotonic() + 120
        while not (out / "history.csv").exists():
            assert time.monotonic() < deadline
            assert all(agent.poll() is None for agent in agents)
            time.sleep(0.2)
        agents[1].send_signal(signal.SIGTERM)  # one host is taken away in good order
        assert [agent.wait(60) != 0 for agent in agents] == [True, True]
    finally:
        for agent in agents:
            agent.kill()
            agent.wait()
    said = "".join((tmp_path / f"host-{number}.txt").read_text("utf-8") for number in range(2))
    assert "everything is saved" in said
    state = Run(out).folder.state()
    assert state is not None
    assert state["progress"]["update"] > 0
    assert Run(out).folder.processes() == 2
