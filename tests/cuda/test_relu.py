"""kernels/relu.cu through its launches and the gate, run on the host, against the loop and the array code."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.cuda import launch
from nnlab.ops._cuda import relu as kernels
from nnlab.ops._numpy import relu as arrays
from tests.cuda.common import CPU, DTYPES, EMULATED, NOTICED, break_sources, equal, plain, small_grid
from tests.ops.common import rng, scattered
from tests.oracles import activation as oracle


def values(shape: tuple[int, ...], dtype: str, key: int) -> np.ndarray:
    """Numbers of both signs, zeros of both signs, NaN, infinities, the smallest of each sign."""
    random = rng(51, key)
    tiny = ml_dtypes.finfo(np.dtype(dtype)).smallest_subnormal
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, tiny, -tiny], dtype)
    x = random.standard_normal(shape).astype(dtype)
    return np.asarray(np.where(random.random(shape) < 0.5, random.choice(special, shape), x), dtype)


def check(shape: tuple[int, ...], dtype: str) -> None:
    x, dy = scattered(values(shape, dtype, 1)), scattered(values(shape, dtype, 2))
    y = kernels.forward(EMULATED, x=x)
    equal(y, arrays.forward(CPU, x=x))
    np.testing.assert_array_equal(plain(y), oracle.relu(plain(x)))
    assert not np.signbit(y[y == 0]).any()
    dx = kernels.backward(EMULATED, dy=dy, y=y)
    equal(dx, arrays.backward(CPU, dy=dy, y=y))
    for index in np.ndindex(shape):
        np.testing.assert_array_equal(plain(dx)[index], plain(dy)[index] if y[index] != 0 else 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (257,), (3, 4, 5), (700,)])
def test_both_passes(shape: tuple[int, ...], dtype: str) -> None:
    check(shape, dtype)


@given(st.lists(st.integers(0, 6), max_size=4), st.sampled_from(DTYPES))
def test_drawn_shapes(shape: list[int], dtype: str) -> None:
    check(tuple(shape), dtype)


@pytest.mark.parametrize("wide", [False, True])
def test_grid_stride_and_64_bit_indices(monkeypatch: pytest.MonkeyPatch, wide: bool) -> None:
    small_grid(monkeypatch)
    if wide:
        monkeypatch.setattr(launch, "_INDEX_LIMIT", 10)
    check((5, 60), "float32")


def test_integers_by_array_code() -> None:
    np.testing.assert_array_equal(kernels.forward(EMULATED, x=np.array([-2, 0, 3])), [0, 0, 3])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("value > 0 || value != value", "value > 0"),
        ("value > 0 ||", "value > 1 ||"),
        ("value > 0 ||", "value >= 0 ||"),
        ("to_acc(y[i]) != 0", "to_acc(y[i]) > 0"),
        ("to_acc(y[i]) != 0 ? dy[i] : to_scalar((acc_t)0)", "dy[i]"),
        ("to_acc(y[i]) != 0 ?", "to_acc(dy[i]) != 0 ?"),
    ],
)
def test_a_broken_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str) -> None:
    break_sources(monkeypatch, tmp_path, "relu.cu", old, new)
    with pytest.raises(NOTICED):
        check((700,), "float64")
