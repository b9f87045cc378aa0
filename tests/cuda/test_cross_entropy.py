"""kernels/cross_entropy.cu through its launches and the gate, run on the host, against loops and the array code."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.cuda import launch
from nnlab.errors import DtypeError
from nnlab.ops._cuda import cross_entropy as kernels
from nnlab.ops._cuda import teams
from nnlab.ops._numpy import cross_entropy as arrays
from nnlab.ops.cross_entropy import Target
from tests.cuda.common import CPU, DTYPES, EMULATED, NOTICED, break_sources, near, small_grid
from tests.ops.common import rng, scattered
from tests.oracles import loss as oracle

ORDERS: list[Any] = ["descending", 1, 2]
IGNORED = 2
UNASKED: Any = SimpleNamespace(xp=np, host_memory=False)  # a device whose class numbers nobody looks at


def rows(x: np.ndarray) -> np.ndarray:
    """(N, C, P) as (N * P, C)."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def prepared(x: np.ndarray, target: np.ndarray, weight: np.ndarray | None, be: Any = EMULATED) -> Target:
    return arrays.prepare(
        be, target=target, shape=x.shape, weight=weight, ignore_index=IGNORED, dtype=x.dtype, layer="cross_entropy"
    )


def check(
    shape: tuple[int, int, int], dtype: str, weighted: bool, smoothing: float, key: int = 0, orders: bool = False
) -> None:
    random = rng(121, key)
    wide = launch.accumulator(dtype)
    x = scattered((3 * random.standard_normal(shape)).astype(dtype))
    numbers = random.integers(0, shape[1], (shape[0], shape[2]))
    weight = random.uniform(0.2, 2, shape[1]).astype(wide) if weighted else None
    target = prepared(x, numbers, weight)
    name = str((shape, dtype, weighted, smoothing))

    # The loops.
    used = np.ones(shape[1]) if weight is None else weight.astype(np.float64)
    scores, flat = rows(x.astype(np.float64)), numbers.reshape(-1)
    want, total = oracle.cross_entropy(scores, flat, used, IGNORED, smoothing)
    want = want.reshape(numbers.shape)
    loss, q = kernels.cross_entropy(EMULATED, x=x, target=target, smoothing=smoothing)
    assert (loss.dtype, q.dtype) == (wide, wide)
    terms = max(shape[1], 1)
    near(loss, want, terms, name, scale=1)
    near(rows(q), np.array([oracle.log_softmax(row) for row in scores]).reshape(scores.shape), terms, name, scale=1)
    near(target.total, np.float64(total), max(numbers.size, 1), name)
    nll = kernels.nll(EMULATED, x=x, target=target)
    picked = [0.0 if t == IGNORED else -used[t] * row[t] for row, t in zip(scores, flat, strict=True)]
    near(nll, np.reshape(picked, numbers.shape), 1, name, scale=1)
    gradients = [scattered(random.standard_normal(numbers.shape).astype(wide)), np.asarray(1.5, wide)]
    for g in gradients:
        spread = np.broadcast_to(g, numbers.shape).reshape(-1).astype(np.float64)
        dx = kernels.backward(EMULATED, g=g, q=q, target=target, smoothing=smoothing)
        assert dx.dtype == wide
        # The loops add each class's share to each gradient and drift by more than the tolerance over 1100 equal shares
        # (1e-13 in float64, where the kernel is right to 1e-16). Long lines are compared with the array code below.
        if shape[1] <= 50:
            wanted = oracle.cross_entropy_grad(scores, flat, used, IGNORED, smoothing, spread)
            near(rows(dx), wanted, terms, name, scale=1)

    # The array code.
    other_loss, other_q = arrays.cross_entropy(CPU, x=x, target=target, smoothing=smoothing)
    near(loss, other_loss.astype(np.float64), terms, name, scale=1)
    near(q, other_q.astype(np.float64), terms, name, scale=1)
    np.testing.assert_array_equal(nll, arrays.nll(CPU, x=x, target=target), name, strict=True)
    near(
        dx, arrays.backward(CPU, g=g, q=q, target=target, smoothing=smoothing).astype(np.float64), terms, name, scale=1
    )
    assert kernels.reduce(EMULATED, loss=loss, total=target.total, reduction="none") is loss
    for reduction in ("sum", "mean"):
        found = kernels.reduce(EMULATED, loss=loss, total=target.total, reduction=reduction)
        assert (found.shape, found.dtype) == ((), wide)
        with np.errstate(invalid="ignore"):  # 0 / 0 where all are ignored
            wanted = np.divide(want.sum(), total if reduction == "mean" else 1)
        near(found, wanted, max(loss.size, 1) * terms, name, scale=1)

    for order in ORDERS if orders else ():
        with EMULATED.ordered(order):
            again = kernels.cross_entropy(EMULATED, x=x, target=target, smoothing=smoothing)
            np.testing.assert_array_equal(loss, again[0], f"{name} {order}", strict=True)
            np.testing.assert_array_equal(q, again[1], f"{name} {order}", strict=True)
            np.testing.assert_array_equal(nll, kernels.nll(EMULATED, x=x, target=target), f"{name} {order}")
            other = kernels.backward(EMULATED, g=g, q=q, target=target, smoothing=smoothing)
            np.testing.assert_array_equal(dx, other, f"{name} {order}", strict=True)
            total_again = kernels.reduce(EMULATED, loss=loss, total=target.total, reduction="mean")
            np.testing.assert_array_equal(found, total_again, f"{name} {order}", strict=True)


OPTIONS = list(product((False, True), (0.0, 0.1, 1.0)))
SHAPES = [(6, 5, 1), (7, 12, 1), (2, 1100, 1), (3, 5, 7)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_all_passes(shape: tuple[int, int, int], dtype: str) -> None:
    for number, (weighted, smoothing) in enumerate(OPTIONS):
        check(shape, dtype, weighted, smoothing, number, orders=number in (0, 4))


@given(
    st.tuples(st.integers(0, 9), st.integers(1, 40), st.integers(0, 5)),
    st.sampled_from(DTYPES),
    st.booleans(),
    st.sampled_from([0.0, 0.3]),
)
def test_drawn_shapes(shape: tuple[int, int, int], dtype: str, weighted: bool, smoothing: float) -> None:
    check(shape, dtype, weighted, smoothing, sum(shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("team", teams.VARIANTS["TEAM"])
def test_every_team_for_every_layout(monkeypatch: pytest.MonkeyPatch, team: int, dtype: str) -> None:
    monkeypatch.setitem(launch.FORCED, "TEAM", team)
    for number, shape in enumerate([(11, 5, 1), (2, 40, 3), (2, 600, 1)]):
        check(shape, dtype, True, 0.2, number, orders=team > 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 2, 33, 4096, 4097, 9000])
def test_sums_of_any_length(size: int, dtype: str) -> None:
    loss = scattered(rng(122, size).uniform(0, 1, (size, 1)).astype(dtype))
    total = np.asarray(3, dtype)
    found = kernels.reduce(EMULATED, loss=loss, total=total, reduction="sum")
    near(found, np.asarray(sum(loss.reshape(-1).astype(np.float64))), max(size, 1), scale=1)
    mean = kernels.reduce(EMULATED, loss=loss, total=total, reduction="mean")
    np.testing.assert_array_equal(mean, found / total)
    for order in ORDERS:
        with EMULATED.ordered(order):
            again = kernels.reduce(EMULATED, loss=loss, total=total, reduction="sum")
            np.testing.assert_array_equal(found, again, strict=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("shape", [(4, 5, 1), (4, 40, 1), (2, 5, 2)])
def test_numbers_that_are_no_class(shape: tuple[int, int, int], smoothing: float) -> None:
    """Where nobody asks, their loss and gradients are NaN, those of the other elements are not."""
    x = rng(123).standard_normal(shape).astype(np.float32)
    numbers = np.array([shape[1], 0, -1, IGNORED]).reshape(shape[0], shape[2])
    target = prepared(x, numbers, None, UNASKED)
    wrong, g = [True, False, True, False], np.asarray(1, np.float32)
    loss, q = kernels.cross_entropy(EMULATED, x=x, target=target, smoothing=smoothing)
    np.testing.assert_array_equal(np.isnan(loss).reshape(-1), wrong)
    assert loss.reshape(-1)[3] == 0
    np.testing.assert_array_equal(np.isnan(kernels.nll(EMULATED, x=x, target=target)).reshape(-1), wrong)
    dx = rows(kernels.backward(EMULATED, g=g, q=q, target=target, smoothing=smoothing))
    np.testing.assert_array_equal(np.isnan(dx).all(1), wrong)
    np.testing.assert_array_equal(np.isnan(dx).any(1), wrong)
    assert (dx[3] == 0).all()
    assert np.isnan(kernels.reduce(EMULATED, loss=loss, total=target.total, reduction="mean"))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("count", [5, 40])
def test_large_and_infinite_scores(count: int, smoothing: float) -> None:
    x = np.zeros((6, count, 1), np.float32)
    x[0, :3, 0] = [1000, 0, -1000]
    x[1, 1, 0] = -np.inf
    x[2, :, 0] = -np.inf
    x[3, 1, 0] = np.inf
    x[4, 3, 0] = np.nan
    x[5, 3, 0] = np.nan
    numbers = np.array([[1], [0], [0], [1], [0], [IGNORED]])
    target = prepared(x, numbers, None)
    loss, q = kernels.cross_entropy(EMULATED, x=x, target=target, smoothing=smoothing)
    g = np.ones(numbers.shape, np.float32)
    dx = kernels.backward(EMULATED, g=g, q=q, target=target, smoothing=smoothing)
    with np.errstate(all="ignore"):
        want_loss, want_q = arrays.cross_entropy(CPU, x=x, target=target, smoothing=smoothing)
        want_dx = arrays.backward(CPU, g=g, q=q, target=target, smoothing=smoothing)
    near(loss, want_loss.astype(np.float64), count)
    near(q, want_q.astype(np.float64), count)
    near(dx, want_dx.astype(np.float64), count)
    assert np.isfinite(loss[0])
    assert loss[5] == 0


def test_infinite_gradients_of_ignored_elements_are_dropped() -> None:
    x = rng(124).standard_normal((2, 3, 1)).astype(np.float32)
    target = prepared(x, np.array([[IGNORED], [1]]), None)
    _, q = kernels.cross_entropy(EMULATED, x=x, target=target, smoothing=0.1)
    dx = kernels.backward(EMULATED, g=np.array([[np.inf], [1]], np.float32), q=q, target=target, smoothing=0.1)
    assert (dx[0] == 0).all()
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("wide", [False, True])
def test_grid_stride_and_64_bit_indices(monkeypatch: pytest.MonkeyPatch, wide: bool) -> None:
    monkeypatch.setattr(kernels, "_PART", 40)
    small_grid(monkeypatch)
    if wide:
        monkeypatch.setattr(launch, "_INDEX_LIMIT", 10)
    check((1700, 3, 1), "float32", True, 0.1)
    check((40, 9, 1), "float32", True, 0.1)
    check((4, 5, 160), "float32", False, 0.1)


def test_integers_are_refused() -> None:
    target = prepared(np.ones((2, 3, 1), np.float32), np.zeros((2, 1), int), None)
    with pytest.raises(DtypeError, match=r"\[cross_entropy_forward\] 'x' must be one of float32, float64, float16"):
        kernels.cross_entropy(EMULATED, x=np.ones((2, 3, 1), np.int64), target=target, smoothing=0.0)


def _several_checks() -> None:
    for shape in [(11, 9, 1), (3, 5, 4)]:
        for number, (weighted, smoothing) in enumerate(OPTIONS[::2]):
            check(shape, "float64", weighted, smoothing, number)
    test_sums_of_any_length(9000, "float64")
    test_numbers_that_are_no_class((2, 5, 2), 0.2)
    test_infinite_gradients_of_ignored_elements_are_dropped()


MUTANTS = [
    ("to_acc(x[i]) - shift.m - log_z;", "to_acc(x[i]) - log_z;"),
    ("q[i] = value;", "q[i] = all;"),
    ("all += weighted ? value * classes[j] : value;", "all += value;"),
    ("all += weighted ? value * classes[j] : value;", "all += weighted ? value * classes[line] : value;"),
    ("if (even != 0) all = joined(all, Sum());", ""),
    ("if (member() == 0) {", "if (line == 0) {"),
    ("if (used[line]) {", "if (true) {"),
    ("result = -weight[line] *", "result = -"),
    ("own * result - even * all", "result - even * all"),
    ("own * result - even * all", "own * result + even * all"),
    ("even * (weighted ? total[0] : (acc_t)count)", "even * (acc_t)count"),
    ("line = outer * inner + (i - row * inner)", "line = outer * inner + i % count"),
    ("takes_part ? g[line * g_step] : (acc_t)0", "g[line * g_step]"),
    ("takes_part ? g[line * g_step] : (acc_t)0", "takes_part ? g[0] : (acc_t)0"),
    ("acc_t at_target = own * weight[line]", "acc_t at_target = weight[line]"),
    ("(at_target + spread) * gradient", "at_target * gradient"),
    ("even * classes[row - outer * count]", "even"),
    ("if ((index_t)flat[line] == i) value -= at_target * gradient;", ""),
    ("if ((index_t)flat[line] == i)", "if ((index_t)flat[line] == row)"),
    ("used[line] ? -weight[line] * to_acc", "used[line] ? weight[line] * to_acc"),
    ("rest < part ? rest : part", "part - 1"),
    ("to_acc(x[start + j])", "to_acc(x[j])"),
    ("total = joined(total, Sum());", ""),
    ("y[k] = to_scalar(total)", "y[0] = to_scalar(total)"),
]


@pytest.mark.parametrize(("old", "new"), MUTANTS)
def test_a_broken_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str) -> None:
    break_sources(monkeypatch, tmp_path, "cross_entropy.cu", old, new)
    with pytest.raises(NOTICED):
        _several_checks()
