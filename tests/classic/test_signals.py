"""Sizes of signals and gradients against loops and exact values; dead units."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.classic import signals
from nnlab.errors import ShapeError
from nnlab.nn import functional as F
from tests import emulator


def test_mean_squares_against_a_loop() -> None:
    nnlab.manual_seed(3)
    layers = [nn.Linear(4, 3).double(), nn.Tanh(), nn.Linear(3, 2).double()]
    x, dy = nnlab.randn(5, 4).double(), nnlab.randn(5, 2).double()
    forth, back = signals.mean_squares(layers, x, dy)
    first, last = (layers[i].weight.detach().numpy() for i in (0, 2))
    z = x.numpy() @ first.T + layers[0].bias.detach().numpy()
    y = np.tanh(z)
    out = y @ last.T + layers[2].bias.detach().numpy()
    d_y = dy.numpy() @ last
    d_z = d_y * (1 - y**2)
    assert forth == pytest.approx([np.mean(v**2) for v in (z, y, out)])
    assert back == pytest.approx([np.mean(v**2) for v in (d_z, d_y, dy.numpy())])


def test_expectations_that_are_known_exactly() -> None:
    """Linear units multiply by n_in std^2, ReLU by half of that, leaky ReLU of (1 + a^2) / 2; sine."""
    sizes, stds = [30, 20, 10], [0.3, 0.1]
    cases = {
        "linear": (lambda z: z, lambda z: np.ones_like(z), lambda v: v, lambda v: 1.0),
        "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0, lambda v: v / 2, lambda v: 0.5),
        "leaky": (
            lambda z: np.where(z > 0, z, 0.2 * z),
            lambda z: np.where(z > 0, 1, 0.2),
            lambda v: v * 1.04 / 2,
            lambda v: 1.04 / 2,
        ),
        "sine": (
            np.sin,
            np.cos,
            lambda v: (1 - math.exp(-2 * v)) / 2,
            lambda v: (1 + math.exp(-2 * v)) / 2,
        ),
    }
    for name, (function, slope, square, slope_square) in cases.items():
        forth, back = signals.expected_mean_squares(sizes, stds, function, slope, first=2.0)
        v1 = 30 * 0.3**2 * 2.0
        v2 = 20 * 0.1**2 * square(v1)
        assert forth == pytest.approx([square(v1), square(v2)], rel=1e-12), name
        assert back == pytest.approx([10 * 0.1**2 * slope_square(v2), 1.0], rel=1e-12), name


def test_expectations_need_a_deviation_for_each_layer() -> None:
    with pytest.raises(ShapeError, match=r"\[expected_mean_squares\] 'stds' must have 2 numbers, got \[1.0\]"):
        signals.expected_mean_squares([3, 2, 1], [1.0], np.tanh, np.tanh)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_dead_units(device: str) -> None:
    """Unit 0 is never on, unit 1 once, unit 2 always."""
    if device == "emulated":
        emulator.backend()
    z = nnlab.tensor([[-1.0, -2.0, 3.0], [-4.0, 0.5, 1.0], [0.0, -1.0, 9.0]]).to(device)
    assert signals.dead_units(F.relu, z).tolist() == [True, False, False]
    assert signals.dead_units(F.relu6, z + 6).tolist() == [False, False, True]
    for alive in (F.leaky_relu, F.elu, F.softplus, F.selu, nnlab.tanh):
        assert not signals.dead_units(alive, z).any()
    planes = z.T.reshape(1, 3, 3, 1)
    assert signals.dead_units(nn.ReLU(), planes).tolist() == [True, False, False]
    with pytest.raises(ShapeError, match=r"\[dead_units\] 'z' must have shape \(N, units, \*spatial\), got \(3,\)"):
        signals.dead_units(F.relu, z[0])
