"""A person's module beside a network: the same values and images, and where the two part."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from torchfolio.verification.comparison import Fault, compare, relative
from torchfolio.verification.draw import calibrate, draw
from torchfolio.verification.grading.matching import match, own_values
from torchfolio.verification.grading.parting import TOLERANCES, as_shaped, told
from torchfolio.verification.grading.sizes import sizes
from torchfolio.verification.observation import Observation, observe, together

RUNNING = ("running_mean", "running_var", "num_batches_tracked")
NEGATIVE = 8  # one of so many channels of a batch norm is mostly negative


class Beside:
    """A person's module and a network, which share the network's values.

    ``found`` says which values are which, ``values`` are those to begin a pass with, by the
    network's names. Both modules are left with other values and types.
    """

    def __init__(
        self,
        module: nn.Module,
        network: nn.Module,
        images: Tensor,
        given: Mapping[str, str] | None = None,
    ) -> None:
        self.module, self.network, self.images, self.given = module, network, images, given
        self.found = match(module.float(), network.float(), images, given)
        self.heads = [Heads(module), Heads(network)]
        self.values = drawn(network, images)
        self.seen: dict[tuple[torch.dtype, bool], Observation] = {}
        self.worst = 0.0  # the largest relative difference of all that was compared
        self.exact = True  # whether theirs runs in float64
        self.looked: list[tuple[tuple[torch.dtype, bool], list[Fault]]] = []

    def close(self) -> None:
        """Take the hooks away."""
        for heads in self.heads:
            heads.handle.remove()

    def expected(self, kind: torch.dtype, training: bool) -> Observation:
        """Return what the network does."""
        self.network.to(kind)
        give(self.network, self.values)
        return observe(self.network, self.images.to(kind), training)

    def theirs(self, kind: torch.dtype, training: bool) -> Observation:
        """Return what their module does, in the network's names; it is looked at once."""
        if (kind, training) not in self.seen:
            self.hand_over(kind)
            with default_type(kind):
                seen = observe(self.module, self.images.to(kind), training)
            self.seen[kind, training] = self.renamed(seen)
        return self.seen[kind, training]

    def faults(self, kind: torch.dtype, training: bool) -> list[Fault]:
        """Return where the two part, the first layer first; nothing where they agree."""
        expected, found = self.expected(kind, training), self.theirs(kind, training)
        if expected.heads != found.heads and not (expected.error or found.error):
            for heads in self.heads:  # lengths and a picture, say: the scores alone are compared
                heads.first_only = True
            self.seen.clear()
            expected, found = self.expected(kind, training), self.theirs(kind, training)
        differences = list(compare(expected, as_shaped(found, expected)))
        self.worst = max([self.worst, *(each.relative for each in differences)])
        return told(differences, expected, found, TOLERANCES[kind])

    def look(self) -> list[tuple[tuple[torch.dtype, bool], list[Fault]]]:
        """Return the faults by type and mode: of float64, and of float32 where there are none.

        What does not run in float64, and does in float32, is compared in that alone.
        """
        for kind in () if self.looked else TOLERANCES:
            both = [((kind, training), self.faults(kind, training)) for training in (False, True)]
            failed = any(self.theirs(kind, training).error for training in (False, True))
            if kind == torch.float32:
                for training in (False, True):
                    self.seen.pop((kind, training), None)
                if not self.exact and failed:
                    self.exact = True
                    break
                self.looked = both if not self.exact else [*self.looked, *both]
            else:
                self.looked, self.exact = both, not failed or bool(self.found.error)
                if self.exact and any(faults for _, faults in both):
                    break
        return self.looked

    def paired_otherwise(self, layers: Mapping[str, str]) -> dict[str, str]:
        """Return the pairs of layers that are others than those found here.

        With a change of the network pairs of one size may be seen that its order hid.
        """
        left, right = own_values(self.module), own_values(self.network)
        return {
            one: other
            for one, other in layers.items()
            if self.found.layers.get(one) != other
            and other in right
            and sizes(left[one]) == sizes(right[other])
        }

    def agrees_on(self, images: Tensor) -> bool:
        """Return whether both give the same of other images, in eval mode."""
        kind = torch.float64
        self.network.to(kind)
        give(self.network, self.values)
        self.hand_over(kind)
        try:
            with torch.no_grad(), default_type(kind):
                one = together(self.network.eval()(images.to(kind)))
                other = together(self.module.eval()(images.to(kind)))
        except Exception:  # a person's code may fail in any way
            return False
        return relative(one, other)[0] <= TOLERANCES[kind]

    def leading_to(self, layer: str, call: int, extra: list[str], training: bool) -> list[str]:
        """Return those ``extra`` layers of theirs whose outputs reach a call of a layer's input.

        Ways through layers that have a partner do not count: what those give has been compared.
        """
        if not extra:
            return []
        kind = torch.float64 if self.exact else torch.float32
        tokens = {name: torch.zeros((), dtype=kind, requires_grad=True) for name in extra}
        reached: list[list[str]] = []  # by call

        def look(module: nn.Module, inputs: Any) -> None:
            given: tuple[Tensor | None, ...] = ()
            if inputs and isinstance(inputs[0], Tensor) and inputs[0].requires_grad:
                given = torch.autograd.grad(
                    inputs[0].sum(), list(tokens.values()), retain_graph=True, allow_unused=True
                )
            pairs = zip(tokens, given, strict=False)
            reached.append([name for name, each in pairs if each is not None])

        def cut(module: nn.Module, inputs: Any, output: Any) -> Any:
            return output.detach() if isinstance(output, Tensor) else output

        hooks = [self.module.get_submodule(layer).register_forward_pre_hook(look)]
        for name in self.found.layers:
            hooks.append(self.module.get_submodule(name).register_forward_hook(cut))
        for name, token in tokens.items():
            hooks.append(self.module.get_submodule(name).register_forward_hook(marked(token)))
        self.hand_over(kind)
        try:
            with default_type(kind), torch.random.fork_rng(devices=[]):
                self.module.train(training)(self.images.to(kind))
        except Exception:  # a person's code may fail in any way, after this call too
            pass
        finally:
            for hook in hooks:
                hook.remove()
            self.hand_over(kind)
        return reached[call] if call < len(reached) else []

    def hand_over(self, kind: torch.dtype) -> None:
        """Give their module the network's parameters themselves, and copies of its buffers.

        What has no partner: a bias is zero, other parameters are left as they are.
        """
        self.network.to(kind)
        give(self.network, self.values)
        ours, kept = self.network.state_dict(), self.module.state_dict()
        parameters = dict(self.module.named_parameters())
        for name, theirs in self.found.pieces().items():
            start = 0
            for each in theirs:
                own = parameters.get(each)
                like = kept[each] if own is None else own
                piece = ours[name].flatten()[start : start + like.numel()].view(like.shape)
                start += like.numel()
                if own is None:
                    like.copy_(piece)
                else:
                    own.data = piece.detach()
        self.module.to(kind)
        with torch.no_grad():
            for name in self.found.extra:
                if name.endswith("bias"):
                    parameters[name].zero_()
            for name, value in self.module.state_dict().items():
                if name.endswith("num_batches_tracked"):
                    value.fill_(7)

    def renamed(self, seen: Observation) -> Observation:
        """Return an observation of theirs under the network's names."""
        found = self.found
        layers = {
            (found.layers[layer], side, call): value
            for (layer, side, call), value in seen.layers.items()
            if layer in found.layers and (side == "input" or self.is_alike(layer))
        }
        gradients: dict[str, Tensor] = {}
        buffers: dict[str, Tensor] = {}
        for ours, theirs in found.pieces().items():
            for kept, values in ((gradients, seen.gradients), (buffers, seen.buffers)):
                parts = [values[name] for name in theirs if name in values]
                if len(parts) == len(theirs):
                    whole = [each.flatten() for each in parts]
                    kept[ours] = parts[0] if len(parts) == 1 else torch.cat(whole)
        if "images" in seen.gradients:
            gradients = {"images": seen.gradients["images"], **gradients}
        stopped = found.layers.get(seen.stopped_in, seen.stopped_in)
        return Observation(
            layers, seen.outputs, gradients, buffers, seen.error, stopped, seen.heads
        )

    def is_alike(self, theirs: str) -> bool:
        """Return whether a layer of theirs is to give what ours gives: it is of one kind.

        One with layers inside may do more: a norm its activation.
        """
        one = self.module.get_submodule(theirs)
        other = self.network.get_submodule(self.found.layers[theirs])
        linear = (nn.Linear, nn.Conv2d)
        if type(one) in linear and type(other) in linear:
            return True
        leaf = not any(True for _ in one.children())
        return type(one) is type(other) or (leaf and isinstance(one, type(other)))


class Heads:
    """What a module returns, made plain: a tensor, or a tuple of tensors.

    ``first_only`` leaves the first alone, which are the scores.
    """

    def __init__(self, module: nn.Module) -> None:
        self.first_only = False
        self.handle = module.register_forward_hook(lambda _, inputs, output: self.plain(output))

    def plain(self, output: Any) -> Any:
        """Return the tensors of a module's output."""
        if isinstance(output, Tensor):
            return output
        if isinstance(output, tuple | list) and output:
            whole = all(isinstance(each, Tensor) for each in output)
            few = self.first_only or not whole or len(output) == 1
            return self.plain(output[0]) if few else tuple(output)
        for name in ("logits", "out", "scores", "output"):
            found = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
            if isinstance(found, Tensor):
                return found
        return output


def marked(token: Tensor) -> Callable[..., Any]:
    """Return the hook that adds a zero to what a layer gives, by which its gradient is known."""

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        return output + token if isinstance(output, Tensor) else output

    return hook


@contextmanager
def default_type(kind: torch.dtype) -> Iterator[None]:
    """Let what is made without a type have this one: zeros to pad with, positions."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def drawn(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return values to compare with; running statistics are near those of the images.

    Other buffers stay as the network has them: they are constants of the paper. Some channels of
    each batch norm are mostly negative, so that a pool of maxima has windows without any value
    above zero: what an activation before it makes of those is seen after it.
    """
    state = network.state_dict()
    trained = {name for name, each in network.named_parameters() if each.requires_grad}
    values = {
        name: value if name in trained or name.endswith(RUNNING) else state[name].clone()
        for name, value in draw(state, seed=1).items()
    }
    for name, value in values.items():
        layer, _, kind = name.rpartition(".")
        if kind == "bias" and f"{layer}.running_mean" in values:
            value[::NEGATIVE] *= -1
    if any(name.endswith("running_mean") for name in values):
        give(network.double(), values)
        seen = observe(network, images.double(), True)
        reached = {layer for layer, side, _ in seen.layers if side == "output"}
        kept = {n: v for n, v in values.items() if n.rpartition(".")[0] in reached}
        calibrate(kept, seen, seed=2)
    return values


def give(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy values into a module by their names, as far as it has them in these sizes."""
    own = module.state_dict()
    for name, value in values.items():
        if name in own and own[name].numel() == value.numel():
            own[name].copy_(value.reshape(own[name].shape))
