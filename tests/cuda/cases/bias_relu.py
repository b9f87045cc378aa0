"""Bias and relu."""

from __future__ import annotations

import numpy as np

from nnlab.ops._cuda import bias_relu as kernels
from tests.cuda import drawn
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase
from tests.oracles import activation as oracle

SHAPES = [(3, 5), (150, 3), (0, 4), (4, 0), (2, 3, 7), (1, 40, 2), (3, 2, 5, 7), (2, 2, 50, 45)]


def both_passes(case: Case) -> None:
    _both_passes(case, SHAPES)
    _both_passes(case, [(2, 3, 7), (1, 40, 2), (3, 2, 5, 7), (2, 35, 9, 8)], last=True)


def standard(case: Case) -> None:
    _both_passes(case, [(32, 24), (2, 16, 8, 8)])


def _both_passes(case: Case, shapes: list[tuple[int, ...]], last: bool = False) -> None:
    for shape in shapes:
        x, b, dy = case.normal(*shape), case.normal(shape[1]), case.normal(*shape)
        if last:
            x, dy = drawn.channels_last(x), drawn.channels_last(dy)
        y = kernels.forward(case.be, x=case.put(x), b=case.put(b))
        case.compare(y, 2, oracle.bias_relu, x, b)
        found = kernels.backward(case.be, dy=case.put(dy), y=y)
        terms = max(1, dy.size // max(shape[1], 1))
        case.compare(found, terms, oracle.bias_relu_grad, dy, case.be.to_numpy(y), scale=1)


def nan_and_infinity(case: Case) -> None:
    special = [0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -1.0]
    x, b = case.host(np.array(special)[:, None] + np.zeros(7)), case.host(special)
    y = kernels.forward(case.be, x=case.put(x), b=case.put(b))
    case.compare(y, None, oracle.bias_relu, x, b)
    assert not np.signbit(case.be.to_numpy(y).astype(np.float64)).any(where=case.be.to_numpy(y) == 0)
    dy = case.host(np.array([np.inf, np.nan, 1, 2, 3, 4, 5])[:, None] + np.zeros(7))
    dx, _ = kernels.backward(case.be, dy=case.put(dy), y=y)
    case.compare(dx, None, lambda dy, y: oracle.bias_relu_grad(dy, y)[0], dy, case.be.to_numpy(y))


def half_adds_up_in_float32(case: Case) -> None:
    """2048 + 1 + 1 in float16 would stay 2048, 256 + 1 + 1 in bfloat16 256."""
    for most in (2048, 256):
        dy = np.ones((most, 1, 2))
        dy[0, 0, 0] = most
        _, db = kernels.backward(case.be, dy=case.put(case.host(dy)), y=case.put(case.host(np.ones(dy.shape))))
        case.compare(db, 1, lambda dy: dy.sum((0, 2)), dy)


def far_elements(case: FarCase) -> None:
    """Far elements of a long array, and the far channels of a wide one; the sums of the others are not looked at."""
    shape = (FAR // 4 + 5, 4)
    x, dy, b = case.sparse(*shape), case.sparse(*shape), case.normal(4)
    x[-5:], dy[-5:] = case.normal(5, 4), case.normal(5, 4)
    y = kernels.forward(case.be, x=x, b=b)
    case.compare(y[-5:], 2, oracle.bias_relu, x[-5:], b)
    dx, _ = kernels.backward(case.be, dy=dy, y=y)
    wanted = lambda dy, y: oracle.bias_relu_grad(dy, y)[0]  # noqa: E731
    case.compare(dx[-5:], 1, wanted, dy[-5:], y[-5:].copy())
    dy, y = case.sparse(1, FAR + 5), case.sparse(1, FAR + 5)
    dy[:, -5:], y[:, -5:] = case.normal(1, 5), case.normal(1, 5)
    dx, db = kernels.backward(case.be, dy=dy, y=y)
    case.compare((dx[:, -5:], db[-5:]), 1, oracle.bias_relu_grad, dy[:, -5:], y[:, -5:])
