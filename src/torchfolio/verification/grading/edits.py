"""Changes of a network that may explain what a person's module does otherwise.

What a change is, in which other places it may be meant, and the changes that are known: the
departures.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from typing import Any

import torch
from torch import nn

from torchfolio.networks.build import build
from torchfolio.networks.catalogue import Card, find_card
from torchfolio.verification.departures import DEPARTURES, Departure
from torchfolio.verification.grading.gaps import norms_then_activations
from torchfolio.verification.grading.matching import own_values, running_order
from torchfolio.verification.grading.operations import Event, Site

Place = Any  # a layer's name, a site, or a norm and the site after it


@dataclass(frozen=True)
class Edit:
    """A change ``plant(network, places)``, by its ``name`` and in words.

    ``spreads`` says that it may be meant in other places as well. ``known`` marks the departures.
    """

    name: str
    text: str
    places: tuple[Place, ...]
    plant: Callable[[nn.Module, Sequence[Place]], None]
    spreads: bool = True
    known: bool = False


def role(network: nn.Module, name: str) -> tuple[type, str, type]:
    """Return what layers of one role have in common: type, name, and what they are in."""
    parent, _, own = name.rpartition(".")
    above = network.get_submodule(parent)
    listed = isinstance(above, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    return type(network.get_submodule(name)), "" if listed else own, type(above)


def wider(edit: Edit, network: nn.Module, events: Sequence[Event]) -> Iterator[Edit]:
    """Give the same change in all places of one role, and in all places of one kind."""
    if not edit.spreads:
        return
    place = edit.places[0]
    found: list[tuple[Place, ...]] = []
    if isinstance(place, Site):
        sites = [each.operation.site for each in events if each.operation is not None]
        sites = [site for site in dict.fromkeys(sites) if site.name == place.name]
        own = (type(network.get_submodule(place.layer)), place.number)
        found.append(
            tuple(s for s in sites if (type(network.get_submodule(s.layer)), s.number) == own)
        )
        found.append(tuple(sites))
    elif isinstance(place, tuple):
        found.append(tuple(norms_then_activations(network, events)))
    else:
        names = [name for name, _ in network.named_modules() if name]
        own_role = role(network, place)
        found.append(tuple(name for name in names if role(network, name) == own_role))
        found.append(tuple(name for name in names if role(network, name)[0] is own_role[0]))
    for places in dict.fromkeys(found):
        if len(places) > 1 and places != edit.places:
            yield replace(edit, places=places)


def departures(
    card: Card, network: nn.Module, active: Iterable[str], reshaping: bool = False
) -> Iterator[Edit]:
    """Give the departures of a network and of others of its page.

    First as they are planted, those of this network before those of others, then in the ``active``
    layers that are of their kind. ``reshaping`` asks for those that change the parameters, or the
    order in which layers run.
    """
    modules = dict(network.named_modules())
    homes = [(each, home) for each in DEPARTURES if (home := home_of(each, card)) is not None]
    homes = [each for each in homes if reshapes(each[0].name, each[1]) == reshaping]
    for own in (True, False):
        for departure, home in homes:
            layer = departure.on[home]
            if (home == card.name) == own and (own or layer in modules):
                yield Edit(departure.name, departure.description, (layer,),
                           partial(plant_all, departure), layer in modules, known=True)  # fmt: skip
    for name, (departure, home) in product(active, homes):
        layer = departure.on[home]
        if (
            not departure.here
            and name not in ("", layer)
            and fits(type(modules[name]), kind_at(home, layer))
        ):
            yield Edit(departure.name, departure.description, (name,),
                       partial(plant_all, departure), known=True)  # fmt: skip


def plant_all(departure: Departure, network: nn.Module, places: Sequence[Place]) -> None:
    """Plant a departure in several layers."""
    for place in places:
        departure.plant(network, place)


def home_of(departure: Departure, card: Card) -> str | None:
    """Return the network that a departure is planted in: this one, or one of the same page."""
    if card.name in departure.on:
        return card.name
    return next((n for n in departure.on if find_card(n).builder == card.builder), None)


@cache
def reshapes(name: str, network: str) -> bool:
    """Return whether a departure changes a network's parameters, or the order of its layers."""
    shapes, order = shape_of(network)
    other_shapes, other_order = shape_of(network, name)
    ran = min(len(order), len(other_order))  # it may fail on its way
    return shapes != other_shapes or order[:ran] != other_order[:ran]


@cache
def shape_of(network: str, departure: str = "") -> tuple[dict[str, torch.Size], list[str]]:
    """Return the parameters of a network by name and shape, and its layers as they run.

    With the departure of a name, if there is one.
    """
    with torch.device("meta"):
        made = build(network)
        for each in DEPARTURES:
            if each.name == departure:
                each.plant(made, each.on[network])
        images = torch.zeros(2, *find_card(network).input)
        order, _ = running_order(made, images, list(own_values(made)))
    return {name: each.shape for name, each in made.named_parameters()}, order


@cache
def kind_at(network: str, layer: str) -> type | None:
    """Return the type of a layer of a network; none where it is no layer."""
    with torch.device("meta"):
        modules = dict(build(network).named_modules())
    return type(modules[layer]) if layer in modules else None


def fits(kind: type, wanted: type | None) -> bool:
    """Return whether a departure of one kind of layer may be meant for another: of one page."""
    page = "torchfolio.networks."
    return wanted is not None and (
        kind is wanted or (kind.__module__ == wanted.__module__ and page in kind.__module__)
    )


def layer_of(place: Place) -> str:
    """Return the layer that a change is made in."""
    if isinstance(place, Site):
        return place.layer
    return place[0] if isinstance(place, tuple) else place


def labelled(places: Sequence[Place], back: Mapping[str, str]) -> str:
    """Return places in words: a layer with a partner by their name for it."""
    names = dict.fromkeys(layer_of(place) for place in places)
    words = [f"your {back[name]}" if name in back else name for name in names if name]
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return ", ".join(words[:3]) + more
