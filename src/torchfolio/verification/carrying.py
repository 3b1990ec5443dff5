"""Names, shapes and values: whether weights go from a network to its reference and back."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from torchfolio.verification.reference import Reference

MOST = 5  # faults of one kind that are told one by one


def check_names(network: nn.Module, reference: Reference) -> list[str]:
    """Compare names, shapes, what is trained and, where it is canonical, the order."""
    expected, found = reference.state(), network.state_dict()
    trained = reference.parameters()
    parameters = dict(network.named_parameters())
    wrong = [f"{name} is missing" for name in expected if name not in found]
    wrong += [f"{name} is one too many" for name in found if name not in expected]
    for name in expected:
        if name not in found:
            continue
        ours, theirs = tuple(found[name].shape), tuple(expected[name].shape)
        if ours != theirs:
            wrong.append(f"{name} has the shape {ours}, not {theirs}")
        elif name in trained and name not in parameters:
            wrong.append(f"{name} is no parameter of its own")
        elif name in trained and not parameters[name].requires_grad:
            wrong.append(f"{name} is frozen: it takes no gradient")
        elif name not in trained and name in parameters and parameters[name].requires_grad:
            wrong.append(f"{name} is a parameter, not a buffer")
    if not wrong and reference.ordered and list(expected) != list(found):
        first = next(a for a, b in zip(found, expected, strict=True) if a != b)
        wrong.append(f"the order of the names differs from the reference's, first at {first}")
    return shortened(wrong)


def shortened(faults: list[str]) -> list[str]:
    """Return the first of many faults, and how many more there are."""
    more = len(faults) - MOST
    return [*faults[:MOST], f"and {more} more of the kind"] if more > 1 else faults


def check_carrying(
    network: nn.Module, reference: Reference, values: Mapping[str, Tensor]
) -> list[str]:
    """Carry values from the reference to the network and back; each must arrive unchanged."""
    nothing = {name: value.new_zeros(()).expand(value.shape) for name, value in values.items()}
    reference.load(values)
    network.load_state_dict(reference.state())
    reference.load(nothing)
    there = network.state_dict()
    reference.load(there)
    back = reference.state()
    return [
        f"{name} does not arrive unchanged when weights are carried {way}"
        for way, state in (("from the reference", there), ("to the reference", back))
        for name, value in values.items()
        if not torch.equal(state[name].to(value.dtype), value)
    ]
