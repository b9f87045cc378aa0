"""kernels/local_response_norm.cu through its launches and the gate, run on the host, against float64 loops."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.cuda import launch
from nnlab.ops._cuda import local_response_norm as kernels
from nnlab.ops._numpy import local_response_norm as arrays
from tests.cuda.common import CPU, DTYPES, EMULATED, HALVES, NOTICED, break_sources, near, small_grid
from tests.ops.common import rng, scattered
from tests.oracles import norm as oracle

OPTIONS = list(product((1, 2, 3, 5, 9, 10**20), (0.5, 1e-4), (0.75, 2.0), (1.0, 2.0)))
SHAPES = [(2, 6, 4), (2, 1, 3), (1, 4, 2, 3), (2, 7, 2, 1, 2), (0, 3, 2), (3, 5)]


def rows(x: np.ndarray) -> np.ndarray:
    """(N, C, P) in float64."""
    return x.reshape(*x.shape[:2], int(np.prod(x.shape[2:]))).astype(np.float64)


def check(shape: tuple[int, ...], size: int, alpha: float, beta: float, k: float, dtype: str) -> None:
    x, dy = (scattered(rng(61, number).standard_normal(shape).astype(dtype)) for number in range(2))
    name = str((shape, size, alpha, beta, k))
    y, s = kernels.forward(EMULATED, x=x, size=size, alpha=alpha, beta=beta, k=k)
    expected_y, expected_s = arrays.forward(CPU, x=x, size=size, alpha=alpha, beta=beta, k=k)
    np.testing.assert_array_equal(s, expected_s, name, strict=True)
    assert (y.shape, y.dtype) == (expected_y.shape, expected_y.dtype)
    terms = min(size, shape[1]) + 2
    near(rows(y).astype(dtype), oracle.local_response_norm(rows(x), size, alpha, beta, k), terms, name)
    dx = kernels.backward(EMULATED, dy=dy, x=x, s=s, size=size, alpha=alpha, beta=beta)
    want = oracle.local_response_norm_grad(rows(x), rows(dy), size, alpha, beta, k)
    assert dx.shape == shape
    near(rows(dx).astype(dtype), want, 2 * terms, name)
    if dtype not in HALVES:  # powers may differ in the last bit
        close_y, close_dx = expected_y, arrays.backward(CPU, dy=dy, x=x, s=s, size=size, alpha=alpha, beta=beta)
        near(y, close_y.astype(np.float64), 1, name)
        near(dx, close_dx.astype(np.float64), terms, name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_both_passes(shape: tuple[int, ...], dtype: str) -> None:
    for options in OPTIONS:
        check(shape, *options, dtype)


@given(
    st.tuples(st.integers(0, 2), st.integers(1, 8), st.integers(1, 4)),
    st.integers(1, 11),
    st.sampled_from([(1e-4, 0.75, 2.0), (0.7, 1.0, 1.5)]),
    st.sampled_from(DTYPES),
)
def test_drawn_shapes(shape: tuple[int, ...], size: int, numbers: tuple[float, float, float], dtype: str) -> None:
    check(shape, size, *numbers, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_channel_sum(dtype: str) -> None:
    x = scattered(rng(62).standard_normal((2, 6, 3)).astype(dtype))
    for below, above in product((0, 1, 2, 5, 9), repeat=2):
        y = kernels.channel_sum(EMULATED, x=x, below=below, above=above)
        want = np.zeros(x.shape)
        for c in range(6):
            want[:, c] = x[:, max(0, c - below) : c + above + 1].astype(np.float64).sum(axis=1)
        near(y, want, below + above + 1, str((below, above)))
        np.testing.assert_array_equal(y, arrays.channel_sum(CPU, x=x, below=below, above=above), strict=True)


def test_half_is_computed_in_float32() -> None:
    """300 squared does not fit float16."""
    x = np.full((1, 3, 2), 300, np.float16)
    y, s = kernels.forward(EMULATED, x=x, size=3, alpha=1.0, beta=0.5, k=1.0)
    assert s.dtype == np.float32
    want = oracle.local_response_norm(x.astype(np.float64), 3, 1.0, 0.5, 1.0)
    near(y, want, 3)


def test_not_a_number_stays_in_its_windows() -> None:
    x = np.ones((1, 6, 1), np.float32)
    x[0, 3] = np.nan
    y, _ = kernels.forward(EMULATED, x=x, size=2, alpha=1.0, beta=0.75, k=1.0)
    np.testing.assert_array_equal(np.isnan(y).ravel(), [False, False, False, True, True, False])


@pytest.mark.parametrize("wide", [False, True])
def test_grid_stride_and_64_bit_indices(monkeypatch: pytest.MonkeyPatch, wide: bool) -> None:
    small_grid(monkeypatch)
    if wide:
        monkeypatch.setattr(launch, "_INDEX_LIMIT", 10)
    check((2, 9, 13), 4, 0.5, 0.75, 2.0, "float32")


def _several_checks() -> None:
    test_both_passes((2, 6, 4), "float64")
    test_channel_sum("float64")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("i / inner % channels", "i % channels"),
        ("below < channel ? below : channel", "below <= channel ? below : channel - 1"),
        ("channels - 1 - channel", "channels - 2 - channel"),
        ("above < room ? above : room", "room"),
        ("step <= down", "step < down"),
        ("step <= up", "step < up"),
        ("term(i - step * inner)", "term(i - step)"),
        ("return value * value", "return value"),
        ("to_acc(dy[j]) * pow(s[j], -beta)", "to_acc(dy[j]) * pow(s[j], beta)"),
        ("direct(j) * to_acc(x[j]) / s[j]", "direct(j) * to_acc(x[j])"),
        ("above, term) * scale + k", "above, term) * scale"),
        ("y[i] = to_scalar(to_acc(x[i]) * pow(total, -beta))", "y[i] = to_scalar(pow(total, -beta))"),
        ("term.direct(i) - factor", "term.direct(i) + factor"),
        ("factor * to_acc(x[i]) * across", "factor * across"),
        ("s[i] = total", "s[i] = total - k"),
    ],
)
def test_a_broken_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str) -> None:
    break_sources(monkeypatch, tmp_path, "local_response_norm.cu", old, new)
    with pytest.raises(NOTICED):
        _several_checks()
