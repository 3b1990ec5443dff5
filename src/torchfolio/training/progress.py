"""Where a training stands, and who is told how it goes."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torchfolio.training.loop import Loop


@dataclass
class Progress:
    """Where a training stands; everything in it is saved and restored."""

    epoch: int = 0  # epochs finished
    batch: int = 0  # batches taken of the current epoch
    update: int = 0
    examples: int = 0  # of the current epoch
    seconds: float = 0.0  # of training and validation
    waited: float = 0.0  # seconds of the current epoch spent waiting for data
    epoch_seconds: float = 0.0
    warm_share: float = 0.0  # of the training, when warm-up was last seen to go on
    best_value: float | None = None
    best_epoch: int | None = None
    best_loss: float = math.inf  # the validation loss of that epoch
    bad_epochs: int = 0
    first_losses: dict[str, float] = field(default_factory=dict)  # of each step, by its name
    # of the current epoch: what each figure adds up to, and over what weight (examples, tokens)
    sums: dict[str, tuple[float, float]] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


class Listener(Protocol):
    """Who is told how the training goes."""

    def started(self, loop: "Loop") -> None:
        """Hear that the first update, or the first after a resume, follows."""

    def updated(self, loop: "Loop", loss: float | None) -> None:
        """Hear of an update; the loss is None where the device was not waited for."""

    def epoch_ended(self, loop: "Loop", row: dict[str, Any]) -> None:
        """Hear that an epoch ended, with this row of the history."""

    def should_stop(self) -> bool:
        """Return whether to stop after this update."""

    def save(self, loop: "Loop", *, final: bool) -> None:
        """Save if it is time to: after an epoch, and (``final``) at the end."""
