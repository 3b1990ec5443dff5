"""Which values of a person's own module are which of a canonical network's.

Names that agree decide. Otherwise layers are laid side by side in the order in which they run, by
the sizes of their values; what runs in another order (a projection before its block) is then
matched by its sizes alone, and what stands in the same place with other sizes by its place.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from torchfolio.errors import RequestError, unknown
from torchfolio.verification.grading.alignment import aligned
from torchfolio.verification.grading.sizes import (
    Layers,
    Size,
    is_leaf,
    kind_of,
    signatures,
    size_of,
    sizes,
)

# W_q, to_k, value, v_proj: which of the projections of attention a layer is
PROJECTION = re.compile(r"(?:.*[_.])?w?([qkv])(?:uery|uerys|ueries|ey|eys|alue|alues)?(?:_.*)?$")


@dataclass
class Match:
    """Names of theirs to ours, of ``layers`` and of ``values``.

    Several values of theirs may be one of ours: laid end to end, in the order that they have here.
    ``missing`` are parameters of ours, ``extra`` those of theirs without a partner; ``buffers`` are
    buffers of theirs without one. ``kinds`` are the values of theirs that are parameters where
    their partners are buffers, or the other way round. ``order`` has all layers of theirs as they
    run, and they are ``in_order`` where those of ours run so, too; ``error`` says why their module
    does not run, if it does not.
    """

    layers: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    buffers: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    in_order: bool = True
    error: str = ""

    @property
    def unmatched(self) -> int:
        """Return how many parameters are not a parameter's partner."""
        return len(self.missing) + len(self.extra) + len(self.kinds)

    def pieces(self) -> dict[str, list[str]]:
        """Return the values of theirs that make up each of ours."""
        found: dict[str, list[str]] = {}
        for theirs, ours in self.values.items():
            found.setdefault(ours, []).append(theirs)
        return found


def match(
    theirs: nn.Module, ours: nn.Module, images: Tensor, given: Mapping[str, str] | None = None
) -> Match:
    """Match the values of two modules, the first a person's; ``given`` pairs overrule."""
    left, right = own_values(theirs), own_values(ours)
    ran, error = running_order(theirs, images, list(left))
    ours_ran, _ = running_order(ours, images, list(right))
    free = [*ran, *(name for name in left if name not in set(ran))]
    wanted = [*ours_ran, *(name for name in right if name not in set(ours_ran))]
    result, ours_order = Match(order=list(free), error=error), list(wanted)

    def take(pairs: Sequence[tuple[str, str]]) -> None:
        for one, other in pairs:
            result.layers[one] = other
            result.values.update(tensors(one, other, left[one], right[other]))
        for names, gone in ((free, {a for a, _ in pairs}), (wanted, {b for _, b in pairs})):
            names[:] = [name for name in names if name not in gone]

    def take_joined(ones: list[str], other: str) -> None:
        result.layers[ones[0]] = other
        result.values.update(cut(ones, other, left, right[other]))
        free[:] = [name for name in free if name not in ones]
        wanted.remove(other)

    for other, ones in by_request(given or {}, left, right).items():
        if len(ones) == 1:
            take([(ones[0], other)])
        else:
            take_joined(ones, other)
    take(by_name(free, wanted, left, right))
    for ones, other in projections(free, wanted, left, right):
        take_joined(ones, other)
    whole = (list(free), list(wanted))
    one, same = signatures(free, left), signatures(wanted, right)
    anchors = [(free[a], wanted[b]) for a, b in aligned(one, same)]
    take(anchors)
    take(by_sizes(free, wanted, dict(zip(whole[0], one, strict=True)),
                  dict(zip(whole[1], same, strict=True))))  # fmt: skip
    some = set(free) & set(ran) if error else set(free)  # the others are in no order
    take(by_place(whole, anchors, some, set(wanted), theirs, ours))
    take(by_sizes(free, wanted, {n: sizes(left[n]) for n in free},
                  {n: sizes(right[n]) for n in wanted}))  # fmt: skip
    result.values.update(loose(result, theirs, ours))
    rank = {name: place for place, name in enumerate(ours_order)}
    ranks = [rank[result.layers[name]] for name in result.order if name in result.layers]
    result.in_order = ranks == sorted(ranks)
    note_rest(result, theirs, ours)
    return result


def note_rest(result: Match, theirs: nn.Module, ours: nn.Module) -> None:
    """Note what is without a partner."""
    taken = set(result.values.values())
    wanted = [name for name, _ in ours.named_parameters()]
    trained = [name for name, _ in theirs.named_parameters()]
    result.missing = [name for name in wanted if name not in taken]
    pairs = result.values.items()
    result.kinds = [one for one, other in pairs if (one in trained) != (other in wanted)]
    result.extra = [name for name in trained if name not in result.values]
    result.buffers = [
        name
        for name, value in theirs.state_dict().items()
        if isinstance(value, Tensor)
        and name not in {*result.values, *trained}
        and not name.endswith("num_batches_tracked")
    ]


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


def running_order(module: nn.Module, images: Tensor, names: list[str]) -> tuple[list[str], str]:
    """Return layers in the order of their first call, and the error that stopped the pass, if any.

    Layers that are never called are not among them.
    """
    order: dict[str, None] = {}
    handles = []
    for name in names:
        layer = module.get_submodule(name) if name else module
        handles.append(
            layer.register_forward_pre_hook(lambda *_, name=name: order.setdefault(name))
        )
    training, error = module.training, ""
    try:
        with torch.no_grad():
            module.eval()(images)
    except Exception as problem:  # a person's code may fail in any way
        error = f"{type(problem).__name__}: {problem}"
    finally:
        module.train(training)
        for handle in handles:
            handle.remove()
    return list(order), error


def by_request(given: Mapping[str, str], left: Layers, right: Layers) -> dict[str, list[str]]:
    """Return the layers of theirs that the person gave to each of ours."""
    found: dict[str, list[str]] = {}
    for one, other in given.items():
        if one not in left:
            raise unknown("layer with values in your module", one, list(left))
        if other not in right:
            raise unknown("layer with values in the network", other, list(right))
        found.setdefault(other, []).append(one)
    for other, ones in found.items():
        total = sum(value.numel() for one in ones for value in left[one].values())
        wanted = sum(value.numel() for value in right[other].values())
        if len(ones) > 1 and total != wanted:
            raise RequestError(
                f"The map gives {other} to {' and '.join(ones)}, which together have {total:,} "
                f"values, not {wanted:,}."
            )
    return found


def by_name(
    free: list[str], wanted: list[str], left: Layers, right: Layers
) -> list[tuple[str, str]]:
    """Return pairs of one name, where at least half of the layers have a namesake of one size."""
    both = [name for name in free if name in set(wanted)]
    alike = [name for name in both if sizes(left[name]) == sizes(right[name])]
    return [(name, name) for name in both] if both and 2 * len(alike) >= len(wanted) else []


def projections(
    free: list[str], wanted: list[str], left: Layers, right: Layers
) -> list[tuple[list[str], str]]:
    """Return the layers of theirs that side by side are one of ours: queries, keys and values.

    In the order in which they run, unless their names say which is which.
    """
    whole = {sizes(left[name]) for name in free}
    linear = [name for name in free if any(value.dim() == 2 for value in left[name].values())]
    parents = dict.fromkeys(name.rpartition(".")[0] for name in linear)
    groups = [[n for n in linear if n.rpartition(".")[0] == parent] for parent in parents]
    found = []
    for other in wanted:
        own = [value for value in right[other].values() if value.dim() == 2]
        if len(own) != 1 or sizes(right[other]) in whole:
            continue
        for group in groups:
            if ones := run_of(group, size_of(own[0]), left):
                found.append((ones, other))
                groups.remove(group)
                break
    return found


def run_of(group: list[str], size: Size, left: Layers) -> list[str]:
    """Return consecutive layers of a group that have this size together; empty where none have."""
    rows: dict[str, int] = {}
    for name in group:
        own = sizes(left[name])
        if len(own) == 1 and own[0][1] == size[1]:
            rows[name] = own[0][0]
    named = {name: PROJECTION.match(name.rpartition(".")[2].lower()) for name in rows}
    known = sorted((found[1], name) for name, found in named.items() if found is not None)
    asked = sorted(known, key=lambda pair: "qkv".index(pair[0]))
    if len(asked) > 1 and sum(rows[name] for _, name in asked) == size[0]:
        return [name for _, name in asked]
    names = list(rows)
    for first in range(len(names)):
        for last in range(first + 2, len(names) + 1):
            if sum(rows[name] for name in names[first:last]) == size[0]:
                return names[first:last]
    return []


def cut(ones: list[str], other: str, left: Layers, ours: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the values of several layers under the names of ours that they make up."""
    found: dict[str, str] = {}
    for name, value in ours.items():
        parts = {
            full(one, key): each.numel()
            for one in ones
            for key, each in left[one].items()
            if each.dim() == value.dim()
        }
        if sum(parts.values()) == value.numel():
            found |= dict.fromkeys(parts, full(other, name))
    return found


def by_sizes(
    free: list[str],
    wanted: list[str],
    one: Mapping[str, tuple[Size, ...]],
    other: Mapping[str, tuple[Size, ...]],
) -> list[tuple[str, str]]:
    """Return pairs of what is left, by sizes alone."""
    rest, found = list(wanted), []
    for name in free:
        alike = next((each for each in rest if other[each] == one[name]), None)
        if alike is not None:
            rest.remove(alike)
            found.append((name, alike))
    return found


def by_place(
    whole: tuple[list[str], list[str]],
    anchors: list[tuple[str, str]],
    free: set[str],
    wanted: set[str],
    theirs: nn.Module,
    ours: nn.Module,
) -> list[tuple[str, str]]:
    """Return pairs of what is left between two layers that are paired, where each side has as many.

    These are layers of one kind and other sizes.
    """
    found: list[tuple[str, str]] = []
    edges = [(-1, -1)]
    edges += [(whole[0].index(one), whole[1].index(other)) for one, other in anchors]
    edges.append((len(whole[0]), len(whole[1])))
    for (a, b), (c, d) in pairwise(edges):
        left = [name for name in whole[0][a + 1 : c] if name in free]
        right = [name for name in whole[1][b + 1 : d] if name in wanted]
        for kind in {kind_of(ours, name): None for name in right}:
            some = [name for name in left if kind_of(theirs, name) == kind]
            like = [name for name in right if kind_of(ours, name) == kind]
            if len(some) == len(like):
                found += zip(some, like, strict=True)
    return found


def tensors(
    one: str, other: str, theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]
) -> dict[str, str]:
    """Return the values of a matched layer by full names.

    Values of equal names first, then parameters with parameters and buffers with buffers, then any;
    all of equal sizes.
    """
    found: dict[str, str] = {}
    free = {name: value for name, value in ours.items() if value.dim() > 0}
    for rule in ("name", "kind", "size"):
        for name, value in theirs.items():
            if value.dim() == 0 or full(one, name) in found:
                continue
            for key, each in free.items():
                trained = isinstance(value, nn.Parameter) == isinstance(each, nn.Parameter)
                fits = {"name": name == key, "kind": trained, "size": True}[rule]
                if fits and value.numel() == each.numel():
                    found[full(one, name)] = full(other, key)
                    del free[key]
                    break
    return found


def loose(result: Match, theirs: nn.Module, ours: nn.Module) -> dict[str, str]:
    """Match what of ours stands beside layers, such as tokens, with what is left, in order."""
    taken = set(result.values.values())
    free = {name: p for name, p in theirs.named_parameters() if name not in result.values}
    found = {}
    for name, value in ours.named_parameters():
        if name in taken or is_leaf(ours, name.rpartition(".")[0]):
            continue
        alike = next((key for key, each in free.items() if each.numel() == value.numel()), None)
        if alike is not None:
            found[alike] = name
            del free[alike]
    return found


def full(layer: str, name: str) -> str:
    """Return the name of a layer's value."""
    return f"{layer}.{name}" if layer else name
