"""Cross-validation, search and ridge regression against scikit-learn, closed forms and gradient descent."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn, optim
from nnlab.classic.model_selection import cross_validate, ridge, search
from nnlab.errors import ArgumentError, ShapeError

Tensor = nnlab.Tensor


@pytest.fixture(autouse=True)
def _sklearn(request: pytest.FixtureRequest) -> None:
    if "ridge" not in request.node.name:
        pytest.importorskip("sklearn.model_selection")


def data(samples: int = 31, inputs: int = 4) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, inputs))
    return nnlab.tensor(x), nnlab.tensor(x @ rng.normal(size=inputs) + rng.normal(size=samples))


def negative_error(w: Tensor, x: Tensor, target: Tensor) -> float:
    return -((x @ w - target) ** 2).mean().item()


def test_leave_one_out_has_a_closed_form():
    """The error of a sample left out of a ridge regression is its error divided by 1 - h, h its leverage (PRESS)."""
    x, target = data()
    found = cross_validate(x, target, lambda a, b: ridge(a, b, 0.7), negative_error, folds=len(x))
    a, b = x.numpy(), target.numpy()
    hat = a @ np.linalg.solve(a.T @ a + 0.7 * np.eye(4), a.T)
    np.testing.assert_allclose(-found, ((b - hat @ b) / (1 - np.diag(hat))) ** 2, rtol=1e-9)


@pytest.mark.parametrize("folds", [2, 5, 30])
def test_folds_against_scikit_learn(folds):
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold, cross_val_score

    x, target = data()
    found = cross_validate(x, target, lambda a, b: ridge(a, b, 2.0), negative_error, folds=folds, seed=3)
    splits = KFold(folds, shuffle=True, random_state=3)
    model = Ridge(2.0, fit_intercept=False)
    expected = cross_val_score(model, x.numpy(), target.numpy(), cv=splits, scoring="neg_mean_squared_error")
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_every_sample_is_held_back_once():
    x, target = nnlab.arange(23).reshape(23, 1), nnlab.arange(23)
    held: list[list[int]] = []

    def fit(a: Tensor, b: Tensor) -> set[int]:
        assert a[:, 0].tolist() == b.tolist()
        return set(b.tolist())

    def score(kept: set[int], a: Tensor, b: Tensor) -> float:
        held.append(b.tolist())
        assert a[:, 0].tolist() == b.tolist()
        assert kept == set(range(23)) - set(b.tolist())
        return len(b)

    assert sorted(cross_validate(x, target, fit, score, folds=4).tolist()) == [5, 6, 6, 6]
    assert sorted(itertools.chain(*held)) == list(range(23))
    first, held = held, []
    cross_validate(x, target, fit, score, folds=4, seed=1)
    assert held != first


def test_search_over_a_grid_against_scikit_learn():
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, KFold

    x, target = data()
    gammas = [0.01, 0.1, 1.0, 10.0, 100.0]
    tried = search({"gamma": gammas}, x, target, ridge, negative_error, folds=4, seed=2)
    other = GridSearchCV(
        Ridge(fit_intercept=False), {"alpha": gammas}, cv=KFold(4, shuffle=True, random_state=2),
        scoring="neg_mean_squared_error",
    ).fit(x.numpy(), target.numpy())  # fmt: skip
    assert tried[0].parameters["gamma"] == other.best_params_["alpha"]
    for candidate in tried:
        place = gammas.index(candidate.parameters["gamma"])
        assert candidate.mean == pytest.approx(other.cv_results_["mean_test_score"][place], rel=1e-9)
    assert [c.mean for c in tried] == sorted((c.mean for c in tried), reverse=True)
    assert len({c.mean for c in tried}) == 5


def test_search_at_random():
    x, target = data(12)
    calls: list[Any] = []

    def fit(a: Tensor, b: Tensor, gamma: float, other: str) -> Tensor:
        calls.append((gamma, other))
        return ridge(a, b, gamma)

    names = {"gamma": [0.1, 1.0, 10.0], "other": ["a", "b", "c", "d"]}
    tried = search(names, x, target, fit, negative_error, draws=5, folds=3)
    assert len(tried) == 5 and len(calls) == 15 and len(set(calls)) == 5
    again = search(names, x, target, fit, negative_error, draws=5, folds=3)
    assert [c.parameters for c in tried] == [c.parameters for c in again]
    assert len(search(names, x, target, fit, negative_error, draws=50, folds=2)) == 12


@pytest.mark.parametrize("gamma", [0.0, 0.3, 50.0])
def test_ridge_solves_the_normal_equations(gamma):
    x, target = data()
    a, b = x.numpy(), target.numpy()
    expected = np.linalg.solve(a.T @ a + gamma * np.eye(4), a.T @ b)
    np.testing.assert_allclose(ridge(x, target, gamma).numpy(), expected, rtol=1e-10)
    both = ridge(x, nnlab.stack([target, -2 * target], 1), gamma).numpy()
    np.testing.assert_allclose(both, np.stack([expected, -2 * expected], 1), rtol=1e-10)


def test_ridge_against_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, target = data()
    model = linear_model.Ridge(1.7, fit_intercept=False).fit(x.numpy(), target.numpy())
    np.testing.assert_allclose(ridge(x, target, 1.7).numpy(), model.coef_, rtol=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 3.0])
def test_gradient_descent_with_weight_decay_ends_at_ridge(gamma):
    x, target = data()
    w = nn.Parameter(nnlab.zeros(4, dtype=nnlab.float64))
    optimizer = optim.SGD([w], lr=0.02, weight_decay=gamma)
    for _ in range(600):
        optimizer.zero_grad()
        (((target - x @ w) ** 2).sum() / 2).backward()
        optimizer.step()
    np.testing.assert_allclose(w.detach().numpy(), ridge(x, target, gamma).numpy(), atol=1e-9)


def test_ridge_is_the_maximum_a_posteriori_estimate():
    """log p(t | w) + log p(w), with Gaussian noise of deviation 0.5 and weights of deviation 0.2, has no slope there,
    and falls in every direction."""
    x, target = data()
    noise, prior = 0.5, 0.2

    def log_posterior(w: Tensor) -> Tensor:
        likelihood = -((target - x @ w) ** 2).sum() / (2 * noise**2)
        return likelihood - (w * w).sum() / (2 * prior**2)

    w = ridge(x, target, (noise / prior) ** 2).requires_grad_()
    np.testing.assert_allclose(nnlab.grad(log_posterior(w), w)[0].numpy(), 0, atol=1e-10)
    for direction in np.eye(4):
        for sign in (0.01, -0.01):
            assert log_posterior(w + nnlab.tensor(sign * direction)).item() < log_posterior(w).item()
    assert w.norm().item() < ridge(x, target).norm().item()


def test_ridge_without_enough_samples_is_the_shortest_fit():
    x, target = data(3)
    found = ridge(x, target).numpy()
    np.testing.assert_allclose(x.numpy() @ found, target.numpy(), atol=1e-12)
    np.testing.assert_allclose(found, np.linalg.pinv(x.numpy()) @ target.numpy(), atol=1e-12)
    assert ridge(x.float(), target.float()).dtype == nnlab.float32


def test_errors_of_ridge():
    x, target = data()
    with pytest.raises(ArgumentError, match=r"\[ridge\] 'gamma' must not be negative, got -1"):
        ridge(x, target, -1)
    with pytest.raises(ShapeError, match=r"'x, target' must have shapes \(N, m\) and \(N,\) or \(N, k\)"):
        ridge(x, target[:3])


def test_errors_of_selection():
    x, target = data()
    for folds in (1, 32):
        with pytest.raises(ArgumentError, match=rf"\[cross_validate\] 'folds' must be in 2..31, got {folds}"):
            cross_validate(x, target, ridge, negative_error, folds=folds)
    with pytest.raises(ArgumentError, match="'draws' must be positive, got 0"):
        search({"gamma": [1.0]}, x, target, ridge, negative_error, draws=0)
