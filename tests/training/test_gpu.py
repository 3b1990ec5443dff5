"""What only a GPU can show; skipped where there is none."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from test_resume import Dropped
from toys import Listener, assert_same, digit_loop, through_a_file, weights

import torchfolio
from torchfolio.run import Run
from torchfolio.training.device import configure, ready_for
from torchfolio.training.loop import Loop
from torchfolio.training.transfer import freeze

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

SGD = {"name": "sgd", "lr": 0.02, "momentum": 0.9}
EVERYTHING = {"augment": "crop-flip", "mixup": 0.4, "cutmix": 1.0, "class_weights": "balanced"}


def on_gpu(network: str, *, precision: str = "fp32", graphs: bool = True, **settings: Any) -> Loop:
    """A loop with a last, smaller batch in each epoch, and all that could wait for the GPU."""
    chosen = {"workers": 2, "epochs": 3, "ema": 0.9, "grad_clip": 1.0, "device": "cuda"}
    chosen |= {"precision": precision, "graphs": graphs, "batch_size": 24}
    loop = digit_loop(network, SGD, EVERYTHING, count=128, val=16, **chosen | settings)
    configure(loop.options)
    return loop


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("network", ["lenet5", "resnet20"])
def test_a_recorded_network_has_the_weights_of_one_that_is_not(
    network: str, precision: str
) -> None:
    loops = [on_gpu(network, precision=precision, graphs=graphs) for graphs in (True, False)]
    for loop in loops:
        assert loop.run(Listener()) == "finished"
    recorder = loops[0].updater.recorder
    assert recorder is not None
    assert len(recorder.recorded) == 2  # the usual batch, and the last of an epoch
    assert_same(*(weights(loop) for loop in loops))


def test_recorded_dropout_draws_what_it_draws_otherwise() -> None:
    loops = [
        digit_loop(
            "lenet5", SGD, {}, task_kind=Dropped, count=128, val=16,
            device="cuda", batch_size=16, graphs=graphs,
        )
        for graphs in (True, False)
    ]  # fmt: skip
    for loop in loops:
        configure(loop.options)
        assert loop.run(Listener()) == "finished"
    assert_same(*(weights(loop) for loop in loops))


def test_steps_are_recorded_anew_when_a_group_is_unfrozen() -> None:
    loops = [on_gpu("resnet20", graphs=graphs, unfreeze=1) for graphs in (True, False)]
    for loop in loops:
        assert loop.run(Listener()) == "finished"
        assert [row["trained_groups"] for row in loop.progress.history] == [1, 2, 3]
    assert_same(*(weights(loop) for loop in loops))


def test_a_head_that_is_trained_on_features_can_be_recorded() -> None:
    loops = [
        digit_loop(
            "resnet20", SGD, {}, prepare=lambda network: freeze(network, "head"),
            count=128, val=16, device="cuda", batch_size=24, cache_features=True, graphs=graphs,
        )
        for graphs in (True, False)
    ]  # fmt: skip
    for loop in loops:
        configure(loop.options)
        assert loop.run(Listener()) == "finished"
    assert_same(*(weights(loop) for loop in loops))


@pytest.mark.parametrize("stop_after", [1, 4, 6, 7])  # before and after recording, at a last batch
def test_a_recorded_training_goes_on_exactly(stop_after: int, tmp_path: Path) -> None:
    whole = on_gpu("resnet20")
    whole.run(Listener())
    first = on_gpu("resnet20")
    assert first.run(Listener(stop_after)) == "stopped"
    second = on_gpu("resnet20")
    second.load_state_dict(through_a_file(first.state_dict(), tmp_path / "state"))
    second.run(Listener())
    assert_same(weights(whole), weights(second))


# A process of its own: torch reads CUBLAS_WORKSPACE_CONFIG at the first product of a process.
DETERMINISTIC = """
import signal, sys
from pathlib import Path
import torch, torchfolio
from torchfolio.training.recording import Monitor

class Interrupting(Monitor):
    def updated(self, loop, loss):
        if loop.progress.update == 25:
            signal.raise_signal(signal.SIGINT)

def train(name, watcher):
    return torchfolio.train(
        "resnet20", "digits", epochs=3, batch_size=64, deterministic=True, device="cuda",
        report=False, out=folder / name, watcher=watcher,
    )

folder = Path(sys.argv[1])
whole = train("whole", None)
try:
    train("stopped", Interrupting())
except torchfolio.FolioError as error:
    print(error)
stopped = torchfolio.Run(folder / "stopped")
print(stopped.folder.state()["progress"]["update"], stopped.recipe.training.graphs)
again = stopped.resume(report=False)
print(torch.are_deterministic_algorithms_enabled())
print(whole.metrics["digest"] == again.metrics["digest"])
"""


def test_a_recorded_training_of_deterministic_operations_goes_on_exactly(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DETERMINISTIC, str(tmp_path)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout.split()[-4:] == ["25", "True", "True", "True"], done.stdout + done.stderr


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("network", ["lenet5", "resnet20"])
def test_no_update_waits_for_the_gpu(network: str, graphs: bool) -> None:
    loop = on_gpu(network, precision="bf16", graphs=graphs)
    loop.set_training_mode()
    plan = loop.plan(0)
    for indices in plan[:3]:  # records, allocates
        loop.take_update(loop.load(indices))
    loop.flush()
    pieces = loop.load(plan[3])
    assert pieces[0].images.is_pinned()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the mode is torch's prototype
            torch.cuda.set_sync_debug_mode("error")
        loop.take_update(pieces)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_tf32_is_for_training_alone() -> None:
    kinds = (torch.backends.cudnn, torch.backends.cuda.matmul)
    run = torchfolio.train("lenet5", "digits", epochs=1, precision="tf32", report=False)
    assert run.recipe.training.precision == "tf32"
    run.evaluate(report=False)
    assert [kind.allow_tf32 for kind in kinds] == [False, False]


def test_a_run_from_a_gpu_goes_on_and_answers_on_the_cpu(tmp_path: Path) -> None:
    run = torchfolio.train(
        "resnet20", "digits", epochs=2, batch_size=64, device="cuda", report=False,
        out=tmp_path / "run",
    )  # fmt: skip
    chosen = run.recipe.training
    assert (chosen.graphs, chosen.precision, chosen.workers) == (True, "bf16", 2)
    here, there = (
        Run(run.path).evaluate(device=device, report=False)["metrics"]["accuracy"]["value"]
        for device in ("cuda", "cpu")
    )
    assert abs(here - there) < 0.01
    assert here > 0.5
    digest = run.metrics["digest"]
    assert Run(run.path).resume(device="cpu", report=False).metrics["digest"] == digest


def test_batch_norm_over_two_processes_has_the_losses_of_one(tmp_path: Path) -> None:
    script = Path(__file__).with_name("several_on_gpu.py")
    launchers = {
        "alone": [sys.executable],
        "two": [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"],
    }
    told = {}
    for name, launcher in launchers.items():
        target = tmp_path / f"{name}.json"
        done = subprocess.run(
            [*launcher, str(script), str(target)],
            env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert target.exists(), done.stderr
        told[name] = json.loads(target.read_text(encoding="utf-8"))
    alone, two = told["alone"], told["two"]
    assert len(alone["losses"]) == 100
    assert (alone["synchronised"], two["synchronised"]) == (False, True)
    assert two["losses"] == pytest.approx(alone["losses"], abs=1e-5)
    assert len(set(two["weights"])) == 1  # without running statistics


def test_batches_for_the_cpu_stay_as_they_are() -> None:
    batch: Any = object()
    assert ready_for(torch.device("cpu"), batch) is batch
