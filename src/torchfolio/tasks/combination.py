"""How the answers of several classifiers become one.

Why it helps: Dietterich, "Ensemble methods in machine learning", 2000, Section 2. Every
combination takes the probabilities of the members, (members, batch, classes), and returns
(batch, classes), float32; rows sum to one, and the answer is the class of the highest.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The least probability whose logarithm is taken: the machine precision of float32. Evaluation
# holds log-loss there too.
LEAST = torch.finfo(torch.float32).eps
FITTED = ("weighted", "stack")  # to validation data, by torchfolio.ensembles.fitting
PENALTY = 1.0  # of a stack's coefficients: scikit-learn's, C = 1


class Mean(nn.Module):
    """The mean of the probabilities (Lakshminarayanan et al., 2017, Section 2.4)."""

    def forward(self, probabilities: Tensor) -> Tensor:
        return probabilities.mean(0)


class Weighted(nn.Module):
    """A weighted mean of the probabilities: a linear opinion pool (Genest and Zidek, 1986).

    The weights are not negative (Breiman, "Stacked regressions", 1996) and sum to one; until they
    are fitted, they are equal.
    """

    def __init__(self, members: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((members,), 1 / members))

    def forward(self, probabilities: Tensor) -> Tensor:
        return (self.weights[:, None, None] * probabilities).sum(0)


class Vote(nn.Module):
    """The class that most members answer with; among equals, that of the highest mean.

    A vote has no probability of its own. Here it is (votes + mean probability) / (members + 1),
    as if the mean were one more voter, whose vote is divided: the rows sum to one, a class with
    more votes always has more, and equal votes are decided by the mean.
    """

    def forward(self, probabilities: Tensor) -> Tensor:
        votes = F.one_hot(probabilities.argmax(2), probabilities.shape[2]).sum(0)
        return (votes + probabilities.mean(0)) / (len(probabilities) + 1)


class Stack(nn.Module):
    """Logistic regression on the members' log-probabilities (Wolpert, 1992: stacking).

    ``linear`` maps the logarithms, those of the first member first, to a score for each class.
    Until it is fitted, a score is the mean logarithm of its class.
    """

    def __init__(self, members: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(members * classes, classes)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(classes).repeat(1, members) / members)
            self.linear.bias.zero_()

    def forward(self, probabilities: Tensor) -> Tensor:
        return self.linear(logarithms(probabilities)).softmax(1)


def logarithms(probabilities: Tensor) -> Tensor:
    """Return the log-probabilities of all members beside each other: (batch, members * classes)."""
    return probabilities.clamp_min(LEAST).log().movedim(0, 1).flatten(1)


def combination(method: str, members: int, classes: int) -> nn.Module:
    """Return the combination of a name, not yet fitted where it has something to fit."""
    if method == "weighted":
        return Weighted(members)
    if method == "stack":
        return Stack(members, classes)
    return Vote() if method == "vote" else Mean()
