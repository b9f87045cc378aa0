"""kernels/avg_pool.cu through its launches and the gate, run on the host, against float64 loops and the array code."""

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
from nnlab.geometry import PoolGeometry, pool_geometry
from nnlab.ops._cuda import avg_pool as kernels
from nnlab.ops._numpy import avg_pool as arrays
from tests.cuda.common import CPU, DTYPES, EMULATED, NOTICED, break_sources, near, small_grid
from tests.ops.common import rng, scattered
from tests.oracles import pool as oracle

SIZES = {1: (9,), 2: (6, 7), 3: (4, 5, 4)}
KERNELS = {1: [(1,), (3,), (4,)], 2: [(1, 2), (2, 2), (3, 3)], 3: [(2, 2, 2), (3, 1, 2)]}
OPTIONS = list(product((None, 1, 2, 3), (0, 1), (False, True), ((False, None), (True, None), (True, 5), (False, -2))))


def check(x: np.ndarray, geometry: PoolGeometry, include_pad: bool, override: int | None) -> None:
    g, wide, dtype = geometry, x.astype(np.float64), x.dtype
    options: dict[str, Any] = {"geometry": g, "count_include_pad": include_pad, "divisor_override": override}
    y = kernels.forward(EMULATED, x=x, **options)
    np.testing.assert_array_equal(y, arrays.forward(CPU, x=x, **options), str(options), strict=True)
    window = (g.kernel, g.stride, g.pad_low, include_pad, override)
    near(y, oracle.avg_pool(wide, g.out_size, *window), prod(g.kernel), str(options))
    dy = scattered(rng(71, y.size).standard_normal(y.shape).astype(dtype))
    dx = kernels.backward(EMULATED, dy=dy, **options)
    np.testing.assert_array_equal(dx, arrays.backward(CPU, dy=dy, **options), str(options), strict=True)
    near(dx, oracle.avg_pool_grad(dy.astype(np.float64), g.in_size, *window), prod(g.kernel), str(options))


def check_adaptive(shape: tuple[int, ...], out: tuple[int, ...], dtype: str) -> None:
    x = scattered(rng(72).standard_normal(shape).astype(dtype))
    y = kernels.adaptive_forward(EMULATED, x=x, out=out)
    assert y.dtype == x.dtype
    terms = prod(shape[2:])
    near(y, oracle.adaptive_avg(x.astype(np.float64), out), terms, str((shape, out)))
    dy = scattered(rng(73).standard_normal(y.shape).astype(dtype))
    dx = kernels.adaptive_backward(EMULATED, dy=dy, size=shape[2:])
    assert dx.dtype == dy.dtype
    near(dx, oracle.adaptive_avg_grad(dy.astype(np.float64), shape[2:]), prod(out), str((shape, out)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_both_passes(dims: int, dtype: str) -> None:
    for number, (kernel, (stride, padding, ceil, counting)) in enumerate(product(KERNELS[dims], OPTIONS)):
        if all(padding <= k // 2 for k in kernel):
            x = scattered(rng(74, number).standard_normal((1, 2, *SIZES[dims])).astype(dtype))
            check(x, pool_geometry(x.shape, kernel, stride, padding, 1, ceil), *counting)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5), st.booleans()), min_size=1, max_size=3),
    st.integers(0, 4),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
    st.sampled_from(DTYPES),
)
def test_drawn_shapes(per_dimension: Any, room: int, images: int, ceil: bool, include_pad: bool, dtype: str) -> None:
    kernel, stride, padded = zip(*per_dimension, strict=True)
    pad = tuple(k // 2 if p else 0 for k, p in zip(kernel, padded, strict=True))
    size = tuple(max(k - 2 * p, 1) + room for k, p in zip(kernel, pad, strict=True))
    x = rng(75, room).standard_normal((images, 2, *size)).astype(dtype)
    check(x, pool_geometry(x.shape, kernel, stride, pad, 1, ceil), include_pad, None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("size", "out"), [((7,), (3,)), ((6, 7), (1, 1)), ((6, 7), (6, 3)), ((3, 4), (5, 9)), ((4, 5, 3), (3, 2, 4))]
)
def test_adaptive(size: tuple[int, ...], out: tuple[int, ...], dtype: str) -> None:
    check_adaptive((2, 3, *size), out, dtype)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=3),
    st.integers(0, 2),
    st.sampled_from(DTYPES),
)
def test_adaptive_drawn_shapes(per_dimension: Any, images: int, dtype: str) -> None:
    size, out = zip(*per_dimension, strict=True)
    check_adaptive((images, 2, *size), out, dtype)


def test_not_a_number_stays_in_its_windows() -> None:
    x = np.ones((1, 1, 6))
    x[0, 0, 4] = np.nan
    np.testing.assert_array_equal(kernels.adaptive_forward(EMULATED, x=x, out=(3,)), [[[1, 1, np.nan]]])
    options: dict[str, Any] = {"count_include_pad": True, "divisor_override": None}
    geometry = pool_geometry(x.shape, 2)
    np.testing.assert_array_equal(kernels.forward(EMULATED, x=x, geometry=geometry, **options), [[[1, 1, np.nan]]])
    dy = np.array([[[np.inf, 1, np.nan]]])
    want = [[[np.inf, np.inf, 0.5, 0.5, np.nan, np.nan]]]
    np.testing.assert_array_equal(kernels.backward(EMULATED, dy=dy, geometry=geometry, **options), want)
    np.testing.assert_array_equal(kernels.adaptive_backward(EMULATED, dy=dy, size=(6,)), want)


def test_half_adds_up_in_float32() -> None:
    x = np.full((1, 1, 64, 64), 1 + 2**-10, np.float16)
    options: dict[str, Any] = {"count_include_pad": True, "divisor_override": None}
    assert (kernels.forward(EMULATED, x=x, geometry=pool_geometry(x.shape, 64), **options) == x[0, 0, 0, 0]).all()
    assert (kernels.adaptive_forward(EMULATED, x=x, out=(1, 1)) == x[0, 0, 0, 0]).all()


@pytest.mark.parametrize("wide", [False, True])
def test_grid_stride_and_64_bit_indices(monkeypatch: pytest.MonkeyPatch, wide: bool) -> None:
    small_grid(monkeypatch)
    if wide:
        monkeypatch.setattr(launch, "_INDEX_LIMIT", 10)
    x = rng(76).standard_normal((2, 3, 9, 8)).astype(np.float32)
    check(x, pool_geometry(x.shape, 3, 2, 1, 1, True), False, None)
    check_adaptive((2, 3, 9, 8), (5, 10), "float32")


def test_adaptive_sizes_whose_product_32_bits_do_not_hold() -> None:
    x = rng(77).standard_normal((1, 1, 50_001)).astype(np.float32)
    y = kernels.adaptive_forward(EMULATED, x=x, out=(50_000,))
    np.testing.assert_array_equal(y, (x[..., :-1] + x[..., 1:]) / 2)
    dx = kernels.adaptive_backward(EMULATED, dy=x[..., 1:], size=(50_001,))
    halves = x[..., 1:] / 2
    np.testing.assert_array_equal(
        dx, np.pad(halves, ((0, 0), (0, 0), (0, 1))) + np.pad(halves, ((0, 0), (0, 0), (1, 0)))
    )


def _several_checks() -> None:
    test_both_passes(3, "float64")
    test_adaptive((4, 5, 3), (3, 2, 4), "float64")
    test_adaptive((3, 4), (5, 9), "float64")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("padded || start > 0 ? start : 0", "start"),
        ("padded ? line.in + line.pad : line.in", "line.in + line.pad"),
        ("(end < high ? end : high) - low", "end - low"),
        ("* h.in + start_h + th;", "* h.in + start_h - th;"),
        ("        column += line;", "        column = line;"),
        ("      total += column;", "      total = column;"),
        ("total / (count == 2 ? divisor : elements)", "total / elements"),
        ("count == 2 ? divisor : count_dh *", "count == 1 ? divisor : count_dh *"),
        ("count_d * window_count(h, oh, padded)", "window_count(h, oh, padded)"),
        ("ow >= first_w", "ow > first_w"),
        ("((o + 1) * in + out - 1) / out", "(o + 1) * in / out"),
        ("((q + 1) * out + in - 1) / in", "(q + 1) * out / in"),
        ("Part{q * out / in,", "Part{(q * out + in - 1) / in,"),
        ("((o.plane * in_d + qd) * in_h + qh) * in_w", "((o.plane * in_d + qd) * in_h + qh) * out_w"),
        ("taps_dh * (acc_t)(taps_w.end - taps_w.first)", "taps_dh"),
        ("qw < w.end", "qw <= w.end"),
    ],
)
def test_a_broken_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str) -> None:
    file = "include/adaptive.cuh" if old.startswith(("((o + 1)", "((q + 1)", "Part{")) else "avg_pool.cu"
    break_sources(monkeypatch, tmp_path, file, old, new)
    with pytest.raises(NOTICED):
        _several_checks()
