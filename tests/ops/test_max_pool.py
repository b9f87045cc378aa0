from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnlab
from nnlab.autograd.pool import (
    adaptive_max_pool,
    adaptive_max_pool_with_indices,
    max_pool,
    max_pool_with_indices,
    max_unpool,
)
from nnlab.errors import ArgumentError
from nnlab.geometry import max_unpool_size, pool_geometry
from nnlab.nn import functional as F
from nnlab.ops import adaptive_max_pool as adaptive_ops
from nnlab.ops import max_pool as ops
from nnlab.testing import gradcheck, gradgradcheck, spaced
from tests.ops.common import CPU, close, pytorch, rng, scattered
from tests.oracles import pool as oracle

INF, NAN = float("inf"), float("nan")
SIZES = {1: (9,), 2: (6, 7), 3: (4, 5, 4)}
KERNELS = {1: [(1,), (2,), (3,), (4,)], 2: [(1, 2), (2, 2), (3, 3)], 3: [(2, 2, 2), (3, 1, 2)]}
OPTIONS = list(product((None, 1, 2, 3), (0, 1), (1, 2), (False, True)))


def problems(dims):
    for number, (kernel, (stride, padding, dilation, ceil)) in enumerate(product(KERNELS[dims], OPTIONS)):
        if all(padding <= k // 2 for k in kernel) and all(
            dilation * (k - 1) + 1 <= n + 2 * padding for k, n in zip(kernel, SIZES[dims])
        ):
            yield number, kernel, stride, padding, dilation, ceil


def values(random, shape, kind):
    """Numbers with many ties, and some NaN or -inf."""
    x = random.integers(-2, 3, shape).astype(np.float64)
    if kind == "nan":
        x[random.random(shape) < 0.2] = NAN
    if kind == "-inf":
        x[random.random(shape) < 0.7] = -INF
    return x


@pytest.mark.parametrize("kind", ["ties", "nan", "-inf"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_all_passes_against_loops(dims, kind):
    for number, kernel, stride, padding, dilation, ceil in problems(dims):
        random = rng(21, number)
        x = scattered(values(random, (2, 3, *SIZES[dims]), kind))
        geometry = pool_geometry(x.shape, kernel, stride, padding, dilation, ceil)
        steps = kernel if stride is None else (stride,) * dims
        pads, dilations = (padding,) * dims, (dilation,) * dims
        name = str((kernel, stride, padding, dilation, ceil))
        assert geometry.out_size == oracle.out_size(SIZES[dims], kernel, steps, pads, dilations, ceil), name
        y, index = ops.forward(CPU, x=x, geometry=geometry)
        want, where = oracle.max_pool(x, geometry.out_size, kernel, steps, pads, dilations)
        np.testing.assert_array_equal(y, want, err_msg=name)
        np.testing.assert_array_equal(ops.positions(CPU, index=index, geometry=geometry), where, err_msg=name)
        assert index.dtype == np.uint8
        dy = scattered(random.standard_normal(y.shape))
        dx = oracle.scatter(dy, where, SIZES[dims])
        close(ops.scatter(CPU, dy=dy, index=index, geometry=geometry), dx, name)
        again = ops.gather(CPU, x=x, index=index, geometry=geometry)
        np.testing.assert_array_equal(again, want, err_msg=name)


def test_gradient_reaches_only_the_maximum():
    """A NaN or infinite gradient stays where it belongs."""
    x = nnlab.tensor([[[1.0, 2.0, 3.0, 4.0]]], requires_grad=True)
    y = max_pool(x, pool_geometry(x.shape, 2, 1))
    y.backward(nnlab.tensor([[[INF, 1.0, NAN]]]))
    np.testing.assert_array_equal(x.grad.numpy(), [[[0, INF, 1, NAN]]])


def test_large_kernels_have_wider_indices():
    x = rng(22).standard_normal((1, 1, 20, 20))
    geometry = pool_geometry(x.shape, (17, 16), 1)
    y, index = ops.forward(CPU, x=x, geometry=geometry)
    want, where = oracle.max_pool(x, geometry.out_size, (17, 16), (1, 1), (0, 0), (1, 1))
    assert index.dtype == np.int32
    np.testing.assert_array_equal(y, want)
    np.testing.assert_array_equal(ops.positions(CPU, index=index, geometry=geometry), where)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.booleans()), min_size=1, max_size=3),
    st.integers(0, 6),
    st.integers(0, 2),
    st.booleans(),
)
def test_drawn_shapes(per_dimension, room, images, ceil):
    kernel, stride, dilation, padded = zip(*per_dimension)
    pad = tuple(k // 2 if p and d == 1 else 0 for k, d, p in zip(kernel, dilation, padded))
    size = tuple(max(d * (k - 1) + 1 - 2 * p, 1) + room for k, d, p in zip(kernel, dilation, pad))
    x = values(rng(23, room), (images, 2, *size), "nan")
    geometry = pool_geometry(x.shape, kernel, stride, pad, dilation, ceil)
    y, index = ops.forward(CPU, x=x, geometry=geometry)
    want, where = oracle.max_pool(x, geometry.out_size, kernel, stride, pad, dilation)
    np.testing.assert_array_equal(y, want)
    np.testing.assert_array_equal(ops.positions(CPU, index=index, geometry=geometry), where)
    dy = rng(24).standard_normal(y.shape)
    close(ops.scatter(CPU, dy=dy, index=index, geometry=geometry), oracle.scatter(dy, where, size))


@pytest.mark.parametrize(("dims", "stride", "dilation"), [(1, 1, 2), (2, 2, 1), (2, 1, 2), (3, 1, 1)])
def test_gradients_of_any_order(dims, stride, dilation):
    x = spaced((2, 2, *(5, 6, 4)[:dims])).requires_grad_()
    geometry = pool_geometry(x.shape, 2, stride, 1, dilation, ceil_mode=True)
    assert gradcheck(lambda x: max_pool(x, geometry), x)
    assert gradgradcheck(lambda x: max_pool(x, geometry), x)


@pytest.mark.parametrize("kind", ["ties", "nan"])
@pytest.mark.parametrize("out", [(1, 1), (3, 2), (5, 7), (6, 7), (8, 3)])
def test_adaptive_against_loops(out, kind):
    x = scattered(values(rng(25), (2, 3, 6, 7), kind))
    y, places = adaptive_ops.forward(CPU, x=x, out=out)
    want, where = oracle.adaptive_max(x, out)
    np.testing.assert_array_equal(y, want)
    np.testing.assert_array_equal(places, where)
    dy = rng(26).standard_normal(y.shape)
    close(adaptive_ops.scatter(CPU, dy=dy, places=places, size=(6, 7)), oracle.scatter(dy, where, (6, 7)))


def test_adaptive_gradients_of_any_order():
    for shape, out in (((2, 2, 7), (3,)), ((1, 2, 5, 6), (3, 4)), ((1, 1, 3, 4, 3), (2, 2, 2))):
        x = spaced(shape).requires_grad_()
        assert gradcheck(lambda x, out=out: adaptive_max_pool(x, out), x)
        assert gradgradcheck(lambda x, out=out: adaptive_max_pool(x, out), x)


def test_unpool_puts_values_back():
    x = spaced((2, 3, 6, 8), seed=3).requires_grad_()
    geometry = pool_geometry(x.shape, 2)
    y, indices = max_pool_with_indices(x, geometry)
    size = max_unpool_size(y.shape, 2)
    back = max_unpool(y, indices, size)
    places = np.zeros((2, 3, 48), bool)
    np.put_along_axis(places, indices.numpy().reshape(2, 3, -1), True, axis=2)
    np.testing.assert_array_equal(back.detach().numpy(), np.where(places.reshape(x.shape), x.detach().numpy(), 0))
    z = y.detach().requires_grad_()
    assert gradcheck(lambda z: max_unpool(z, indices, size), z)
    assert gradgradcheck(lambda z: max_unpool(z, indices, size), z)


def test_unpool_refuses_places_outside():
    x, indices = nnlab.ones(1, 1, 2), nnlab.tensor([[[0, 4]]])
    with pytest.raises(ArgumentError, match=r"\[max_unpool\] 'indices' must lie in 0..3, got 4"):
        max_unpool(x, indices, (4,))


def test_without_images():
    x = nnlab.zeros(0, 3, 4, 4, requires_grad=True)
    y, indices = max_pool_with_indices(x, pool_geometry(x.shape, 2))
    assert y.shape == indices.shape == (0, 3, 2, 2)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert adaptive_max_pool(x, (2, 1)).shape == (0, 3, 2, 1)


def test_half_precision_is_exact():
    x = rng(27).standard_normal((2, 2, 4, 4)).astype(np.float16)
    y, _ = ops.forward(CPU, x=x, geometry=pool_geometry(x.shape, 2))
    assert y.dtype == np.float16
    np.testing.assert_array_equal(y, x.reshape(2, 2, 2, 2, 2, 2).max(axis=(3, 5)))


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize("kind", ["ties", "nan", "-inf"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_against_pytorch(dims, kind):
    torch = pytorch()
    function = getattr(torch.nn.functional, f"max_pool{dims}d")
    for number, kernel, stride, padding, dilation, ceil in problems(dims):
        x = values(rng(28, number), (2, 3, *SIZES[dims]), kind)
        ours, peer = nnlab.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, indices = max_pool_with_indices(ours, pool_geometry(x.shape, kernel, stride, padding, dilation, ceil))
        z, places = function(peer, kernel, stride, padding, dilation, ceil, return_indices=True)
        name = str((kernel, stride, padding, dilation, ceil))
        np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy(), err_msg=name)
        np.testing.assert_array_equal(indices.numpy(), places.numpy(), err_msg=name)
        y.sum().backward()
        z.sum().backward()
        np.testing.assert_array_equal(ours.grad.numpy(), peer.grad.numpy(), err_msg=name)


@pytest.mark.torch
@pytest.mark.external
def test_adaptive_and_unpool_against_pytorch():
    torch = pytorch()
    x = values(rng(29), (2, 3, 6, 7), "nan")
    for out in ((1, 1), (3, 2), (5, 7), (8, 3)):
        y, indices = adaptive_max_pool_with_indices(nnlab.tensor(x), out)
        z, places = torch.nn.functional.adaptive_max_pool2d(torch.tensor(x), out, return_indices=True)
        np.testing.assert_array_equal(y.numpy(), z.numpy())
        np.testing.assert_array_equal(indices.numpy(), places.numpy())
    y, indices = max_pool_with_indices(nnlab.tensor(x), pool_geometry(x.shape, 3, 3))
    size = max_unpool_size(y.shape, 3, output_size=(2, 3, 6, 7))
    want = torch.nn.functional.max_unpool2d(
        torch.tensor(y.numpy()), torch.tensor(indices.numpy()), 3, output_size=(6, 7)
    )
    np.testing.assert_array_equal(max_unpool(y, indices, size).numpy(), want.numpy())


def test_unpooling_and_fractional_pooling_of_no_images() -> None:
    x = nnlab.zeros(0, 2, 3, 3, requires_grad=True)
    y = F.max_unpool2d(x, nnlab.zeros(0, 2, 3, 3, dtype=nnlab.int64), 2)
    y.sum().backward()
    assert y.shape == (0, 2, 6, 6) and x.grad is not None and x.grad.shape == x.shape
    small = F.fractional_max_pool2d(nnlab.zeros(0, 2, 9, 9, requires_grad=True), 2, 4)
    small.sum().backward()
    assert small.shape == (0, 2, 4, 4)
