from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnlab
from nnlab.autograd.pool import adaptive_avg_pool, avg_pool
from nnlab.errors import ArgumentError
from nnlab.geometry import pool_geometry
from nnlab.ops import avg_pool as ops
from nnlab.testing import gradcheck, gradgradcheck
from tests.ops.common import CPU, close, pytorch, rng, scattered
from tests.oracles import pool as oracle

SIZES = {1: (9,), 2: (6, 7), 3: (4, 5, 4)}
KERNELS = {1: [(1,), (2,), (3,), (4,)], 2: [(1, 2), (2, 2), (3, 3)], 3: [(2, 2, 2), (3, 1, 2)]}
OPTIONS = list(product((None, 1, 2, 3), (0, 1), (False, True), (False, True), (None, 5, -2)))


def problems(dims):
    for number, (kernel, options) in enumerate(product(KERNELS[dims], OPTIONS)):
        if all(options[1] <= k // 2 for k in kernel):
            yield number, kernel, *options


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_both_passes_against_loops(dims):
    for number, kernel, stride, padding, ceil, include_pad, override in problems(dims):
        random = rng(31, number)
        x = scattered(random.standard_normal((2, 3, *SIZES[dims])))
        geometry = pool_geometry(x.shape, kernel, stride, padding, 1, ceil)
        steps, pads = kernel if stride is None else (stride,) * dims, (padding,) * dims
        options = {"geometry": geometry, "count_include_pad": include_pad, "divisor_override": override}
        name = str((kernel, stride, padding, ceil, include_pad, override))
        y = ops.forward(CPU, x=x, **options)
        close(y, oracle.avg_pool(x, geometry.out_size, kernel, steps, pads, include_pad, override), name)
        dy = scattered(random.standard_normal(y.shape))
        dx = oracle.avg_pool_grad(dy, SIZES[dims], kernel, steps, pads, include_pad, override)
        close(ops.backward(CPU, dy=dy, **options), dx, name)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=3), st.integers(0, 2))
def test_adaptive_against_loops(per_dimension, images):
    size, out = zip(*per_dimension)
    x = scattered(rng(32).standard_normal((images, 2, *size)))
    y = ops.adaptive_forward(CPU, x=x, out=out)
    close(y, oracle.adaptive_avg(x, out))
    dy = rng(33).standard_normal(y.shape)
    close(ops.adaptive_backward(CPU, dy=dy, size=size), oracle.adaptive_avg_grad(dy, size))


def test_not_a_number_stays_in_its_windows():
    x = np.ones((1, 1, 6))
    x[0, 0, 4] = np.nan
    y = ops.adaptive_forward(CPU, x=x, out=(3,))
    np.testing.assert_array_equal(y, [[[1, 1, np.nan]]])
    geometry = pool_geometry(x.shape, 2)
    y = ops.forward(CPU, x=x, geometry=geometry, count_include_pad=True, divisor_override=None)
    np.testing.assert_array_equal(y, [[[1, 1, np.nan]]])


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_gradients_of_any_order(dims):
    x = nnlab.tensor(rng(34).standard_normal((2, 2, *(5, 6, 4)[:dims])), requires_grad=True)
    geometry = pool_geometry(x.shape, 3, 2, 1, ceil_mode=True)
    for function in (
        lambda x: avg_pool(x, geometry, False),
        lambda x: avg_pool(x, geometry, True, 7),
        lambda x: adaptive_avg_pool(x, (3, 2, 4)[:dims]),
    ):
        assert gradcheck(function, x)
        assert gradgradcheck(function, x)


def test_input_is_left_alone():
    x = nnlab.ones(1, 1, 4, 4)
    y = adaptive_avg_pool(x, (4, 4))
    y.add_(1)
    assert (x.numpy() == 1).all()
    avg_pool(x, pool_geometry(x.shape, 1))
    assert (x.numpy() == 1).all()


def test_without_images_and_bad_divisor():
    x = nnlab.zeros(0, 3, 4, 4, requires_grad=True)
    avg_pool(x, pool_geometry(x.shape, 2)).sum().backward()
    assert x.grad.shape == x.shape
    with pytest.raises(ArgumentError, match=r"\[avg_pool\] 'divisor_override' must not be zero, got 0"):
        avg_pool(x, pool_geometry(x.shape, 2), divisor_override=0)


def test_half_precision_adds_up_in_float32():
    x = np.full((1, 1, 64, 64), 1 + 2**-10, np.float16)
    geometry = pool_geometry(x.shape, 64)
    y = ops.forward(CPU, x=x, geometry=geometry, count_include_pad=True, divisor_override=None)
    assert y.dtype == np.float16
    assert (y == x[0, 0, 0, 0]).all()
    assert (ops.adaptive_forward(CPU, x=x, out=(1, 1)) == x[0, 0, 0, 0]).all()


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_against_pytorch(dims):
    torch = pytorch()
    function = getattr(torch.nn.functional, f"avg_pool{dims}d")
    for number, kernel, stride, padding, ceil, include_pad, override in problems(dims):
        if override is not None and dims == 1:
            continue
        x = rng(35, number).standard_normal((2, 3, *SIZES[dims]))
        ours, peer = nnlab.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y = avg_pool(ours, pool_geometry(x.shape, kernel, stride, padding, 1, ceil), include_pad, override)
        z = function(peer, kernel, stride, padding, ceil, include_pad, *(() if override is None else (override,)))
        name = str((kernel, stride, padding, ceil, include_pad, override))
        close(y.detach().numpy(), z.detach().numpy(), name)
        dy = rng(36).standard_normal(y.shape)
        y.backward(nnlab.tensor(dy))
        z.backward(torch.tensor(dy))
        close(ours.grad.numpy(), peer.grad.numpy(), name)
    for out in ((3, 2, 3), (1, 1, 1), (5, 7, 6)):
        y = adaptive_avg_pool(nnlab.tensor(x), out[:dims])
        z = getattr(torch.nn.functional, f"adaptive_avg_pool{dims}d")(torch.tensor(x), out[:dims])
        close(y.numpy(), z.numpy())
