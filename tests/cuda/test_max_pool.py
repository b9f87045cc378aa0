"""kernels/max_pool.cu through its launches and the gate, run on the host, against float64 loops and the array code."""

from __future__ import annotations

from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.cuda import launch
from nnlab.errors import ArgumentError, DtypeError
from nnlab.geometry import PoolGeometry, pool_geometry
from nnlab.ops._cuda import max_pool as kernels
from nnlab.ops._numpy import max_pool as arrays
from tests.cuda.common import CPU, DTYPES, EMULATED, NOTICED, break_sources, equal, near, plain, small_grid
from tests.ops.common import rng, scattered
from tests.oracles import pool as oracle

SIZES = {1: (9,), 2: (6, 7), 3: (4, 5, 4)}
KERNELS = {1: [(1,), (3,), (4,)], 2: [(1, 2), (2, 2), (3, 3)], 3: [(2, 2, 2), (3, 1, 2)]}


def problems(dims: int) -> list[tuple[Any, ...]]:
    options = product(KERNELS[dims], (None, 1, 2, 3), (0, 1), (1, 2), (False, True))
    return [
        (kernel, stride, padding, dilation, ceil)
        for kernel, stride, padding, dilation, ceil in options
        if all(padding <= k // 2 for k in kernel)
        and all(dilation * (k - 1) + 1 <= n + 2 * padding for k, n in zip(kernel, SIZES[dims], strict=True))
    ]


def values(random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Numbers with many ties, -inf and some NaN."""
    x = random.integers(-2, 3, shape).astype(dtype)
    x[random.random(shape) < 0.3] = -np.inf
    x[random.random(shape) < 0.1] = np.nan
    return x


def check(x: np.ndarray, geometry: PoolGeometry, dtype: str, name: str = "") -> None:
    """All passes of one problem: the loops' result, and bit for bit the array code's unless sums differ in order."""
    g = geometry
    y, index = kernels.forward(EMULATED, x=x, geometry=g)
    want_y, want_index = arrays.forward(CPU, x=x, geometry=g)
    equal(y, want_y, name)
    np.testing.assert_array_equal(index, want_index, name, strict=True)
    z, where = oracle.max_pool(x.astype(np.float64), g.out_size, g.kernel, g.stride, g.pad_low, g.dilation)
    np.testing.assert_array_equal(plain(y), z, name)
    np.testing.assert_array_equal(kernels.positions(EMULATED, index=index, geometry=g), where, name)
    np.testing.assert_array_equal(plain(kernels.gather(EMULATED, x=x, index=index, geometry=g)), z, name)
    dy = scattered(rng(41, y.size).standard_normal(y.shape).astype(dtype))
    dx = kernels.scatter(EMULATED, dy=dy, index=index, geometry=g)
    assert dx.dtype == dy.dtype
    exact, found = (
        oracle.scatter(dy.astype(np.float64), where, g.in_size),
        arrays.scatter(CPU, dy=dy, index=index, geometry=g),
    )
    near(dx, exact, prod(g.kernel), name)
    near(found, exact, prod(g.kernel), name)
    if all(d * (k - 1) < s for k, s, d in zip(g.kernel, g.stride, g.dilation, strict=True)):
        equal(dx, found, name)  # windows that share elements are added up in another order


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_all_passes(dims: int, dtype: str) -> None:
    for number, (kernel, stride, padding, dilation, ceil) in enumerate(problems(dims)):
        x = scattered(values(rng(42, number), (1, 2, *SIZES[dims]), dtype))
        geometry = pool_geometry(x.shape, kernel, stride, padding, dilation, ceil)
        check(x, geometry, dtype, str((kernel, stride, padding, dilation, ceil)))


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.booleans()), min_size=1, max_size=3),
    st.integers(0, 5),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from(DTYPES),
)
def test_drawn_shapes(per_dimension: Any, room: int, images: int, ceil: bool, dtype: str) -> None:
    kernel, stride, dilation, padded = zip(*per_dimension, strict=True)
    pad = tuple(k // 2 if p and d == 1 else 0 for k, d, p in zip(kernel, dilation, padded, strict=True))
    spans = [max(d * (k - 1) + 1 - 2 * p, 1) for k, d, p in zip(kernel, dilation, pad, strict=True)]
    x = values(rng(43, room), (images, 2, *(span + room for span in spans)), dtype)
    check(x, pool_geometry(x.shape, kernel, stride, pad, dilation, ceil), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [(16, 16), (17, 16)])
def test_index_of_large_kernels(kernel: tuple[int, int], dtype: str) -> None:
    """256 taps fit a byte, 272 do not."""
    x = np.zeros((1, 1, 18, 18), dtype)
    x[0, 0, -2:, -2:] = [[1, 2], [3, 4]]
    check(x, pool_geometry(x.shape, kernel, 1), dtype)
    check(rng(44).standard_normal(x.shape).astype(dtype), pool_geometry(x.shape, kernel, 1, 3), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [(3, 2), (17, 16)])
def test_gather_of_any_tap(kernel: tuple[int, int], dtype: str) -> None:
    """Also of one in the padding, which reads 0."""
    x = rng(45).standard_normal((2, 3, 17, 16)).astype(dtype)
    geometry = pool_geometry(x.shape, kernel, 2, 1, ceil_mode=True)
    index = rng(46).integers(0, prod(kernel), geometry.y_shape).astype(arrays.index_dtype(geometry))
    want = arrays.gather(CPU, x=x, index=index, geometry=geometry)
    np.testing.assert_array_equal(kernels.gather(EMULATED, x=x, index=index, geometry=geometry), want, strict=True)
    assert (want == 0).any()


def test_infinite_gradients_stay_at_the_maximum() -> None:
    x = np.array([[[1, 2, 3, 4]]], np.float32)
    geometry = pool_geometry(x.shape, 2, 1)
    _, index = kernels.forward(EMULATED, x=x, geometry=geometry)
    dx = kernels.scatter(EMULATED, dy=np.array([[[np.inf, 1, np.nan]]], np.float32), index=index, geometry=geometry)
    np.testing.assert_array_equal(dx, [[[0, np.inf, 1, np.nan]]])


def test_half_adds_up_in_float32() -> None:
    """2048 + 1 + 1 in half would stay 2048."""
    x = np.zeros((1, 1, 5), np.float16)
    x[0, 0, 2] = 1
    geometry = pool_geometry(x.shape, 3, 1)
    _, index = kernels.forward(EMULATED, x=x, geometry=geometry)
    dx = kernels.scatter(EMULATED, dy=np.array([[[1, 1, 2048]]], np.float16), index=index, geometry=geometry)
    np.testing.assert_array_equal(dx, [[[0, 0, 2050, 0, 0]]])


@pytest.mark.parametrize("wide", [False, True])
def test_grid_stride_and_64_bit_indices(monkeypatch: pytest.MonkeyPatch, wide: bool) -> None:
    small_grid(monkeypatch)
    if wide:
        monkeypatch.setattr(launch, "_INDEX_LIMIT", 10)
    x = values(rng(47), (2, 3, 9, 8), "float32")
    check(x, pool_geometry(x.shape, 3, 2, 1, ceil_mode=True), "float32")


def test_indices_that_32_bits_do_not_hold() -> None:
    """A window whose outer taps are 2**31 away: the gate is told and takes 64 bit."""
    x = np.array([[[5]]], np.float32)
    geometry = pool_geometry(x.shape, 3, 2**33, 2**31, 2**31)
    y, index = kernels.forward(EMULATED, x=x, geometry=geometry)
    assert (y, index) == (5, 1)
    assert kernels.scatter(EMULATED, dy=x, index=index, geometry=geometry) == 5
    assert kernels.gather(EMULATED, x=x, index=index, geometry=geometry) == 5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("place", [np.int64, np.int32])
def test_unpool_and_take(place: type, dtype: str) -> None:
    x = scattered(rng(48).standard_normal((2, 3, 4, 5)).astype(dtype))
    order = np.stack([rng(49, plane).permutation(63)[:20] for plane in range(6)])
    places = scattered(order.reshape(x.shape).astype(place))
    y = kernels.unpool(EMULATED, x=x, places=places, size=(7, 9))
    np.testing.assert_array_equal(y, arrays.unpool(CPU, x=x, places=places, size=(7, 9)), strict=True)
    np.testing.assert_array_equal(y, oracle.scatter(x, places, (7, 9)))
    z = scattered(rng(50).standard_normal((2, 3, 7, 9)).astype(dtype))
    taken = kernels.take(EMULATED, x=z, places=places)
    np.testing.assert_array_equal(taken, arrays.take(CPU, x=z, places=places), strict=True)
    assert kernels.unpool(EMULATED, x=x[:0], places=places[:0], size=(7, 9)).shape == (0, 3, 7, 9)
    assert kernels.take(EMULATED, x=z[:0], places=places[:0]).shape == (0, 3, 4, 5)


@pytest.mark.parametrize("bad", [-1, 4])
def test_places_outside_are_refused(bad: int) -> None:
    x, places = np.ones((1, 1, 2), np.float32), np.array([[[0, bad]]])
    with pytest.raises(ArgumentError, match=rf"\[max_unpool\] 'indices' must lie in 0..3, got {bad}"):
        kernels.unpool(EMULATED, x=x, places=places, size=(4,))
    with pytest.raises(ArgumentError, match=rf"\[max_unpool\] 'indices' must lie in 0..3, got {bad}"):
        kernels.take(EMULATED, x=np.ones((1, 1, 4), np.float32), places=places)


def test_integers_are_refused() -> None:
    x = np.ones((1, 1, 4), np.int64)
    with pytest.raises(DtypeError, match=r"\[max_pool_forward\] 'x' must be one of float32, float64, float16"):
        kernels.forward(EMULATED, x=x, geometry=pool_geometry(x.shape, 2))


def _several_checks() -> None:
    test_all_passes(2, "float64")
    test_all_passes(3, "float64")
    test_gather_of_any_tap((3, 2), "float64")
    test_index_of_large_kernels((17, 16), "float64")
    test_unpool_and_take(np.int64, "float64")


MUTANTS = [
    ("max_pool.cu", "value > best", "value >= best"),
    ("max_pool.cu", " || value != value", ""),
    ("max_pool.cu", "winner < 0 || ", ""),
    ("max_pool.cu", "winner = (td * h.kernel + th) * w.kernel + tw", "winner = (td * h.kernel + th) * h.kernel"),
    ("max_pool.cu", "index[i] = (number_t)winner", "index[i] = (uint8)winner"),
    ("max_pool.cu", "o.plane * d.in + start_d", "o.plane * d.out + start_d"),
    ("max_pool.cu", "slice * h.in + start_h + th * h.dilation", "slice * h.in + start_h + th"),
    ("max_pool.cu", "od >= first_d", "od > first_d"),
    ("max_pool.cu", "if (th < 0) continue;", ""),
    ("max_pool.cu", "total += to_acc", "total = to_acc"),
    ("max_pool.cu", "((q.plane * d.out + od) * h.out + oh) * w.out", "((q.plane * d.out + od) * h.in + oh) * w.out"),
    ("max_pool.cu", "q >= 0 && ", "q > 0 && "),
    ("max_pool.cu", "y[i / out * size + (index_t)places[i]] = x[i]", "y[i / size * size + (index_t)places[i]] = x[i]"),
    ("max_pool.cu", "y[i] = x[i / out * size + (index_t)places[i]]", "y[i] = x[(index_t)places[i]]"),
    ("include/window.cuh", "o * line.stride - line.pad;", "o * line.stride + line.pad;"),
    ("include/window.cuh", "start < 0 ? (line.dilation - 1 - start)", "start < 0 ? (line.dilation - start)"),
    ("include/window.cuh", "(line.in - start + line.dilation - 1)", "(line.in - start)"),
    ("include/window.cuh", "end < line.kernel ? end : line.kernel", "line.kernel"),
    ("include/window.cuh", "(line.kernel - 1) * line.dilation", "line.kernel * line.dilation - 1"),
    ("include/window.cuh", "(least + line.stride - 1) / line.stride", "least / line.stride + 1"),
    ("include/window.cuh", "last < line.out ? last : line.out - 1", "last"),
    ("include/window.cuh", "tap * line.dilation == way ? tap : -1", "tap"),
    ("include/window.cuh", "slice - plane * size_d", "slice - plane * size_h"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new"), MUTANTS)
def test_a_broken_kernel_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, old: str, new: str
) -> None:
    break_sources(monkeypatch, tmp_path, file, old, new)
    with pytest.raises(NOTICED):
        _several_checks()
