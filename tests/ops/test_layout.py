"""Bodies in array code take arrays whose images are last in memory, keep that order, and give the same values."""

from __future__ import annotations

import numpy as np
import pytest

import nnlab
from nnlab.geometry import pool_geometry
from nnlab.ops import (
    adaptive_max_pool,
    avg_pool,
    batch_norm,
    bias_relu,
    dropout,
    local_response_norm,
    max_pool,
    relu,
    unary,
)
from nnlab.ops._numpy import channels, layout, parallel
from tests.ops.common import CPU, close, rng

SHAPES = [(6, 3, 8, 7), (5, 2, 9), (4, 3, 4, 6, 5)]
POOLINGS = {"tiles": (2, 2, 0, 1), "apart": (2, 3, 1, 1), "overlap": (3, 2, 1, 1), "dilated": (2, 1, 0, 2)}


def images_last(array):
    return layout.batch_last(CPU, array).transpose(array.ndim - 1, *range(array.ndim - 1))


def geometry_of(x, name):
    kernel, stride, padding, dilation = POOLINGS[name]
    return pool_geometry(x.shape, kernel, stride, padding, dilation)


def run_relu(be, x, grad):
    y = relu.forward(be, x=x)
    return [y, relu.backward(be, dy=grad(y), y=y)], []


def run_bias_relu(be, x, grad):
    y = bias_relu.forward(be, x=x, b=np.linspace(-1, 1, x.shape[1]))
    dx, db = bias_relu.backward(be, dy=grad(y), y=y)
    return [y, dx], [db]


def run_dropout(be, x, grad):
    y, saved = dropout.forward(be, x=x, p=0.4, seed=3, offset=1)
    return [y, dropout.backward(be, dy=grad(y), saved=saved)], []


def run_batch_norm(be, x, grad):
    weight, bias = np.linspace(0.5, 2, x.shape[1]), np.linspace(-1, 1, x.shape[1])
    y, saved = batch_norm.forward(be, x=x, weight=weight, bias=bias, eps=1e-3)
    dx, dweight, dbias = batch_norm.backward(be, dy=grad(y), x=x, weight=weight, saved=saved)
    z = batch_norm.evaluate(be, x=x, mean=bias, var=weight, weight=weight, bias=bias, eps=1e-3)
    return [y, dx, z], [*saved, dweight, dbias]


def run_response_norm(be, x, grad):
    y, s = local_response_norm.forward(be, x=x, size=2, alpha=0.7, beta=0.75, k=1.0)
    dx = local_response_norm.backward(be, dy=grad(y), x=x, s=s, size=2, alpha=0.7, beta=0.75)
    return [y, s, dx, local_response_norm.channel_sum(be, x=x, below=1, above=0)], []


def run_adaptive_avg(out):
    def run(be, x, grad):
        y = avg_pool.adaptive_forward(be, x=x, out=(out,) * (x.ndim - 2))
        return [y, avg_pool.adaptive_backward(be, dy=grad(y), size=x.shape[2:])], []

    return run


def run_adaptive_max(be, x, grad):
    y, places = adaptive_max_pool.forward(be, x=x, out=(3,) * (x.ndim - 2))
    return [y, places], [adaptive_max_pool.scatter(be, dy=grad(y), places=places, size=x.shape[2:])]


def run_avg(name):
    def run(be, x, grad):
        g = geometry_of(x, name)
        found = []
        for padded, divisor in ((True, None), (False, None), (True, 3)):
            options = {"geometry": g, "count_include_pad": padded, "divisor_override": divisor}
            y = avg_pool.forward(be, x=x, **options)
            found += [y, avg_pool.backward(be, dy=grad(y), **options)]
        return found, []

    return run


def run_max(name):
    def run(be, x, grad):
        g = geometry_of(x, name)
        y, index = max_pool.forward(be, x=x, geometry=g)
        dx = max_pool.scatter(be, dy=grad(y), index=index, geometry=g)
        return [y, index, dx], [max_pool.gather(be, x=dx, index=index, geometry=g)]

    return run


def run_unary(function):
    def run(be, x, grad):
        y = unary.forward(be, x=x, function=function)
        return [y, unary.backward(be, dy=grad(y), y=y, function=function)], []

    return run


OPS = {
    "relu": run_relu,
    **{function: run_unary(function) for function in unary.GRADIENTS},
    "bias_relu": run_bias_relu,
    "dropout": run_dropout,
    "batch_norm": run_batch_norm,
    "local_response_norm": run_response_norm,
    "adaptive_max_pool": run_adaptive_max,
    **{f"adaptive_avg_pool {out}": run_adaptive_avg(out) for out in (1, 3)},
    **{f"avg_pool {name}": run_avg(name) for name in POOLINGS if name != "dilated"},
    **{f"max_pool {name}": run_max(name) for name in POOLINGS},
}


@pytest.fixture(params=[1 << 21, 1 << 10], ids=["whole", "blocks"])
def block(request, monkeypatch):
    monkeypatch.setattr(parallel, "BLOCK", request.param)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", OPS)
def test_images_last_give_the_same_and_stay_last(name, shape):
    x = rng(71, len(shape)).standard_normal(shape)

    def grad(y):
        return rng(72).standard_normal(y.shape)

    kept, others = OPS[name](CPU, x, grad)
    kept_last, others_last = OPS[name](CPU, images_last(x), lambda y: images_last(grad(y)))
    # The gradient of a result in one order may come in the other.
    mixed, mixed_others = OPS[name](CPU, images_last(x), grad)
    for wanted, *found in zip(kept, kept_last, mixed, strict=True):
        assert wanted.flags.c_contiguous
        assert layout.is_batch_last(found[0])
        for each in found:
            close(each, wanted)
    for wanted, *found in zip(others, others_last, mixed_others, strict=True):
        for each in found:
            close(each, wanted)


@pytest.mark.parametrize("order", [np.ascontiguousarray, images_last], ids=["row-major", "images last"])
def test_not_a_number_wins_a_maximum_in_its_block_alone(order, monkeypatch):
    monkeypatch.setattr(parallel, "BLOCK", 1)
    x = np.arange(2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)
    x[1, 2, 0, 0] = x[1, 2, 0, 1] = np.nan
    g = pool_geometry(x.shape, 2, 2, 0)
    y, index = max_pool.forward(CPU, x=order(x), geometry=g)
    assert np.isnan(y[1, 2, 0, 0]) and index[1, 2, 0, 0] == 1
    assert np.isnan(y).sum() == 1 and (np.delete(index.reshape(-1), 20) == 3).all()


@pytest.mark.parametrize("p", [1.0, 0.5])
def test_infinite_gradients_do_not_leak_past_a_mask(p):
    dy = images_last(np.full((4, 3, 2, 2), np.inf, np.float32))
    y, saved = dropout.forward(CPU, x=np.abs(dy), p=p, seed=1, offset=0)
    assert not np.isnan(y).any() and not np.isnan(dropout.backward(CPU, dy=dy, saved=saved)).any()
    x = images_last(rng(73).standard_normal(dy.shape).astype(np.float32))
    dx = relu.backward(CPU, dy=dy, y=relu.forward(CPU, x=x))
    np.testing.assert_array_equal(dx, np.where(x > 0, np.inf, 0))


@pytest.mark.parametrize("length", [1, 4096, 4097, 8192, 10_007, 12_544])
def test_sums_of_channels_are_as_good_as_of_runs_in_double_precision(length):
    a, b = (rng(76, length).standard_normal((2, 2, 3, length)) + 100).astype(np.float32)
    wide = a.astype(np.float64), b.astype(np.float64)
    np.testing.assert_allclose(channels.total(CPU, a), wide[0].sum(axis=(0, 2)), rtol=3e-6)
    np.testing.assert_allclose(channels.products(CPU, a, b), (wide[0] * wide[1]).sum(axis=(0, 2)), rtol=3e-6)


def test_flattening_gives_back_the_order_it_met():
    x = nnlab.tensor(rng(74).standard_normal((4, 3, 2, 2)), requires_grad=True)
    images = (x.permute(1, 2, 3, 0).clone() * 2).permute(3, 0, 1, 2)
    assert layout.is_batch_last(images._data)
    met = []
    images.register_hook(lambda grad: met.append(grad._data))
    weight = rng(75).standard_normal((4, 12))
    (images.flatten(1) * nnlab.tensor(weight)).sum().backward()
    assert layout.is_batch_last(met[0])
    close(x.grad.numpy(), 2 * weight.reshape(4, 3, 2, 2))
