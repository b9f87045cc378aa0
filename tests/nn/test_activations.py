"""Activations: where they bend and end, half types, writing in place, worked numbers and units that die."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ArgumentError, DtypeError, ShapeError
from nnlab.nn import functional as F
from tests.nn.case import Case
from tests.nn.cases import ACTIVATIONS
from tests.nn.peer import close

SINGLE = [case for case in ACTIVATIONS if case.name not in ("GLU", "Softmax", "Softmin", "LogSoftmax", "Softmax2d")]
# PyTorch's softplus overflows for a negative beta.
ANY_SHAPE = [case for case in SINGLE if case.kwargs != {"beta": -0.5} and not (case.name == "PReLU" and case.args)]
# Bends of any of them, and numbers that overflow an exponential in float32.
EDGES = [-np.inf, -1e4, -100.0, -6.0, -3.0, -1.5, -1.2, -1.0, -0.5, -0.0, 0.0, 0.3, 0.5, 1.0, 3.0, 6.0, 100.0, 1e4]
EDGES += [np.inf, np.nan]


@pytest.mark.torch
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", ANY_SHAPE, ids=[case.id for case in ANY_SHAPE])
def test_edges_against_torch(case: Case, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    x = np.array(EDGES, dtype)
    layer = getattr(nn, case.name)(*case.args, **case.kwargs).to(dtype=dtype)
    other = getattr(torch.nn, case.name)(*case.args, **case.kwargs).to(getattr(torch, np.dtype(dtype).name))
    a, b = nnlab.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = layer(a), other(b)
    y.sum().backward()
    z.sum().backward()
    few = 2.0**-20 if dtype == np.float32 else max(1e-9, case.tolerance)
    some = np.isfinite(x) | (case.name != "GELU")  # PyTorch's at -infinity is NaN in float64 and 0 in float32
    np.testing.assert_allclose(y.detach().numpy()[some], z.detach().numpy()[some], rtol=few, atol=few)
    finite = np.isfinite(x)  # what a gradient is at infinity is nowhere said, and PyTorch's NaN there is no example
    np.testing.assert_allclose(a.grad.numpy()[finite], b.grad.numpy()[finite], rtol=few, atol=few)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", SINGLE, ids=[case.id for case in SINGLE])
def test_half_types_are_rounded_once(case: Case, dtype: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    layer = getattr(nn, case.name)(*case.args, **case.kwargs)
    x = nnlab.tensor(case.draw()[0]).to(dtype=dtype)
    nnlab.manual_seed(1)
    found = layer.to(dtype=dtype)(x)
    nnlab.manual_seed(1)
    wanted = layer.double()(x.double()).detach().numpy()
    assert found.dtype == nnlab.types.as_dtype(dtype)
    # One rounding of the result, one of the learned or drawn slope, one more of sigmoid or tanh.
    unit = 2.0**-11 if dtype == "float16" else 2.0**-8
    np.testing.assert_allclose(found.double().detach().numpy(), wanted, rtol=3 * unit, atol=1e-6)


IN_PLACE = [
    (nn.CELU, (0.7,)),
    (nn.ELU, (0.7,)),
    (nn.Hardsigmoid, ()),
    (nn.Hardswish, ()),
    (nn.Hardtanh, (-0.7, 0.9)),
    (nn.LeakyReLU, (0.3,)),
    (nn.Mish, ()),
    (nn.RReLU, (0.2, 0.2)),
    (nn.ReLU, ()),
    (nn.ReLU6, ()),
    (nn.SELU, ()),
    (nn.SiLU, ()),
    (nn.Threshold, (0.1, 0.5)),
]


@pytest.mark.parametrize(("layer", "args"), IN_PLACE, ids=[layer.__name__ for layer, _ in IN_PLACE])
def test_in_place(layer: type[nn.Module], args: tuple[Any, ...]) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4)) * 3
    found = []
    for inplace in (True, False):
        leaf = nnlab.tensor(x, requires_grad=True)
        middle = leaf * 2.0
        y = layer(*args, inplace=inplace)(middle)
        assert (y is middle) == inplace
        (y * y).sum().backward()
        found.append((y.detach().numpy(), leaf.grad.numpy()))
        with nnlab.no_grad():
            plain = nnlab.tensor(x)
            assert (layer(*args, inplace=inplace)(plain) is plain) == inplace
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    with pytest.raises(nnlab.errors.GraphError, match="leaf"):
        layer(*args, inplace=True)(nnlab.ones(3, requires_grad=True))
    assert repr(layer(*args, inplace=True)).endswith("inplace=True)")


def test_batch_last_memory_stays_so() -> None:
    """What follows a convolution on the CPU keeps the order of the axes that it gave."""
    memory = np.random.default_rng(0).standard_normal((3, 4, 5, 2))  # (C, H, W, N)
    x = nnlab.from_numpy(np.moveaxis(memory, -1, 0))
    for name in ("leaky_relu", "elu", "gelu", "hardtanh", "softplus"):
        y = getattr(F, name)(x)
        assert y.detach().numpy().strides == x.numpy().strides, name


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Hardtanh(1.0, -1.0), ArgumentError, r"\[Hardtanh\] 'max_val' must be above min_val=1.0, got -1.0"),
        (lambda: nn.PReLU(0), ArgumentError, r"\[PReLU\] 'num_parameters' must be a positive int, got 0"),
        (
            lambda: nn.PReLU(3)(nnlab.zeros(2, 4)),
            ShapeError,
            r"\[PReLU\] 'weight' must have shape \(4,\) or \(1,\) for input \(2, 4\), got \(3,\)",
        ),
        (
            lambda: nn.GELU("erf")(nnlab.zeros(2)),
            ArgumentError,
            r"\[GELU\] 'approximate' must be 'none' or 'tanh', got 'erf'",
        ),
        (lambda: nn.GLU()(nnlab.zeros(2, 3)), ShapeError, r"\[GLU\] 'input' must have an even length along dimension"),
        (lambda: nn.GLU(2)(nnlab.zeros(2, 4)), ShapeError, r"\[GLU\] 'input' must have an even length along dimension"),
        (lambda: nn.CELU(0.0)(nnlab.zeros(2)), ArgumentError, r"\[CELU\] 'alpha' must not be 0, got 0.0"),
        (lambda: nn.Softplus(0)(nnlab.zeros(2)), ArgumentError, r"\[Softplus\] 'beta' must not be 0, got 0"),
        (lambda: nn.Softshrink(-1)(nnlab.zeros(2)), ArgumentError, r"\[Softshrink\] 'lambd' must not be negative"),
        (
            lambda: nn.RReLU(0.5, 0.1)(nnlab.zeros(2)),
            ArgumentError,
            r"\[RReLU\] 'upper' must be at least lower=0.5, got 0.1",
        ),
        (
            lambda: nn.Softmax2d()(nnlab.zeros(2, 3)),
            ShapeError,
            r"\[Softmax2d\] 'input' must have shape \(N, C, H, W\) or \(C, H, W\), got \(2, 3\)",
        ),
        (lambda: nn.ELU()(nnlab.tensor([1])), DtypeError, r"\[ELU\] 'input' must be floating point, got 'int64'"),
        (lambda: nn.Softmin()(nnlab.zeros(2)), ArgumentError, r"\[Softmin\] 'dim' must be given"),
    ],
)
def test_errors(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        make()


def test_worked_numbers() -> None:
    x = nnlab.tensor([-2.0, 0.0, 3.0, 8.0], dtype=nnlab.float64)
    numbers: dict[str, list[float]] = {
        "relu": [0, 0, 3, 8],
        "relu6": [0, 0, 3, 6],
        "leaky_relu": [-0.02, 0, 3, 8],
        "elu": [math.exp(-2) - 1, 0, 3, 8],
        "hardswish": [-1 / 3, 0, 3, 8],
        "hardsigmoid": [1 / 6, 0.5, 1, 1],
        "softsign": [-2 / 3, 0, 0.75, 8 / 9],
        "softshrink": [-1.5, 0, 2.5, 7.5],
        "softplus": [math.log(1 + math.exp(v)) for v in (-2, 0, 3, 8)],
        "logsigmoid": [-math.log(1 + math.exp(-v)) for v in (-2, 0, 3, 8)],
        "gelu": [v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in (-2, 0, 3, 8)],
        "silu": [v / (1 + math.exp(-v)) for v in (-2, 0, 3, 8)],
        "mish": [v * math.tanh(math.log(1 + math.exp(v))) for v in (-2, 0, 3, 8)],
    }
    for name, wanted in numbers.items():
        assert getattr(F, name)(x).tolist() == pytest.approx(wanted, abs=1e-15), name


def test_selu_keeps_mean_and_variance() -> None:
    """Through 32 layers of N(0, 1/n) weights, as its paper says; ReLU's variance is gone by then."""
    random = np.random.default_rng(0)
    n, depth = 256, 32
    start = nnlab.tensor(random.standard_normal((512, n)))
    ends = {}
    for name in ("selu", "relu"):
        x = start
        for _ in range(depth):
            x = getattr(F, name)(x @ nnlab.tensor(random.standard_normal((n, n)) / n**0.5))
        ends[name] = (x.mean().item(), x.var().item())
    assert abs(ends["selu"][0]) < 0.1
    assert 0.8 < ends["selu"][1] < 1.2
    assert ends["relu"][1] < 1e-6


def test_rrelu_draws_slopes() -> None:
    nnlab.manual_seed(4)
    layer = nn.RReLU(0.1, 0.3)
    x = nnlab.full((10000,), -1.0, requires_grad=True)
    y = layer(x)
    slopes = -y.detach().numpy()
    assert 0.1 <= slopes.min() < 0.101 < 0.299 < slopes.max() <= 0.3
    assert abs(slopes.mean() - 0.2) < 5 * 0.2 / 12**0.5 / 100  # five standard deviations of the mean
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), slopes)
    nnlab.manual_seed(4)
    np.testing.assert_array_equal(layer(x).detach().numpy(), y.detach().numpy())
    assert layer(nnlab.ones(3)).tolist() == [1, 1, 1]
    offset = nnlab.default_generator.offset
    close(layer.eval()(x), np.full(10000, -0.2), tolerance=1e-7)
    assert nnlab.default_generator.offset == offset


@pytest.mark.torch
def test_prelu_moves_between_libraries() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = nn.PReLU(3, 0.1), torch.nn.PReLU(3, 0.7)
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["weight"]
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    np.testing.assert_array_equal(ours.weight.detach().numpy(), np.full(3, 0.7, np.float32))
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in nn.PReLU(3, 0.2).state_dict().items()})
    assert theirs.weight.tolist() == [pytest.approx(0.2)] * 3


def dead(name: str, rate: float) -> float:
    """Share of hidden units that give one output for every sample after 60 steps from large negative biases."""
    random = np.random.default_rng(1)
    x = nnlab.tensor(random.standard_normal((200, 10)))
    target = x[:, :1] * x[:, 1:2]
    hidden, out = nn.Linear(10, 40).double(), nn.Linear(40, 1).double()
    with nnlab.no_grad():
        hidden.weight.copy_(nnlab.tensor(random.standard_normal((40, 10)) * 0.3))
        hidden.bias.fill_(-0.5)
    parameters = [*hidden.parameters(), *out.parameters()]
    optimizer = nnlab.optim.SGD(parameters, lr=rate)
    for _ in range(60):
        optimizer.zero_grad()
        F.mse_loss(out(getattr(F, name)(hidden(x))), target).backward()
        nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()
    slope = getattr(F, name)(hidden(x)).detach().var(0)
    return (slope < 1e-20).double().mean().item()


def test_relu_units_die_at_a_large_rate_and_leaky_ones_do_not() -> None:
    """The notes: a large step drives biases far below 0, and a dead unit gets no gradient to come back by."""
    assert dead("relu", 0.01) == 0
    assert dead("relu", 2.0) > 0.2
    for name in ("leaky_relu", "elu", "softplus"):
        assert dead(name, 2.0) == 0, name
