"""The update formulas of a course on neural networks, step by step, each as its own loop, on a canyon and a saddle.

Formulas as in Goodfellow, Bengio, Courville, "Deep learning", chapter 8, and their Nesterov form from the course. Where
PyTorch's (and our) form differs, the test says how one follows from the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn, optim

Gradient = Callable[[np.ndarray], np.ndarray]

TURN = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
SURFACES = {
    "canyon": TURN @ np.diag([1.0, 30.0]) @ TURN.T,
    "saddle": TURN @ np.diag([2.0, -2.0]) @ TURN.T,
}
START = np.array([4.0, -1.5])
STEPS = 40


def path(make: Callable[[list[nn.Parameter]], optim.Optimizer], hessian: np.ndarray) -> list[np.ndarray]:
    """Where an optimizer goes on x H x / 2, by automatic differentiation."""
    x = nn.Parameter(nnlab.tensor(START))
    optimizer = make([x])
    seen = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        ((x @ (nnlab.tensor(hessian) @ x)) / 2).backward()
        optimizer.step()
        seen.append(x.detach().numpy().copy())
    return seen


def descent(grad: Gradient, x: np.ndarray, e: float) -> list[np.ndarray]:
    seen = []
    for _ in range(STEPS):
        x = x - e * grad(x)
        seen.append(x)
    return seen


def momentum(grad: Gradient, x: np.ndarray, e: float, a: float) -> list[np.ndarray]:
    v, seen = np.zeros(2), []
    for _ in range(STEPS):
        v = a * v - e * grad(x)
        x = x + v
        seen.append(x)
    return seen


def nesterov(grad: Gradient, x: np.ndarray, e: float, mu: float) -> list[np.ndarray]:
    """The points x + mu v, at which gradients are taken: what our parameter holds."""
    v, seen = np.zeros(2), []
    for _ in range(STEPS):
        v = mu * v - e * grad(x + mu * v)
        x = x + v
        seen.append(x + mu * v)
    return seen


def adagrad(grad: Gradient, x: np.ndarray, e: float, delta: float) -> list[np.ndarray]:
    r, seen = np.zeros(2), []
    for _ in range(STEPS):
        g = grad(x)
        r = r + g * g
        x = x - e / (delta + np.sqrt(r)) * g
        seen.append(x)
    return seen


def rmsprop(grad: Gradient, x: np.ndarray, e: float, rho: float, delta: float) -> list[np.ndarray]:
    r, seen = np.zeros(2), []
    for _ in range(STEPS):
        g = grad(x)
        r = rho * r + (1 - rho) * g * g
        x = x - e / np.sqrt(delta + r) * g
        seen.append(x)
    return seen


def adadelta(grad: Gradient, x: np.ndarray, rho: float, delta: float) -> list[np.ndarray]:
    """Zeiler's algorithm 1: RMS[y] = sqrt(E[y^2] + delta)."""
    squares, steps, seen = np.zeros(2), np.zeros(2), []
    for _ in range(STEPS):
        g = grad(x)
        squares = rho * squares + (1 - rho) * g * g
        dx = -np.sqrt(steps + delta) / np.sqrt(squares + delta) * g
        steps = rho * steps + (1 - rho) * dx * dx
        x = x + dx
        seen.append(x)
    return seen


def adam(grad: Gradient, x: np.ndarray, e: float, rho1: float, rho2: float, delta: float) -> list[np.ndarray]:
    s, r, seen = np.zeros(2), np.zeros(2), []
    for t in range(1, STEPS + 1):
        g = grad(x)
        s = rho1 * s + (1 - rho1) * g
        r = rho2 * r + (1 - rho2) * g * g
        x = x - e * (s / (1 - rho1**t)) / (np.sqrt(r / (1 - rho2**t)) + delta)
        seen.append(x)
    return seen


RULES: list[tuple[Any, Any]] = [
    (lambda p: optim.SGD(p, lr=0.03), lambda g: descent(g, START, 0.03)),
    (lambda p: optim.SGD(p, lr=0.01, momentum=0.9), lambda g: momentum(g, START, 0.01, 0.9)),
    (lambda p: optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True), lambda g: nesterov(g, START, 0.01, 0.9)),
    (lambda p: optim.Adagrad(p, lr=0.5, eps=1e-7), lambda g: adagrad(g, START, 0.5, 1e-7)),
    (lambda p: optim.Adadelta(p, rho=0.9, eps=1e-4), lambda g: adadelta(g, START, 0.9, 1e-4)),
    (lambda p: optim.RMSprop(p, lr=0.1, alpha=0.9, eps=0.0), lambda g: rmsprop(g, START, 0.1, 0.9, 0.0)),
    (lambda p: optim.Adam(p, lr=0.2), lambda g: adam(g, START, 0.2, 0.9, 0.999, 1e-8)),
]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(("ours", "loop"), RULES)
def test_update_formulas(ours: Any, loop: Any, surface: str) -> None:
    hessian = SURFACES[surface]
    np.testing.assert_allclose(path(ours, hessian), loop(lambda x: hessian @ x), rtol=1e-9, atol=1e-12)


def test_where_rmsprop_adds_its_constant() -> None:
    """The notes' is under the root, sqrt(delta + r), ours beside it, sqrt(r) + eps: a step differs by delta / (2 r)."""
    hessian = SURFACES["canyon"]
    ours = path(lambda p: optim.RMSprop(p, lr=0.1, alpha=0.9, eps=0.0), hessian)
    notes = rmsprop(lambda x: hessian @ x, START, 0.1, 0.9, 1e-6)
    assert 0 < np.abs(np.subtract(ours, notes)).max() < 1e-5


def test_terminal_velocity_of_momentum() -> None:
    """e |g| / (1 - a) under a constant gradient."""
    x = nn.Parameter(nnlab.zeros(2, dtype=nnlab.float64))
    optimizer = optim.SGD([x], lr=0.01, momentum=0.9)
    for _ in range(300):
        before = x.detach().numpy().copy()
        x.grad = nnlab.tensor([3.0, 4.0], dtype=nnlab.float64)
        optimizer.step()
    assert np.linalg.norm(x.detach().numpy() - before) == pytest.approx(0.01 * 5 / (1 - 0.9), rel=1e-9)


def test_gradient_descent_shrinks_each_direction_of_a_quadratic_by_its_own_factor() -> None:
    """(1 - e lambda)^k along each eigenvector: the walls of the canyon are soon left, its length takes time."""
    found = TURN.T @ path(lambda p: optim.SGD(p, lr=0.03), SURFACES["canyon"])[-1]
    factors = np.array([1 - 0.03 * 1.0, 1 - 0.03 * 30.0]) ** STEPS
    np.testing.assert_allclose(found, factors * (TURN.T @ START), rtol=1e-9, atol=1e-15)


def test_newton_takes_one_step_to_the_critical_point() -> None:
    for hessian in SURFACES.values():
        x = nn.Parameter(nnlab.tensor(START))
        h = nnlab.tensor(hessian)
        optim.Newton([x]).step(lambda x=x, h=h: (x @ (h @ x)) / 2)
        np.testing.assert_allclose(x.detach().numpy(), 0, atol=1e-14)


INPUTS = np.array([[1.0, 0.5], [-1.0, 2.0], [0.3, -0.7], [2.0, 1.0], [-0.5, -1.5], [1.5, 0.2]])
TARGETS = np.array([1.0, -0.5, 0.2, 2.0, -1.0, 0.7])


@pytest.mark.parametrize("size", [1, 2, 6])
def test_instant_mini_batch_and_batch_updates(size: int) -> None:
    """A linear neuron with squared error (d - w x)^2: the updates of a batch are averaged, then the weights change."""
    w = nn.Parameter(nnlab.tensor([0.5, -0.5], dtype=nnlab.float64))
    optimizer = optim.SGD([w], lr=0.05)
    expected = np.array([0.5, -0.5])
    for _ in range(5):
        for start in range(0, 6, size):
            batch = slice(start, start + size)
            optimizer.zero_grad()
            x, d = nnlab.tensor(INPUTS[batch]), nnlab.tensor(TARGETS[batch])
            nn.functional.mse_loss(x @ w, d).backward()
            optimizer.step()
            update = np.zeros(2)
            for x_i, d_i in zip(INPUTS[batch], TARGETS[batch], strict=True):
                update += 0.05 * 2 * (d_i - expected @ x_i) * x_i
            expected = expected + update / size
            np.testing.assert_allclose(w.detach().numpy(), expected, rtol=1e-12)
