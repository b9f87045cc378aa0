from __future__ import annotations

import numpy as np
import pytest

import nnlab
from nnlab.errors import DtypeError, ShapeError
from nnlab.nn.functional import bias_relu
from nnlab.ops._numpy import bias_relu as arrays
from nnlab.testing import gradcheck, gradgradcheck, spaced
from tests import emulator
from tests.ops.common import CPU, pytorch, rng, scattered
from tests.oracles import activation as oracle
from tests.strict_device import StrictBackend

SHAPES = [(4, 3), (2, 3, 5), (2, 3, 4, 5), (2, 1, 2, 3, 2), (0, 3)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_the_parts(shape, dtype):
    """relu(x + b), on which autograd's own sum runs: the values bit for bit, the bias' gradient but for rounding."""
    values = scattered(rng(75).standard_normal(shape).astype(dtype)), rng(76).standard_normal(shape[1]).astype(dtype)
    dy = nnlab.tensor(rng(77).standard_normal(shape).astype(dtype))
    results = []
    for function in (
        bias_relu,
        lambda x, b: (x + b.reshape(-1, *[1] * (x.ndim - 2))).relu(),
    ):
        x, b = (nnlab.tensor(value, requires_grad=True) for value in values)
        y = function(x, b)
        y.backward(dy)
        results.append([y.detach().numpy(), x.grad.numpy(), b.grad.numpy()])
    (y, dx, db), wanted = results
    np.testing.assert_array_equal(y, wanted[0], strict=True)
    np.testing.assert_array_equal(dx, wanted[1], strict=True)
    rtol = nnlab.testing.tolerance(dtype, max(1, y.size // shape[1]))
    np.testing.assert_allclose(db, wanted[2], rtol=rtol, atol=8 * rtol)
    assert db.dtype == dtype


def test_against_loops():
    x, b = scattered(rng(78).standard_normal((3, 4, 5))), rng(79).standard_normal(4)
    x[0, 0] = [0.0, np.nan, -np.inf, np.inf, -b[0]]
    score, bias = nnlab.tensor(x, requires_grad=True), nnlab.tensor(b, requires_grad=True)
    y = bias_relu(score, bias)
    np.testing.assert_array_equal(y.detach().numpy(), oracle.bias_relu(x, b))
    y.backward(nnlab.full(y.shape, 3, dtype=y.dtype))
    dx, db = oracle.bias_relu_grad(np.full(x.shape, 3.0), oracle.bias_relu(x, b))
    np.testing.assert_array_equal(score.grad.numpy(), dx)
    np.testing.assert_array_equal(bias.grad.numpy(), db)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_gradients_of_any_order(device):
    if device == "emulated":
        emulator.backend()
    x, b = spaced((3, 2, 4)).to(device).detach().requires_grad_(), nnlab.tensor([1e-3, -2e-3], dtype=nnlab.float64)
    b = b.to(device).detach().requires_grad_()
    assert gradcheck(bias_relu, (x, b))
    assert gradgradcheck(lambda x, b: bias_relu(x, b) * x, (x, b))


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
def test_one_gradient_alone(wanted):
    x, b = (nnlab.tensor(v, requires_grad=w) for v, w in zip(([[1.0, -2.0], [3.0, 4.0]], [0.5, 1.0]), wanted))
    for create_graph in (False, True):
        x.grad = b.grad = None
        bias_relu(x, b).sum().backward(create_graph=create_graph)
        assert (x.grad is not None, b.grad is not None) == wanted
        if wanted[0]:
            assert x.grad.tolist() == [[1, 0], [1, 1]]
        else:
            assert b.grad.tolist() == [2, 1]


def test_array_code_of_a_gpu():
    """On arrays as strict as CuPy's: the CPU's bits."""
    be = StrictBackend()
    x, dy = (rng(82, k).standard_normal((2, 3, 4)).astype(np.float32) for k in range(2))
    b = rng(83).standard_normal(3).astype(np.float32)
    y = arrays.forward(be, x=be.asarray(x), b=be.asarray(b))
    wanted = arrays.forward(CPU, x=x, b=b)
    np.testing.assert_array_equal(be.to_numpy(y), wanted, strict=True)
    found = arrays.backward(be, dy=be.asarray(dy), y=y)
    for mine, host in zip(found, arrays.backward(CPU, dy=dy, y=wanted)):
        np.testing.assert_array_equal(be.to_numpy(mine), host, strict=True)


def test_closed_units_stop_infinite_gradients():
    x = nnlab.tensor([[-1.0], [1.0]], requires_grad=True)
    b = nnlab.zeros(1, requires_grad=True)
    bias_relu(x, b).backward(nnlab.tensor([[np.inf], [2.0]]))
    assert x.grad.tolist() == [[0], [2]]
    assert b.grad.tolist() == [2]


@pytest.mark.parametrize(
    ("shapes", "error", "message"),
    [
        (((3,), (3,)), ShapeError, r"\[bias_relu\] 'input' must have shape \(N, C, ...\), got \(3,\)"),
        (((2, 3), (2,)), ShapeError, r"\[bias_relu\] 'bias' must have shape \(3,\), got \(2,\)"),
        (((2, 3), (1, 3)), ShapeError, r"'bias' must have shape \(3,\), got \(1, 3\)"),
    ],
)
def test_bad_shapes(shapes, error, message):
    with pytest.raises(error, match=message):
        bias_relu(*(nnlab.ones(*shape) for shape in shapes))


def test_bad_dtypes():
    with pytest.raises(DtypeError, match=r"\[bias_relu\] 'input' is float32 but 'bias' is float64"):
        bias_relu(nnlab.ones(2, 3), nnlab.ones(3, dtype=nnlab.float64))
    with pytest.raises(DtypeError, match=r"\[bias_relu\] 'input' must be floating point"):
        bias_relu(nnlab.ones(2, 3, dtype=nnlab.int64), nnlab.ones(3))


@pytest.mark.torch
def test_peer():
    torch = pytorch()
    x, b = rng(80).standard_normal((4, 3, 5)), rng(81).standard_normal(3)
    ours = [nnlab.tensor(a, requires_grad=True) for a in (x, b)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, b)]
    y, ty = bias_relu(*ours), torch.relu(theirs[0] + theirs[1][:, None])
    (y * y).sum().backward()
    (ty * ty).sum().backward()
    np.testing.assert_array_equal(y.detach().numpy(), ty.detach().numpy())
    for mine, other in zip(ours, theirs):
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-13, atol=1e-14)
