"""Changes that are read off a person's module where it and a network part.

Settings of a layer that its partner has otherwise, and functions that are called otherwise.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from typing import Any

from torch import Tensor, nn

from torchfolio.verification.comparison import Fault
from torchfolio.verification.departures.base import (
    change_input,
    change_output,
    replace,
    with_bias,
    without_bias,
)
from torchfolio.verification.grading.edits import Edit, Place
from torchfolio.verification.grading.gaps import Gap, norms_then_activations
from torchfolio.verification.grading.matching import Match
from torchfolio.verification.grading.operations import (
    Change,
    Event,
    Operation,
    exchange,
    first_detached,
    instead,
    left_out,
    reordered,
    second_alone,
    second_detached,
)
from torchfolio.verification.grading.sizes import is_leaf

PLAIN = (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)
SETTINGS = {  # of a layer of torch's, in words
    "stride": "stride", "padding": "padding", "dilation": "dilation", "groups": "groups",
    "padding_mode": "padding with", "kernel_size": "kernel", "in_channels": "input channels",
    "out_channels": "channels", "in_features": "inputs", "out_features": "units",
    "num_features": "channels", "eps": "epsilon", "momentum": "momentum", "affine": "affine",
    "track_running_stats": "running statistics",
}  # fmt: skip
SIZES = ("kernel_size", "groups", "in_channels", "out_channels", "in_features", "out_features",
         "num_features", "affine", "track_running_stats")  # fmt: skip
MANY = 4  # pieces put together, up to which every order is tried


def settings_of(theirs: nn.Module, ours: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Return the settings that two layers of one kind have otherwise: theirs and ours."""
    kind = next((each for each in PLAIN if type(ours) is each and isinstance(theirs, each)), None)
    if kind is None:
        return {}
    return {
        name: (getattr(theirs, name), getattr(ours, name))
        for name in SETTINGS
        if hasattr(ours, name) and hasattr(theirs, name)
        and getattr(theirs, name) != getattr(ours, name)
    }  # fmt: skip


def shown(value: Any) -> str:
    """Return a setting in words: of two equal numbers, one."""
    if isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    return f"{value:g}" if isinstance(value, float) else str(value)


def in_words(name: str, theirs: Any, ours: Any) -> str:
    """Return a setting of theirs and ours in words."""
    return f"{SETTINGS[name]} {shown(theirs)} for {shown(ours)}"


def settings(found: Match, module: nn.Module, network: nn.Module) -> Iterator[Edit]:
    """Give the settings that partners have otherwise, each in all places at once.

    A dilation with the padding that it asks for is one.
    """
    places: dict[tuple[tuple[str, Any, Any], ...], list[str]] = {}
    for one, other in found.layers.items():
        theirs, ours = module.get_submodule(one), network.get_submodule(other)
        own = {
            name: (name, left, right)
            for name, (left, right) in settings_of(theirs, ours).items()
            if name not in SIZES
        }
        if "dilation" in own and "padding" in own:
            places.setdefault((own["dilation"], own["padding"]), []).append(other)
        for each in own.values():
            places.setdefault((each,), []).append(other)
    for changes, names in places.items():
        values = {name: left for name, left, _ in changes}

        def plant(
            network: nn.Module, places: Sequence[Place], values: dict[str, Any] = values
        ) -> None:
            for place in places:
                layer: Any = network.get_submodule(place)
                for name, value in values.items():
                    setattr(layer, name, value)
                    if name == "padding" and not isinstance(value, str):
                        twice = [side for side in reversed(value) for _ in range(2)]
                        layer._reversed_padding_repeated_twice = twice

        words = " with ".join(in_words(*each) for each in changes)
        yield Edit(SETTINGS[changes[0][0]], words, tuple(names), plant, False)


def sizes(found: Match, module: nn.Module, network: nn.Module) -> Iterator[Edit]:
    """Give what makes the network's values as many as theirs: biases, and layers of other sizes."""
    more, fewer, words = [], [], []
    pairs: dict[str, str] = {}
    for one, other in found.layers.items():
        theirs, ours = module.get_submodule(one), network.get_submodule(other)
        if f"{one}.bias" in found.extra and getattr(ours, "bias", 0) is None:
            more.append(other)
        lacking = {f"{other}.bias", f"{other}.in_proj_bias"} & set(found.missing)
        if lacking and getattr(theirs, "bias", 0) is None:
            fewer.append(other)
        other_sizes = {k: v for k, v in settings_of(theirs, ours).items() if k in SIZES}
        if other_sizes and type(theirs) is type(ours):
            pairs[other] = one
            words += [in_words(name, *each) for name, each in other_sizes.items()]
    if more:
        yield Edit("bias", "a bias where the network has none", tuple(more),
                   lambda network, places: each_of(with_bias, network, places), False)  # fmt: skip
    if fewer:
        yield Edit("bias", "no bias where the network has one", tuple(fewer),
                   lambda network, places: each_of(without_bias, network, places),
                   False)  # fmt: skip
    if pairs:

        def plant(network: nn.Module, places: Sequence[Place]) -> None:
            for place in places:
                parent, _, name = place.rpartition(".")
                theirs = copy.deepcopy(module.get_submodule(pairs[place]))
                setattr(network.get_submodule(parent), name, theirs)

        told = list(dict.fromkeys(words))
        more = [f"{len(told) - 3} more"] if len(told) > 3 else []
        yield Edit("size", ", ".join(told[:3] + more), tuple(pairs), plant, False)


def layers(
    found: Match, module: nn.Module, network: nn.Module, events: Sequence[Event]
) -> Iterator[Edit]:
    """Give what makes the network's layers as many as theirs, by the ``events`` of their module.

    Layers without a partner are left out, or put in with what is called after them.
    """
    paired = set(found.layers.values())
    own = {name.rpartition(".")[0] for name in found.missing} - paired
    fewer = tuple(name for name in own if name and is_leaf(network, name))
    if fewer:
        yield Edit("layer", "a layer left out", fewer,
                   lambda network, places: each_of(leave_out, network, places), False)  # fmt: skip
    without = {name.rpartition(".")[0] for name in found.extra} - found.layers.keys()
    behind, before = chains_of(found, without, module, events)

    def plant(network: nn.Module, places: Sequence[Place]) -> None:
        for place in places:
            layer = network.get_submodule(place)
            if place in behind:
                put(layer, "behind", copies(module, behind[place]))
            if place in before:
                put(layer, "before", copies(module, before[place]))

    whole = tuple({**behind, **before})
    for places in dict.fromkeys([whole, *((place,) for place in whole)]):
        if places:
            yield Edit("layer", "a layer more", places, plant, False)


Chains = dict[str, list[str | Operation]]  # by a layer of ours


def chains_of(
    found: Match, without: set[str], module: nn.Module, events: Sequence[Event]
) -> tuple[Chains, Chains]:
    """Return the layers of theirs that have no partner, by the layers of ours around them.

    First those that read the very tensor that one of ours gives, as a norm after a convolution;
    then the others, before one of ours, with the functions that are called between.
    """
    behind: Chains = {}
    before: Chains = {}
    chain: list[str | Operation] = []
    last = ""  # the layer of ours that has just ended
    for event in events:
        if event.what == "end" and event.layer in without and is_leaf(module, event.layer):
            (behind.setdefault(last, []) if last else chain).append(event.layer)
        elif event.what == "end" and event.layer in found.layers:
            last = found.layers[event.layer]
        elif event.operation is not None:
            last = ""
            if chain and event.operation.apply is not None:
                chain.append(event.operation)
        elif event.what == "begin" and event.layer in found.layers:
            last = ""
            if chain:
                before[found.layers[event.layer]], chain = chain, []
        elif not event.direct:
            last = ""
    return behind, before


def copies(module: nn.Module, chain: Sequence[str | Operation]) -> list[nn.Module | Operation]:
    """Return copies of the layers of a chain, and its functions."""
    return [
        copy.deepcopy(module.get_submodule(each)) if isinstance(each, str) else each
        for each in chain
    ]


def leave_out(network: nn.Module, layer: str) -> None:
    """Put nothing in the place of a layer."""
    replace(network, layer, nn.Identity())


def put(layer: nn.Module, side: str, steps: Sequence[nn.Module | Operation]) -> None:
    """Put layers, kept in a layer, and functions in turn ``before`` or ``behind`` it."""
    chain: list[str | Operation] = []
    for step in steps:
        if isinstance(step, Operation):
            chain.append(step)
        else:
            name = f"{side}_{len(layer._modules)}"  # not that of an edit before
            layer.add_module(name, step)
            chain.append(name)

    def through(layer: nn.Module, x: Tensor) -> Tensor:
        for step in chain:
            if isinstance(step, Operation):
                assert step.apply is not None
                x = step.apply(x, layer.training)
            else:
                x = layer.get_submodule(step)(x)  # that of a copy in a copy
        return x

    if side == "before":
        layer.register_forward_pre_hook(lambda layer, inputs: (through(layer, inputs[0]),))
    else:
        layer.register_forward_hook(lambda layer, inputs, output: through(layer, output))


def each_of(
    change: Callable[[nn.Module, str], None], network: nn.Module, places: Sequence[Place]
) -> None:
    """Change several layers."""
    for place in places:
        change(network, place)


def at_sites(change: Change) -> Callable[[nn.Module, Sequence[Place]], None]:
    """Return the plant of a change at sites."""
    return lambda network, places: exchange(network, dict.fromkeys(places, change))


def functions(ours: Gap, theirs: Gap) -> Iterator[Edit]:
    """Give what may be called otherwise in the gap, by what theirs calls there."""
    for own in ours.operations:
        site = (own.site,)
        others = [
            each
            for each in theirs.operations
            if each.group == own.group and each.label != own.label and each.apply is not None
        ]
        for each in {each.label: each for each in others}.values():
            yield Edit("function", f"{each.label} for {own.label}", site, at_sites(instead(each)))
        if own.group == "sum":
            for change in (left_out, second_alone):
                yield Edit("function", "a sum left out", site, at_sites(change))
        elif own.group == "cat":
            orders = permutations(range(own.pieces)) if own.pieces <= MANY else []
            for order in list(orders)[1:]:
                text = "what is put together, in another order"
                yield Edit("function", text, site, at_sites(reordered(order)))
        else:
            yield Edit("function", f"no {own.label}", site, at_sites(left_out))


def additions(fault: Fault, ours: Gap, theirs: Gap) -> Iterator[Edit]:
    """Give what theirs calls in the gap and the network does not: before or after a layer."""
    known = {each.label for each in ours.operations}
    for label, each in {each.label: each for each in theirs.operations}.items():
        apply = each.apply
        if apply is None or label in known or each.group == "pool":
            continue

        def before(network: nn.Module, places: Sequence[Place], apply: Any = apply) -> None:
            for place in places:
                layer = network.get_submodule(place)
                change_input(layer, in_mode(apply, layer))

        def after(network: nn.Module, places: Sequence[Place], apply: Any = apply) -> None:
            for place in places:
                layer = network.get_submodule(place)
                change_output(layer, in_mode(apply, layer))

        def last(network: nn.Module, places: Sequence[Place], apply: Any = apply) -> None:
            change_output(network, in_mode(apply, network))

        if fault.side == "outputs":
            yield Edit("function", f"{label} on the scores", ("",), last, False)
        if fault.side == "input":
            yield Edit("function", f"{label} before a layer", (fault.layer,), before)
        if ours.before:
            yield Edit("function", f"{label} after a layer", (ours.before,), after)


def gradients(fault: Fault, found: Match, module: nn.Module, ours: Gap) -> Iterator[Edit]:
    """Give what lets no gradient through: layers that take none, and what is cut off."""
    frozen = [
        other
        for one, other in found.layers.items()
        if not all(p.requires_grad for p in module.get_submodule(one).parameters(recurse=False))
    ]
    if frozen:
        yield Edit("frozen", "a layer that takes no gradient", tuple(frozen),
                   lambda network, places: each_of(freeze, network, places), False)  # fmt: skip
    if fault.layer:
        yield Edit("detached", "no gradient below a layer", (fault.layer,),
                   lambda network, places: each_of(detach, network, places))  # fmt: skip
    for own in ours.operations:
        if own.group == "sum":
            for change in (first_detached, second_detached):
                text = "no gradient through one side of a sum"
                yield Edit("detached", text, (own.site,), at_sites(change))


def freeze(network: nn.Module, layer: str) -> None:
    """Let a layer take no gradient."""
    for parameter in network.get_submodule(layer).parameters(recurse=False):
        parameter.requires_grad_(False)


def detach(network: nn.Module, layer: str) -> None:
    """Let no gradient go on from a layer to what it reads."""
    change_input(network.get_submodule(layer), lambda x: x.detach())


def swaps(fault: Fault, network: nn.Module, events: Sequence[Event]) -> Iterator[Edit]:
    """Give the activation before the norm that reads what differs, for after it."""
    applied = {e.operation.site: e.operation for e in events if e.operation is not None}
    for norm, site in norms_then_activations(network, events):
        if norm != fault.layer:
            continue

        def plant(network: nn.Module, places: Sequence[Place]) -> None:
            exchange(network, {site: left_out for _, site in places})
            for norm, site in places:
                apply = applied[site].apply
                layer = network.get_submodule(norm)
                change_input(layer, in_mode(apply, layer))

        text = f"{applied[site].label} before the norm, for after it"
        yield Edit("order", text, ((norm, site),), plant)


def in_mode(apply: Any, layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function of a tensor in the layer's mode."""
    return lambda x: apply(x, layer.training)
