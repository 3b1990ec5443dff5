"""What tasks share that give a picture a probability for each name: one class, or labels."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.data.fitting import opened
from torchfolio.tasks.base import Context, Parts, Task
from torchfolio.tasks.pictures import Pictures

if TYPE_CHECKING:
    from torchfolio.tasks.picture_training import PictureTraining


@dataclass(frozen=True)
class Member:
    """One network among the parts, the task that it was trained for, and its name among others."""

    name: str
    task: "PictureTraining"
    network: nn.Module

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of a picture as the network takes it: channels, height, width."""
        return (self.task.state["channels"], self.task.state["size"], self.task.state["size"])

    def example(self, device: torch.device) -> Tensor:
        """Return a batch of one picture without anything in it, as the network takes it."""
        return torch.zeros(1, *self.shape, device=device)


class PictureTask(Task):
    """Pictures in, a probability of each of ``state["classes"]`` out, by any number of networks."""

    noun: ClassVar[str]  # what the names are: "class" or "label"

    @property
    @abstractmethod
    def classes(self) -> list[str]:
        """The names of which each has a probability, in their order."""

    @abstractmethod
    def members(self, parts: Parts) -> list[Member]:
        """Return the networks among the parts, in the order in which they are asked."""

    @property
    @abstractmethod
    def inputs(self) -> Sequence[Pictures]:
        """The pictures as the networks take them: one entry for each way of fitting a picture."""

    @property
    def values(self) -> int:
        """How many values a picture has, at the largest size that a network takes."""
        return max(each.state["channels"] * each.state["size"] ** 2 for each in self.inputs)

    def read(self, source: Path | NDArray[Any]) -> list[Tensor]:
        """Return a picture of a file or an array for each input; raise ``DataError``.

        A file is decoded once: all networks were trained on the same data, so in the same depth.
        """
        if isinstance(source, Path):
            source = opened(source, self.inputs[0].state["depth"])
        return [each.read(source) for each in self.inputs]

    @abstractmethod
    def class_probabilities(self, parts: Parts, images: Sequence[Tensor]) -> Tensor:
        """Return the probability of each name (batch, names), float32.

        ``images`` holds a batch for each of ``inputs``, as :meth:`Pictures.fitted` returns it, on
        the device of the parts.
        """

    def answer(
        self, parts: Parts, inputs: Sequence[Any], context: Context, options: Any
    ) -> Iterator[dict[str, Any]]:
        from torchfolio.tasks.image_asking import answer

        return answer(self, parts, inputs, context, options.top)

    @abstractmethod
    def given(self, probabilities: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which names the answers hold, from their probabilities; both (..., names)."""

    @abstractmethod
    def said(self, probabilities: Any, top: int) -> dict[str, Any]:
        """Return what a row says of one picture, from its probabilities (names,).

        That is "prediction", "probability", and "top": the names of the highest probabilities.
        """
