"""What an ensemble learns: how much each member's word counts, from validation data alone."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.errors import RequestError
from torchfolio.tasks.combination import LEAST, PENALTY, Stack, Weighted, logarithms
from torchfolio.training.optimizers import uncompiled

STEPS = 2_000  # of each fit, at most
CLOSE = 1e-9  # nats a picture: how far from the least log-loss the weights may end
HISTORY = 30  # steps that L-BFGS remembers, with two vectors of all coefficients each
# Coefficients of a stack, at most: two members of 1,000 classes. Fitting takes 1.1 kB for each
# (measured with 980,000): float64, and the vectors that L-BFGS keeps.
MOST = 2_000_000


def require_small(method: str, members: int, classes: int) -> None:
    """Raise where fitting a combination would take more memory than a small machine has."""
    coefficients = members * classes**2
    if method == "stack" and coefficients > MOST:
        raise RequestError(
            f"A stack of {members} members and {classes:,} classes has {coefficients:,} "
            f"coefficients (members x classes x classes), and {MOST:,} are fitted at most: what "
            "they take in memory grows as they do, and validation data hardly tell so many. Take "
            "--method weighted, which fits one number a member, or mean or vote."
        )


def fit(
    combination: nn.Module, probabilities: NDArray[np.float32], labels: NDArray[np.int64]
) -> None:
    """Fit a combination to the answers of its members; what has no weights stays as it is.

    ``probabilities`` is (members, examples, classes), ``labels`` (examples,).
    """
    if isinstance(combination, Weighted):
        likelihoods = probabilities[:, np.arange(len(labels)), labels]
        weights = torch.from_numpy(fit_weights(likelihoods))
        combination.load_state_dict({"weights": weights})
    elif isinstance(combination, Stack):
        weight, bias = fit_stack(torch.from_numpy(probabilities), torch.from_numpy(labels))
        combination.load_state_dict({"linear.weight": weight, "linear.bias": bias})


def fit_weights(likelihoods: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return weights (members,), not negative, of sum one, under which log-loss is least.

    ``likelihoods`` (members, examples) are the probabilities of the true classes. The weights are
    those of a mixture whose components stand: found by EM from equal weights (Dempster et al.,
    1977; on held-out data: Smyth and Wolpert, "Linearly combining density estimators via
    stacking", 1999). A step of EM multiplies each weight by its gain, and never raises the loss;
    higher and higher powers of the gains are tried as well, since a weight that belongs at zero
    falls slowly. The loss is convex in the weights: its least value lies at most
    ``gains.max() - 1`` below.
    """
    found = np.maximum(likelihoods.astype(np.float64), LEAST)
    weights, power = np.full(len(found), 1 / len(found)), 1.0
    for _ in range(STEPS):
        gains = (found / (weights @ found)).mean(1)  # weights @ gains = 1
        if gains.max() - 1 < CLOSE:
            break
        logs = power * np.log(gains)
        bold = weights * np.exp(logs - logs.max())
        bold /= bold.sum()
        if np.log(bold @ found).mean() > np.log(weights @ found).mean():
            weights, power = bold, 2 * power
        elif power > 1:
            power = 1.0
        else:  # as near as rounding allows
            break
    return weights


def fit_stack(
    probabilities: Tensor, labels: Tensor, penalty: float = PENALTY
) -> tuple[Tensor, Tensor]:
    """Return coefficients (classes, members * classes) and intercepts (classes,), float64.

    They make the log-loss, summed over the examples, and ``penalty`` / 2 times the sum of the
    squared coefficients least: multinomial logistic regression on the log-probabilities, as
    scikit-learn's ``LogisticRegression(C=1 / penalty)``. The intercepts are not penalised. By
    L-BFGS, from zero; the sum is strictly convex in the coefficients.
    """
    inputs = logarithms(probabilities.double())
    centre = inputs.mean(0)  # taken off, which the intercepts make good: a tenth of the steps
    inputs = inputs - centre
    classes = probabilities.shape[2]
    weight = torch.zeros(classes, inputs.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    make: Any = uncompiled(torch.optim.LBFGS)
    optimizer = make(
        [weight, bias],
        max_iter=STEPS,
        history_size=HISTORY,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        weight.grad = bias.grad = None
        loss = F.cross_entropy(F.linear(inputs, weight, bias), labels)
        loss = loss + penalty / 2 * weight.square().sum() / len(labels)
        torch.autograd.backward(loss)
        return loss

    optimizer.step(closure)
    weight, bias = weight.detach(), bias.detach()
    return weight, bias - weight @ centre
