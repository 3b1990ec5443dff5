"""Learning-rate schedules: the factor on every base rate, as a function of progress.

Progress runs from 0 to 1 over the training (in updates, or in time under ``--minutes``), so a
recipe keeps its shape on any amount of data. The formulas stand in docs/guides/training.md.
"""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Schedule:
    """The shape of the rate.

    ``kind``: "constant"; "step" multiplies by ``gamma`` at each of ``milestones`` (shares of the
    training); "cosine" falls to 0 as 1/2 (1 + cos(pi t)) (Loshchilov and Hutter, 2017, Equation
    5, without restarts); "linear" as 1 - t; "polynomial" as (1 - t) ** ``power``; "plateau" is
    driven by :class:`Plateau`. ``warmup`` is the share of the training over which the factor first
    rises linearly from 0.01 to 1 (Goyal et al., 2017, Section 2.2); the shape follows it.
    """

    kind: str = "constant"
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1
    power: float = 1.0
    warmup: float = 0.0

    def factor(
        self, progress: float, warmed: float | None = None, warmup: float | None = None
    ) -> float:
        """Return the factor at a progress in [0, 1].

        ``warmed`` is how much of the warm-up is done, and ``warmup`` the share of the training
        that it took, where progress, being time, does not say it.
        """
        warmup = self.warmup if warmup is None else warmup
        if warmed is None:
            warmed = progress / warmup if warmup else 1.0
        if warmed < 1:
            return 0.01 + 0.99 * warmed  # from 1 %, as torchvision's recipes
        t = min(1.0, max(0.0, progress - warmup) / max(1e-12, 1 - warmup))
        if self.kind == "step":
            return self.gamma ** sum(progress >= each for each in self.milestones)
        if self.kind == "cosine":
            return 0.5 * (1 + math.cos(math.pi * t))
        if self.kind == "linear":
            return 1 - t
        if self.kind == "polynomial":
            return (1 - t) ** self.power
        return 1.0


class Plateau:
    """Multiplies the rate by ``gamma`` after ``patience`` checks without improvement.

    An improvement is one of more than 1e-4 of the best value, as torch's ReduceLROnPlateau.
    """

    def __init__(self, gamma: float, patience: int, higher_is_better: bool) -> None:
        self.gamma = gamma
        self.patience = patience
        self.sign = 1.0 if higher_is_better else -1.0
        self.best = -math.inf
        self.bad = 0
        self.factor = 1.0

    def update(self, value: float) -> None:
        """Take the monitored value of one check."""
        value = self.sign * value
        first = self.best == -math.inf
        if not math.isnan(value) and (first or value > self.best + 1e-4 * abs(self.best)):
            self.best, self.bad = value, 0
            return
        self.bad += 1
        if self.bad > self.patience:
            self.factor *= self.gamma
            self.bad = 0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "bad": self.bad, "factor": self.factor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.bad, self.factor = state["best"], state["bad"], state["factor"]
