from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnlab
from nnlab.autograd.conv import conv
from nnlab.geometry import conv_geometry
from nnlab.ops import conv as ops
from nnlab.ops._numpy.conv import unfold as body
from nnlab.testing import gradcheck, gradgradcheck
from tests.ops.common import CPU, close, pytorch, rng, scattered
from tests.oracles import conv as oracle

SIZES = {1: (9,), 2: (6, 7), 3: (4, 5, 4)}
KERNELS = {1: [(1,), (2,), (3,), (5,)], 2: [(1, 1), (2, 3), (3, 3)], 3: [(1, 1, 1), (2, 1, 3)]}
OPTIONS = [
    (stride, padding, dilation, groups)
    for stride, padding, dilation, groups in product((1, 2, 3), (0, 1, 2, "same", "valid"), (1, 2), (1, 2, 4))
    if padding != "same" or stride == 1
]


def padding_of(padding, kernel, dilation):
    """(near, far) padding by the words of PyTorch's documentation."""
    if padding == "valid":
        padding = 0
    if padding == "same":
        total = [dilation * (k - 1) for k in kernel]
        return tuple(t // 2 for t in total), tuple((t + 1) // 2 for t in total)
    return (padding,) * len(kernel), (padding,) * len(kernel)


def problems(dims):
    for number, (kernel, (stride, padding, dilation, groups)) in enumerate(product(KERNELS[dims], OPTIONS)):
        low, high = padding_of(padding, kernel, dilation)
        if any(dilation * (k - 1) + 1 > n + a + b for k, n, a, b in zip(kernel, SIZES[dims], low, high)):
            continue
        yield number, kernel, stride, padding, dilation, groups, low, high


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_all_passes_against_loops(dims):
    for number, kernel, stride, padding, dilation, groups, low, high in problems(dims):
        random = rng(1, number)
        x = scattered(random.standard_normal((2, 4, *SIZES[dims])))
        w = scattered(random.standard_normal((8, 4 // groups, *kernel)))
        b = random.standard_normal(8)
        geometry = conv_geometry(x.shape, w.shape, stride, padding, dilation, groups)
        name = str((kernel, stride, padding, dilation, groups))
        strides, dilations = (stride,) * dims, (dilation,) * dims
        y = ops.forward(CPU, x=x, w=w, b=b, geometry=geometry)
        close(y, oracle.forward(x, w, b, strides, low, high, dilations, groups), name)
        dy = scattered(random.standard_normal(y.shape))
        dx, dw, db = oracle.gradients(x, w, dy, strides, low, dilations, groups)
        close(ops.input_grad(CPU, dy=dy, w=w, geometry=geometry), dx, name)
        close(ops.weight_grad(CPU, x=x, dy=dy, geometry=geometry), dw, name)
        close(ops.bias_grad(CPU, dy=dy), db, name)
        # Both ways of computing the input gradient, whichever the shape would choose.
        close(body._input_grad_folded(CPU, dy, w, geometry), dx, name)
        if stride == 1:
            close(body._input_grad_flipped(CPU, dy, w, geometry), dx, name)


@given(
    st.integers(1, 3),
    st.lists(st.tuples(*[st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)]), min_size=3),
    st.integers(0, 3),
    st.sampled_from([(1, 1, 1), (2, 2, 3), (3, 1, 2), (4, 4, 4), (6, 3, 9)]),
)
def test_drawn_shapes(dims, per_dimension, images, channels):
    inputs, groups, outputs = channels
    outputs = outputs * groups if outputs % groups else outputs
    kernel, stride, pad, dilation = zip(*per_dimension[:dims])
    size = tuple(max(1, d * (k - 1) + 1 - 2 * p) + i for i, (k, _, p, d) in enumerate(per_dimension[:dims]))
    random = rng(2, dims)
    x, w = random.standard_normal((images, inputs, *size)), random.standard_normal((outputs, inputs // groups, *kernel))
    geometry = conv_geometry(x.shape, w.shape, stride, pad, dilation, groups)
    y = ops.forward(CPU, x=x, w=w, geometry=geometry)
    close(y, oracle.forward(x, w, None, stride, pad, pad, dilation, groups))
    dy = random.standard_normal(y.shape)
    dx, dw, _ = oracle.gradients(x, w, dy, stride, pad, dilation, groups)
    close(ops.input_grad(CPU, dy=dy, w=w, geometry=geometry), dx)
    close(ops.weight_grad(CPU, x=x, dy=dy, geometry=geometry), dw)


@pytest.mark.parametrize("limit", [1, 2000, 20_000])
def test_blocks_of_any_size_agree(limit, monkeypatch):
    """Cutting into images or rows changes nothing but rounding."""
    random = rng(3)
    x, w = random.standard_normal((3, 4, 11, 9)), random.standard_normal((6, 2, 3, 2))
    geometry = conv_geometry(x.shape, w.shape, (2, 1), 1, (1, 2), 2)
    dy = random.standard_normal(geometry.y_shape)

    def passes():
        return (
            ops.forward(CPU, x=x, w=w, geometry=geometry),
            body._input_grad_folded(CPU, dy, w, geometry),
            ops.weight_grad(CPU, x=x, dy=dy, geometry=geometry),
        )

    wanted = passes()
    monkeypatch.setattr(body, "CPU_BLOCK_BYTES", limit)
    for found, want in zip(passes(), wanted):
        close(found, want, rtol=1e-13)


def test_threads_do_not_change_bits(monkeypatch):

    random = rng(4)
    x = random.standard_normal((16, 8, 20, 20)).astype(np.float32)
    w = random.standard_normal((16, 8, 3, 3)).astype(np.float32)
    geometry = conv_geometry(x.shape, w.shape, 1, 1)
    dy = random.standard_normal(geometry.y_shape).astype(np.float32)

    def passes():
        return [
            ops.forward(CPU, x=x, w=w, geometry=geometry).tobytes(),
            ops.input_grad(CPU, dy=dy, w=w, geometry=geometry).tobytes(),
            ops.weight_grad(CPU, x=x, dy=dy, geometry=geometry).tobytes(),
        ]

    found = []
    for count in (1, 2, 5):
        monkeypatch.setattr("nnlab.backend.threads._chosen", count)
        found.append(passes())
    assert found[0] == found[1] == found[2]


def test_half_precision_adds_up_in_float32():
    random = rng(5)
    x = random.uniform(0.5, 1, (1, 64, 8, 8)).astype(np.float16)
    w = random.uniform(0.5, 1, (4, 64, 3, 3)).astype(np.float16)
    geometry = conv_geometry(x.shape, w.shape)
    y = ops.forward(CPU, x=x, w=w, geometry=geometry)
    exact = oracle.forward(x.astype(float), w.astype(float), None, (1, 1), (0, 0), (0, 0), (1, 1), 1)
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, exact, rtol=2**-11 + 1e-5)
    dy = random.uniform(0.5, 1, y.shape).astype(np.float16)
    dx, dw, db = oracle.gradients(x.astype(float), w.astype(float), dy.astype(float), (1, 1), (0, 0), (1, 1), 1)
    found = (
        ops.input_grad(CPU, dy=dy, w=w, geometry=geometry),
        ops.weight_grad(CPU, x=x, dy=dy, geometry=geometry),
        ops.bias_grad(CPU, dy=dy),
    )
    for got, want in zip(found, (dx, dw, db)):
        assert got.dtype == np.float16
        np.testing.assert_allclose(got, want, rtol=2**-11 + 1e-5)


def test_long_sums_stay_accurate():
    """Weight and bias gradients over many positions: a long float32 chain would be off by a hundred times as much."""
    random = rng(6)
    x = random.uniform(0.5, 1, (8, 1, 128, 128)).astype(np.float32)
    geometry = conv_geometry(x.shape, (1, 1, 1, 1))
    dy = random.uniform(0.5, 1, geometry.y_shape).astype(np.float32)
    dw = ops.weight_grad(CPU, x=x, dy=dy, geometry=geometry)
    exact = float((x.astype(float) * dy).sum())
    assert abs(float(dw.reshape(())) / exact - 1) < 1e-5
    assert abs(float(ops.bias_grad(CPU, dy=dy)[0]) / float(dy.astype(float).sum()) - 1) < 1e-6


@pytest.mark.parametrize("options", [(1, "same", 1, 1), (2, 1, 2, 2), (1, 2, 1, 4)])
@pytest.mark.parametrize("dims", [1, 2])
def test_gradients_of_any_order(dims, options):
    stride, padding, dilation, groups = options
    random = rng(7, dims)
    x = nnlab.tensor(random.standard_normal((2, 4, *(6, 5)[:dims])), requires_grad=True)
    w = nnlab.tensor(random.standard_normal((4, 4 // groups, *(2, 3)[:dims])), requires_grad=True)
    b = nnlab.tensor(random.standard_normal(4), requires_grad=True)
    geometry = conv_geometry(x.shape, w.shape, stride, padding, dilation, groups)
    assert gradcheck(lambda x, w, b: conv(x, w, b, geometry), (x, w, b))
    assert gradgradcheck(lambda x, w, b: conv(x, w, b, geometry), (x, w, b))


def test_without_bias_and_without_images():
    x, w = nnlab.zeros(0, 2, 5, 5, requires_grad=True), nnlab.ones(3, 2, 3, 3, requires_grad=True)
    y = conv(x, w, None, conv_geometry(x.shape, w.shape))
    assert y.shape == (0, 3, 3, 3)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert (w.grad.numpy() == 0).all()


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_against_pytorch(dims):
    torch = pytorch()
    function = getattr(torch.nn.functional, f"conv{dims}d")
    for number, kernel, stride, padding, dilation, groups, *_ in problems(dims):
        if padding == "same" and any(dilation * (k - 1) % 2 for k in kernel):
            continue  # right, but PyTorch warns that it copies the input
        random = rng(8, number)
        x = random.standard_normal((2, 4, *SIZES[dims]))
        w, b = random.standard_normal((4, 4 // groups, *kernel)), random.standard_normal(4)
        tensors = [nnlab.tensor(a, requires_grad=True) for a in (x, w, b)]
        y = conv(*tensors, conv_geometry(x.shape, w.shape, stride, padding, dilation, groups))
        peers = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
        z = function(*peers, stride, padding, dilation, groups)
        close(y.detach().numpy(), z.detach().numpy())
        dy = random.standard_normal(y.shape)
        y.backward(nnlab.tensor(dy))
        z.backward(torch.tensor(dy))
        for ours, peer in zip(tensors, peers):
            close(ours.grad.numpy(), peer.grad.numpy(), str((kernel, stride, padding, dilation, groups)))
