"""Two procedures on the same folds: the corrected resampled t-test.

Each fold is tested by networks whose training examples are mostly those of the other folds, so the
differences of the folds are not independent, and Student's test finds far too much. Nadeau and
Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003, take the variance of
their mean as (1 / J + n2 / n1) times their sample variance, of J trainings on n1 examples that are
tested on n2 others. Bouckaert and Frank, "Evaluating the Replicability of Significance Tests for
Comparing Learning Algorithms", 2004, use it for folds that are made several times: J is folds times
repeats, with J - 1 degrees of freedom.
"""

from dataclasses import dataclass
from math import atan2, copysign, exp, inf, lgamma, pi, sqrt

import numpy as np
from numpy.typing import ArrayLike

from torchfolio.errors import FolioError
from torchfolio.evaluation.intervals import LEVEL, Interval

POINTS, WEIGHTS = np.polynomial.legendre.leggauss(100)  # on [-1, 1]


@dataclass(frozen=True)
class Corrected:
    """What the test finds: the mean difference with its 95 % interval, and how it was judged.

    ``std`` is the sample standard deviation of the differences, ``freedom`` the degrees of freedom.
    """

    difference: Interval
    std: float
    t: float
    freedom: int
    p: float


def corrected_t_test(differences: ArrayLike, ratio: float) -> Corrected:
    """Test whether the mean of the trainings' differences (trainings,) is zero, from both sides.

    ``ratio`` is n2 / n1, the examples that a training is tested on over those that it learns from;
    with 0 it is Student's paired test, for trainings that are independent.
    """
    values = np.asarray(differences, np.float64)
    if len(values) < 2:
        raise FolioError(f"{len(values)} difference(s) have no spread: two or more are needed.")
    mean, std, freedom = float(values.mean()), float(values.std(ddof=1)), len(values) - 1
    error = std * sqrt(1 / len(values) + ratio)
    equal = copysign(inf, mean) if mean else 0.0  # what t is where all differences are
    t = mean / error if error else equal
    reach = error * t_quantile(freedom)
    interval = Interval(mean, mean - reach, mean + reach)
    return Corrected(interval, std, t, freedom, two_sided(t, freedom))


def two_sided(t: float, freedom: float) -> float:
    """Return the probability that Student's t is at least so far from zero.

    With x = sqrt(freedom) tan(angle) the density becomes a power of a cosine, whose integral over
    the tail is taken by Gauss and Legendre's rule: to twelve digits up to 10,000 degrees.
    """
    end = atan2(sqrt(freedom), abs(t))  # of the angle's complement
    angles = end / 2 * (POINTS + 1)
    area = end / 2 * float(WEIGHTS @ np.sin(angles) ** (freedom - 1))
    return min(1.0, 2 * exp(lgamma((freedom + 1) / 2) - lgamma(freedom / 2)) / sqrt(pi) * area)


def t_quantile(freedom: float, level: float = LEVEL) -> float:
    """Return how far from zero Student's t is with the rest of the probability, by bisection."""
    low, high = 0.0, 1.0
    while two_sided(high, freedom) > 1 - level:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) > 1 - level else (low, middle)
    return high
