"""Logistic and softmax regression against scikit-learn, their gradients at the optimum, and the worked scores."""

from __future__ import annotations

import numpy as np
import pytest

import nnlab
from nnlab.classic.linear_classifier import logistic_regression, softmax_regression
from nnlab.errors import ArgumentError, ShapeError


def blobs(classes: int, samples: int = 90, inputs: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, samples)
    return rng.normal(size=(classes, inputs))[target] + rng.normal(size=(samples, inputs)), target


def values(layer: nnlab.nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def test_worked_scores():
    """Four pixels and three classes: cat, turtle, owl."""
    layer = nnlab.nn.Linear(4, 3, dtype=nnlab.float64)
    weight = [[0.1, -0.25, 0.1, 2.5], [0, 0.5, 0.2, -0.6], [2, 0.8, 1.8, -0.1]]
    layer.load_state_dict({"weight": nnlab.tensor(weight).double(), "bias": nnlab.tensor([-2.0, 1.7, -0.5]).double()})
    scores = layer(nnlab.tensor([1.0, 73, 227, 82]).double())
    # 0.1 - 18.25 + 22.7 + 205 - 2; 36.5 + 45.4 - 49.2 + 1.7; 2 + 58.4 + 408.6 - 8.2 - 0.5
    np.testing.assert_allclose(scores.detach().numpy(), [207.55, 34.4, 460.3], rtol=1e-6)


@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_logistic_regression_against_scikit_learn(penalty):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, target = blobs(2)
    w, b = values(logistic_regression(nnlab.tensor(x), nnlab.tensor(target), penalty=penalty))
    # Theirs is C * sum of losses + |w|^2 / 2, solved to a gradient of 1e-10.
    other = linear_model.LogisticRegression(C=1 / (len(x) * penalty), tol=1e-10, max_iter=10000).fit(x, target)
    np.testing.assert_allclose(w, other.coef_, atol=1e-6)
    np.testing.assert_allclose(b, other.intercept_, atol=1e-6)


@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_softmax_regression_against_scikit_learn(penalty):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, target = blobs(4, seed=1)
    w, b = values(softmax_regression(nnlab.tensor(x), nnlab.tensor(target), 4, penalty=penalty))
    other = linear_model.LogisticRegression(C=1 / (len(x) * penalty), tol=1e-10, max_iter=10000).fit(x, target)
    np.testing.assert_allclose(w, other.coef_, atol=1e-6)
    # A number added to all biases changes nothing.
    np.testing.assert_allclose(b - b.mean(), other.intercept_ - other.intercept_.mean(), atol=1e-6)


@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_the_gradient_vanishes(penalty):
    """sum of x (t - sigmoid(w x + b)), the gradient of the log-likelihood, is N * penalty * w; sum of (t - P) is 0."""
    x, target = blobs(2, seed=2)
    w, b = values(logistic_regression(nnlab.tensor(x), nnlab.tensor(target), penalty=penalty))
    error = target - 1 / (1 + np.exp(-(x @ w[0] + b[0])))
    np.testing.assert_allclose(x.T @ error, len(x) * penalty * w[0], atol=1e-6)
    assert abs(error.sum()) < 1e-6
    assert abs(w).max() > 0.05


def test_two_classes_of_softmax_are_logistic_regression():
    """Their difference of templates is the logistic one's; |w|^2 = 2 |w/2|^2 + 2 |w/2|^2 halves the penalty."""
    x, target = blobs(2, seed=3)
    w, b = values(softmax_regression(nnlab.tensor(x), nnlab.tensor(target), 2, penalty=0.2))
    one, bias = values(logistic_regression(nnlab.tensor(x), nnlab.tensor(target), penalty=0.1))
    np.testing.assert_allclose(w[1] - w[0], one[0], atol=1e-7)
    assert b[1] - b[0] == pytest.approx(bias[0], abs=1e-7)


def test_float32_comes_close():
    x, target = blobs(3, seed=4)
    exact = values(softmax_regression(nnlab.tensor(x), nnlab.tensor(target), 3, penalty=0.1))
    model = softmax_regression(nnlab.tensor(x).float(), nnlab.tensor(target), 3, penalty=0.1)
    assert model.weight.dtype == nnlab.float32
    for a, b in zip(values(model), exact, strict=True):
        # The loss is flat at its minimum: a rounding of 1e-7 there moves the weights by about its root.
        np.testing.assert_allclose(a, b, atol=2e-3)


def test_a_mean_of_logs_is_what_the_count_of_classes_gives():
    """Samples that say nothing: the biases alone are left, and the model gives the classes' shares."""
    target = nnlab.tensor([0] * 5 + [1] * 3 + [2] * 2)
    model = softmax_regression(nnlab.zeros(10, 2, dtype=nnlab.float64), target, 3)
    shares = nnlab.nn.functional.softmax(model.bias, 0).detach().numpy()
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=1e-8)


def test_errors():
    x = nnlab.zeros(3, 2)
    with pytest.raises(ArgumentError, match=r"\[logistic_regression\] 'penalty' must not be negative, got -1"):
        logistic_regression(x, nnlab.tensor([0, 1, 1]), penalty=-1)
    with pytest.raises(ArgumentError, match=r"\[softmax_regression\] 'target' must be in 0..2, got \[0, 3\]"):
        softmax_regression(x, nnlab.tensor([0, 3, 3]), 3)
    with pytest.raises(ShapeError, match=r"'target' must have shape \(3,\), got \(2,\)"):
        logistic_regression(x, nnlab.tensor([0, 1]))
    with pytest.raises(ShapeError, match=r"'x' must have shape \(N, m\) with N > 0"):
        logistic_regression(nnlab.zeros(3), nnlab.tensor([0, 1, 1]))
