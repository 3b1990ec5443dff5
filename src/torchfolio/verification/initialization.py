"""Whether fresh weights have the distribution that the paper, or the canonical code, gives them.

A sample tells a distribution only up to chance: each test allows six standard deviations of its
statistic, about one false alarm in 10^9 layers. Small layers therefore prove little, large ones a
lot; bounds and constants are checked for every value.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ALLOWED = 6.0  # standard deviations of a statistic
ENOUGH = 1000  # values, before the shape of a distribution is judged (by its kurtosis)

Size = Callable[[Mapping[str, Tensor], str], float]  # a number from the values and a name


# By kind: the deviation and the bound as shares of the size, and the kurtosis.
KINDS = {
    "normal": (1.0, math.inf, 3.0),
    "cut": (0.8796257, 2.0, 2.365537),  # normal, without what is further off than two deviations
    "uniform": (1 / math.sqrt(3), 1.0, 1.8),
}


@dataclass(frozen=True)
class Rule:
    """What values start as: "normal" or "cut" (size: deviation), "uniform" (bound), "constant".

    ``names`` is a regular expression for whole names, ``dims`` how many dimensions their values
    have, where not any: kernels have four, the scales of a batch norm one. ``source`` says where
    the rule stands.
    """

    names: str
    kind: str
    size: Size
    source: str
    dims: int | None = None

    def knows(self, name: str, value: Tensor) -> bool:
        """Return whether the rule is for a value."""
        fits = self.dims in (None, value.dim())
        return fits and re.fullmatch(self.names, name) is not None


def constant(names: str, value: float, source: str = "") -> Rule:
    """Every value is this one."""
    return Rule(names, "constant", lambda values, name: value, source)


def normal(names: str, deviation: Size, source: str, dims: int | None = None) -> Rule:
    """Gaussian around zero."""
    return Rule(names, "normal", deviation, source, dims)


def cut(names: str, deviation: Size, source: str) -> Rule:
    """Gaussian around zero, drawn again where it is more than two deviations off."""
    return Rule(names, "cut", deviation, source)


def uniform(names: str, bound: Size, source: str) -> Rule:
    """Uniform between minus and plus a bound."""
    return Rule(names, "uniform", bound, source)


def fan_in(values: Mapping[str, Tensor], name: str) -> int:
    """Return how many values each output reads (for a bias: those of the layer's weight)."""
    weight = values[f"{name.rpartition('.')[0]}.weight"]
    return weight[0].numel()


def fan_out(values: Mapping[str, Tensor], name: str) -> int:
    """Return how many outputs each value reaches."""
    weight = values[f"{name.rpartition('.')[0]}.weight"]
    return weight.shape[0] * weight[0, 0].numel()


def torch_bound(values: Mapping[str, Tensor], name: str) -> float:
    """Return 1 / sqrt(fan-in): torch's default for linear layers and convolutions."""
    return fan_in(values, name) ** -0.5


def caffe_bound(values: Mapping[str, Tensor], name: str) -> float:
    """Return sqrt(3 / fan-in): Caffe's filler xavier."""
    return (3 / fan_in(values, name)) ** 0.5


def glorot_bound(values: Mapping[str, Tensor], name: str) -> float:
    """Return sqrt(6 / (fan-in + fan-out)) (Glorot and Bengio, 2010)."""
    weight = values[name]
    return (6 / (weight[0].numel() + weight.transpose(0, 1)[0].numel())) ** 0.5


def batch_norm_rules(names: str) -> list[Rule]:
    """Scale 1, shift 0, mean 0, variance 1, nothing counted: torch's start of a batch norm."""
    ones, zeros = "(weight|running_var)", "(bias|running_mean|num_batches_tracked)"
    source = "batch norm starts as the identity"
    return [
        constant(f"{names}\\.{ones}", 1, source),
        constant(f"{names}\\.{zeros}", 0, source),
    ]


def check_initial(values: Mapping[str, Tensor], rules: Sequence[Rule]) -> list[str]:
    """Return what is wrong with fresh values; the first rule that knows a name decides."""
    wrong = []
    for name, value in values.items():
        rule = next((each for each in rules if each.knows(name, value)), None)
        if rule is None:
            continue
        try:
            size = float(rule.size(values, name))
        except (KeyError, IndexError):  # the weight that it depends on is told with the names
            continue
        if fault := _fault(value.double().flatten(), rule, size):
            source = f" ({rule.source})" if rule.source else ""
            wrong.append(f"{name} starts wrong: {fault}{source}")
    return wrong


def _fault(value: Tensor, rule: Rule, size: float) -> str:
    """Return what is wrong with one tensor; empty where nothing is."""
    count = value.numel()
    if rule.kind == "constant":
        far = float((value - torch.tensor(size)).abs().max())  # as float32 rounds it
        return "" if far == 0 else f"its values are off {size:g} by up to {far:.2g}"
    share, reach, kurtosis = KINDS[rule.kind]
    deviation, bound, largest = share * size, reach * size, float(value.abs().max())
    if largest > bound * (1 + 1e-6):
        return f"it reaches {largest:.3g}, beyond the bound {bound:.3g}"
    if rule.kind == "uniform" and largest < bound * (1 - 40 / count):  # its chance is below e^-40
        return f"it reaches only {largest:.3g}, the bound is {bound:.3g}"
    mean, spread = float(value.mean()), float(value.square().mean().sqrt())
    # relative standard error of a deviation: sqrt((kurtosis - 1) / n) / 2
    if abs(spread / deviation - 1) > ALLOWED * math.sqrt((kurtosis - 1) / count) / 2:
        return f"its deviation is {spread:.3g}, not {deviation:.3g}"
    if abs(mean) > ALLOWED * deviation / math.sqrt(count):
        return f"its mean is {mean:.3g}, not 0"
    if count >= ENOUGH:
        found = float((value / spread).square_().square_().mean())
        allowed = ALLOWED * math.sqrt((3 if rule.kind == "uniform" else 24) / count)
        if abs(found - kurtosis) > allowed:
            return f"it is not {rule.kind} (its kurtosis is {found:.2f}, not {kurtosis:g})"
    return ""
