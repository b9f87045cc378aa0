from __future__ import annotations

import numpy as np
import pytest

import nnlab
from nnlab.autograd.activation import dropout, relu
from nnlab.errors import ArgumentError
from nnlab.ops import dropout as ops
from nnlab.ops import relu as relu_ops
from nnlab.ops._numpy import relu as relu_body
from nnlab.random import Generator
from nnlab.testing import gradcheck, gradgradcheck, spaced
from tests.ops.common import CPU, pytorch, rng, scattered
from tests.oracles import activation as oracle

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_relu_against_loops(dtype):
    x = scattered(rng(71).standard_normal((3, 4, 5)).astype(dtype))
    x[0, 0] = [0.0, NAN, -INF, INF, -0.0]
    tensor = nnlab.tensor(x, requires_grad=True)
    y = relu(tensor)
    np.testing.assert_array_equal(y.detach().numpy(), oracle.relu(x))
    assert y.dtype == dtype
    y.backward(nnlab.full(y.shape, 3, dtype=y.dtype))
    np.testing.assert_array_equal(tensor.grad.numpy(), np.where(x <= 0, 0, 3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", [-0.0, np.copysign(NAN, -1.0)])
def test_relu_of_bits_with_a_sign(dtype, number):
    """-0 becomes 0, through which no gradient comes; NaN, of either sign, lets it through."""
    for length in (*range(1, 70), relu_body.BLOCK // 4 + 1):
        x = np.full(length, number, dtype)
        y = relu_ops.forward(CPU, x=x)
        dx = relu_ops.backward(CPU, dy=np.full(length, -3, dtype), y=y)
        if number == 0:
            assert not np.signbit(y).any() and not y.any() and not dx.any()
        else:
            assert np.isnan(y).all() and (dx == -3).all()


def test_relu_gradients_of_any_order():
    x = spaced((3, 5)).requires_grad_()
    assert gradcheck(relu, x)
    assert gradgradcheck(lambda x: relu(x) * x, x)


def test_relu_stops_what_it_zeroed():
    """An infinite gradient does not come through a closed unit as NaN."""
    x = nnlab.tensor([-1.0, 1.0], requires_grad=True)
    relu(x).backward(nnlab.tensor([INF, NAN]))
    np.testing.assert_array_equal(x.grad.numpy(), [0, NAN])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 1.0])
def test_dropout_against_loops(p):
    x = scattered(rng(72).standard_normal((5, 7, 3)))
    seed, offset = 2**40 + 3, 2**33 + 5
    y, saved = ops.forward(CPU, x=x, p=p, seed=seed, offset=offset)
    np.testing.assert_allclose(y, oracle.dropout(x, p, seed, offset), rtol=1e-15)
    np.testing.assert_allclose(
        ops.backward(CPU, dy=np.ones(x.shape), saved=saved), oracle.dropout(np.ones(x.shape), p, seed, offset)
    )


def test_dropout_threshold_is_exact():
    """An element goes just when its word is below the threshold."""
    word = oracle.philox_word(9, 4, 0)
    assert ops.forward(CPU, x=np.ones(1), p=word / 2**32, seed=9, offset=4)[0][0] > 0
    assert ops.forward(CPU, x=np.ones(1), p=(word + 1) / 2**32, seed=9, offset=4)[0][0] == 0


def test_dropout_share_and_draws():
    generator = Generator(3)
    x = nnlab.ones(100_000)
    y = dropout(x, 0.3, generator)
    assert abs(float((y.numpy() == 0).mean()) - 0.3) < 0.006
    assert generator.offset == 1
    assert (dropout(x, 0.3, generator).numpy() != y.numpy()).any()
    generator.offset = 0
    np.testing.assert_array_equal(dropout(x, 0.3, generator).numpy(), y.numpy())
    assert dropout(x, 0.0, generator) is x
    assert generator.offset == 1
    nnlab.manual_seed(5)
    a = dropout(x, 0.5)
    nnlab.manual_seed(5)
    np.testing.assert_array_equal(a.numpy(), dropout(x, 0.5).numpy())


def test_dropout_drops_anything():
    y = dropout(nnlab.tensor([NAN, INF, 1.0]), 1.0)
    np.testing.assert_array_equal(y.numpy(), [0, 0, 0])
    assert dropout(nnlab.zeros(0, 3), 0.5).shape == (0, 3)
    with pytest.raises(ArgumentError, match=r"\[dropout\] 'p' must be between 0 and 1, got 1.5"):
        dropout(nnlab.ones(2), 1.5)


def test_dropout_gradients_of_any_order():
    x = nnlab.tensor(rng(73).standard_normal((4, 5)), requires_grad=True)

    def function(x):
        return dropout(x, 0.4, Generator(7)) * x

    assert gradcheck(function, x)
    assert gradgradcheck(function, x)


@pytest.mark.torch
@pytest.mark.external
def test_relu_against_pytorch():
    torch = pytorch()
    x = np.array([0.0, NAN, -INF, INF, -0.0, 2.5, -1.0])
    ours, peer = nnlab.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = relu(ours), torch.relu(peer)
    np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy())
    y.sum().backward()
    z.sum().backward()
    np.testing.assert_array_equal(ours.grad.numpy(), peer.grad.numpy())
