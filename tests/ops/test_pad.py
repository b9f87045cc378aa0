"""Padding against loops over single elements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.ops import pad as ops
from nnlab.ops._numpy import layout
from tests.ops.common import CPU, close, rng, scattered
from tests.oracles import pad as oracle

Sides = list[tuple[int, int, int]]


def allowed(mode: str, sides: Sides) -> tuple[tuple[int, ...], ops.Amounts]:
    """Sizes, and amounts that the mode allows for them."""
    most = {"reflect": lambda n: n - 1, "circular": lambda n: n}.get(mode, lambda n: 9)
    return tuple(n for n, _, _ in sides), tuple((min(a, most(n)), min(b, most(n))) for n, a, b in sides)


@pytest.mark.parametrize("mode", ops.MODES)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=4))
def test_both_passes_against_loops(mode: str, sides: Sides) -> None:
    shape, amounts = allowed(mode, sides)
    x = scattered(rng(1).standard_normal(shape))
    y = ops.forward(CPU, x=x, amounts=amounts, mode=mode, value=1.5)
    np.testing.assert_array_equal(y, oracle.pad(x, amounts, mode, 1.5))
    dy = scattered(rng(2).standard_normal(y.shape))
    close(ops.backward(CPU, dy=dy, amounts=amounts, mode=mode), oracle.pad_grad(dy, amounts, mode))


@pytest.mark.parametrize("mode", ops.MODES)
def test_the_order_of_axes_stays(mode: str) -> None:
    x = np.moveaxis(rng(3).standard_normal((3, 4, 5, 8)), -1, 0)
    amounts = ((0, 0), (0, 0), (2, 1), (1, 3))
    y = ops.forward(CPU, x=x, amounts=amounts, mode=mode, value=1.5)
    assert layout.is_batch_last(y)
    np.testing.assert_array_equal(y, oracle.pad(x, amounts, mode, 1.5))
    dx = ops.backward(CPU, dy=y, amounts=amounts, mode=mode)
    assert layout.is_batch_last(dx)
    close(dx, oracle.pad_grad(y, amounts, mode))


@pytest.mark.parametrize("mode", ops.MODES)
def test_input_and_gradient_are_left_alone(mode: str) -> None:
    x, dy = np.ones((2, 3)), np.ones((4, 6))
    amounts = ((1, 1), (1, 2))
    ops.forward(CPU, x=x, amounts=amounts, mode=mode, value=1.5)
    ops.backward(CPU, dy=dy, amounts=amounts, mode=mode)
    assert (x == 1).all() and (dy == 1).all()


def test_without_elements() -> None:
    amounts = ((0, 0), (1, 2))
    for mode in ops.MODES:
        y = ops.forward(CPU, x=np.zeros((0, 3)), amounts=amounts, mode=mode)
        assert y.shape == (0, 6)
        assert ops.backward(CPU, dy=y, amounts=amounts, mode=mode).shape == (0, 3)


def test_half_precision_adds_up_in_float32() -> None:
    dy = np.array([[1, 2048, 1]], np.float16)  # added up one by one in float16, 2048 stays 2048
    dx = ops.backward(CPU, dy=dy, amounts=((0, 0), (1, 1)), mode="circular")
    assert dx.dtype == np.float16 and dx.tolist() == [[2050]]


def test_other_dtypes() -> None:
    x = np.array([1, 2, 3], np.uint8)
    y = ops.forward(CPU, x=x, amounts=((1, 1),), mode="constant", value=7)
    assert y.dtype == np.uint8 and y.tolist() == [7, 1, 2, 3, 7]
