"""What malloc keeps between steps: page faults counted in processes of their own."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from torchfolio.errors import RequestError
from torchfolio.run import Run
from torchfolio.training import device, malloc
from torchfolio.training.device import configure, resolve_device
from torchfolio.training.options import TrainingOptions
from torchfolio.training.start import prepare

PROGRAM = """
import resource
import sys
import torch
from torchfolio.training.device import configure, resolve_device
from torchfolio.training.options import TrainingOptions

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

asked = {"None": None, "True": True, "False": False}[sys.argv[1]]
options = resolve_device(TrainingOptions(device="cpu", keep_memory=asked))
configure(options)
for repeat in range(8):
    if repeat == 3:
        before = faults()
    step = [torch.ones(10**6) for _ in range(40)]  # 4 MB each, freed together
    small = torch.ones(10)
    del step
print(faults() - before, options.keep_memory)
for _ in range(20):
    large = torch.ones(2**24)  # 64 MiB
resident = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
print(resident // 2**20)
"""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or "glibc" not in os.confstr("CS_GNU_LIBC_VERSION"),
    reason="mallopt is glibc's",
)


def page_faults(asked: bool | None = None, **environment: str) -> tuple[int, str, int]:
    """Return the page faults of five steps, what was chosen, and the MiB after larger pieces."""
    usual = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(asked)],
        env={**usual, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    faults, chosen, resident = done.stdout.split()
    return int(faults), chosen, int(resident)


def test_steps_take_no_memory_from_the_system_twice() -> None:
    faults, chosen, resident = page_faults()
    assert chosen == "True"
    assert faults < 5_000  # handed back, the 160 MB of five steps would be 195,312 pages of 4 kiB
    assert resident < 1500  # 20 pieces of 64 MiB each did not stay


def test_what_the_environment_says_of_malloc_holds() -> None:
    faults, chosen, _ = page_faults(MALLOC_TRIM_THRESHOLD_="131072")
    assert chosen == "False"
    assert faults > 100_000


def test_what_is_asked_for_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(device, "keep_freed_memory", lambda: told.append("kept"))
    for asked in (False, True):
        configure(resolve_device(TrainingOptions(device="cpu", keep_memory=asked)))
    assert told == ["kept"]
    faults, chosen, _ = page_faults(asked=True, MALLOC_TRIM_THRESHOLD_="131072")
    assert chosen == "True"
    assert faults < 5_000


@pytest.mark.parametrize(
    ("trained_on", "stored", "told", "kept"),
    [
        ("cuda", False, False, True),  # on a GPU the question does not arise
        ("cpu", True, False, True),
        ("cpu", True, True, False),  # the rule's own yes does not silence the environment
        ("cpu", False, False, False),
    ],
)
def test_measuring_on_the_cpu_keeps_memory_by_the_rule_unless_it_was_refused(
    trained_on: str, stored: bool, told: bool, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in os.environ if each.startswith(("MALLOC_", "GLIBC_"))]:
        monkeypatch.delenv(name)
    if told:
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    calls: list[bool] = []
    monkeypatch.setattr(device, "keep_freed_memory", lambda: calls.append(True))
    run = object.__new__(Run)
    training = TrainingOptions(
        device=trained_on, keep_memory=stored, threads=torch.get_num_threads(), batch_size=8
    )
    run.recipe = SimpleNamespace(training=training)
    run.context("cpu")
    assert calls == [True] * kept


def test_memory_that_cannot_be_kept_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"device": "cpu", "keep_memory": True}
    assert prepare("softmax_regression", "digits", settings).recipe.training.keep_memory is True
    monkeypatch.setattr(malloc, "mallopt", lambda: None)  # another C library
    with pytest.raises(RequestError, match="--keep-memory needs the CPU and the C library glibc"):
        prepare("softmax_regression", "digits", settings)
    chosen = prepare("softmax_regression", "digits", {"device": "cpu"}).recipe.training
    assert chosen.keep_memory is False
