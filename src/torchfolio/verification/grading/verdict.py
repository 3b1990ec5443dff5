"""The verdict on a person's module, and how it is put into words."""

from dataclasses import dataclass, field

from torch import Tensor

from torchfolio.verification.comparison import Fault
from torchfolio.verification.grading.beside import Beside
from torchfolio.verification.grading.causes import Causes
from torchfolio.verification.grading.edits import Edit, labelled, layer_of
from torchfolio.verification.grading.matching import Match
from torchfolio.verification.judge import TYPES

MOST = 5  # faults of one kind that are told one by one


@dataclass
class Grade:
    """The verdict on a person's module.

    ``layer`` is the first layer of theirs that differs, ``side`` what of it (its "input", its
    "output", its "values", a "gradient", a "buffer", an "error", or the "outputs" of the whole,
    after it; "extra" where the network has no such layer), ``after`` their last layer before it
    that agrees, ``at`` the network's name of it.
    ``where`` says it all in the network's names. ``cause`` says why, where small changes of the
    network make it what theirs is; ``causes`` are their names, and they explain all if
    ``explained``. ``matched`` counts the values that were laid side by side.
    """

    name: str
    network: str
    passed: bool = False
    parameters: int = 0
    expected: int = 0
    matched: int = 0
    layer: str = ""
    side: str = ""
    after: str = ""
    at: str = ""
    where: str = ""
    cause: str = ""
    causes: list[str] = field(default_factory=list)
    explained: bool = False
    max_difference: float | None = None
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    layers: dict[str, str] = field(default_factory=dict)


def count(result: Grade, beside: Beside) -> None:
    """Say what one of the two has and the other has not."""
    found = beside.found
    if result.parameters != result.expected:
        result.failures.append(
            f"there are {result.parameters:,} parameters; {result.network} has {result.expected:,}"
        )
    ours, theirs = beside.network.state_dict(), beside.module.state_dict()
    resized = [
        (f"{one}.{name.rpartition('.')[2]}", name)
        for one, other in found.layers.items()
        for name in found.missing
        if name.rpartition(".")[0] == other and f"{one}.{name.rpartition('.')[2]}" in found.extra
    ]
    told = [
        f"{one} is {size(theirs[one])}; {other} of the network is {size(ours[other])}"
        for one, other in resized
    ]
    done = {name for pair in resized for name in pair}
    for names, values, words in (
        (found.missing, ours, "of the network has no partner in yours"),
        (found.extra, theirs, "of yours has no partner in the network"),
    ):
        told += [f"{name} ({size(values[name])}) {words}" for name in names if name not in done]
    for one in found.kinds:
        trained = one in dict(beside.module.named_parameters())
        kinds = ("a parameter", "a buffer") if trained else ("a buffer", "a parameter")
        told.append(f"{one} is {kinds[0]}, where the network has {kinds[1]}")
    result.failures += shortened(told)
    result.notes += shortened([
        f"{name} ({size(theirs[name])}) is a buffer of yours that the network has not"
        for name in found.buffers
        if name.rpartition(".")[0] not in alone(found)
    ])  # fmt: skip
    if found.unmatched and result.parameters == result.expected:
        result.notes.append("values that are cut otherwise are paired by --map, if by anything")


def shortened(told: list[str]) -> list[str]:
    """Return the first of many sentences, and how many more there are."""
    more = len(told) - MOST
    return [*told[:MOST], f"and {more} more of the kind"] if more > 1 else told


def size(value: Tensor) -> str:
    """Return a shape in words."""
    return "x".join(map(str, value.shape)) or "a number"


def look(result: Grade, beside: Beside) -> None:
    """Say where the two part: in the first type and mode in which they do."""
    found = beside.found
    result.where = result.layer = result.side = result.after = result.at = ""
    if found.error:
        result.failures.append(f"it does not run: {found.error}")
    told: set[tuple[str, str]] = set()
    for (kind, training), faults in beside.look():
        mode = f"{TYPES[kind]}, {'train' if training else 'eval'} mode"
        if faults and not result.where:
            place(result, faults[0], beside, training)
            result.where = f"{faults[0].text} ({mode})"
        new = [each for each in faults if (each.layer, each.side) not in told]  # not twice
        result.failures += [f"{each.text} ({mode})" for each in new]
        told |= {(each.layer, each.side) for each in new}
    worst = beside.worst
    result.max_difference = worst if worst < float("inf") else None
    if not beside.exact:
        result.notes.append("it does not run in float64; compared in float32 alone")
    if not result.where and found.unmatched:
        back = {ours: theirs for theirs, ours in found.layers.items()}
        values = [*found.extra, *found.kinds]
        layers = [each.rpartition(".")[0] for each in values] + [
            back.get(each.rpartition(".")[0], "") for each in found.missing
        ]
        order = list(found.layers)
        known = sorted((each for each in layers if each in order), key=order.index)
        result.layer, result.side = (known or layers)[0], "values"
        result.at = found.layers.get(result.layer, "")


def place(result: Grade, fault: Fault, beside: Beside, training: bool) -> None:
    """Name the layer of a fault, in their names and in the network's.

    A layer before it that the network has not comes first, if what it gives leads there past all
    that agrees; then one that lacks a value of its partner, where what the two give is not compared
    (a projection beside a whole attention).
    """
    found = beside.found
    back = {ours: theirs for theirs, ours in found.layers.items()}
    result.at, result.side = fault.layer, fault.side
    result.layer = back.get(fault.layer, fault.layer if fault.side == "error" else "")
    result.after = back.get(fault.agreed, "")
    if fault.side == "input" and result.layer in found.order:
        before = found.order[: found.order.index(result.layer)]
        start = before.index(result.after) if result.after in before else 0
        own = alone(found)
        extra = [each for each in (*before[start:], *before) if each in own]
        for name in beside.leading_to(result.layer, fault.call, extra, training)[:1]:
            result.layer, result.side, result.at = name, "extra", ""
            return
        lacking = {name.rpartition(".")[0] for name in found.missing}
        for name in before[start + 1 :]:
            if found.layers.get(name) in lacking and not beside.is_alike(name):
                result.layer, result.side, result.at = name, "values", found.layers[name]
                return


def alone(found: Match) -> set[str]:
    """Return the layers of theirs that have no partner."""
    return {name.rpartition(".")[0] for name in found.extra} - found.layers.keys() - {""}


def explain(result: Grade, beside: Beside, found: Causes) -> None:
    """Say which changes of the network make it what theirs is."""
    back = {ours: theirs for theirs, ours in beside.found.layers.items()}
    order = {name: place for place, (name, _) in enumerate(beside.network.named_modules())}
    kinds: dict[tuple[str, str], list[Edit]] = {}
    for edit in sorted(found.edits, key=lambda edit: order.get(layer_of(edit.places[0]), 0)):
        kinds.setdefault((edit.name, edit.text), []).append(edit)
    words = []
    for (name, text), edits in kinds.items():
        places = [place for edit in edits for place in edit.places]
        as_listed = edits[0].known and len(places) == 1
        where = "" if as_listed else labelled(places, back)
        words.append(f"{text} ({name})" + (f" in {where}" if where else ""))
    result.cause = "; ".join(words)
    result.causes = list(dict.fromkeys(name for name, _ in kinds))
    result.explained = found.complete
    if found.edits and not found.complete:
        result.notes.append("the probable cause explains the first difference, not all of them")
    if found.late:
        result.notes.append("the search for a cause ended for want of time")
