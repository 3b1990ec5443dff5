"""Which values of a person's own module are which of a canonical network's.

Names that agree decide. Otherwise layers are laid side by side in the order in which they run, by
the shapes of their values; what runs in another order (a projection before its block) is then
matched by its shapes alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import torch
from torch import Tensor, nn

from torchfolio.errors import RequestError, unknown

Signature = tuple[tuple[int, ...], ...]


@dataclass
class Match:
    """Names of theirs to ours, of ``layers`` and ``values``; and what is without a partner."""

    layers: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)  # of ours
    extra: list[str] = field(default_factory=list)  # of theirs


def match(
    theirs: nn.Module, ours: nn.Module, images: Tensor, given: Mapping[str, str] | None = None
) -> Match:
    """Match the values of two modules, the first a person's; ``given`` pairs overrule."""
    left, right = own_values(theirs), own_values(ours)
    result = Match()
    for one, other in (given or {}).items():
        pair(result, left, right, one, other)
    free = [name for name in running_order(theirs, images, left) if name not in result.layers]
    taken = set(result.layers.values())
    wanted = [name for name in running_order(ours, images, right) if name not in taken]
    if {name: shapes(left[name]) for name in free} == {n: shapes(right[n]) for n in wanted}:
        same = [(name, name) for name in free]
    else:
        same = by_order(free, wanted, left, right)
    for one, other in same:
        result.layers[one] = other
    for one, other in result.layers.items():
        result.values |= tensors(one, other, left[one], right[other])
    loose(result, theirs.state_dict(), ours.state_dict())
    result.missing = [name for name in values_of(ours) if name not in set(result.values.values())]
    result.extra = [name for name in values_of(theirs) if name not in result.values]
    return result


def loose(result: Match, theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> None:
    """Match what is left by shapes alone: values that stand outside layers, such as tokens."""
    taken = set(result.values.values())
    free = {name: each for name, each in ours.items() if name not in taken and each.dim() > 2}
    for name, value in theirs.items():
        if name in result.values or value.dim() < 3:
            continue
        alike = [key for key, each in free.items() if each.shape == value.shape]
        if len(alike) == 1:
            result.values[name] = alike[0]
            del free[alike[0]]


def pair(
    result: Match,
    left: Mapping[str, dict[str, Tensor]],
    right: Mapping[str, dict[str, Tensor]],
    one: str,
    other: str,
) -> None:
    """Take a pair of layers that the person gave."""
    if one not in left:
        raise unknown("layer with values in your module", one, list(left))
    if other not in right:
        raise unknown("layer with values in the network", other, list(right))
    if other in result.layers.values():
        raise RequestError(f"The map gives {other} twice.")
    result.layers[one] = other


def own_values(module: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Return the layers that hold values themselves, and those values by their short names."""
    found: dict[str, dict[str, Tensor]] = {}
    kept = set(module.state_dict())
    for name, layer in module.named_modules():
        prefix = f"{name}." if name else ""
        own = dict(layer.named_parameters(recurse=False))
        own |= {k: v for k, v in layer.named_buffers(recurse=False) if prefix + k in kept}
        if own:
            found[name] = own
    return found


def values_of(module: nn.Module) -> list[str]:
    """Return the names of all values but counters of batches."""
    names = (name for name, value in module.state_dict().items() if isinstance(value, Tensor))
    return [name for name in names if not name.endswith("num_batches_tracked")]


def running_order(module: nn.Module, images: Tensor, layers: Iterable[str]) -> list[str]:
    """Return layers in the order of their first call; those never called come last."""
    names, order = list(layers), []
    handles = []

    def note(name: str) -> None:
        if name not in order:
            order.append(name)

    for name in names:
        layer = module.get_submodule(name) if name else module
        handles.append(layer.register_forward_pre_hook(lambda *_, name=name: note(name)))
    training = module.training
    try:
        with torch.no_grad():
            module.eval()(images)
    finally:
        module.train(training)
        for handle in handles:
            handle.remove()
    return order + [name for name in names if name not in order]


def shapes(values: Mapping[str, Tensor]) -> Signature:
    """Return what tells layers apart: the shapes of their values, biases and counters aside.

    A 1x1 convolution and a linear layer are alike.
    """
    kept = [value for value in values.values() if value.dim() > 1]
    kept = kept or [value for name, value in values.items() if name != "bias" and value.dim()]
    kept = kept or list(values.values())
    found = []
    for value in kept:
        size = tuple(value.shape)
        while len(size) > 2 and size[-1] == 1:
            size = size[:-1]
        found.append(size)
    return tuple(found)


def signatures(order: list[str], layers: Mapping[str, dict[str, Tensor]]) -> list[Signature]:
    """Return what tells layers in their order apart.

    Norms of one width are alike, so that the shapes of the layer before count as well.
    """
    found: list[Signature] = []
    before: Signature = ()
    for name in order:
        own = shapes(layers[name])
        flat = all(len(size) < 2 for size in own)
        found.append((*own, *before) if flat else own)
        before = before if flat else own
    return found


def by_order(
    free: list[str],
    wanted: list[str],
    left: Mapping[str, dict[str, Tensor]],
    right: Mapping[str, dict[str, Tensor]],
) -> list[tuple[str, str]]:
    """Return pairs by the order in which layers run, then by shapes alone."""
    one, other = signatures(free, left), signatures(wanted, right)
    found: list[tuple[str, str]] = []
    for block in SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks():
        found += zip(free[block.a :][: block.size], wanted[block.b :][: block.size], strict=True)
    done, over = {name for name, _ in found}, {name for _, name in found}
    rest = [place for place, name in enumerate(wanted) if name not in over]
    for place, name in enumerate(free):
        if name in done:
            continue
        alike = next((each for each in rest if other[each] == one[place]), None)
        if alike is not None:
            rest.remove(alike)
            found.append((name, wanted[alike]))
    return found


def tensors(
    one: str, other: str, theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]
) -> dict[str, str]:
    """Return the values of a matched layer by full names: of equal names, else of equal sizes."""
    found: dict[str, str] = {}
    left = {name: value for name, value in theirs.items() if value.dim() > 0}
    right = {name: value for name, value in ours.items() if value.dim() > 0}
    for name, value in left.items():
        candidates = [name] if name in right else list(right)
        for candidate in candidates:
            if right[candidate].numel() == value.numel() and full(other, candidate) not in (
                found.values()
            ):
                found[full(one, name)] = full(other, candidate)
                break
    return found


def full(layer: str, name: str) -> str:
    """Return the name of a layer's value."""
    return f"{layer}.{name}" if layer else name
