"""What a network's page may say of its class scores: their loss, and what they mean.

A page may have ``loss(outputs, targets)``, or ``loss(outputs, targets, criterion)``, which leaves
to the task how scores and targets are compared; ``probabilities(scores)``, of one class a picture;
and ``presences(scores)``, of each class by itself, without which a page with a loss of its own
cannot give several labels.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from torchfolio.tasks.base import Parts


def page_loss(
    parts: Parts, outputs: Any, targets: Tensor, criterion: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Return the loss of the network's page, or ``criterion`` where it has none."""
    own = getattr(parts.network, "loss", None)
    if own is None:
        return criterion(outputs, targets)
    return own(outputs, targets, criterion) if takes_criterion(own) else own(outputs, targets)


def takes_criterion(loss: Any) -> bool:
    """Return whether a page's loss leaves it to the task how scores and targets are compared."""
    return "criterion" in loss.__code__.co_varnames[: loss.__code__.co_argcount]


def probabilities(parts: Parts, scores: Tensor) -> Tensor:
    """Return the probability of each class (batch, classes): the page's, or the scores' softmax."""
    own = getattr(parts.network, "probabilities", None)
    return scores.softmax(1) if own is None else own(scores)


def presences(parts: Parts, scores: Tensor) -> Tensor:
    """Return the probability of each label by itself (batch, labels): the page's, or a sigmoid."""
    own = getattr(parts.network, "presences", None)
    return scores.sigmoid() if own is None else own(scores)
