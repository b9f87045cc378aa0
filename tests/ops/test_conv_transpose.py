from __future__ import annotations

from itertools import product

import pytest

import nnlab
from nnlab.autograd.conv import conv_transpose
from nnlab.errors import ArgumentError
from nnlab.geometry import conv_transpose_geometry
from nnlab.ops import conv_transpose as ops
from nnlab.testing import gradcheck, gradgradcheck
from tests.ops.common import CPU, close, pytorch, rng, scattered
from tests.oracles import conv_transpose as oracle

SIZES = {1: (5,), 2: (3, 4), 3: (2, 3, 2)}
KERNELS = {1: [(1,), (2,), (3,), (5,)], 2: [(1, 1), (2, 3), (3, 3)], 3: [(2, 1, 3)]}
OPTIONS = [
    (stride, padding, extra, groups, dilation)
    for stride, padding, extra, groups, dilation in product((1, 2, 3), (0, 1, 2), (0, 1, 2), (1, 2), (1, 2, 3))
    if extra < max(stride, dilation)
]


def problems(dims):
    for number, (kernel, (stride, pad, extra, groups, dilation)) in enumerate(product(KERNELS[dims], OPTIONS)):
        sizes = [(n - 1) * stride - 2 * pad + dilation * (k - 1) + 1 + extra for n, k in zip(SIZES[dims], kernel)]
        if min(sizes) > 0:
            yield number, kernel, stride, pad, extra, groups, dilation


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_all_passes_against_loops(dims):
    for number, kernel, stride, pad, extra, groups, dilation in problems(dims):
        random = rng(11, number)
        x = scattered(random.standard_normal((2, 4, *SIZES[dims])))
        w = scattered(random.standard_normal((4, 3, *kernel)))
        b = random.standard_normal(3 * groups)
        geometry = conv_transpose_geometry(x.shape, w.shape, stride, pad, extra, groups, dilation)
        name = str((kernel, stride, pad, extra, groups, dilation))
        many = [(v,) * dims for v in (stride, pad, extra, dilation)]
        y = ops.forward(CPU, x=x, w=w, b=b, geometry=geometry)
        close(y, oracle.forward(x, w, b, *many, groups), name)
        dy = scattered(random.standard_normal(y.shape))
        dx, dw, db = oracle.gradients(x, w, dy, many[0], many[1], many[3], groups)
        close(ops.input_grad(CPU, dy=dy, w=w, geometry=geometry), dx, name)
        close(ops.weight_grad(CPU, x=x, dy=dy, geometry=geometry), dw, name)
        close(ops.bias_grad(CPU, dy=dy), db, name)


def test_output_size_chooses_among_the_possible():
    x, w = nnlab.randn(1, 2, 4, 4), nnlab.randn(2, 3, 3, 3)
    for extra in range(3):
        by_size = conv_transpose_geometry(x.shape, w.shape, 3, 1, output_size=(10 + extra, 10))
        y = conv_transpose(x, w, None, by_size)
        assert y.shape == (1, 3, 10 + extra, 10)
        by_padding = conv_transpose_geometry(x.shape, w.shape, 3, 1, (extra, 0))
        assert by_padding == by_size
    with pytest.raises(ArgumentError, match=r"\[up\] 'output_size' must lie between \(10, 10\) and \(12, 12\), got"):
        conv_transpose_geometry(x.shape, w.shape, 3, 1, output_size=(13, 10), layer="up")


@pytest.mark.parametrize("dims", [1, 2])
def test_gradients_of_any_order(dims):
    random = rng(12, dims)
    x = nnlab.tensor(random.standard_normal((2, 4, *(4, 3)[:dims])), requires_grad=True)
    w = nnlab.tensor(random.standard_normal((4, 2, *(2, 3)[:dims])), requires_grad=True)
    b = nnlab.tensor(random.standard_normal(4), requires_grad=True)
    geometry = conv_transpose_geometry(x.shape, w.shape, 2, 1, 1, 2, 2)
    assert gradcheck(lambda x, w, b: conv_transpose(x, w, b, geometry), (x, w, b))
    assert gradgradcheck(lambda x, w, b: conv_transpose(x, w, b, geometry), (x, w, b))


def test_without_images():
    x, w = nnlab.zeros(0, 2, 3, requires_grad=True), nnlab.ones(2, 1, 3, requires_grad=True)
    y = conv_transpose(x, w, nnlab.ones(1), conv_transpose_geometry(x.shape, w.shape, 2))
    assert y.shape == (0, 1, 7)
    y.sum().backward()
    assert (w.grad.numpy() == 0).all()


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_against_pytorch(dims):
    torch = pytorch()
    function = getattr(torch.nn.functional, f"conv_transpose{dims}d")
    for number, kernel, stride, pad, extra, groups, dilation in problems(dims):
        random = rng(13, number)
        x = random.standard_normal((2, 4, *SIZES[dims]))
        w, b = random.standard_normal((4, 3, *kernel)), random.standard_normal(3 * groups)
        tensors = [nnlab.tensor(a, requires_grad=True) for a in (x, w, b)]
        geometry = conv_transpose_geometry(x.shape, w.shape, stride, pad, extra, groups, dilation)
        y = conv_transpose(*tensors, geometry)
        peers = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
        z = function(*peers, stride, pad, extra, groups, dilation)
        name = str((kernel, stride, pad, extra, groups, dilation))
        close(y.detach().numpy(), z.detach().numpy(), name)
        dy = random.standard_normal(y.shape)
        y.backward(nnlab.tensor(dy))
        z.backward(torch.tensor(dy))
        for ours, peer in zip(tensors, peers):
            close(ours.grad.numpy(), peer.grad.numpy(), name)
