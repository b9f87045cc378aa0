"""kernels/softmax.cu through its launches and the gate, run on the host, against float64 loops and the array code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.backend import checked
from nnlab.backend.emulated import KernelError
from nnlab.cuda import launch
from nnlab.errors import DtypeError
from nnlab.ops._cuda import softmax as kernels
from nnlab.ops._cuda import teams
from nnlab.ops._numpy import softmax as arrays
from tests.cuda.common import CPU, DTYPES, EMULATED, NOTICED, break_sources, equal, near, small_grid
from tests.ops.common import rng, scattered
from tests.oracles import loss as oracle

ORDERS: list[Any] = ["descending", 1, 2]
BIG = {"float16": 2.0**15, "bfloat16": 2.0**126, "float32": 2.0**126, "float64": 2.0**1022}


def passes(x: np.ndarray, dy: np.ndarray, axis: int) -> list[np.ndarray]:
    """Results and gradients of both functions."""
    y, log_y = kernels.softmax(EMULATED, x=x, axis=axis), kernels.log_softmax(EMULATED, x=x, axis=axis)
    dx = kernels.softmax_backward(EMULATED, dy=dy, y=y, axis=axis)
    return [y, log_y, dx, kernels.log_softmax_backward(EMULATED, dy=dy, y=log_y, axis=axis)]


def loops(x: np.ndarray, dy: np.ndarray, y: np.ndarray, log_y: np.ndarray, axis: int) -> list[np.ndarray]:
    """The same line by line in float64; gradients from the results that the kernels saved."""
    x, dy, y, log_y = (a.astype(np.float64) for a in (x, dy, y, log_y))
    results = [oracle.along(oracle.softmax, axis, x), oracle.along(oracle.log_softmax, axis, x)]
    return [
        *results,
        oracle.along(oracle.softmax_grad, axis, dy, y),
        oracle.along(oracle.log_softmax_grad, axis, dy, log_y),
    ]


def check(shape: tuple[int, ...], axis: int, dtype: str, key: int = 0, orders: bool = False) -> None:
    x = scattered((3 * rng(111, key).standard_normal(shape)).astype(dtype))
    dy = scattered(rng(112, key).standard_normal(shape).astype(dtype))
    found = passes(x, dy, axis)
    y, log_y = found[:2]
    name, count = str((shape, axis, dtype)), max(shape[axis], 1)
    for mine, wanted in zip(found, loops(x, dy, y, log_y, axis), strict=True):
        assert mine.dtype == np.dtype(dtype)
        near(mine, wanted, count, name, scale=1)
    with np.errstate(divide="ignore"):  # the logarithm of an empty sum
        theirs = [arrays.softmax(CPU, x=x, axis=axis), arrays.log_softmax(CPU, x=x, axis=axis)]
    theirs += [arrays.softmax_backward(CPU, dy=dy, y=y, axis=axis)]
    theirs += [arrays.log_softmax_backward(CPU, dy=dy, y=log_y, axis=axis)]
    for mine, other in zip(found, theirs, strict=True):
        assert mine.shape == other.shape
        near(mine, other.astype(np.float64), count, name, scale=1)
    for order in ORDERS if orders else ():
        with EMULATED.ordered(order):
            for mine, again in zip(found, passes(x, dy, axis), strict=True):
                np.testing.assert_array_equal(mine, again, f"{name} {order}", strict=True)


SHAPES = [
    ((7,), 0), ((5, 3), 1), ((5, 33), -1), ((9, 300), 1), ((2, 1100), 1), ((3, 5, 4), 1), ((300, 2, 3), 0), ((4, 1), 1)
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_all_passes(shape: tuple[int, ...], axis: int, dtype: str) -> None:
    check(shape, axis, dtype, orders=True)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(0, 3), st.sampled_from(DTYPES))
def test_drawn_shapes(shape: list[int], axis: int, dtype: str) -> None:
    check(tuple(shape), axis % len(shape), dtype, len(shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("team", teams.VARIANTS["TEAM"])
def test_every_team_for_every_layout(monkeypatch: pytest.MonkeyPatch, team: int, dtype: str) -> None:
    monkeypatch.setitem(launch.FORCED, "TEAM", team)
    for number, (shape, axis) in enumerate([((11, 5), 1), ((2, 40, 3), 1), ((2, 600), 1), ((260, 2), 0)]):
        check(shape, axis, dtype, number, orders=team > 1)


def test_teams_by_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    def grid_of(*sizes: int, team: int | None = None) -> launch.Grid:
        return teams.grid(EMULATED, kernels._FORWARD, np.dtype(np.float32), *sizes, team)

    found = [grid_of(10, count, 1).macros["TEAM"] for count in (7, 8, 1024, 1025)]
    assert found == [1, 32, 32, 256]
    assert grid_of(10, 1025, 2).macros["TEAM"] == 1
    grids = [grid_of(lines, 9, 1, team=32) for lines in (8, 9)]
    assert [(grid.blocks, grid.threads) for grid in grids] == [((1,), (256,)), ((2,), (256,))]
    monkeypatch.setattr(launch, "BLOCK", 512)
    grid = grid_of(9, 9, 1, team=256)
    assert (grid.blocks, grid.threads) == ((9,), (256,))


def test_a_number_alone() -> None:
    x = np.array(3, np.float32)
    assert [a.shape for a in passes(x, x, 0)] == [()] * 4
    assert [float(a) for a in passes(x, x, 0)] == [1, 0, 0, 0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [4, 40, 1030])
def test_large_and_infinite_scores(count: int, dtype: str) -> None:
    """As the array code gives it: no overflow, -inf has probability 0, a line without a finite maximum is NaN."""
    big = BIG[dtype]
    x = np.full((8, count), -np.inf, dtype)
    x[0, :2] = [big, -big]
    x[1, 1:4] = [big, big, -np.inf]
    x[2, :3] = [-big, -big, 0]
    x[4] = np.arange(count) % 5
    x[4, count - 1] = np.nan
    x[5, :2] = [np.inf, 1]
    x[6, :] = np.arange(count) % 5
    x[6, 2] = -np.inf
    x[7, :2] = [-big, -big]
    y, log_y = kernels.softmax(EMULATED, x=x, axis=1), kernels.log_softmax(EMULATED, x=x, axis=1)
    with np.errstate(all="ignore"):
        want, log_want = arrays.softmax(CPU, x=x, axis=1), arrays.log_softmax(CPU, x=x, axis=1)
    equal(y[[0, 1, 2, 3, 4, 5, 7]], want[[0, 1, 2, 3, 4, 5, 7]])
    near(y[6], want[6].astype(np.float64), count)
    np.testing.assert_array_equal(np.isnan(y).all(1), [False, False, False, True, True, True, False, False])
    near(log_y, log_want.astype(np.float64), count, scale=1)


def test_gradients_of_infinite_logarithms() -> None:
    """A class of probability 0 gets its own gradient, as in the array code."""
    y, dy = np.array([[-np.inf, 0, -np.inf]], np.float32), np.array([[1, 2, 3]], np.float32)
    np.testing.assert_array_equal(kernels.log_softmax_backward(EMULATED, dy=dy, y=y, axis=1), [[1, -4, 3]])


def test_half_adds_up_in_float32() -> None:
    """4096 equal scores: in half the sum of exponentials would end at 2048."""
    x = np.zeros((1, 4096), np.float16)
    np.testing.assert_array_equal(kernels.softmax(EMULATED, x=x, axis=1), np.full(x.shape, 2.0**-12, np.float16))
    x = np.zeros((4096, 2), np.float16)
    np.testing.assert_array_equal(kernels.softmax(EMULATED, x=x, axis=0), np.full(x.shape, 2.0**-12, np.float16))


@pytest.mark.parametrize("wide", [False, True])
def test_grid_stride_and_64_bit_indices(monkeypatch: pytest.MonkeyPatch, wide: bool) -> None:
    small_grid(monkeypatch)
    if wide:
        monkeypatch.setattr(launch, "_INDEX_LIMIT", 10)
    check((40, 9), 1, "float32")
    check((5, 1030), 1, "float32")
    check((2, 3, 350), 1, "float32")


def test_integers_are_refused() -> None:
    with pytest.raises(DtypeError, match=r"\[softmax_forward\] 'x' must be one of float32, float64, float16"):
        kernels.softmax(EMULATED, x=np.ones((2, 3), np.int64), axis=1)


def _several_checks() -> None:
    for shape, axis in [((5, 33), 1), ((300, 9), 1), ((2, 1100), 1), ((3, 5, 4), 1)]:
        check(shape, axis, "float64", orders=True)
    test_large_and_infinite_scores(1030, "float64")


MUTANTS = [
    ("softmax.cu", "exp(to_acc(x[i]) - shift.m) / shift.z", "exp(to_acc(x[i])) / shift.z"),
    (
        "softmax.cu",
        "to_scalar(to_acc(dy[i]) * to_acc(y[i]) - to_acc(y[i]) * total)",
        "to_scalar(to_acc(dy[i]) - total)",
    ),
    ("softmax.cu", "total += to_acc(dy[i]) * to_acc(y[i]);", "total += to_acc(dy[i]);"),
    ("softmax.cu", "to_acc(x[i]) - shift.m - log_z", "to_acc(x[i]) - log_z"),
    ("softmax.cu", "exp(to_acc(y[i])) * total", "to_acc(y[i]) * total"),
    ("softmax.cu", "log(shift.z)", "shift.z"),
    ("include/softmax.cuh", "(line - outer * inner)", "line"),
    ("include/softmax.cuh", "outer * count * inner +", "outer * count +"),
    ("include/softmax.cuh", "m = joined(m, Largest());", ""),
    ("include/softmax.cuh", "return Shift{m, joined(z, Sum())};", "return Shift{m, z};"),
    ("include/softmax.cuh", "acc_t m = -infinity();", "acc_t m = 0;"),
    ("include/softmax.cuh", "z += exp(to_acc(x[j * inner]) - m)", "z += exp(to_acc(x[j]) - m)"),
    ("include/team.cuh", "step = 16", "step = 8"),
    ("include/team.cuh", "a > b ? a : b", "a < b ? a : b"),
    ("include/team.cuh", "a + b", "a"),
    ("include/team.cuh", "value = join(value, parts[warp]);", ""),
    ("include/team.cuh", "if (threadIdx.x % 32 == 0) parts", "if (threadIdx.x % 32 == 1) parts[0] = 0; else parts"),
    ("include/team.cuh", "  __syncthreads();\n  value = parts[0]", "  value = parts[0]"),
    ("include/team.cuh", "(blockDim.x / TEAM) + (index_t)", "(blockDim.x / TEAM + 1) + (index_t)"),
    ("include/team.cuh", "(int)threadIdx.x % TEAM;", "(int)threadIdx.x % TEAM % 16;"),
]


@pytest.mark.parametrize(("file", "old", "new"), MUTANTS)
def test_a_broken_kernel_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, old: str, new: str
) -> None:
    break_sources(monkeypatch, tmp_path, file, old, new)
    with pytest.raises(NOTICED):
        _several_checks()


@pytest.mark.skipif(checked.why_unusable() is not None, reason=str(checked.why_unusable()))
@pytest.mark.parametrize(
    ("old", "finding"),
    [
        ("  __syncthreads();  // everybody has read what the last call left", "no barrier is between them"),
        ("  __syncthreads();\n  value = parts[0];", "nobody has written"),
    ],
)
def test_a_missing_barrier_of_a_team(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, finding: str) -> None:
    """No order of threads shows the first one: all read before any writes for the next line. Each access does."""
    small_grid(monkeypatch)
    dy, y = (rng(113, k).standard_normal((5, 1100)).astype(np.float32) for k in range(2))
    with EMULATED.checked():
        kernels.softmax_backward(EMULATED, dy=dy, y=y, axis=1)
    break_sources(monkeypatch, tmp_path, "include/team.cuh", old, old.replace("__syncthreads();", ""))
    with pytest.raises(KernelError, match=rf"\[softmax_backward\].*{finding}"), EMULATED.checked():
        kernels.softmax_backward(EMULATED, dy=dy, y=y, axis=1)
