"""The layers of a network in groups, from the head back to the input.

Rates by layer (``optimizers.py``) and gradual unfreezing (``unfreezing.py``) go by these groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from torchfolio.networks.weights import head_names

LayerRates = dict[str, tuple[int, float]]  # of parameters by their names: steps, and rate
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Group:
    """Layers that go together: the name of the first, and the names of their parameters."""

    name: str
    parameters: tuple[str, ...]


def layer_groups(network: nn.Module) -> list[Group]:
    """Return every parameter of a network in one group, the head first, the input last.

    A group is a top-level module. Where exactly one of them is a chain of layers, or holds one
    (``features`` of VGG, ``encoder.layers`` of ViT), each member of the chain is a group; the
    stages of a ResNet are several chains, and stay whole. What has no matrix and no kernel (norms)
    belongs to the group before it, and parameters of the network itself or of what holds the chain
    (class token, position embeddings) to the first layer.
    """
    heads = head_names(network)
    opened = chain_of(network, heads)
    head, own = list[str](), list[str]()
    units: dict[str, list[str]] = {}
    wide: set[str] = set()
    for name, parameter in network.named_parameters():
        unit = unit_of(name.split(".")[:-1], opened)
        if not unit:
            own.append(name)
        elif unit in heads:
            head.append(name)
        else:
            units.setdefault(unit, []).append(name)
            wide |= {unit} if parameter.ndim > 1 else set()
    groups: list[tuple[str, list[str]]] = []
    for unit, names in units.items():
        if unit in wide or not groups:
            groups.append((unit, names))
        else:
            groups[-1][1].extend(names)
    (groups[0][1] if groups else head)[:0] = own
    ordered = [("+".join(heads), head), *reversed(groups)]
    return [Group(name, tuple(names)) for name, names in ordered]


def unit_of(path: Sequence[str], opened: set[str]) -> str:
    """Return the module that a parameter counts with; "" if it is that of an opened one itself.

    ``path`` is that of the module which has the parameter.
    """
    unit = ""
    for step in path:
        if unit not in opened:
            return unit
        unit = f"{unit}.{step}" if unit else step
    return "" if unit in opened else unit


def chain_of(network: nn.Module, heads: Sequence[str]) -> set[str]:
    """Return what is opened: the network (""), and its one chain with the module that holds it."""
    chains = []
    for name, child in network.named_children():
        if name in heads:
            continue
        if is_chain(child):
            chains.append({name})
        else:
            inner = [f"{name}.{key}" for key, each in child.named_children() if is_chain(each)]
            chains += [{name, *inner}] if len(inner) == 1 else []
    return {"", *chains[0]} if len(chains) == 1 else {""}


def is_chain(module: nn.Module) -> bool:
    """Return whether a module is a container of several layers that have parameters."""
    if not isinstance(module, CONTAINERS):
        return False
    return sum(any(True for _ in each.parameters()) for each in module.children()) > 1


def rates_by_layer(network: nn.Module, rate: float, decay: float) -> LayerRates:
    """Return how many steps each parameter is from the head, and ``rate * decay ** steps``.

    Howard and Ruder, 2018, Section 3.2 (discriminative fine-tuning, decay 1 / 2.6); for each layer
    of a transformer: Clark et al., 2020 (ELECTRA), and Bao et al., 2022 (BEiT).
    """
    return {
        name: (steps, rate * decay**steps)
        for steps, group in enumerate(layer_groups(network))
        for name in group.parameters
    }
