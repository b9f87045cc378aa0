"""Resampling against loops over single elements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.ops import resample as ops
from nnlab.ops._numpy import layout
from tests.ops.common import CPU, close, rng, scattered
from tests.oracles import resample as oracle

MODES: list[tuple[str, dict[str, bool]]] = [
    ("nearest", {}),
    ("nearest-exact", {}),
    ("linear", {}),
    ("linear", {"align_corners": True}),
    ("linear", {"antialias": True}),
    ("cubic", {}),
    ("cubic", {"align_corners": True}),
    ("cubic", {"antialias": True}),
]
# Sizes for which floor(o * in / out) in float32 is that of whole numbers.
SIZES = st.tuples(st.integers(1, 8), st.integers(1, 8))


def maps(mode: str, options: dict[str, bool], sizes: Any) -> tuple[tuple[ops.Line, ...], list[np.ndarray]]:
    lines = tuple(ops.resampling(mode, n, o, None, **options) for n, o in sizes)
    return lines, [oracle.weights(mode, n, o, **options) for n, o in sizes]


@pytest.mark.parametrize(("mode", "options"), MODES)
@given(sizes=st.lists(SIZES, min_size=1, max_size=2))
def test_both_passes_against_loops(mode: str, options: dict[str, bool], sizes: Any) -> None:
    lines, matrices = maps(mode, options, sizes)
    x = scattered(rng(1).standard_normal((2, 3, *(n for n, _ in sizes))))
    y = ops.forward(CPU, x=x, lines=lines)
    close(y, oracle.resample(x, matrices))
    dy = scattered(rng(2).standard_normal(y.shape))
    dx = ops.forward(CPU, x=dy, lines=tuple(line.transposed for line in lines))
    close(dx, oracle.resample(dy, [matrix.T for matrix in matrices]))


@pytest.mark.parametrize(("mode", "options"), MODES)
def test_planes_of_three_dimensions_in_another_order_of_axes(mode: str, options: dict[str, bool]) -> None:
    lines, matrices = maps(mode, options, [(3, 5), (4, 4), (5, 2)])
    x = np.moveaxis(rng(3).standard_normal((2, 3, 4, 5, 6)), -1, 0)
    y = ops.forward(CPU, x=x, lines=lines)
    assert layout.is_batch_last(y)
    close(y, oracle.resample(x, matrices))


@pytest.mark.parametrize(("mode", "options"), MODES)
def test_every_row_adds_up_to_one(mode: str, options: dict[str, bool]) -> None:
    for size, out in ((5, 13), (13, 5), (1, 4), (4, 1), (6, 6)):
        line = ops.resampling(mode, size, out, None, **options)
        close(np.bincount(line.o, line.w, out), np.ones(out))
        again = line.transposed.transposed
        assert all((getattr(line, name) == getattr(again, name)).all() for name in ("o", "i", "w"))


def test_what_is_not_finite_stays_where_it_counts() -> None:
    """No output takes a weight of 0 from an input: 0 times infinity would be NaN."""
    x = np.zeros((1, 1, 8))
    x[0, 0, 3] = np.inf
    y = ops.forward(CPU, x=x, lines=(ops.resampling("linear", 8, 15, None, align_corners=True),))
    assert y[0, 0].tolist() == [0] * 5 + [np.inf] * 3 + [0] * 7
    dy = np.zeros((1, 1, 2))
    dy[0, 0, 0] = np.nan
    dx = ops.forward(CPU, x=dy, lines=(ops.resampling("nearest", 6, 2, None).transposed,))
    np.testing.assert_array_equal(dx, [[[np.nan, 0, 0, 0, 0, 0]]])


def test_blocks_and_threads() -> None:
    """Planes of more than one block."""
    x = rng(4).standard_normal((3, 2, 200, 300))
    line = ops.resampling("linear", 200, 100, None), ops.resampling("linear", 300, 600, None)
    y = ops.forward(CPU, x=x, lines=line)
    matrices = [oracle.weights("linear", 200, 100), oracle.weights("linear", 300, 600)]
    close(y, np.einsum("ncij,ai,bj->ncab", x, *matrices, optimize=True))
    same = ops.forward(CPU, x=x, lines=tuple(ops.resampling("linear", n, n, None) for n in (200, 300)))
    assert (same == x).all() and not np.shares_memory(x, same)


def test_half_precision_adds_up_in_float32() -> None:
    dy = np.ones((1, 1, 8192), np.float16)
    dx = ops.forward(CPU, x=dy, lines=(ops.resampling("nearest", 2, 8192, None).transposed,))
    assert dx.dtype == np.float16 and dx.tolist() == [[[4096, 4096]]]


def test_nearest_rounds_as_pytorch_does() -> None:
    """The product of a position and the scale, in float32, may lie on the other side of a whole number."""
    for size, out in ((7, 21), (49, 147), (41, 123), (25, 17)):
        line = ops.resampling("nearest", size, out, None)
        step = np.float32(size) / np.float32(out)
        expected = [min(int(np.float32(o) * step), size - 1) for o in range(out)]
        assert line.i.tolist() == expected


def test_without_elements() -> None:
    lines = (ops.resampling("linear", 4, 8, None),) * 2
    assert ops.forward(CPU, x=np.zeros((0, 3, 4, 4)), lines=lines).shape == (0, 3, 8, 8)
