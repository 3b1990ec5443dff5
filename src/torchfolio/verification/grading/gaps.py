"""What happens between the last layer before a fault and the fault itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from torchfolio.verification.comparison import Fault
from torchfolio.verification.grading.operations import Event, Operation, Site


@dataclass(frozen=True)
class Gap:
    """What happens between the last layer before a fault and the fault itself.

    ``operations`` are called there, the layers ``active`` run there, begin or end; ``before`` is
    the last layer with values that has ended.
    """

    operations: list[Operation]
    active: list[str]
    before: str


def gap(events: Sequence[Event], fault: Fault, layer: str, valued: set[str]) -> Gap:
    """Return what happens before a fault of a ``layer``; ``valued`` are the layers with values."""
    what = {"input": "begin", "output": "end"}.get(fault.side, "")
    stop = len(events)
    for place, event in enumerate(events):
        wide = fault.side in ("gradient", "buffer") and event.what == "end"
        if event.layer == layer and (wide or (event.what, event.call) == (what, fault.call)):
            stop = place
    edges = [
        place
        for place, event in enumerate(events[:stop])
        if event.what != "call" and event.layer in valued
        and not (fault.side in ("gradient", "buffer") and event.layer == layer)
    ]  # fmt: skip
    start = edges[-1] if edges else 0
    ended = [e.layer for e in events[: start + 1] if e.what == "end" and e.layer in valued]
    spans: dict[str, list[int]] = {}
    for place, event in enumerate(events):
        if event.what != "call":
            spans.setdefault(event.layer, []).append(place)
    active = [
        name
        for name, places in spans.items()
        if any(a <= stop and b >= start for a, b in zip(places[::2], places[1::2], strict=False))
        or (len(places) % 2 and places[-1] <= stop)  # it did not come to its end
    ]
    between = [e.operation for e in events[start:stop] if e.operation is not None]
    return Gap(between, active, ended[-1] if ended else "")


def norms_then_activations(
    network: nn.Module, events: Sequence[Event]
) -> Iterator[tuple[str, Site]]:
    """Give each norm and the activation that is called right after it."""
    norm = ""
    for event in events:
        layer = network.get_submodule(event.layer)
        if event.what == "end":
            is_norm = isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm)
            norm = event.layer if is_norm else norm
        elif event.what == "begin":
            norm = "" if any(True for _ in layer.parameters(recurse=False)) else norm
        elif norm and event.operation is not None:
            if event.operation.group == "activation":
                yield norm, event.operation.site
            norm = ""
