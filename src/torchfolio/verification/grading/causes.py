"""Why a person's module is another function than a network: a search for small changes of it.

A change is planted into the network, and believed where the network then gives what the person's
module gives, up to a later place than before. Several changes may lie one after another, or two in
one place.
"""

import copy
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, combinations, product

import torch
from torch import nn

from torchfolio.networks.catalogue import Card
from torchfolio.verification.comparison import relative
from torchfolio.verification.grading import readings
from torchfolio.verification.grading.beside import Beside, default_type, give
from torchfolio.verification.grading.edits import Edit, departures, wider
from torchfolio.verification.grading.gaps import gap
from torchfolio.verification.grading.matching import match
from torchfolio.verification.grading.operations import Event, trace
from torchfolio.verification.grading.parting import TOLERANCES, as_shaped, faults_of, reach
from torchfolio.verification.grading.standing import (
    AGREED,
    EVAL,
    TRAIN,
    Standing,
    apart,
    near,
    place_of,
    shapes,
)
from torchfolio.verification.observation import Observation, observe

KIND = torch.float64
PAIRS = 0.4  # of the time left, that two changes in one place are searched for
ROUNDS = 50  # changes, one after another, before the search ends


Better = tuple[Standing, list[Edit]]  # how far it goes with these changes more


@dataclass
class Causes:
    """The changes that were found; ``complete`` where they explain all, ``late`` out of time.

    ``layers`` are the names of theirs to those of the network with the changes.
    """

    edits: list[Edit]
    layers: dict[str, str]
    complete: bool = False
    late: bool = False


def find_causes(beside: Beside, card: Card, seconds: float) -> Causes:
    """Search for the changes that make the network of a card what the person's module is."""
    search = Search(beside, card, time.monotonic() + seconds)
    try:
        return search.run()
    finally:
        if search.beside is not beside:
            search.beside.close()


class Search:
    """The person's module beside the network with the changes that are believed so far."""

    def __init__(self, beside: Beside, card: Card, deadline: float) -> None:
        self.beside = self.first = beside
        self.card, self.deadline = card, deadline
        self.sizes: list[Edit] = []  # believed, of the network's values; planted into it
        self.changes: list[Edit] = []  # believed, of what it computes; planted into copies
        self.starts: set[str] = set()  # the names of departures that change first values alone

    def run(self) -> Causes:
        """Return what is found before the time is over."""
        self.ready(self.beside)
        standing = self.stand(self.beside, [])
        while standing is not None and not standing.agrees and len(self.changes) < ROUNDS:
            better = self.step(standing)
            if better is None or self.is_late():
                break
            standing = better
        complete = standing is not None and standing.agrees
        layers = self.beside.found.layers
        return Causes([*self.sizes, *self.changes], layers, complete, self.is_late())

    def step(self, standing: Standing) -> Standing | None:
        """Believe some change more, and return how far it goes; None where there is none.

        Another order of the layers is believed where it explains all and no single change does.
        """
        if standing.unmatched and (better := self.reshape(standing)) is not None:
            return better
        network = self.planted(self.beside, self.changes)
        if network is None or standing.fault is None:
            return None
        events = trace(network, self.beside.images.to(KIND), standing.mode == TRAIN)
        options = list(self.options(network, standing, events))
        known = [edit for edit in options if edit.known]
        best = self.single(known, None, standing, events)
        ordered = self.beside.found.in_order or standing.unmatched
        if not done(best) and not ordered:
            whole = self.reshape(standing, whole=True)
            if whole is not None:
                return whole
        read = [edit for edit in options if not edit.known]
        best = self.single(read, best, standing, events) or self.pair(options, standing, events)
        if best is None:
            return None
        self.changes += best[1]
        return best[0]

    def is_late(self) -> bool:
        """Return whether the time is over."""
        return time.monotonic() > self.deadline

    def ready(self, beside: Beside) -> None:
        """Make the network ready to be copied."""
        beside.network.to(KIND)
        give(beside.network, beside.values)

    def planted(self, beside: Beside, changes: Iterable[Edit]) -> nn.Module | None:
        """Return a copy of the network, with its parameters themselves, and with changes.

        None where they cannot be planted, or change first values.
        """
        network, changes = beside.network, list(changes)
        if any(edit.name in self.starts for edit in changes):
            return None
        parameters = list(network.parameters())
        before = [each._version for each in parameters]
        memo = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in parameters}
        result: nn.Module = copy.deepcopy(network, memo)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                for edit in changes:
                    edit.plant(result, edit.places)
        except Exception:  # it does not fit this form
            return None
        if [each._version for each in parameters] != before:
            give(network, beside.values)
            self.starts.add(changes[-1].name)
            return None
        return result.to(KIND)

    def refill(self, network: nn.Module, beside: Beside) -> None:
        """Give a copy the values to begin a pass with, but those that it shares."""
        shared = {name: p.data_ptr() for name, p in beside.network.named_parameters()}
        own = network.state_dict()
        give(network, {
            name: value for name, value in beside.values.items()
            if name in own and own[name].data_ptr() != shared.get(name)
        })  # fmt: skip

    def stand(
        self, beside: Beside, changes: list[Edit], probe: Standing | None = None
    ) -> Standing | None:
        """Return how far the network with changes agrees; None where its values are not as many.

        ``probe`` is the standing before: None, too, where its fault is not mended, which a part of
        a pass tells.
        """
        network = self.planted(beside, changes)
        if network is None or shapes(network) != shapes(beside.network):
            return None
        if probe is not None and not self.mends(network, beside, probe):
            return None
        unmatched = beside.found.unmatched
        edits = [*(edit for edit in self.sizes if edit.name == "layer"), *changes]
        hidden = set(chain.from_iterable(changed_in(edit) for edit in edits))
        for mode in (EVAL, TRAIN):
            self.refill(network, beside)
            expected = observe(network, beside.images.to(KIND), mode == TRAIN)
            for place in [each for each in expected.layers if each[:2] in hidden]:
                del expected.layers[place]
            found = beside.theirs(KIND, mode == TRAIN)
            faults = faults_of(expected, found)
            if faults:
                return Standing(unmatched, mode, place_of(faults[0], found), faults[0])
        return Standing(unmatched, AGREED, 0)

    def mends(self, network: nn.Module, beside: Beside, probe: Standing) -> bool:
        """Return whether a network has, where the fault was, what theirs has."""
        fault = probe.fault
        if fault is None or fault.side not in ("input", "output", "outputs"):
            return True
        theirs = beside.theirs(KIND, probe.mode == TRAIN)
        place = (fault.layer, fault.side, fault.call)
        wanted = theirs.outputs if fault.side == "outputs" else theirs.layers.get(place)
        self.refill(network, beside)
        try:
            own = reach(network, beside.images.to(KIND), probe.mode == TRAIN, fault)
        except Exception:  # it fails before that, or has no such layer
            return False
        if own is None or wanted is None:
            return own is None and wanted is None
        if fault.side != "outputs":
            shaped = as_shaped(Observation({place: wanted}), Observation({place: own}))
            if place not in shaped.layers:
                return False
            wanted = shaped.layers[place]
        return relative(own, wanted)[0] <= TOLERANCES[KIND]

    def single(
        self, options: list[Edit], best: Better | None, standing: Standing, events: list[Event]
    ) -> Better | None:
        """Return the change that goes furthest, in its place or in all that are like it."""
        passing = []
        for edit in options:
            if done(best) or self.is_late():
                return best
            found = self.try_([edit], standing)
            if found is not None:
                passing.append([edit])
                best = found if best is None or found[0].key > best[0].key else best
        return self.widen(best, passing, standing, events)

    def try_(self, more: list[Edit], standing: Standing) -> Better | None:
        """Return the standing with more changes, where it is better than it was."""
        if self.is_late():
            return None
        found = self.stand(self.beside, [*self.changes, *more], standing)
        return (found, more) if found is not None and found.key > standing.key else None

    def widen(
        self,
        best: Better | None,
        passing: list[list[Edit]],
        standing: Standing,
        events: list[Event],
    ) -> Better | None:
        """Return the best of what passes, each change in its place or in all that are like it."""
        network = self.beside.network
        for edits in passing:
            choices = [[edit, *wider(edit, network, events)] for edit in edits]
            for chosen in list(product(*choices))[1:]:
                if done(best):
                    return best
                found = self.try_(list(chosen), standing)
                if found is not None and (best is None or found[0].key > best[0].key):
                    best = found
        return best

    def pair(self, options: list[Edit], standing: Standing, events: list[Event]) -> Better | None:
        """Return two changes that mend a fault together; what was believed before comes first."""
        until = time.monotonic() + PAIRS * (self.deadline - time.monotonic())
        used = {(edit.name, edit.text) for edit in self.changes}
        options = sorted(options, key=lambda edit: (edit.name, edit.text) not in used)
        for one, other in combinations(options, 2):
            if time.monotonic() > until:
                break
            if one.places == other.places and one.known == other.known:
                continue
            for both in ([one, other], [other, one]):
                found = self.try_(both, standing)
                if found is not None:
                    return self.widen(found, [both], standing, events)
        return None

    def options(
        self, network: nn.Module, standing: Standing, events: list[Event]
    ) -> Iterator[Edit]:
        """Give what may be otherwise where the two part: the known departures first."""
        fault, beside = standing.fault, self.beside
        assert fault is not None
        found = beside.found
        ours = gap(events, fault, fault.layer, set(found.layers.values()))
        back = {ours: theirs for theirs, ours in found.layers.items()}
        seen = self.happens(standing.mode)
        theirs = gap(seen, fault, back.get(fault.layer, ""), set(found.layers))
        yield from departures(self.card, network, ours.active)
        yield from readings.settings(found, beside.module, network)
        yield from readings.functions(ours, theirs)
        yield from readings.additions(fault, ours, theirs)
        yield from readings.swaps(fault, network, events)
        if fault.side == "gradient":
            yield from readings.gradients(fault, found, beside.module, ours)

    def happens(self, mode: int) -> list[Event]:
        """Return what happens in their module, which is left as it was."""
        beside = self.beside
        beside.hand_over(KIND)
        with default_type(KIND):
            seen = trace(beside.module, beside.images.to(KIND), mode == TRAIN)
        beside.hand_over(KIND)
        return seen

    def reshape(self, standing: Standing, whole: bool = False) -> Standing | None:
        """Believe a change of the network's values, or of the order of its layers, if there is one.

        Known departures are tried first, then those that leave the fewest values without a partner;
        ``whole`` asks for one that explains all.
        """
        beside = self.beside
        places = near(beside.found, standing.fault)
        known = departures(self.card, beside.network, places, reshaping=True)
        options = [
            *(each for edit in known for each in (edit, *wider(edit, beside.network, []))),
            *readings.sizes(beside.found, beside.module, beside.network),
            *readings.layers(beside.found, beside.module, beside.network, self.happens(EVAL)),
        ]
        closer: list[tuple[int, Edit]] = []
        for edit in options:
            left = self.unmatched(edit)
            if left is not None:
                closer.append((left, edit))
            if left == 0 < standing.unmatched:
                break
        for left, edit in sorted(closer, key=lambda pair: (not pair[1].known, pair[0])):
            network = self.planted(beside, [edit]) if left <= standing.unmatched else None
            if network is None or self.is_late():
                continue
            for parameter in network.parameters():  # no more the other network's own
                parameter.data = parameter.data.clone()
            other = Beside(beside.module, network, beside.images, beside.given)
            self.ready(other)
            after = self.stand(other, self.changes)
            if after is not None and self.is_better(after, standing, other, whole):
                if beside is not self.first:
                    beside.close()
                self.sizes.append(edit)
                self.beside = other
                return after
            other.close()
        return None

    def is_better(self, after: Standing, before: Standing, other: Beside, whole: bool) -> bool:
        """Return whether a network with other values or another order is to be believed.

        One that does not run, or parts earlier, is not, and another order alone only where it
        explains all.
        """
        if after.fault is not None and after.fault.side == "error" and not other.found.error:
            return False
        if (after.mode, after.place) < (before.mode, before.place):
            return False
        as_many = shapes(other.network) == shapes(self.beside.network)
        return after.key > before.key and (after.agrees or not (whole or as_many))

    def unmatched(self, edit: Edit) -> int | None:
        """Return how many values have no partner with a change; None where the change is no help.

        Numbers of their sizes that are no nearer tell most of them apart without a pass.
        """
        beside = self.beside
        network = None if self.is_late() else self.planted(beside, [edit])
        if network is None:
            return None
        gain = apart(beside.network, beside.module) - apart(network, beside.module)
        if gain < 0 or (gain == 0 and shapes(network) != shapes(beside.network)):
            return None
        with default_type(KIND):
            images = beside.images.to(KIND)
            return match(beside.module, network, images, beside.given).unmatched


def changed_in(edit: Edit) -> Iterator[tuple[str, str]]:
    """Give the layers and sides that are not compared: what is done there may be done behind it.

    Of the other places that a change spreads to only what they give: what they read shows whether
    it is to be believed so far.
    """
    for number, place in enumerate(edit.places):
        if isinstance(place, str):
            yield place, "output"
            if number == 0:
                yield place, "input"


def done(best: Better | None) -> bool:
    """Return whether nothing better can be found."""
    return best is not None and best[0].agrees
