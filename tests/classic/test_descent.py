"""The path of gradient descent against plain loops, and AlexNet's rule against the paper's formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn, optim
from nnlab.classic import descent
from nnlab.errors import ArgumentError
from nnlab.nn import functional as F
from nnlab.optim.lr_scheduler import LinearLR

X = np.array([[1.0, 0.5], [-1.0, 2.0], [0.3, -0.7], [2.0, 1.0], [-0.5, -1.5], [1.5, 0.2]])
D = np.array([1.0, -0.5, 0.2, 2.0, -1.0, 0.7])


def neuron() -> tuple[nn.Parameter, Callable[..., nnlab.Tensor]]:
    w = nn.Parameter(nnlab.tensor([0.5, -0.5], dtype=nnlab.float64))
    return w, lambda x, d: F.mse_loss(x @ w, d) / 2


def batches(size: int, passes: int = 3) -> list[tuple[nnlab.Tensor, nnlab.Tensor]]:
    return [
        (nnlab.tensor(X[i : i + size]), nnlab.tensor(D[i : i + size])) for _ in range(passes) for i in range(0, 6, size)
    ]


@pytest.mark.parametrize("size", [1, 2, 6])
def test_path_with_a_rate_that_falls_along_a_line(size: int) -> None:
    """e_k = (1 - a) e_0 + a e_tau, a = k / tau, constant after tau."""
    first, last, tau = 0.2, 0.01, 4
    w, loss_of = neuron()
    optimizer = optim.SGD([w], lr=first)
    points = descent.path(loss_of, optimizer, batches(size), LinearLR(optimizer, 1.0, last / first, tau))
    expected = [np.array([0.5, -0.5])]
    for k, start in enumerate([i for _ in range(3) for i in range(0, 6, size)]):
        a = min(k / tau, 1)
        here = slice(start, start + size)
        gradient = sum((x @ expected[-1] - d) * x for x, d in zip(X[here], D[here], strict=True)) / size
        expected.append(expected[-1] - ((1 - a) * first + a * last) * gradient)
    np.testing.assert_allclose(points, expected, rtol=1e-12)


def test_path_of_optimizers_that_ask_for_the_loss() -> None:
    best = np.linalg.solve(X.T @ X, X.T @ D)
    for make, updates in ((optim.Newton, 1), (optim.LineSearch, 60), (lambda p: optim.LBFGS(p, max_iter=1), 60)):
        w, loss_of = neuron()
        points = descent.path(loss_of, make([w]), batches(6, updates))
        assert points.shape == (updates + 1, 2) and points[0].tolist() == [0.5, -0.5]
        np.testing.assert_allclose(points[-1], best, atol=1e-6)
        np.testing.assert_array_equal(points[-1], w.detach().numpy())


def paper(gradient: Callable[[np.ndarray], np.ndarray], w: np.ndarray, rates: list[float]) -> list[np.ndarray]:
    """v <- 0.9 v - 0.0005 e w - e g, w <- w + v."""
    v, seen = np.zeros_like(w), [w]
    for e in rates:
        v = 0.9 * v - 0.0005 * e * w - e * gradient(w)
        w = w + v
        seen.append(w)
    return seen


def library(rates: list[float], keep: bool) -> list[np.ndarray]:
    w, loss_of = neuron()
    optimizer, _ = descent.alexnet_rule([w])
    group, seen = optimizer.param_groups[0], [w.detach().numpy().copy()]
    for e in rates:
        before, group["lr"] = group["lr"], e
        if keep and e != before:
            descent.keep_velocity(optimizer, before)
        seen.append(descent.path(loss_of, optimizer, batches(6, 1))[-1])
    return seen


def gradient(w: np.ndarray) -> np.ndarray:
    return X.T @ (X @ w - D) / 6


def test_sgd_is_alexnets_rule_while_the_rate_stays() -> None:
    rates = [0.01] * 50
    np.testing.assert_allclose(library(rates, keep=False), paper(gradient, np.array([0.5, -0.5]), rates), rtol=1e-12)


def test_sgd_shortens_its_momentum_with_the_rate_and_the_paper_does_not() -> None:
    rates = [0.01] * 20 + [0.001] * 20
    ours, theirs = library(rates, keep=False), paper(gradient, np.array([0.5, -0.5]), rates)
    np.testing.assert_allclose(ours[:21], theirs[:21], rtol=1e-12)
    v, g = theirs[20] - theirs[19], gradient(theirs[20])
    np.testing.assert_allclose(ours[21], theirs[20] + 0.09 * v - 0.001 * (0.0005 * theirs[20] + g), rtol=1e-12)
    np.testing.assert_allclose(theirs[21], theirs[20] + 0.9 * v - 0.001 * (0.0005 * theirs[20] + g), rtol=1e-12)
    np.testing.assert_allclose(library(rates, keep=True), theirs, rtol=1e-12)


def test_the_rate_is_divided_by_ten_on_a_plateau() -> None:
    optimizer, schedule = descent.alexnet_rule([neuron()[0]], patience=1)
    rates = []
    for error in (0.5, 0.4, 0.4, 0.4, 0.3, 0.31, 0.32, 0.2, 0.2, 0.2):
        schedule.step(error)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-2] * 3 + [1e-3] * 3 + [1e-4] * 3 + [1e-5])


def test_keep_velocity_without_momentum_so_far_and_at_rate_0() -> None:
    w, loss_of = neuron()
    optimizer, _ = descent.alexnet_rule([w])
    descent.keep_velocity(optimizer, 0.1)
    assert w not in optimizer.state
    descent.path(loss_of, optimizer, batches(6, 1))
    for before, lr, name in ((0.0, 0.01, "before"), (0.01, 0.0, "lr")):
        optimizer.param_groups[0]["lr"] = lr
        with pytest.raises(ArgumentError, match=rf"\[keep_velocity\] '{name}' must be positive, got 0.0"):
            descent.keep_velocity(optimizer, before)


def test_on_another_device() -> None:
    from tests import emulator

    emulator.backend()
    found: list[Any] = []
    for device in ("cpu", "emulated"):
        w = nn.Parameter(nnlab.tensor([0.5, -0.5]).to(device))
        optimizer, _ = descent.alexnet_rule([w])
        data = [tuple(t.float().to(device) for t in batch) for batch in batches(2)]
        found.append(descent.path(lambda x, d, w=w: F.mse_loss(x @ w, d), optimizer, data))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
