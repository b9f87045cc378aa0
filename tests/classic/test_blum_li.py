"""The construction of Blum and Li: exact on tiles, within the error asked for elsewhere, and as large as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnlab
from nnlab.classic.blum_li import build, tiles
from nnlab.errors import ArgumentError, ShapeError

F64 = nnlab.float64


def value(network: nnlab.nn.Module, points: np.ndarray) -> np.ndarray:
    with nnlab.no_grad():
        return network(nnlab.tensor(points))[..., 0].numpy()


def test_uneven_tiles_are_exact():
    """Every point takes its tile's value, also on the edges (which belong to the tile above) and outside."""
    edges = [[-1.0, 0.25, 2.0], [0.5], []]
    values = np.arange(8.0).reshape(4, 2, 1) ** 2 - 3
    network = tiles(edges, values, dtype=F64)
    rng = np.random.default_rng(0)
    points = rng.uniform(-4, 4, (500, 3))
    points[:50, 0] = rng.choice(edges[0], 50)
    points[25:75, 1] = 0.5
    expected = [values[sum(p[0] >= e for e in edges[0]), int(p[1] >= 0.5), 0] for p in points]
    np.testing.assert_array_equal(value(network, points), expected)
    assert value(network, points.reshape(5, 100, 3)).shape == (5, 100)


def test_exactly_one_neuron_of_the_second_layer_is_on():
    network = tiles([[0.0, 1.0], [0.0, 1.0, 3.0]], np.zeros((3, 4)), dtype=F64)
    points = np.random.default_rng(1).uniform(-2, 5, (300, 2))
    with nnlab.no_grad():
        on = network[:4](nnlab.tensor(points)).numpy()
    assert set(np.unique(on)) == {0, 1}
    np.testing.assert_array_equal(on.sum(1), 1)
    assert (on.sum(0) > 0).all()


def test_one_dimension_is_a_staircase():
    network = tiles([[0.0, 1.0]], [2.0, -1.0, 5.0], dtype=F64)
    assert value(network, np.array([[-9.0], [0], [0.5], [1], [9]])).tolist() == [2, -1, -1, 5, 5]


@pytest.mark.parametrize("error", [0.3, 0.1])
def test_sup_error_on_a_grid(error):
    """A wave on a rectangle. L is its largest gradient: |(2 cos(2 x) cos(y), -sin(2 x) sin(y))| <= 2."""

    def wave(p: np.ndarray) -> np.ndarray:
        return np.sin(2 * p[:, 0]) * np.cos(p[:, 1])

    network = build(wave, (-1.5, 0), (1.5, 2), error=error, lipschitz=2.0, dtype=F64)
    grid = np.stack(np.meshgrid(np.linspace(-1.5, 1.5, 121), np.linspace(0, 2, 91)), -1).reshape(-1, 2)
    found = abs(value(network, grid) - wave(grid)).max()
    assert error / 3 < found <= error


@pytest.mark.parametrize(("inputs", "error"), [(1, 0.01), (2, 0.1), (3, 0.25)])
def test_the_bound_is_met_by_a_slope_along_the_diagonal(inputs, error):
    """f = sum of x has L = sqrt(d), and at a tile's corner it is d * side / 2 away from its centre: all of the bound
    where the tiles divide the box."""
    network = build(
        lambda p: p.sum(1), (0,) * inputs, (1,) * inputs, error=error, lipschitz=math.sqrt(inputs), dtype=F64
    )
    n = math.ceil(inputs / 2 / error)  # side = 2 * error / d
    first, _, second, _, last = network
    assert (first.out_features, second.out_features, last.out_features) == (inputs * (n - 1), n**inputs, 1)
    corner = value(network, np.zeros((1, inputs)))[0]
    assert corner == pytest.approx(inputs / (2 * n), rel=1e-12)
    assert corner == pytest.approx(error, rel=1e-12) or corner <= error
    points = np.random.default_rng(2).random((2000, inputs))
    assert abs(value(network, points) - points.sum(1)).max() <= error


def test_steps_are_steps_in_float32_too():
    network = build(lambda p: p[:, 0] * p[:, 1], (-1, -1), (1, 1), error=0.1, lipschitz=math.sqrt(2))
    assert next(network.parameters()).dtype == nnlab.float32
    points = np.random.default_rng(3).uniform(-1, 1, (2000, 2)).astype(np.float32)
    assert abs(value(network, points) - points.prod(1)).max() <= 0.1 + 1e-6


def test_errors():
    with pytest.raises(ArgumentError, match=r"\[blum_li.tiles\] 'edges' must be growing numbers"):
        tiles([[1.0, 1.0]], np.zeros(3))
    with pytest.raises(ArgumentError, match="'edges' must be growing numbers"):
        tiles([[]], np.zeros(1))
    with pytest.raises(ShapeError, match=r"'values' must have shape \(3, 2\), got \(3,\)"):
        tiles([[0.0, 1.0], [0.0]], np.zeros(3))
    for name in ("error", "lipschitz"):
        with pytest.raises(ArgumentError, match=rf"\[blum_li.build\] '{name}' must be positive, got 0"):
            build(lambda p: p[:, 0], (0,), (1,), **{"error": 1.0, "lipschitz": 1.0, name: 0})
    with pytest.raises(ArgumentError, match="'low, high' must be corners, low < high"):
        build(lambda p: p[:, 0], (0, 1), (1, 1), error=1, lipschitz=1)
