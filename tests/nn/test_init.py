"""Initial values: statistics, determinism, exact patterns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ArgumentError, DtypeError, ShapeError
from nnlab.nn import init

SHAPE = (64, 32, 3, 3)
IN, OUT = 32 * 9, 64 * 9


def values(tensor: nnlab.Tensor) -> np.ndarray:
    return tensor.detach().numpy().astype(np.float64)


@pytest.mark.parametrize(
    ("fill", "bound"),
    [
        (lambda t: init.uniform_(t, -0.3, 0.3), 0.3),
        (init.xavier_uniform_, math.sqrt(6 / (IN + OUT))),
        (lambda t: init.xavier_uniform_(t, gain=2.0), 2 * math.sqrt(6 / (IN + OUT))),
        (init.kaiming_uniform_, math.sqrt(6 / IN)),
        (lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)), 1 / math.sqrt(IN)),
        (lambda t: init.kaiming_uniform_(t, mode="fan_out", nonlinearity="tanh"), 5 / 3 * math.sqrt(3 / OUT)),
    ],
)
def test_uniform(fill: Callable[[nnlab.Tensor], Any], bound: float) -> None:
    x = values(fill(nnlab.empty(*SHAPE)))
    assert np.abs(x).max() <= bound * (1 + 1e-6)
    assert np.abs(x).max() > 0.999 * bound
    # Deviation of the mean of n uniform numbers, and of their variance: five of each.
    assert abs(x.mean()) < 5 * bound / math.sqrt(3 * x.size)
    assert abs(x.var() / (bound**2 / 3) - 1) < 5 * math.sqrt(0.8 / x.size)


@pytest.mark.parametrize(
    ("fill", "mean", "std"),
    [
        (lambda t: init.normal_(t, 1.0, 0.5), 1.0, 0.5),
        (init.xavier_normal_, 0.0, math.sqrt(2 / (IN + OUT))),
        (init.kaiming_normal_, 0.0, math.sqrt(2 / IN)),
        (lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"), 0.0, math.sqrt(2 / OUT)),
        (lambda t: init.kaiming_normal_(t, a=0.5), 0.0, math.sqrt(2 / 1.25 / IN)),
    ],
)
def test_normal(fill: Callable[[nnlab.Tensor], Any], mean: float, std: float) -> None:
    x = (values(fill(nnlab.empty(*SHAPE))) - mean) / std
    assert abs(x.mean()) < 5 / math.sqrt(x.size)
    assert abs(x.var() - 1) < 5 * math.sqrt(2 / x.size)
    assert abs((x**4).mean() - 3) < 5 * math.sqrt(96 / x.size)


@pytest.mark.parametrize(("a", "b"), [(-2.0, 2.0), (-0.5, 0.1), (3.0, 9.0), (4.5, 4.6), (-50.0, 50.0)])
def test_truncated_normal(a: float, b: float) -> None:
    x = values(init.trunc_normal_(nnlab.empty(20000, dtype=nnlab.float64), 0.5, 1.5, a, b))
    assert x.min() >= a
    assert x.max() <= b
    grid = np.linspace(max(a, 0.5 - 15), min(b, 0.5 + 15), 200001)
    density = np.exp(-0.5 * ((grid - 0.5) / 1.5) ** 2)
    density /= density.sum()
    mean = float((grid * density).sum())
    deviation = math.sqrt(float(((grid - mean) ** 2 * density).sum()))
    assert abs(x.mean() - mean) < 5 * deviation / math.sqrt(x.size)
    assert abs(x.std() / deviation - 1) < 0.05


def test_exact_patterns() -> None:
    assert init.zeros_(nnlab.empty(2, 2)).tolist() == [[0, 0], [0, 0]]
    assert init.ones_(nnlab.empty(2)).tolist() == [1, 1]
    assert init.constant_(nnlab.empty(2), 0.5).tolist() == [0.5, 0.5]
    assert init.eye_(nnlab.empty(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.torch
@pytest.mark.parametrize(("shape", "groups"), [((2, 2, 3), 1), ((4, 2, 3, 4), 2), ((3, 2, 2, 3, 3), 1)])
def test_dirac_against_torch(shape: tuple[int, ...], groups: int) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.init.dirac_(torch.empty(shape), groups)
    assert np.array_equal(values(init.dirac_(nnlab.empty(*shape), groups)), theirs.numpy())


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 3, 2)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    q = values(init.orthogonal_(nnlab.empty(*shape, dtype=nnlab.float64), gain=2.0)).reshape(shape[0], -1)
    product = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


@pytest.mark.torch
def test_gains_against_torch() -> None:
    torch = pytest.importorskip("torch")
    for name in ("linear", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert init.calculate_gain("leaky_relu", 0.3) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.3))


def test_the_seed_decides() -> None:
    nnlab.manual_seed(4)
    first = nn.Conv2d(3, 4, 3)
    second = nn.Conv2d(3, 4, 3)
    nnlab.manual_seed(4)
    again = nn.Conv2d(3, 4, 3)
    assert np.array_equal(values(first.weight), values(again.weight))
    assert np.array_equal(values(first.bias), values(again.bias))
    assert not np.array_equal(values(first.weight), values(second.weight))
    own = nnlab.Generator(7)
    a = values(init.normal_(nnlab.empty(5), generator=own))
    b = values(init.normal_(nnlab.empty(5), generator=nnlab.Generator(7)))
    assert np.array_equal(a, b)
    assert own.offset == 1


@pytest.mark.parametrize(
    ("layer", "fan"),
    [
        (lambda: nn.Linear(50, 400), 50),
        (lambda: nn.Conv2d(10, 60, (3, 5), groups=2), 75),
        (lambda: nn.ConvTranspose2d(30, 20, 3), 180),
    ],
)
def test_layers_start_uniform_within_one_over_root_fan_in(layer: Callable[[], Any], fan: int) -> None:
    made, bound = layer(), 1 / math.sqrt(fan)
    weight, bias = values(made.weight), values(made.bias)
    assert 0.98 * bound < np.abs(weight).max() <= bound * (1 + 1e-6)
    assert 0.8 * bound < np.abs(bias).max() <= bound * (1 + 1e-6)
    assert abs(weight.var() / (bound**2 / 3) - 1) < 5 * math.sqrt(0.8 / weight.size)


def test_parameters_keep_requiring_gradients() -> None:
    weight = nn.Linear(3, 4).weight
    init.normal_(weight)
    assert weight.requires_grad
    assert weight.grad_fn is None


def test_errors() -> None:
    with pytest.raises(ShapeError, match="at least 2 dimensions"):
        init.xavier_normal_(nnlab.empty(3))
    with pytest.raises(ArgumentError, match="'mode' must be 'fan_in' or 'fan_out', got 'in'"):
        init.kaiming_normal_(nnlab.empty(3, 3), mode="in")
    with pytest.raises(ArgumentError, match="'nonlinearity' must be one of"):
        init.calculate_gain("gelu")
    with pytest.raises(DtypeError, match="floating point"):
        init.uniform_(nnlab.zeros(3, dtype=nnlab.int64))
    with pytest.raises(ArgumentError, match="'std' must not be negative"):
        init.normal_(nnlab.empty(3), 0, -1)
    with pytest.raises(ArgumentError, match="std > 0 and a < b"):
        init.trunc_normal_(nnlab.empty(3), a=1, b=1)
    with pytest.raises(ShapeError, match="2 dimensions"):
        init.eye_(nnlab.empty(3))
    with pytest.raises(ArgumentError, match="'groups' must divide"):
        init.dirac_(nnlab.empty(3, 2, 1), 2)
