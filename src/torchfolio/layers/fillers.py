"""Caffe's fillers: how its networks draw their initial weights."""

from torch import nn


def xavier(layer: nn.Conv2d | nn.Linear, bias: float = 0.0) -> None:
    """Draw weights from U(-sqrt(3 / fan-in), sqrt(3 / fan-in)); every bias starts at ``bias``.

    These are Caffe's fillers "xavier" and "constant". The first reads the fan-in alone; Glorot and
    Bengio (2010) take the mean of fan-in and fan-out.
    """
    bound = (3 / layer.weight[0].numel()) ** 0.5
    nn.init.uniform_(layer.weight, -bound, bound)
    nn.init.constant_(layer.get_parameter("bias"), bias)
