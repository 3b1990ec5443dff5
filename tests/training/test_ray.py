"""Ray Train starts the processes: the training is the one that torchrun starts."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from torchfolio.run import Run, train

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None or sys.platform == "win32",
    reason="Ray is not installed (torchfolio[ray]), or has no local cluster here",
)
def test_two_workers_of_ray_train_as_one_process(tmp_path: Path) -> None:
    out = tmp_path / "run"
    paths = [str(HERE.parents[1] / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TRAIN_V2_ENABLED": "1",
    }
    command = [sys.executable, str(HERE / "with_ray.py"), str(out), str(tmp_path / "ray")]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600
    )  # under load
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    run = Run(out)
    assert run.folder.processes() == 2
    assert run.metrics["examples"] == 270
    settings = {"epochs": 2, "workers": 0, "device": "cpu", "threads": 1}
    alone = train("lenet5", "digits", out=tmp_path / "alone", report=False, **settings)
    for together, one in zip(run.history, alone.history, strict=True):
        for name in ("train_loss", "val_loss"):
            assert together[name] == pytest.approx(one[name], abs=1e-5)
