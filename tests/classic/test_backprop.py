"""Back-propagation, layer by layer: a formula in loops, central differences, autograd and PyTorch."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import nnlab
from nnlab.classic import backprop
from nnlab.errors import ArgumentError, ShapeError
from nnlab.testing import gradcheck, tolerance

SIZES = (3, 5, 4, 6, 2)
LAYERS = ("tanh", "relu", "sigmoid", "linear")


def network(seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    x, d = rng.normal(size=(7, SIZES[0])), rng.normal(size=(7, SIZES[-1]))
    return x, d, [rng.normal(size=(n, m + 1)) for m, n in itertools.pairwise(SIZES)]


def tensors(arrays: list[np.ndarray], **options: bool) -> list[nnlab.Tensor]:
    return [nnlab.tensor(a, **options) for a in arrays]


def numbers(found: list[nnlab.Tensor]) -> list[np.ndarray]:
    return [g.numpy() for g in found]


def error_of(x: np.ndarray, d: np.ndarray, weights: list[np.ndarray]) -> float:
    """The empirical error, neuron by neuron."""
    functions = {"tanh": math.tanh, "relu": lambda u: max(u, 0), "linear": float,
                 "sigmoid": lambda u: 1 / (1 + math.exp(-u))}  # fmt: skip
    total = 0.0
    for sample, wanted in zip(x, d, strict=True):
        y = list(sample)
        for w, name in zip(weights, LAYERS, strict=True):
            y = [functions[name](row[0] + sum(a * b for a, b in zip(row[1:], y, strict=True))) for row in w]
        total += sum((a - b) ** 2 for a, b in zip(wanted, y, strict=True))
    return total / len(x)


def test_forward():
    x, d, weights = network()
    outputs = backprop.forward(nnlab.tensor(x), tensors(weights), LAYERS)
    assert [tuple(y.shape) for y in outputs] == [(7, n) for n in SIZES]
    loss = backprop.loss(outputs[-1], nnlab.tensor(d)).item()
    assert loss == pytest.approx(error_of(x, d, weights), rel=1e-12)


def test_every_element_against_central_differences():
    x, d, weights = network()
    found = numbers(backprop.gradients(nnlab.tensor(x), nnlab.tensor(d), tensors(weights), LAYERS))
    h = 1e-5
    for layer, w in enumerate(weights):
        numerical = np.zeros_like(w)
        for place in np.ndindex(w.shape):
            sides = []
            for moved in (w[place] + h, w[place] - h):
                changed = [v.copy() for v in weights]
                changed[layer][place] = moved
                sides.append(error_of(x, d, changed))
            numerical[place] = (sides[0] - sides[1]) / (2 * h)
        assert abs(found[layer] - numerical).max() < 1e-8 * max(1, abs(numerical).max()), layer


@pytest.mark.parametrize("layers", [LAYERS, ("sigmoid",) * 4, ("tanh",) * 4, ("linear",) * 4, ("relu",) * 4])
def test_against_autograd(layers):
    x, d, weights = network(1)
    leaves = tensors(weights, requires_grad=True)
    found = backprop.gradients(nnlab.tensor(x), nnlab.tensor(d), leaves, layers)
    assert not any(g.requires_grad for g in found)
    y = backprop.forward(nnlab.tensor(x), leaves, layers)[-1]
    for a, b in zip(found, nnlab.grad(backprop.loss(y, nnlab.tensor(d)), leaves), strict=True):
        # Up to 6 terms in each of 4 layers, and 7 samples.
        np.testing.assert_allclose(
            a.numpy(), b.numpy(), rtol=0, atol=tolerance(nnlab.float64, 100) * abs(b.numpy()).max()
        )


def test_gradcheck():
    x, d, weights = network(2)

    def error(*leaves: nnlab.Tensor) -> nnlab.Tensor:
        return backprop.loss(backprop.forward(nnlab.tensor(x), leaves, LAYERS)[-1], nnlab.tensor(d))

    assert gradcheck(error, tensors(weights, requires_grad=True))


def test_one_hidden_layer_written_out():
    """dRSS/dw1[j, i] = -2 sum_n (t_n - g) g'(..) w2[0, j] h'_j(..) x_i, for one output."""
    rng = np.random.default_rng(3)
    x, t = rng.normal(size=(6, 3)), rng.normal(size=(6, 1))
    w1, w2 = rng.normal(size=(4, 4)), rng.normal(size=(1, 5))
    found = backprop.gradients(nnlab.tensor(x), nnlab.tensor(t), tensors([w1, w2]), ("tanh", "sigmoid"))
    expected = np.zeros_like(w1)
    for n in range(6):
        inputs = [1.0, *x[n]]
        a = [sum(w1[j, i] * inputs[i] for i in range(4)) for j in range(4)]
        g = 1 / (1 + math.exp(-(w2[0, 0] + sum(w2[0, j + 1] * math.tanh(a[j]) for j in range(4)))))
        for j in range(4):
            for i in range(4):
                slope = (1 - math.tanh(a[j]) ** 2) * inputs[i]
                expected[j, i] += -2 * (t[n, 0] - g) * g * (1 - g) * w2[0, j + 1] * slope
    np.testing.assert_allclose(found[0].numpy() * 6, expected, rtol=1e-10)  # RSS is no mean


@pytest.mark.torch
def test_against_pytorch():
    torch = pytest.importorskip("torch")
    x, d, weights = network(4)
    layers = {"tanh": torch.nn.Tanh(), "relu": torch.nn.ReLU(), "sigmoid": torch.nn.Sigmoid()}
    steps: list = []
    for w, name in zip(weights, LAYERS, strict=True):
        linear = torch.nn.Linear(w.shape[1] - 1, w.shape[0], dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(w[:, 1:]))
            linear.bias.copy_(torch.tensor(w[:, 0]))
        steps += [linear, *([layers[name]] if name in layers else [])]
    y = torch.nn.Sequential(*steps)(torch.tensor(x))
    (((torch.tensor(d) - y) ** 2).sum() / len(x)).backward()
    found = backprop.gradients(nnlab.tensor(x), nnlab.tensor(d), tensors(weights), LAYERS)
    for g, linear in zip(found, [s for s in steps if isinstance(s, torch.nn.Linear)], strict=True):
        np.testing.assert_allclose(g.numpy()[:, 1:], linear.weight.grad.numpy(), rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(g.numpy()[:, 0], linear.bias.grad.numpy(), rtol=1e-9, atol=1e-13)


def test_errors():
    x, d, weights = network()
    with pytest.raises(ArgumentError, match=r"\[backprop\] 'activations' must be 4 names out of linear, relu"):
        backprop.forward(nnlab.tensor(x), tensors(weights), LAYERS[:3])
    with pytest.raises(ArgumentError, match="'activations' must be"):
        backprop.forward(nnlab.tensor(x), tensors(weights), ("swish",) * 4)
    with pytest.raises(ShapeError, match=r"'d' must have shape \(7, 2\), got \(7, 1\)"):
        backprop.gradients(nnlab.tensor(x), nnlab.tensor(d[:, :1]), tensors(weights), LAYERS)
