"""A choice by a mask: the bits of NumPy's ``where``, for every kind of operand and order of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab.backend import get_backend
from nnlab.ops.select import select


def values(dtype: Any, shape: tuple[int, ...], seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape).astype(dtype)
    x.reshape(-1)[::7] = [np.nan, np.inf, -np.inf, -0.0][seed % 4]
    return x


def same_bits(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("shape", [(3, 5), (70, 71), (20, 9, 30, 40)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_operands(dtype: Any, shape: tuple[int, ...]) -> None:
    be = get_backend("cpu")
    a, b = values(dtype, shape, 0), values(dtype, shape, 1)
    mask = np.random.default_rng(2).random(shape) < 0.5
    number, zero = dtype(2.5), dtype(0)
    for left, right in (
        (a, b),
        (a, zero),
        (zero, b),
        (a, number),
        (number, b),
        (a, dtype(-0.0)),
        (a, np.asarray(number)),
    ):
        same_bits(select(be, condition=mask, a=left, b=right), np.where(mask, left, right))
    same_bits(select(be, condition=mask, a=number, b=zero), np.where(mask, number, zero))
    same_bits(select(be, condition=mask[:1], a=a, b=b), np.where(mask[:1], a, b))


def test_orders_of_memory() -> None:
    be = get_backend("cpu")
    shape = (40, 6, 8, 9)
    last = np.moveaxis(values(np.float32, (6, 8, 9, 40), 1), -1, 0)  # batch last
    gaps = values(np.float32, (40, 12, 8, 18), 2)[:, ::2, :, ::-2]
    mask = np.random.default_rng(3).random(shape) < 0.5
    for condition in (mask, last > 0, gaps > 0):
        for a, b in ((last, gaps), (gaps, last), (last, np.float32(1))):
            found = select(be, condition=condition, a=a, b=b)
            same_bits(np.ascontiguousarray(found), np.ascontiguousarray(np.where(condition, a, b)))
    assert select(be, condition=last > 0, a=last, b=np.float32(0)).strides == last.strides


def test_integers_and_results_of_where() -> None:
    numbers = np.arange(10000)
    found = nnlab.where(nnlab.from_numpy(numbers % 3 == 0), nnlab.from_numpy(numbers), -1)
    np.testing.assert_array_equal(found.numpy(), np.where(numbers % 3 == 0, numbers, -1))
    x = nnlab.tensor(np.linspace(-1, 1, 5000), requires_grad=True)
    nnlab.where(x > 0, x * 3, 7.0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.where(x.detach().numpy() > 0, 3.0, 0.0))
