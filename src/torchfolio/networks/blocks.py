"""The layers of a network in blocks, equal ones side by side counted once."""

import re
from dataclasses import dataclass
from itertools import groupby

from torchfolio.networks.summary import Layer, Summary

# "layer1.0.conv2" belongs to the block "layer1.0", "layers.3" and "fc" to themselves.
NUMBERED = re.compile(r".*?\.\d+(?=\.|$)")


@dataclass
class Block:
    """Consecutive layers below one numbered module, or one layer by itself.

    ``repeats`` are the blocks right after it that have the same layers and shapes. ``shortcut``
    says that the block adds its input to its output, ``activation`` what it then applies.
    """

    name: str
    layers: list[Layer]
    shortcut: bool
    activation: str
    repeats: list["Block"]

    @property
    def alike(self) -> list[tuple[str, str, tuple[int, ...], int]]:
        """What equal blocks have in common."""
        return [
            (layer.name.removeprefix(self.name), layer.words, layer.output, layer.parameters)
            for layer in self.layers
        ]


def blocks(summary: Summary) -> list[Block]:
    """Return the layers in blocks, each with those that repeat it."""
    result: list[Block] = []
    for name, layers in groupby(summary.layers, lambda layer: block_name(layer.name)):
        block = Block(name, list(layers), name in summary.joins, summary.joins.get(name, ""), [])
        last = result[-1] if result else None
        if (
            last
            and len(block.layers) > 1
            and (last.alike, last.shortcut)
            == (
                block.alike,
                block.shortcut,
            )
        ):
            last.repeats.append(block)
        else:
            result.append(block)
    return result


def block_name(layer: str) -> str:
    """Return the name of the block that a layer belongs to."""
    match = NUMBERED.match(layer)
    return match[0] if match else layer
