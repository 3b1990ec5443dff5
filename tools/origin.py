"""Where, when and with what a result was made."""

import os
import platform
import tomllib
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any


def origin(run: Path) -> dict[str, Any]:
    """Return date, machine, threads and versions of a run that has just been made."""
    recipe = tomllib.loads((run / "recipe.toml").read_text(encoding="utf-8"))
    training = recipe["training"]
    return {
        "date": date.today().isoformat(),
        "machine": machine(training["device"]),
        "threads": int(training["threads"]),
        "versions": {each: version(each) for each in ("torchfolio", "torch")},
    }


def here() -> dict[str, Any]:
    """Return date, machine, threads and versions of what this process finds."""
    return {
        "date": date.today().isoformat(),
        "machine": machine(),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
        "versions": {each: version(each) for each in ("torchfolio", "torch")},
    }


def machine(device: str = "cpu") -> str:
    """Return the processor, and before it the GPU if it is the device, in words."""
    if device.startswith("cuda"):
        import torch

        return f"{torch.cuda.get_device_name(device)}, {machine()}"
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores"


def in_words(result: dict[str, Any]) -> str:
    """Return the origin of a result in a line."""
    threads = f"{result['threads']} thread" + ("s" if result["threads"] != 1 else "")
    return (
        f"{result['machine']}, {threads}; torch {result['versions']['torch']}, "
        f"torchfolio {result['versions']['torchfolio']}; {result['date']}"
    )
