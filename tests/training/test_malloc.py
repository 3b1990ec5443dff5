"""What malloc keeps between steps: page faults counted in processes of their own."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from torchfolio.training.device import configure, resolve_device
from torchfolio.training.options import TrainingOptions

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

configure(resolve_device(TrainingOptions(device="cpu")))
for repeat in range(8):
    if repeat == 3:
        before = faults()
    step = [torch.ones(10**6) for _ in range(40)]  # 4 MB each, freed together
    small = torch.ones(10)
    del step
print(faults() - before)
for _ in range(20):
    large = torch.ones(2**24)  # 64 MiB
resident = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
print(resident // 2**20)
"""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or "glibc" not in os.confstr("CS_GNU_LIBC_VERSION"),
    reason="mallopt is glibc's",
)


def page_faults(**environment: str) -> tuple[int, int]:
    """Return the page faults of five steps and the memory in MiB after larger pieces."""
    usual = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**usual, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    faults, resident = map(int, done.stdout.split())
    return faults, resident


def test_steps_take_no_memory_from_the_system_twice() -> None:
    faults, resident = page_faults()
    assert faults < 5_000  # handed back, the 160 MB of five steps would be 195,312 pages of 4 kiB
    assert resident < 1500  # 20 pieces of 64 MiB each did not stay


def test_what_the_environment_says_of_malloc_holds() -> None:
    faults, _ = page_faults(MALLOC_TRIM_THRESHOLD_="131072")
    assert faults > 100_000
