"""kernels/bias_relu.cu through its launches and the gate, run on the host, against loops and the array code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.cuda import launch
from nnlab.errors import DtypeError
from nnlab.ops._cuda import bias_relu as kernels
from nnlab.ops._cuda import teams
from nnlab.ops._numpy import bias_relu as arrays
from tests.cuda.common import CPU, DTYPES, EMULATED, NOTICED, break_sources, equal, near, small_grid
from tests.ops.common import rng, scattered
from tests.oracles import activation as oracle

ORDERS: list[Any] = ["descending", 1, 2]


def check(shape: tuple[int, ...], dtype: str, orders: bool = False) -> None:
    """y and dx bit for bit as the array code, db within the tolerance of its sum."""
    x, dy = (scattered(rng(141, k).standard_normal(shape).astype(dtype)) for k in range(2))
    b = rng(142).standard_normal(shape[1]).astype(dtype)
    y = kernels.forward(EMULATED, x=x, b=b)
    equal(y, arrays.forward(CPU, x=x, b=b), str(shape))
    near(y, oracle.bias_relu(x.astype(np.float64), b.astype(np.float64)), 2, str(shape))
    dx, db = kernels.backward(EMULATED, dy=dy, y=y)
    other_dx, other_db = arrays.backward(CPU, dy=dy, y=y)
    equal(dx, other_dx, str(shape))
    _, wanted = oracle.bias_relu_grad(dy.astype(np.float64), y.astype(np.float64))
    terms = max(1, dy.size // max(shape[1], 1))
    for found in (db, other_db):
        assert found.dtype == np.dtype(dtype)
        near(found, wanted, terms, str(shape), scale=1)
    for order in ORDERS if orders else ():
        with EMULATED.ordered(order):
            equal(y, kernels.forward(EMULATED, x=x, b=b))
            again = kernels.backward(EMULATED, dy=dy, y=y)
        equal(dx, again[0], str(order))
        equal(db, again[1], str(order))


SHAPES = [(3, 5), (200, 3), (0, 4), (4, 0), (2, 3, 7), (2, 3, 600), (3, 2, 40, 60), (2, 3, 2, 2, 3)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_both_passes(shape: tuple[int, ...], dtype: str) -> None:
    check(shape, dtype, orders=True)


@given(st.lists(st.integers(0, 7), min_size=2, max_size=5), st.sampled_from(DTYPES))
def test_drawn_shapes(shape: list[int], dtype: str) -> None:
    check(tuple(shape), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("team", teams.VARIANTS["TEAM"])
def test_every_team_for_every_layout(monkeypatch: pytest.MonkeyPatch, team: int, dtype: str) -> None:
    monkeypatch.setitem(launch.FORCED, "TEAM", team)
    for shape in ((130, 5), (3, 2, 1500)):
        check(shape, dtype)


def test_parts_by_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns in parts of 64 for a thread each; longer lines in parts of 4096 for a warp or a block."""
    started: list[launch.Launch] = []
    monkeypatch.setattr(launch, "run", lambda be, ready: started.append(ready))
    for shape in ((130, 300), (3, 2, 341), (3, 2, 342), (4, 2, 1025)):
        x = np.ones(shape, np.float32)
        kernels.backward(EMULATED, dy=x, y=x)
    found = [(ready.name.removeprefix("bias_relu_"), ready.macros["TEAM"], ready.grid) for ready in started]
    assert found == [
        ("backward", 1, (4,)), ("sum", 1, (2,)), ("backward", 32, (1,)), ("sum", 1, (1,)),
        ("backward", 256, (2,)), ("sum", 1, (1,)), ("backward", 256, (4,)), ("sum", 1, (1,)),
    ]  # fmt: skip


@pytest.mark.parametrize("wide", [False, True])
def test_grid_stride_and_64_bit_indices(monkeypatch: pytest.MonkeyPatch, wide: bool) -> None:
    small_grid(monkeypatch)
    monkeypatch.setattr(kernels, "_COLUMN", 4)
    monkeypatch.setattr(kernels, "_PART", 50)
    if wide:
        monkeypatch.setattr(launch, "_INDEX_LIMIT", 10)
    check((45, 7), "float32")
    check((3, 5, 700), "float32")


def test_integers_and_two_dtypes_are_refused() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(DtypeError, match=r"\[bias_relu_forward\] 'b' must be float32 as 'x' is, got 'float64'"):
        kernels.forward(EMULATED, x=x, b=np.ones(3))
    with pytest.raises(DtypeError, match=r"\[bias_relu_forward\] 'x' must be one of float32"):
        kernels.forward(EMULATED, x=x.astype(int), b=np.ones(3, int))


def _several_checks() -> None:
    for shape in ((3, 5), (200, 3), (2, 3, 7), (3, 2, 40, 60)):
        check(shape, "float64", orders=True)
    zeros = np.zeros((1, 2), np.float32)
    nan = kernels.forward(EMULATED, x=zeros, b=np.array([np.nan, -1], np.float32))
    np.testing.assert_array_equal(nan, [[np.nan, 0]])
    dx, _ = kernels.backward(EMULATED, dy=np.full((1, 2), np.inf, np.float32), y=nan)
    np.testing.assert_array_equal(dx, [[np.inf, 0]])


MUTANTS = [
    ("b[i / inner % channels]", "b[i % channels]"),
    ("b[i / inner % channels]", "b[i / inner % 2]"),
    ("value > 0 || value != value", "value > 0"),
    ("value > 0 || value != value ? value : (acc_t)0", "value"),
    ("to_acc(x[i]) + to_acc", "to_acc(x[i]) - to_acc"),
    ("line - number * channels", "0"),
    ("number * part, end", "number * part + 1, end"),
    ("elements - start < part ? elements : start + part", "elements"),
    ("elements - start < part ? elements : start + part", "start + part - 1"),
    ("+ (j - image * inner)", "+ j"),
    ("to_acc(y[i]) != 0 ?", "to_acc(y[i]) > 0 ?"),
    ("to_acc(y[i]) != 0 ?", "to_acc(dy[i]) != 0 ?"),
    ("total += value;", "total = value;"),
    ("if (member() == 0) partial[line] = total", "partial[line] = total + member()"),
    ("    total = joined(total, Sum());\n    if (member() == 0) partial", "    if (member() == 0) partial"),
    ("partial[number * channels + channel]", "partial[number + channel]"),
    ("db[channel] = to_scalar(total)", "db[channel] = to_scalar(partial[channel])"),
]


@pytest.mark.parametrize(("old", "new"), MUTANTS)
def test_a_broken_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str) -> None:
    break_sources(monkeypatch, tmp_path, "bias_relu.cu", old, new)
    with pytest.raises(NOTICED):
        _several_checks()
