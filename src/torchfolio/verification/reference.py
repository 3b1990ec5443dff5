"""What a network is compared with: another library's module, or our own calculation.

Both speak in our names, so that values, layers, gradients and buffers can be laid side by side.
"""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from torchfolio.verification.calculation import Calculation
from torchfolio.verification.observation import (
    IMAGES,
    SEED,
    Observation,
    end_to_end,
    observe,
    scalar,
    together,
)

State = dict[str, Tensor]
Rename = tuple[str, str | Callable[[re.Match[str]], str]]  # a pattern, and what replaces it


class Reference(ABC):
    """An implementation to compare with; ``title`` names it, with its version.

    ``ordered`` says that the order of the names is canonical too.
    """

    title: str
    ordered: bool

    @abstractmethod
    def state(self) -> State:
        """Return its values, in our names and in its order."""

    @abstractmethod
    def parameters(self) -> set[str]:
        """Return the names of the values that are trained."""

    @abstractmethod
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take values; they must be exactly those of :meth:`state` by name and shape."""

    @abstractmethod
    def share(self, state: Mapping[str, Tensor]) -> None:
        """Take values as :meth:`load` does, but the parameters themselves, not copies of them."""

    @abstractmethod
    def observe(self, images: Tensor, training: bool) -> Observation:
        """Run forward and backward in the type of the images."""


class ModuleReference(Reference):
    """A module of another library. ``renames`` are patterns that turn its names into ours.

    Several values of its that get one name are one of ours: laid end to end, in the module's order.
    ``joined`` is a pattern of layers that hold more than ours of the same name, as an activation:
    what they give is not compared.
    """

    def __init__(
        self,
        title: str,
        module: nn.Module,
        renames: Sequence[Rename] = (),
        ordered: bool = False,
        joined: str = "$^",
    ) -> None:
        self.title, self.module, self.ordered, self.joined = title, module, ordered, joined
        self.renames = renames
        self.names: dict[str, str] = {}

    def name(self, theirs: str) -> str:
        """Return our name for one of the module's."""
        if theirs not in self.names:
            ours = theirs
            for pattern, replacement in self.renames:
                ours = re.sub(pattern, replacement, ours)
            self.names[theirs] = ours
        return self.names[theirs]

    def state(self) -> State:
        return end_to_end((self.name(key), each) for key, each in self.module.state_dict().items())

    def parameters(self) -> set[str]:
        return {self.name(key) for key, _ in self.module.named_parameters()}

    def pieces(self, state: Mapping[str, Tensor]) -> State:
        """Return our values under the module's names, cut where several of its are one of ours."""
        found: State = {}
        taken: Counter[str] = Counter()  # rows of ours
        for key, like in self.module.state_dict().items():
            name = self.name(key)
            found[key] = state[name]
            if state[name].shape != like.shape:
                found[key] = state[name][taken[name] : taken[name] + len(like)]
                taken[name] += len(like)
        return found

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.module.load_state_dict(self.pieces(state))

    def share(self, state: Mapping[str, Tensor]) -> None:
        pieces = self.pieces(state)
        for key, parameter in self.module.named_parameters():
            parameter.data = pieces.pop(key).detach()
        self.module.load_state_dict(pieces, strict=False)

    def observe(self, images: Tensor, training: bool) -> Observation:
        self.module.to(images.dtype)
        seen = observe(self.module, images, training, self.name)
        if seen.error:
            raise RuntimeError(f"{self.title} failed in {seen.stopped_in}: {seen.error}")
        for place in list(seen.layers):
            if place[1] == "output" and re.fullmatch(self.joined, place[0]):
                del seen.layers[place]
        return seen


class CalculatedReference(Reference):
    """Our own calculation: the names and shapes of its values, and a function of the images.

    ``buffers`` are the names that are not trained. Values start as zeros.
    """

    ordered = False

    def __init__(
        self,
        title: str,
        shapes: Mapping[str, tuple[int, ...]],
        forward: Callable[[Calculation, Tensor], Tensor | tuple[Tensor, ...]],
        buffers: set[str] | None = None,
    ) -> None:
        self.title, self.forward = title, forward
        statistics = ("running_mean", "running_var", "num_batches_tracked")
        self.fixed = {name for name in shapes if name.endswith(statistics)} | (buffers or set())
        self.values: State = {
            name: torch.zeros(
                shape, dtype=torch.int64 if name.endswith("tracked") else torch.float64
            )
            for name, shape in shapes.items()
        }

    def state(self) -> State:
        return self.values

    def parameters(self) -> set[str]:
        return set(self.values) - self.fixed

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.values = {name: state[name].clone() for name in self.values}

    def share(self, state: Mapping[str, Tensor]) -> None:
        self.values = {name: state[name].detach() for name in self.values}

    def observe(self, images: Tensor, training: bool) -> Observation:
        values = {
            name: value.to(images.dtype) if value.is_floating_point() else value
            for name, value in self.values.items()
        }
        leaves = {
            name: value.detach().requires_grad_(name not in self.fixed)
            for name, value in values.items()
            if value.is_floating_point()
        }
        images = images.clone().requires_grad_()
        calculation = Calculation(values | leaves, training)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            outputs = together(self.forward(calculation, images))
        names = [name for name, leaf in leaves.items() if leaf.requires_grad]
        read = [images, *(leaves[n] for n in names)]
        gradients = torch.autograd.grad(scalar(outputs), read, allow_unused=True)
        kept = {name: values[name] for name in self.fixed if name not in calculation.buffers}
        return Observation(
            calculation.layers,
            outputs.detach(),
            {
                name: each
                for name, each in zip([IMAGES, *names], gradients, strict=True)
                if each is not None  # the heads of GoogLeNet in eval mode
            },
            calculation.buffers | kept,
        )
