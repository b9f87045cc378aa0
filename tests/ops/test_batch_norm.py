from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnlab
from nnlab.autograd.norm import batch_norm, batch_norm_eval
from nnlab.ops import batch_norm as ops
from nnlab.testing import gradcheck, gradgradcheck
from tests.ops.common import CPU, close, pytorch, rng, scattered
from tests.oracles import norm as oracle

SHAPES = [(4, 3), (2, 3, 5), (3, 4, 2, 5), (2, 1, 3, 2, 4), (1, 5, 7)]


def rows(x):
    return x.reshape(*x.shape[:2], -1)


@pytest.mark.parametrize("eps", [1e-5, 0.3])
@pytest.mark.parametrize("shape", SHAPES)
def test_training_against_loops(shape, eps):
    random = rng(41, len(shape))
    x, dy = (scattered(random.standard_normal(shape) * 3 + 2) for _ in range(2))
    weight, bias = random.standard_normal((2, shape[1]))
    y, saved = ops.forward(CPU, x=x, weight=weight, bias=bias, eps=eps)
    want, mean, var = oracle.batch_norm(rows(x), weight, bias, eps)
    close(rows(y), want)
    close(saved.mean, mean)
    close(saved.var, var)
    found = ops.backward(CPU, dy=dy, x=x, weight=weight, saved=saved)
    for got, expected in zip(found, oracle.batch_norm_grad(rows(x), weight, rows(dy), eps)):
        close(got.reshape(expected.shape), expected)


@given(st.integers(1, 5), st.integers(1, 4), st.lists(st.integers(1, 4), max_size=3))
def test_drawn_shapes_without_weight(images, channels, spatial):
    random = rng(42, images)
    x, dy = random.standard_normal((2, images, channels, *spatial))
    one, zero = np.ones(channels), np.zeros(channels)
    y, saved = ops.forward(CPU, x=x, weight=None, bias=None, eps=1e-2)
    close(rows(y), oracle.batch_norm(rows(x), one, zero, 1e-2)[0])
    dx, _, _ = ops.backward(CPU, dy=dy, x=x, weight=None, saved=saved)
    close(rows(dx), oracle.batch_norm_grad(rows(x), one, rows(dy), 1e-2)[0])


@pytest.mark.parametrize("shape", SHAPES)
def test_given_statistics(shape):
    random = rng(43)
    x = random.standard_normal(shape)
    mean, var, weight, bias = random.uniform(0.5, 2, (4, shape[1]))
    column = (-1, *[1] * (len(shape) - 2))
    want = (x - mean.reshape(column)) / np.sqrt(var + 0.1).reshape(column)
    tensors = [nnlab.tensor(a) for a in (mean, var)]
    close(batch_norm_eval(nnlab.tensor(x), *tensors, None, None, 0.1).numpy(), want)
    want = want * weight.reshape(column) + bias.reshape(column)
    inputs = [nnlab.tensor(a, requires_grad=True) for a in (x, weight, bias)]

    def function(x, weight, bias):
        return batch_norm_eval(x, *tensors, weight, bias, 0.1)

    close(function(*inputs).detach().numpy(), want)
    assert gradcheck(function, inputs)
    assert gradgradcheck(lambda x, w: function(x, w, inputs[2].detach()), inputs[:2])


@pytest.mark.parametrize("shape", [(4, 3), (3, 2, 4), (2, 3, 2, 3)])
@pytest.mark.parametrize("affine", [True, False])
def test_gradients_of_any_order(shape, affine):
    random = rng(44)
    x = nnlab.tensor(random.standard_normal(shape), requires_grad=True)
    if not affine:
        assert gradcheck(lambda x: batch_norm(x, None, None, 0.1)[0], x)
        assert gradgradcheck(lambda x: batch_norm(x, None, None, 0.1)[0], x)
        return
    weight, bias = (nnlab.tensor(random.standard_normal(shape[1]), requires_grad=True) for _ in range(2))
    assert gradcheck(lambda x, w, b: batch_norm(x, w, b, 0.1)[0], (x, weight, bias))
    assert gradgradcheck(lambda x, w: batch_norm(x, w, bias.detach(), 0.1)[0], (x, weight))


def test_statistics_are_unbiased_and_have_no_gradient():
    x = nnlab.tensor([[1.0], [2.0], [6.0]], requires_grad=True)
    _, mean, var = batch_norm(x, None, None, 1e-5)
    assert (mean.tolist(), var.tolist()) == ([3.0], [7.0])
    assert not mean.requires_grad and not var.requires_grad


def test_large_mean_costs_no_accuracy():
    """E[x**2] - E[x]**2 would lose the variance of these values altogether in float32."""
    x = (rng(45).standard_normal((8, 2, 30, 30)) + 10_000).astype(np.float32)
    y, saved = ops.forward(CPU, x=x, weight=None, bias=None, eps=1e-5)
    want, mean, var = oracle.batch_norm(rows(x.astype(np.float64)), np.ones(2), np.zeros(2), 1e-5)
    np.testing.assert_allclose(saved.var, var, rtol=1e-5)
    np.testing.assert_allclose(saved.mean, mean, rtol=1e-7)
    np.testing.assert_allclose(rows(y), want, atol=1e-5)


def test_half_precision_has_float32_statistics():
    x = rng(46).uniform(0, 1, (64, 2, 16, 16)).astype(np.float16)
    y, saved = ops.forward(CPU, x=x, weight=np.ones(2, np.float16), bias=np.zeros(2, np.float16), eps=1e-5)
    want, mean, _ = oracle.batch_norm(rows(x.astype(np.float64)), np.ones(2), np.zeros(2), 1e-5)
    assert (y.dtype, saved.mean.dtype) == (np.float16, np.float32)
    np.testing.assert_allclose(saved.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(rows(y), want, rtol=2**-10, atol=1e-4)
    dx, dweight, _ = ops.backward(CPU, dy=y, x=x, weight=np.ones(2, np.float16), saved=saved)
    assert dx.dtype == dweight.dtype == np.float16


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize("shape", SHAPES)
def test_against_pytorch(shape):
    torch = pytorch()
    random = rng(47)
    x, dy = random.standard_normal((2, *shape))
    weight, bias = random.standard_normal((2, shape[1]))
    inputs = [nnlab.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    peers = [torch.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    y, mean, var = batch_norm(*inputs, 1e-3)
    running = torch.zeros(shape[1], dtype=torch.float64), torch.zeros(shape[1], dtype=torch.float64)
    z = torch.nn.functional.batch_norm(peers[0], *running, *peers[1:], True, 1.0, 1e-3)
    close(y.detach().numpy(), z.detach().numpy())
    close(mean.numpy(), running[0].numpy())
    close(var.numpy(), running[1].numpy())
    y.backward(nnlab.tensor(dy))
    z.backward(torch.tensor(dy))
    for ours, peer in zip(inputs, peers):
        close(ours.grad.numpy(), peer.grad.numpy())
