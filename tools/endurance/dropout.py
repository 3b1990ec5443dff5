"""Dropout for networks that have none, so that each update's random numbers matter, too."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.training import start

RATE = 0.2


def give_dropout() -> None:
    """Let every network that this process trains from now on have dropout before its last layer.

    No page is changed, and neither names nor shapes of weights: what is measured and used at the
    end is the network as it stands on its page, which is the same without training.
    """
    plain = start.make_parts

    def with_dropout(wanted: start.Start) -> Any:
        parts = plain(wanted)
        for part in parts.values():
            drop_before_last(part)
        return parts

    start.make_parts = with_dropout


def drop_before_last(network: nn.Module) -> None:
    """Drop a share of ``RATE`` of what the last linear layer reads, in training."""
    *_, last = (each for each in network.modules() if isinstance(each, nn.Linear))
    last.register_forward_pre_hook(drop)


def drop(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the layer's input with dropout."""
    return (F.dropout(inputs[0], RATE, module.training), *inputs[1:])
