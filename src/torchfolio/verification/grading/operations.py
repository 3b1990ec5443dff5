"""What a module computes between its layers: the functions that it calls, and others instead.

A site is a call of a function in a layer's own ``forward``: the second ``relu`` of a block, say.
Modules and functions are alike here: what ``nn.ReLU`` calls is ``relu``.
"""

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from torchfolio.verification.observation import SEED

Apply = Callable[[Tensor, bool], Tensor]  # of a tensor, and whether it is in train mode
# What is called for another function: the function, its arguments, whether it is in train mode
Change = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any], bool], Any]

# Group, name, the function without effects on its argument, and all others of that name.
FUNCTIONS: list[tuple[str, str, Callable[..., Any], tuple[Any, ...]]] = [
    ("activation", "relu", F.relu, (torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)),
    ("activation", "relu6", F.relu6, ()),
    ("activation", "leaky_relu", F.leaky_relu, ()),
    ("activation", "elu", F.elu, ()),
    ("activation", "selu", F.selu, ()),
    ("activation", "gelu", F.gelu, ()),
    ("activation", "silu", F.silu, ()),
    ("activation", "mish", F.mish, ()),
    ("activation", "hardswish", F.hardswish, ()),
    ("activation", "hardtanh", F.hardtanh, ()),
    ("activation", "softplus", F.softplus, ()),
    ("activation", "tanh", torch.tanh, (torch.tanh_, Tensor.tanh, Tensor.tanh_)),
    ("activation", "sigmoid", torch.sigmoid, (torch.sigmoid_, Tensor.sigmoid, Tensor.sigmoid_)),
    ("softmax", "softmax", F.softmax, (torch.softmax, Tensor.softmax)),
    ("softmax", "log_softmax", F.log_softmax, (torch.log_softmax, Tensor.log_softmax)),
    ("pool", "max_pool2d", F.max_pool2d, (torch.max_pool2d,)),
    ("pool", "avg_pool2d", F.avg_pool2d, ()),
    ("pool", "adaptive_avg_pool2d", F.adaptive_avg_pool2d, ()),
    ("pool", "adaptive_max_pool2d", F.adaptive_max_pool2d, ()),
    ("pool", "mean", torch.mean, (Tensor.mean,)),
    ("pool", "amax", torch.amax, (Tensor.amax,)),
    ("pool", "getitem", operator.getitem, (Tensor.__getitem__,)),
    ("dropout", "dropout", F.dropout, (torch.dropout,)),
    ("sum", "add", torch.add, (Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__,
                               Tensor.__radd__)),
    ("cat", "cat", torch.cat, (torch.concat, torch.concatenate)),
]  # fmt: skip
KNOWN = {
    each: (group, name, function)
    for group, name, function, more in FUNCTIONS
    for each in (function, *more)
}
# What calls leave unsaid
DEFAULTS = {
    "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False,
    "dtype": None, "approximate": "none",
}  # fmt: skip
UNSEEN = ("inplace", "_stacklevel", "out")


class Site(NamedTuple):
    """The ``number``-th call of a function of this ``name`` in a layer's own ``forward``."""

    layer: str
    name: str
    number: int


@dataclass(frozen=True)
class Operation:
    """A call that was seen: its ``site``, its kind, in words, and the same of another tensor.

    ``pieces`` counts the tensors that are put together.
    """

    site: Site
    group: str
    label: str
    apply: Apply | None = None
    pieces: int = 0


@dataclass(frozen=True)
class Event:
    """A layer that begins or ends (``what``), in its ``call``, or an operation.

    ``direct`` says of a layer that it reads, or gives, the very tensor that the last one gave.
    """

    what: str
    layer: str
    call: int = 0
    operation: Operation | None = None
    direct: bool = False


class Watching(TorchFunctionMode):
    """Knows which layer runs, and which call of a function this is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.running: list[tuple[str, int, Counter[str]]] = []
        self.calls: Counter[str] = Counter()
        self.given: Any = None  # by the last layer that has ended
        self.handles = []
        for name, module in network.named_modules():
            self.handles.append(module.register_forward_pre_hook(self.begins(name)))
            self.handles.append(module.register_forward_hook(self.ends(name)))

    def begins(self, name: str) -> Callable[..., None]:
        """Return the hook of a layer's begin; with the network itself, everything begins anew."""

        def hook(module: nn.Module, inputs: Any) -> None:
            if name == "":
                self.given = None
                self.running.clear()
                self.calls.clear()
            self.running.append((name, self.calls[name], Counter()))
            direct = self.given is not None and bool(inputs) and inputs[0] is self.given
            self.note(Event("begin", name, self.calls[name], direct=direct))
            self.calls[name] += 1

        return hook

    def ends(self, name: str) -> Callable[..., None]:
        """Return the hook of a layer's end."""

        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if self.running:
                direct = output is self.given
                self.note(Event("end", name, self.running.pop()[1], direct=direct))
                self.given = output if name else None

        return hook

    def note(self, event: Event) -> None:
        """Take note of what happens."""

    def site(self, name: str) -> Site:
        """Return the site of a call that begins now."""
        layer, _, counts = self.running[-1]
        counts[name] += 1
        return Site(layer, name, counts[name] - 1)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = KNOWN.get(func) if self.running else None
        if known is None or (known[0] == "sum" and not is_sum(args)):
            return func(*args, **(kwargs or {}))
        return self.called(self.site(known[1]), func, args, kwargs or {})

    def called(self, site: Site, func: Any, args: Any, kwargs: Any) -> Any:
        """Return what the call at a site gives."""
        return func(*args, **kwargs)


class Tracing(Watching):
    """Writes down what happens."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.events: list[Event] = []

    def note(self, event: Event) -> None:
        self.events.append(event)

    def called(self, site: Site, func: Any, args: Any, kwargs: Any) -> Any:
        seen = operation(site, func, args, kwargs, self.network.training)
        self.note(Event("call", site.layer, operation=seen))
        return func(*args, **kwargs)


class Exchanging(Watching):
    """Calls something else at some sites."""

    def __init__(self, network: nn.Module, changes: Mapping[Site, Change]) -> None:
        super().__init__(network)
        self.changes = changes

    def called(self, site: Site, func: Any, args: Any, kwargs: Any) -> Any:
        change = self.changes.get(site)
        if change is None:
            return func(*args, **kwargs)
        return change(func, args, kwargs, self.network.training)


def operation(
    site: Site, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], training: bool
) -> Operation:
    """Return what a call does."""
    group, name, function = KNOWN[func]
    if group == "cat":
        return Operation(site, group, name, pieces=len(args[0]) if args else 0)
    rest = args[1:]
    options = {key: value for key, value in kwargs.items() if key not in UNSEEN}
    if group == "sum" or not args or any(isinstance(x, Tensor) for x in (*rest, *options.values())):
        return Operation(site, group, name)
    if group == "dropout":
        p = options.get("p", rest[0] if rest else 0.5)
        always = bool(options.get("training", rest[1] if len(rest) > 1 else True)) and not training
        label = f"dropout({p:g}){' in eval mode too' if always else ''}"
        return Operation(
            site, group, label, lambda x, training: F.dropout(x, p, training or always)
        )
    if name == "getitem":
        indices = rest[0] if isinstance(rest[0], tuple) else rest[:1]
        shown = [sliced(each) for each in indices]
        return Operation(site, group, f"[{', '.join(shown)}]", lambda x, training: x[rest[0]])
    if name == "hardtanh" and list(options.values()) == [0.0, 6.0]:
        return Operation(site, group, "relu6", lambda x, training: F.relu6(x))
    given = list(rest)
    while name == "avg_pool2d" and given and given[-1] in (None, 0, False, True):
        given.pop()  # as they are by default
    shown = [str(each) for each in given]
    shown += [f"{key}={value}" for key, value in options.items() if DEFAULTS.get(key, "") != value]
    label = f"{name}({', '.join(shown)})" if shown else name
    return Operation(site, group, label, lambda x, training: function(x, *rest, **options))


def is_sum(args: Sequence[Any]) -> bool:
    """Return whether two tensors of real numbers are added, and not a number to a counter."""
    return len(args) > 1 and all(isinstance(x, Tensor) and x.is_floating_point() for x in args[:2])


def sliced(index: Any) -> str:
    """Return an index as it is written."""
    if not isinstance(index, slice):
        return "..." if index is Ellipsis else str(index)
    first, last = ("" if each is None else str(each) for each in (index.start, index.stop))
    return f"{first}:{last}" + ("" if index.step is None else f":{index.step}")


def trace(network: nn.Module, images: Tensor, training: bool) -> list[Event]:
    """Return what happens in a pass, as far as it comes."""
    network.train(training)
    tracing = Tracing(network)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), tracing:
            torch.manual_seed(SEED)
            network(images)
    except Exception:  # what is seen until then is what is asked for
        pass
    finally:
        for handle in tracing.handles:
            handle.remove()
    return tracing.events


def exchange(network: nn.Module, changes: Mapping[Site, Change]) -> None:
    """Let a network call something else at some sites."""
    mode, right = Exchanging(network, changes), network.forward

    def forward(*inputs: Any) -> Any:
        with mode:
            return right(*inputs)

    network.forward = forward


def left_out(func: Any, args: Any, kwargs: Any, training: bool) -> Any:
    """Return the argument as it is."""
    return args[0]


def second_alone(func: Any, args: Any, kwargs: Any, training: bool) -> Any:
    """Return the second argument as it is."""
    return args[1]


def first_detached(func: Any, args: Any, kwargs: Any, training: bool) -> Any:
    """Let no gradient through the first argument."""
    return func(args[0].detach(), *args[1:], **kwargs)


def second_detached(func: Any, args: Any, kwargs: Any, training: bool) -> Any:
    """Let no gradient through the second argument."""
    return func(args[0], args[1].detach(), *args[2:], **kwargs)


def instead(other: Operation) -> Change:
    """Return the change to what another operation does."""

    def change(func: Any, args: Any, kwargs: Any, training: bool) -> Any:
        assert other.apply is not None
        result = other.apply(args[0], training)
        if other.group == "pool":  # one keeps sizes of one, another does not
            like = func(*args, **kwargs)
            if like.shape != result.shape and like.numel() == result.numel():
                return result.reshape(like.shape)
        return result

    return change


def reordered(order: Sequence[int]) -> Change:
    """Return the change to another order of what is put together."""

    def change(func: Any, args: Any, kwargs: Any, training: bool) -> Any:
        return func([args[0][place] for place in order], *args[1:], **kwargs)

    return change
