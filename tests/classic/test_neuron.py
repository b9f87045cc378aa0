"""Neurons: activations, logical functions with known weights, and what one neuron cannot do."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import nnlab
from nnlab.classic.neuron import and_weights, neurons, or_weights, piecewise_linear, sigmoid, step, with_bias, xor
from nnlab.errors import ArgumentError, ShapeError

F64 = nnlab.float64


def truth_table(inputs: int) -> np.ndarray:
    return np.array(list(itertools.product((0.0, 1.0), repeat=inputs)))


def separable(x: np.ndarray, d: np.ndarray) -> bool:
    """Whether some w0 + w x is at least 1 where d is 1 and at most -1 elsewhere: a linear program."""
    optimize = pytest.importorskip("scipy.optimize")
    sides = (1 - 2 * d)[:, None] * np.column_stack([np.ones(len(x)), x])
    found = optimize.linprog(np.zeros(x.shape[1] + 1), sides, -np.ones(len(x)), bounds=(None, None))
    assert found.status in (0, 2)  # solved, infeasible
    return found.status == 0


def test_activations():
    u = np.linspace(-6, 6, 97)
    x = nnlab.tensor(u)
    np.testing.assert_array_equal(step(x).numpy(), [0.0] * 48 + [1.0] * 49)  # 1 at u = 0
    for steepness in (0.5, 1.0, 8.0):
        expected = [1 / (1 + math.exp(-steepness * each)) for each in u]
        np.testing.assert_allclose(sigmoid(x, steepness).numpy(), expected, rtol=1e-14)
        expected = [min(max(steepness * each / 4 + 0.5, 0), 1) for each in u]
        np.testing.assert_allclose(piecewise_linear(x, steepness).numpy(), expected, rtol=1e-14)
    np.testing.assert_allclose(2 * sigmoid(x, 2).numpy() - 1, np.tanh(u), atol=1e-15)
    gap = np.abs(sigmoid(x).numpy() - piecewise_linear(x).numpy())
    assert gap.max() == pytest.approx(1 / (1 + math.e**2), rel=1e-12)  # at u = 2, which is on the grid
    assert abs(u[gap.argmax()]) == 2


def test_step_is_the_limit_of_steepness():
    u = np.array([-2.0, -0.01, 0.01, 2.0])
    far = np.abs(sigmoid(nnlab.tensor(u), 1000).numpy() - step(nnlab.tensor(u)).numpy())
    np.testing.assert_allclose(far, np.exp(-1000 * np.abs(u)), rtol=1e-4)  # e^-10 at 0.01
    assert sigmoid(nnlab.tensor([0.0]), 1000).item() == 0.5


def test_slopes_at_zero():
    for function in (sigmoid, piecewise_linear):
        u = nnlab.tensor(np.zeros(1), requires_grad=True)
        function(u, 6.0).sum().backward()
        assert u.grad.item() == 6 / 4


def test_textbook_weights():
    assert and_weights().tolist() == [-1.5, 1, 1]
    assert or_weights().tolist() == [-0.5, 1, 1]
    assert and_weights(5, dtype=F64).tolist() == [-4.5, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("inputs", [1, 2, 3, 8])
def test_and_or(inputs):
    x = truth_table(inputs)
    np.testing.assert_array_equal(neurons(nnlab.tensor(x), and_weights(inputs, dtype=F64)).numpy(), x.all(1))
    np.testing.assert_array_equal(neurons(nnlab.tensor(x), or_weights(inputs, dtype=F64)).numpy(), x.any(1))


def test_two_layers_compute_xor_and_one_neuron_does_not():
    x = truth_table(2)
    wanted = x[:, 0] != x[:, 1]
    np.testing.assert_array_equal(xor(nnlab.tensor(x)).numpy(), wanted)
    assert xor(nnlab.tensor([[[0.0, 1.0]], [[1.0, 1.0]]])).tolist() == [[1.0], [0.0]]
    assert separable(x, x.all(1)) and separable(x, x.any(1))
    assert not separable(x, wanted)


@pytest.mark.parametrize(("inputs", "functions"), [(1, 4), (2, 14), (3, 104)])
def test_number_of_threshold_functions(inputs, functions):
    """Known counts of the logical functions that one neuron computes (OEIS A000609), by linear programs, and by trying
    small weights with our neurons (whose step is at 0: half-integers keep sums away from it)."""
    x = truth_table(inputs)
    every = [np.array(d) for d in itertools.product((False, True), repeat=len(x))]
    assert sum(separable(x, d) for d in every) == functions
    values = np.arange(-2, 3) if inputs > 1 else np.arange(-1, 2)
    bias = np.arange(-4.5, 5)
    w = np.array(list(itertools.product(bias, *[values] * inputs)))
    found = neurons(nnlab.tensor(x), nnlab.tensor(w)).numpy().T
    assert len(np.unique(found, axis=0)) == functions


def test_layers_and_bias():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 4)), rng.normal(size=(6, 5))
    found = neurons(nnlab.tensor(x), nnlab.tensor(w), nnlab.tanh).numpy()
    for i, j, k in np.ndindex(2, 3, 6):
        u = w[k, 0] + sum(w[k, n + 1] * x[i, j, n] for n in range(4))
        assert found[i, j, k] == pytest.approx(math.tanh(u), rel=1e-12)
    alone = neurons(nnlab.tensor(x), nnlab.tensor(w[2]), nnlab.tanh).numpy()
    np.testing.assert_allclose(alone, found[..., 2], rtol=1e-14)
    assert with_bias(nnlab.tensor([2.0, 3.0])).tolist() == [1, 2, 3]


def test_errors():
    with pytest.raises(
        ShapeError, match=r"\[neurons\] 'w' must have shape \(3,\) or \(K, 3\) with the bias first, got"
    ):
        neurons(nnlab.zeros(4, 2), nnlab.zeros(2))
    with pytest.raises(ArgumentError, match=r"'inputs' must be positive, got 0"):
        and_weights(0)
