"""kernels/adaptive_max_pool.cu through its launches and the gate, run on the host, against loops and the array code."""

from __future__ import annotations

from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnlab
from nnlab.autograd import pool
from nnlab.cuda import launch
from nnlab.errors import DtypeError
from nnlab.ops._cuda import adaptive_max_pool as kernels
from nnlab.ops._cuda import windows
from nnlab.ops._numpy import adaptive_max_pool as arrays
from nnlab.testing import gradcheck, gradgradcheck, spaced
from tests.cuda.common import CPU, DTYPES, EMULATED, NOTICED, break_sources, equal, near, plain, small_grid
from tests.ops.common import rng, scattered
from tests.oracles import pool as oracle

SIZES: dict[int, list[tuple[int, ...]]] = {
    1: [(9,), (4,), (1,)],
    2: [(6, 7), (3, 2)],
    3: [(4, 5, 3)],
}
OUTPUTS: dict[int, list[tuple[int, ...]]] = {
    1: [(1,), (4,), (9,), (13,)],
    2: [(1, 1), (3, 2), (5, 7), (6, 3), (8, 9)],
    3: [(1, 1, 1), (3, 2, 3), (5, 4, 2)],
}
PROBLEMS = [(size, out) for dims in (1, 2, 3) for size, out in product(SIZES[dims], OUTPUTS[dims])]
ORDERS: list[Any] = ["descending", 1, 2]


def values(random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Numbers with many ties, -inf and some NaN."""
    x = random.integers(-2, 3, shape).astype(dtype)
    x[random.random(shape) < 0.3] = -np.inf
    x[random.random(shape) < 0.1] = np.nan
    return x


def check(x: np.ndarray, out: tuple[int, ...], orders: bool = False) -> None:
    """Both passes bit for bit as the array code, and the loops' result."""
    name, size = str((x.shape, out, x.dtype)), x.shape[2:]
    y, places = kernels.forward(EMULATED, x=x, out=out)
    want_y, want_places = arrays.forward(CPU, x=x, out=out)
    equal(y, want_y, name)
    equal(places, want_places, name)
    z, where = oracle.adaptive_max(x.astype(np.float64), out)
    np.testing.assert_array_equal(plain(y), z, name)
    np.testing.assert_array_equal(places, where, name)
    dy = scattered(rng(151, y.size).standard_normal(y.shape).astype(x.dtype))
    dx = kernels.scatter(EMULATED, dy=dy, places=scattered(places), size=size)
    equal(dx, arrays.scatter(CPU, dy=dy, places=places, size=size), name)
    near(dx, oracle.scatter(dy.astype(np.float64), where, size), max(prod(out), 1), name)
    for order in ORDERS if orders else ():
        with EMULATED.ordered(order):
            for found, again in zip((y, places), kernels.forward(EMULATED, x=x, out=out), strict=True):
                equal(found, again, f"{name} {order}")
            equal(dx, kernels.scatter(EMULATED, dy=dy, places=places, size=size), f"{name} {order}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_passes(dtype: str) -> None:
    for number, (size, out) in enumerate(PROBLEMS):
        check(scattered(values(rng(152, number), (2, 3, *size), dtype)), out, orders=number % 5 == 0)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=3),
    st.integers(0, 2),
    st.sampled_from(DTYPES),
)
def test_drawn_sizes(per_dimension: list[tuple[int, int]], images: int, dtype: str) -> None:
    size, out = zip(*per_dimension, strict=True)
    check(values(rng(153, sum(size)), (images, 2, *size), dtype), out)


@pytest.mark.parametrize(("dtype", "most"), [("float16", 2048), ("bfloat16", 256)])
def test_half_adds_up_in_float32(dtype: str, most: int) -> None:
    """most + 1 + 1 in half would stay most; the same in array code."""
    x, dy = np.ones((1, 1, 1), dtype), np.array([[[most, 1, 1]]], dtype)
    _, places = kernels.forward(EMULATED, x=x, out=(3,))
    for scatter, be in ((arrays.scatter, CPU), (kernels.scatter, EMULATED)):
        dx = scatter(be, dy=dy, places=places, size=(1,))
        assert float(dx[0, 0, 0]) == most + 2


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_gradients_of_any_order(device: str) -> None:
    """Also of unpooling, whose places lie in no windows of adaptive pooling."""
    x = spaced((2, 2, 5, 6)).to(device).detach().requires_grad_()
    assert gradcheck(lambda x: pool.adaptive_max_pool(x, (3, 4)), x)
    assert gradgradcheck(lambda x: pool.adaptive_max_pool(x, (3, 4)) ** 3, x)
    z = spaced((1, 1, 4)).to(device).detach().requires_grad_()
    places = nnlab.tensor([[[7, 0, 5, 2]]]).to(device)
    assert gradgradcheck(lambda z: pool.max_unpool(z, places, (8,)) ** 3, z)
    taken = pool.Take.apply(pool.max_unpool(z, places, (8,)), places._data)
    (grad,) = nnlab.grad(taken.sum(), z, create_graph=True)
    assert grad.tolist() == [[[1, 1, 1, 1]]]


def test_infinite_gradients_stay_at_the_maximum() -> None:
    x = np.array([[[1, 2, 3, 4]]], np.float32)
    _, places = kernels.forward(EMULATED, x=x, out=(3,))
    dy = np.array([[[np.inf, 1, np.nan]]], np.float32)
    dx = kernels.scatter(EMULATED, dy=dy, places=places, size=(4,))
    np.testing.assert_array_equal(dx, [[[0, np.inf, 1, np.nan]]])


@pytest.mark.parametrize("wide", [False, True])
def test_grid_stride_and_64_bit_indices(monkeypatch: pytest.MonkeyPatch, wide: bool) -> None:
    small_grid(monkeypatch)
    if wide:
        monkeypatch.setattr(launch, "_INDEX_LIMIT", 10)
    check(values(rng(154), (2, 3, 9, 8), "float32"), (4, 5))


def test_the_gate_is_told_of_products_of_sizes() -> None:
    """o * in goes as far as out * in, which 32 bits need not hold where they hold every size."""
    assert windows.adaptive((70000,), (50000,))["reach"] >= 70000 * 50000
    sizes = windows.adaptive((4, 5), (3, 2))
    assert [sizes[name] for name in windows.ADAPTIVE] == [1, 4, 5, 1, 3, 2]


def test_integers_are_refused() -> None:
    with pytest.raises(DtypeError, match=r"\[adaptive_max_pool_forward\] 'x' must be one of float32, float64"):
        kernels.forward(EMULATED, x=np.ones((1, 1, 4), np.int64), out=(2,))


def _several_checks() -> None:
    test_both_passes("float64")


MUTANTS = [
    ("adaptive_max_pool.cu", "value > best", "value >= best"),
    ("adaptive_max_pool.cu", " || value != value", ""),
    ("adaptive_max_pool.cu", "winner < 0 || ", ""),
    ("adaptive_max_pool.cu", "winner = row + qw", "winner = qw"),
    ("adaptive_max_pool.cu", "o.plane * in_d * in_h * in_w", "o.plane * in_d * in_h * out_w"),
    ("adaptive_max_pool.cu", "(qd * in_h + qh) * in_w;", "(qd * in_h + qh) * out_w;"),
    ("adaptive_max_pool.cu", "qd < d.end", "qd <= d.first"),
    ("adaptive_max_pool.cu", "qh < h.end", "qh < h.end - 1"),
    ("adaptive_max_pool.cu", "qw = w.first", "qw = w.first + 1"),
    ("adaptive_max_pool.cu", "places[i] = winner", "places[i] = winner + 1"),
    ("adaptive_max_pool.cu", "(q.d * in_h + q.h) * in_w + q.w", "(q.d * in_h + q.h) * in_w"),
    ("adaptive_max_pool.cu", "od < d.end", "od < d.end - 1"),
    ("adaptive_max_pool.cu", "(q.plane * out_d + od) * out_h", "(q.plane * out_d + od) * in_h"),
    ("adaptive_max_pool.cu", "total += to_acc", "total = to_acc"),
    ("adaptive_max_pool.cu", "if (places[o] == here)", "if (true)"),
    ("include/adaptive.cuh", "o * in / out,", "(o * in + out - 1) / out,"),
    ("include/adaptive.cuh", "((o + 1) * in + out - 1) / out", "(o + 1) * in / out"),
    ("include/adaptive.cuh", "Part{q * out / in,", "Part{(q * out + in - 1) / in,"),
    ("include/adaptive.cuh", "((q + 1) * out + in - 1) / in", "(q + 1) * out / in"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new"), MUTANTS)
def test_a_broken_kernel_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, old: str, new: str
) -> None:
    break_sources(monkeypatch, tmp_path, file, old, new)
    with pytest.raises(NOTICED):
        _several_checks()
