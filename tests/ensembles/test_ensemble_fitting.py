"""What an ensemble learns, against scipy and scikit-learn."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from torchfolio.ensembles.fitting import fit, fit_stack, fit_weights, require_small
from torchfolio.errors import RequestError
from torchfolio.tasks.combination import LEAST, Mean, Stack, Vote, Weighted


def drawn(
    sharpness: list[float], examples: int = 400, classes: int = 4
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw members that know the classes the better the sharper: (members, examples, classes)."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, examples)
    scores = random.normal(size=(len(sharpness), examples, classes))
    scores += np.array(sharpness)[:, None, None] * np.eye(classes)[labels]
    shares = np.exp(scores)
    return (shares / shares.sum(2, keepdims=True)).astype(np.float32), labels


def likelihoods(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    return probabilities[:, np.arange(len(labels)), labels].astype(np.float64)


def log_loss(weights: NDArray[Any], found: NDArray[np.float64]) -> float:
    return float(-np.log(weights @ found).mean())


@pytest.mark.parametrize(
    "sharpness", [[1.0, 1.2], [0.0, 2.0, 2.1], [3.0, 3.0, 0.5, 1.0], [0.1, 0.1, 0.1, 0.1, 0.1]]
)
def test_the_weights_are_those_of_a_constrained_minimiser(sharpness: list[float]) -> None:
    found = likelihoods(*drawn(sharpness))
    weights = fit_weights(found)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    count = len(found)
    expected = minimize(
        log_loss,
        np.full(count, 1 / count),
        (found,),
        "SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda each: each.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert log_loss(weights, found) == pytest.approx(expected.fun, abs=1e-7)
    assert weights == pytest.approx(expected.x, abs=1e-3)


def test_a_member_that_only_harms_gets_no_weight() -> None:
    probabilities, labels = drawn([4.0, 0.0])
    probabilities[1] = np.roll(probabilities[0], 1, axis=1)  # surely wrong where the first is right
    weights = fit_weights(likelihoods(probabilities, labels))
    assert weights == pytest.approx([1, 0], abs=0.02)


def test_one_member_slightly_worse_everywhere_goes_to_zero() -> None:
    good = np.linspace(0.5, 0.9, 50)
    weights = fit_weights(np.stack([good, good - 1e-3]))  # where EM alone takes thousands of steps
    assert weights == pytest.approx([1, 0], abs=1e-4)


def test_equal_members_keep_equal_weights() -> None:
    one = np.linspace(0.1, 0.9, 30)
    assert fit_weights(np.stack([one, one])) == pytest.approx([0.5, 0.5])


def test_likelihoods_of_zero_do_not_break_the_fit() -> None:
    found = np.array([[0.0, 0.9, 0.0], [0.0, 0.0, 0.8]])
    assert fit_weights(found) == pytest.approx([0.5, 0.5], abs=1e-3)


@pytest.mark.parametrize("penalty", [1.0, 0.05])
def test_a_stack_is_scikit_learns_logistic_regression(penalty: float) -> None:
    probabilities, labels = drawn([1.0, 1.5])
    weight, bias = fit_stack(torch.from_numpy(probabilities), torch.from_numpy(labels), penalty)
    features = np.hstack(np.log(np.maximum(probabilities.astype(np.float64), LEAST)))
    expected = LogisticRegression(C=1 / penalty, tol=1e-9, max_iter=20_000).fit(features, labels)
    assert weight.numpy() == pytest.approx(expected.coef_, abs=1e-4)
    # intercepts are known but for a constant, which no probability depends on
    centred = bias.numpy() - bias.numpy().mean()
    assert centred == pytest.approx(expected.intercept_ - expected.intercept_.mean(), abs=1e-4)
    stack = Stack(2, 4)
    fit(stack, probabilities, labels)
    if penalty == 1:  # what an ensemble is fitted with
        found = stack(torch.from_numpy(probabilities)).detach().numpy()
        assert found == pytest.approx(expected.predict_proba(features), abs=1e-5)


def test_a_stack_of_very_many_coefficients_is_refused() -> None:
    require_small("stack", 2, 1000)  # 2 x 1000 x 1000
    require_small("weighted", 9, 100_000)
    for members, classes, coefficients in ((2, 1001, "2,004,002"), (2, 10_000, "200,000,000")):
        with pytest.raises(RequestError, match=f"has {coefficients} coeff.*Take --method weighted"):
            require_small("stack", members, classes)


def test_fitting_leaves_what_has_no_weights_as_it_is() -> None:
    probabilities, labels = drawn([1.0, 1.0])
    for combination in (Mean(), Vote()):
        fit(combination, probabilities, labels)
        assert combination.state_dict() == {}
    weighted = Weighted(2)
    fit(weighted, probabilities, labels)
    assert weighted.weights.tolist() == pytest.approx(
        fit_weights(likelihoods(probabilities, labels)).tolist(), abs=1e-6
    )


def test_fitted_combinations_have_less_log_loss_than_any_member() -> None:
    probabilities, labels = drawn([1.0, 1.2, 0.8])
    alone = [-np.log(each).mean() for each in likelihoods(probabilities, labels)]
    for combination in (Weighted(3), Stack(3, 4)):
        fit(combination, probabilities, labels)
        with torch.no_grad():
            found = combination(torch.from_numpy(probabilities)).numpy()
        assert -np.log(found[np.arange(len(labels)), labels]).mean() < min(alone)
