from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnlab
from nnlab.autograd.group_norm import GroupNorm, group_norm, instance_norm, layer_norm, rms_norm
from nnlab.ops import group_norm as ops
from nnlab.ops._numpy import layout
from nnlab.testing import gradcheck, gradgradcheck
from tests.ops.common import CPU, close, rng, scattered
from tests.oracles import norm as oracle

# Shape and number of groups: layer, group and instance normalisation.
CASES = [((4, 6), 1), ((3, 6), 3), ((2, 6, 5), 2), ((2, 6, 5), 6), ((3, 4, 2, 3), 1), ((1, 4, 3, 1, 2), 2)]


def rows(x):
    return x.reshape(*x.shape[:2], -1)


def batch_last(x):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)


@pytest.mark.parametrize("order", [np.ascontiguousarray, batch_last, scattered])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(("shape", "groups"), CASES)
def test_both_passes_against_loops(shape, groups, centred, order):
    random = rng(61, len(shape))
    x, dy = (order(random.standard_normal(shape) * 3 + 2) for _ in range(2))
    weight, bias = random.standard_normal((2, shape[1]))
    y, saved = ops.forward(CPU, x=x, weight=weight, bias=bias, groups=groups, eps=0.1, centred=centred)
    close(rows(y), oracle.group_norm(rows(x), weight, bias, groups, 0.1, centred))
    found = ops.backward(CPU, dy=dy, x=x, weight=weight, saved=saved)
    for got, expected in zip(found, oracle.group_norm_grad(rows(x), weight, rows(dy), groups, 0.1, centred)):
        close(got.reshape(expected.shape), expected)
    if layout.is_batch_last(x):
        assert layout.is_batch_last(y) and layout.is_batch_last(found[0])


def test_gradients_of_another_order():
    """dy may lie in memory in another way than x."""
    random = rng(62)
    x, dy = random.standard_normal((2, 5, 4, 3))
    one = np.ones(4)
    want = oracle.group_norm_grad(x, one, dy, 2, 0.1, True)[0]
    for a, b in ((batch_last(x), dy), (x, batch_last(dy)), (batch_last(x), scattered(dy))):
        _, saved = ops.forward(CPU, x=a, weight=None, bias=None, groups=2, eps=0.1, centred=True)
        close(ops.backward(CPU, dy=b, x=a, weight=None, saved=saved)[0], want)


@given(st.integers(0, 4), st.integers(1, 3), st.integers(1, 3), st.lists(st.integers(0, 4), max_size=3), st.booleans())
def test_drawn_shapes_without_weight(images, groups, size, spatial, centred):
    random = rng(63, images)
    shape = (images, groups * size, *spatial)
    x, dy = random.standard_normal((2, *shape))
    one, zero = np.ones(shape[1]), np.zeros(shape[1])
    y, saved = ops.forward(CPU, x=x, weight=None, bias=None, groups=groups, eps=1e-2, centred=centred)
    dx, dweight, dbias = ops.backward(CPU, dy=dy, x=x, weight=None, saved=saved)
    assert (dx.shape, dweight.shape, dbias.shape) == (shape, (shape[1],), (shape[1],))
    if x.size:
        lines = x.reshape(images, shape[1], -1), dy.reshape(images, shape[1], -1)
        close(y.reshape(lines[0].shape), oracle.group_norm(lines[0], one, zero, groups, 1e-2, centred))
        close(dx.reshape(lines[0].shape), oracle.group_norm_grad(lines[0], one, lines[1], groups, 1e-2, centred)[0])
    else:
        assert not dweight.any() and not dbias.any()


@pytest.mark.parametrize("last", [False, True])
def test_many_blocks_and_threads(last):
    """Blocks of images and of groups meet in the gradients of weight and bias; threads change no bit."""
    random = rng(64)
    large = (64, 8, 70, 80) if last else (2, 8, 300, 600)  # groups of more than a block
    for shape, groups in (((40, 64, 8, 10), 4), (large, 4)):
        x, dy = (random.standard_normal(shape).astype(np.float32) for _ in range(2))
        if last:
            x, dy = batch_last(x), batch_last(dy)
        weight, bias = random.standard_normal((2, shape[1])).astype(np.float32)
        results = []
        for threads in (1, 2):
            before = nnlab.get_num_threads()
            nnlab.set_num_threads(threads)
            y, saved = ops.forward(CPU, x=x, weight=weight, bias=bias, groups=groups, eps=1e-5, centred=True)
            results.append((y, *ops.backward(CPU, dy=dy, x=x, weight=weight, saved=saved)))
            nnlab.set_num_threads(before)
        for a, b in zip(*results):
            np.testing.assert_array_equal(a, b)
        lines = x.astype(np.float64).reshape(len(x), groups, -1)
        xhat = lines - lines.mean(2, keepdims=True)
        xhat = (xhat / np.sqrt((xhat**2).mean(2, keepdims=True) + 1e-5)).reshape(shape)
        wide = dy.astype(np.float64)
        close(results[0][2], (wide * xhat).sum((0, 2, 3)), rtol=1e-5)
        close(results[0][3], wide.sum((0, 2, 3)), rtol=1e-5)
        close(results[0][0], xhat * weight[:, None, None] + bias[:, None, None], rtol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("shape", "groups"), CASES)
def test_gradients_of_any_order(shape, groups, affine):
    random = rng(65)
    x = nnlab.tensor(random.standard_normal(shape), requires_grad=True)
    if not affine:
        assert gradcheck(lambda x: group_norm(x, groups, None, None, 0.1), x)
        assert gradgradcheck(lambda x: group_norm(x, groups, None, None, 0.1), x)
        return
    weight, bias = (nnlab.tensor(random.standard_normal(shape[1]), requires_grad=True) for _ in range(2))
    assert gradcheck(lambda x, w, b: group_norm(x, groups, w, b, 0.1), (x, weight, bias))
    assert gradgradcheck(lambda x, w: group_norm(x, groups, w, bias.detach(), 0.1), (x, weight))


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(("shape", "groups"), CASES)
def test_both_forms_of_the_gradient_agree(shape, groups, centred):
    """gradgradcheck looks at the form in tensor operations alone: one that is wrong throughout would pass it."""
    random = rng(70)
    arrays = random.standard_normal(shape), random.standard_normal(shape[1]), random.standard_normal(shape[1])
    inputs = [nnlab.tensor(a, requires_grad=True) for a in arrays]
    y = GroupNorm.apply(*inputs, groups, 0.1, centred, False)
    dy = nnlab.tensor(random.standard_normal(shape))
    raw = nnlab.grad(y, inputs, dy, retain_graph=True)
    for a, b in zip(raw, nnlab.grad(y, inputs, dy, create_graph=True)):
        close(a.numpy(), b.detach().numpy())


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_gradients_over_the_last_dimensions(dims):
    random = rng(66)
    x = nnlab.tensor(random.standard_normal((2, 3, 4)), requires_grad=True)
    weight, bias = (nnlab.tensor(random.standard_normal((2, 3, 4)[3 - dims :]), requires_grad=True) for _ in range(2))
    assert gradcheck(lambda x, w, b: layer_norm(x, dims, w, b, 0.1), (x, weight, bias))
    assert gradgradcheck(lambda x, w: layer_norm(x, dims, w, None, 0.1), (x, weight))
    assert gradcheck(lambda x, w: rms_norm(x, dims, w, 0.1), (x, weight))
    assert gradgradcheck(lambda x, w: rms_norm(x, dims, w, 0.1), (x, weight))


def test_worked_numbers():
    """Mean 2, variance 2/3 of (1, 2, 3); mean square 14/3."""
    x = nnlab.tensor([[1.0, 2.0, 3.0]], dtype=nnlab.float64)
    root = 1.5**0.5
    close(layer_norm(x, 1, None, None, 0.0).numpy(), [[-root, 0, root]])
    close(layer_norm(x, 1, nnlab.tensor([1.0, 2, 3]).double(), nnlab.tensor([5.0, 6, 7]).double(), 0.0).numpy(),
          [[5 - root, 6, 7 + 3 * root]])  # fmt: skip
    close(rms_norm(x, 1, None, 0.0).numpy(), np.array([[1, 2, 3]]) / (14 / 3) ** 0.5)
    close(group_norm(nnlab.tensor([[1.0, 3, 10, 30]]).double(), 2, None, None, 0.0).numpy(), [[-1, 1, -1, 1]])


def test_statistics_are_unbiased_and_have_no_gradient():
    x = nnlab.tensor([[[1.0, 2.0, 6.0]]], requires_grad=True)
    _, mean, var = instance_norm(x, None, None, 1e-5)
    assert (mean.tolist(), var.tolist()) == ([[3.0]], [[7.0]])
    assert not mean.requires_grad and not var.requires_grad


@pytest.mark.parametrize("last", [False, True])
def test_large_mean_costs_no_accuracy(last):
    x = (rng(67).standard_normal((8, 2, 30, 30)) + 10_000).astype(np.float32)
    x = batch_last(x) if last else x
    y, saved = ops.forward(CPU, x=x, weight=None, bias=None, groups=1, eps=1e-5, centred=True)
    lines = x.astype(np.float64).reshape(8, -1)
    np.testing.assert_allclose(saved.var[:, 0], lines.var(axis=1), rtol=1e-5)
    np.testing.assert_allclose(saved.mean[:, 0], lines.mean(axis=1), rtol=2**-23)
    want = (lines - lines.mean(1, keepdims=True)) / lines.std(1, keepdims=True)
    np.testing.assert_allclose(np.ascontiguousarray(y).reshape(8, -1), want, atol=1e-4)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("centred", [True, False])
def test_half_precision_is_computed_in_float32(centred, last):
    """300 squared does not fit float16."""
    x, dy = (rng(68, i).uniform(100, 300, (4, 6, 5)).astype(np.float16) for i in range(2))
    weight, bias = (rng(69, i).standard_normal(6).astype(np.float16) for i in range(2))
    x, dy = (batch_last(a) if last else a for a in (x, dy))
    y, saved = ops.forward(CPU, x=x, weight=weight, bias=bias, groups=2, eps=1e-5, centred=centred)
    assert (y.dtype, saved.rstd.dtype) == (np.float16, np.float32)
    wide = [a.astype(np.float64) for a in (x, weight, bias, dy)]
    np.testing.assert_allclose(y, oracle.group_norm(*wide[:3], 2, 1e-5, centred), rtol=2**-10, atol=1e-3)
    found = ops.backward(CPU, dy=dy, x=x, weight=weight, saved=saved)
    for got, want in zip(found, oracle.group_norm_grad(wide[0], wide[1], wide[3], 2, 1e-5, centred)):
        assert got.dtype == np.float16
        np.testing.assert_allclose(got, want, rtol=2**-10, atol=2**-10 * np.abs(want).max())
