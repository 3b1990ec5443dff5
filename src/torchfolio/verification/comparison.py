"""Two observations side by side: how far apart, and where first."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torchfolio.verification.observation import Observation

# A gradient that should be zero (a bias before a batch norm) is rounding error; it is measured
# against a tenth of the largest gradient of its layer.
GRADIENT_FLOOR = 0.1


@dataclass(frozen=True)
class Difference:
    """How far one tensor is from the reference's, relative to the largest value there.

    ``kind`` is "layer", "outputs", "gradient" or "buffer"; ``note`` says what a number cannot. Of a
    layer, ``side`` is "input" or "output", and ``call`` counts its calls.
    """

    kind: str
    name: str
    relative: float
    note: str = ""
    side: str = ""
    call: int = 0


@dataclass(frozen=True)
class Fault:
    """Where two observations first differ, in words and by name.

    ``layer`` is the layer that differs and ``side`` what of it: its "input", its "output" (in its
    ``call``), a "gradient", a "buffer", or the "outputs" of the network, which come after it.
    ``agreed`` is the last layer before it whose output agrees.
    """

    text: str
    layer: str = ""
    side: str = ""
    call: int = 0
    agreed: str = ""


def relative(
    expected: Tensor, found: Tensor, floor: float = 0.0, largest: float | None = None
) -> tuple[float, str]:
    """Return max|a - b| / max|a| (infinite where shapes or finiteness differ), and a note.

    ``floor`` is the least to divide by, ``largest`` max|a| where it is known.
    """
    if expected.shape != found.shape:
        return float("inf"), f"its shape is {_shown(found)}, not {_shown(expected)}"
    if expected.numel() == 0:
        return 0.0, ""
    largest = max(extreme(expected) if largest is None else largest, floor)
    if largest < float("inf") and torch.equal(expected, found):
        return 0.0, ""
    distance = extreme(expected.double() - found)
    if distance != distance:  # NaN
        return float("inf"), "it is not finite"
    if distance == 0:
        return 0.0, ""
    return (distance / largest if largest > 0 else float("inf")), ""


def extreme(values: Tensor) -> float:
    """Return the largest absolute value, not-a-number where there is one, 0 of no values."""
    if values.numel() == 0:
        return 0.0
    low, high = torch.aminmax(values)
    return max(-float(low), float(high)) if low == low else float("nan")


def _shown(tensor: Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape)


def compare(expected: Observation, found: Observation) -> Iterator[Difference]:
    """Yield the difference of every layer, in the reference's order, then of everything else.

    Layers that only one of the two has are passed over: what they do shows in the next.
    """
    for (name, side, call), tensor in expected.layers.items():
        other = found.layers.get((name, side, call))
        if other is not None:
            yield Difference("layer", name, *relative(tensor, other), side, call)
    if expected.outputs is not None and found.outputs is not None:
        yield Difference("outputs", "outputs", *relative(expected.outputs, found.outputs))
    if found.error:
        return
    extremes = {name: extreme(tensor) for name, tensor in expected.gradients.items()}
    largest: dict[str, float] = {}
    for name, value in extremes.items():
        layer = name.rpartition(".")[0]
        largest[layer] = max(largest.get(layer, 0.0), value)
    for name, tensor in expected.gradients.items():
        other = found.gradients.get(name)
        if other is None:
            yield Difference("gradient", name, float("inf"), "it is missing: nothing reaches it")
            continue
        floor = GRADIENT_FLOOR * largest[name.rpartition(".")[0]]
        yield Difference("gradient", name, *relative(tensor, other, floor, extremes[name]))
    for name, tensor in expected.buffers.items():
        other = found.buffers.get(name)
        if other is not None:
            yield Difference("buffer", name, *relative(tensor, other))


def first_layer(differences: list[Difference], tolerance: float) -> Fault | None:
    """Return where the layers first differ by more than the tolerance; None where they agree."""
    agreed = ""
    for each in differences:
        if each.kind != "layer":
            continue
        if each.relative <= tolerance:
            if each.side == "output":
                agreed = each.name
            continue
        if each.side == "output" and agreed.startswith(f"{each.name}."):
            place = f"{each.name}, after {agreed}: the output"
        elif each.side == "output":
            place = f"{each.name}: the output"
        elif agreed:
            place = f"between {agreed} and {each.name}: the input of {each.name}"
        else:
            place = f"before {each.name}: its input"
        text = f"{place} differs{_amount(each)}"
        return Fault(text, each.name, each.side, each.call, agreed)
    return None


def others(differences: list[Difference], tolerance: float) -> list[Fault]:
    """Return the outputs, gradients and buffers that differ by more than the tolerance."""
    result = []
    for kind in ("outputs", "gradient", "buffer"):
        all_of_kind = [each for each in differences if each.kind == kind]
        wrong = [each for each in all_of_kind if each.relative > tolerance]
        if not wrong:
            continue
        more = f", and {len(wrong) - 1} more {kind}s" if len(wrong) > 1 else ""
        if kind == "outputs":
            last = _last_that_agrees(differences, tolerance)
            text = f"the outputs differ{_amount(wrong[0])}"
            result.append(Fault(text, last, "outputs", agreed=last))
        elif kind == "buffer":
            name = wrong[0].name
            text = f"buffer {name} after the pass differs{_amount(wrong[0])}{more}"
            result.append(Fault(text, name.rpartition(".")[0], "buffer"))
        else:
            result.append(_gradient(all_of_kind, wrong, more))
    return result


def _gradient(gradients: list[Difference], wrong: list[Difference], more: str) -> Fault:
    """Return the wrong gradient that is nearest to the cause: they come from behind, so the last.

    Where those before it are wrong as well, it got lost on its way from the next one that is right.
    """
    last = gradients.index(wrong[-1])
    after = gradients[last + 1 : last + 2]
    still = f"; that of {after[0].name} is right" if after else ""
    text = f"gradient of {wrong[-1].name} differs{_amount(wrong[-1])}{more}{still}"
    lost = all(each in wrong for each in gradients[:last])
    name = after[0].name if after and lost else wrong[-1].name
    return Fault(text, name.rpartition(".")[0], "gradient")


def _last_that_agrees(differences: list[Difference], tolerance: float) -> str:
    """Return the last layer whose output agrees."""
    names = [
        each.name
        for each in differences
        if (each.kind, each.side) == ("layer", "output") and each.relative <= tolerance
    ]
    return names[-1] if names else ""


def _amount(difference: Difference) -> str:
    if difference.note:
        return f": {difference.note}"
    whose = "their" if difference.kind == "outputs" else "its"
    return f" by {difference.relative:.1e} of {whose} largest value"
