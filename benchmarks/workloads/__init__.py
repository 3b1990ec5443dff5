"""The workloads by name, one kind a file. A new file is named in ``FILES``."""

from importlib import import_module

from benchmarks.workloads.base import Workload

FILES = (
    "lenet_mnist",
    "mlp_mnist",
    "resnet18_jpegs",
    "resnet20_cifar",
    "prediction",
    "masks_and_boxes",
    "answers",
    "startup",
    "time_to_accuracy",
)


def all_workloads() -> dict[str, Workload]:
    """Return every workload, in the order of the files."""
    modules = (import_module(f"benchmarks.workloads.{name}") for name in FILES)
    return {each.name: each for module in modules for each in module.WORKLOADS}
