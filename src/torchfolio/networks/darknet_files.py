"""Files of Darknet, the program of YOLO's authors: a header, then the numbers of all layers.

The header is three 32-bit integers (major and minor version, revision) and the pictures that were
seen in training: 64 bits from version 0.2 on, 32 bits before (``load_weights_upto`` of its
``parser.c``). All is little-endian. Nothing tells where a layer ends: the network does.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchfolio.errors import FolioError

KEY = "darknet"  # under which a network finds the numbers
HEADS = {b"\0\0\0\0" + bytes([minor, 0, 0, 0]) for minor in (1, 2)}  # version 0.1 and 0.2


def is_darknet(head: bytes) -> bool:
    """Return whether a file that begins so is one of Darknet's."""
    return head[:8] in HEADS


def read_darknet(path: Path) -> dict[str, Tensor]:
    """Return the numbers of a file, in its order. Raises ``FolioError`` where it is cut short."""
    content = path.read_bytes()
    start = 20 if content[4] >= 2 else 16
    if len(content) <= start or (len(content) - start) % 4:
        raise FolioError(
            f"{path} is a file of Darknet's and is cut short ({len(content):,} bytes). Copy or "
            "download it again."
        )
    return {KEY: torch.from_numpy(np.frombuffer(content, "<f4", offset=start).copy())}


def numbers_by_layer(
    network: Any, weights: Mapping[str, Tensor], answers: int, beside: int = 5
) -> dict[str, Tensor]:
    """Return weights with the numbers of a file under a network's names.

    Their order is that of its ``convolutions()``: of each shift, scale, mean and variance of its
    batch norm, or its bias, and then its kernel. The layers with a bias are the last ones, with
    ``answers`` a place of ``beside`` values and a score for each class; a file may be of other
    classes. It may end after any layer. Raises ``ValueError`` where it ends within one.
    """
    if KEY not in weights:
        return dict(weights)
    numbers, start = weights[KEY], 0
    outputs = answers * (beside + classes_of(network, len(numbers), answers, beside))
    found: dict[str, Tensor] = {}
    names = {id(each): name for name, each in network.named_modules()}
    layers = list(network.convolutions())
    for layer, after in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, nn.BatchNorm2d) or start == len(numbers):
            continue
        name, shape = names[id(layer)], list(layer.weight.shape)
        parts = {}
        if layer.bias is None:
            for part in ("bias", "weight", "running_mean", "running_var"):
                parts[f"{names[id(after)]}.{part}"] = shape[:1]
        else:
            shape[0] = outputs
            parts[f"{name}.bias"] = shape[:1]
        for part, size in (parts | {f"{name}.weight": shape}).items():
            end = start + math.prod(size)
            if end > len(numbers):
                raise ValueError(
                    f"the file has {len(numbers):,} numbers and ends within {name}: it is of "
                    "another network"
                )
            found[part] = numbers[start:end].view(size)
            start = end
    if start < len(numbers):
        raise ValueError(f"the file has {len(numbers) - start:,} numbers more than the network")
    return found


def classes_of(network: Any, numbers: int, answers: int, beside: int) -> int:
    """Return how many classes a file of so many numbers is of.

    Where it ends before the last layer nothing tells, and the network's are taken.
    """
    own = sum(
        each.numel()
        for layer in network.convolutions()
        if not isinstance(layer, nn.BatchNorm2d) and layer.bias is not None
        for each in layer.parameters()
    )
    statistics = sum(each.numel() for each in network.buffers() if each.ndim)
    rest = sum(each.numel() for each in network.parameters()) + statistics - own
    outputs, left = divmod(numbers - rest, own // (answers * (beside + network.num_classes)))
    fits = not left and outputs % answers == 0 and outputs // answers > beside
    return outputs // answers - beside if fits else network.num_classes
