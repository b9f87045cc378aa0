from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import nnlab
from nnlab.autograd.norm import local_response_norm
from nnlab.errors import ArgumentError
from nnlab.ops import local_response_norm as ops
from nnlab.testing import gradcheck, gradgradcheck
from tests.ops.common import CPU, close, pytorch, rng, scattered
from tests.oracles import norm as oracle

OPTIONS = list(product((1, 2, 3, 5, 9), (0.5, 1e-4), (0.75, 2.0), (1.0, 2.0)))
SHAPES = [(2, 6, 4), (2, 1, 3), (1, 4, 2, 3), (2, 7, 2, 1, 2)]


def rows(x):
    return x.reshape(*x.shape[:2], -1)


@pytest.mark.parametrize("shape", SHAPES)
def test_both_passes_against_loops(shape):
    for number, (size, alpha, beta, k) in enumerate(OPTIONS):
        random = rng(51, number)
        x, dy = (scattered(random.standard_normal(shape)) for _ in range(2))
        y, s = ops.forward(CPU, x=x, size=size, alpha=alpha, beta=beta, k=k)
        name = str((size, alpha, beta, k))
        close(rows(y), oracle.local_response_norm(rows(x), size, alpha, beta, k), name)
        dx = ops.backward(CPU, dy=dy, x=x, s=s, size=size, alpha=alpha, beta=beta)
        close(rows(dx), oracle.local_response_norm_grad(rows(x), rows(dy), size, alpha, beta, k), name)


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_gradients_of_any_order(size):
    x = nnlab.tensor(rng(52).standard_normal((2, 6, 3)), requires_grad=True)
    assert gradcheck(lambda x: local_response_norm(x, size, 0.7, 0.75, 1.5), x)
    assert gradgradcheck(lambda x: local_response_norm(x, size, 0.7, 0.75, 1.5), x)


def test_worked_numbers():
    """size 2 looks at the channel below: (k + alpha / 2 * (x[c-1]**2 + x[c]**2)) ** beta, alpha = 2, beta = k = 1."""
    x = nnlab.tensor([[[1.0], [2.0], [3.0]]])
    want = [1 / (1 + 1), 2 / (1 + 1 + 4), 3 / (1 + 4 + 9)]
    np.testing.assert_allclose(local_response_norm(x, 2, 2.0, 1.0, 1.0).numpy().ravel(), want, rtol=1e-6)


def test_bad_size_and_no_images():
    with pytest.raises(ArgumentError, match=r"\[local_response_norm\] 'size' must be a positive int, got 0"):
        local_response_norm(nnlab.zeros(1, 2, 3), 0, 1e-4, 0.75, 1.0)
    x = nnlab.zeros(0, 2, 3, requires_grad=True)
    local_response_norm(x, 5, 1e-4, 0.75, 1.0).sum().backward()
    assert x.grad.shape == x.shape


def test_half_precision_squares_in_float32():
    """300 squared does not fit float16."""
    x = np.full((1, 3, 2), 300, np.float16)
    y, s = ops.forward(CPU, x=x, size=3, alpha=1.0, beta=0.5, k=0.0)
    assert (y.dtype, s.dtype) == (np.float16, np.float32)
    np.testing.assert_allclose(y[0, 1], 1, rtol=1e-3)


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize("shape", SHAPES)
def test_against_pytorch(shape):
    torch = pytorch()
    for number, (size, alpha, beta, k) in enumerate(OPTIONS):
        x, dy = rng(53, number).standard_normal((2, *shape))
        ours, peer = nnlab.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y = local_response_norm(ours, size, alpha, beta, k)
        z = torch.nn.functional.local_response_norm(peer, size, alpha, beta, k)
        close(y.detach().numpy(), z.detach().numpy())
        y.backward(nnlab.tensor(dy))
        z.backward(torch.tensor(dy))
        close(ours.grad.numpy(), peer.grad.numpy())
