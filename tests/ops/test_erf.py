"""The error function and the normal distribution function against Python's, and where they end."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab.autograd.pointwise import normal_cdf
from nnlab.backend import get_backend
from nnlab.ops import erf as ops
from nnlab.testing import gradcheck, gradgradcheck

ROUNDING = {np.float32: 2.0**-24, np.float64: 2.0**-53}


def numbers(dtype: Any, end: float) -> np.ndarray:
    near = np.logspace(-9, 0, 500)
    return np.concatenate([np.linspace(-end, end, 20001), near, -near]).astype(dtype)


def largest(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest relative error, in roundings of the dtype."""
    error = np.abs(found.astype(np.float64) - wanted)[wanted != 0] / np.abs(wanted[wanted != 0])
    return float(error.max()) / ROUNDING[found.dtype.type]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf(dtype: Any) -> None:
    x = numbers(dtype, 7.0)
    assert largest(ops.erf(get_backend("cpu"), x=x), np.array([math.erf(v) for v in x.tolist()])) < 4


@pytest.mark.parametrize(("dtype", "end"), [(np.float32, 12.5), (np.float64, 37.0)])
def test_normal_cdf(dtype: Any, end: float) -> None:
    """Also far out on the left, where a sum of 1 and a tail near -1 would have no digit left."""
    mpmath = pytest.importorskip("mpmath")
    x = numbers(dtype, end)[::10]
    wanted = np.array([float(mpmath.ncdf(v)) for v in x.tolist()])
    assert largest(ops.normal_cdf(get_backend("cpu"), x=x), wanted) < 12


def test_normal_cdf_without_mpmath() -> None:
    # Phi(-x), 20 digits: Abramowitz and Stegun, tables 26.1 and 26.2 for x = 1, 2, 5.
    x = np.array([-1.0, -2.0, -5.0, 0.0, 1.0])
    wanted = np.array([0.15865525393145705, 0.02275013194817921, 2.866515718791939e-07, 0.5, 0.8413447460685429])
    assert largest(ops.normal_cdf(get_backend("cpu"), x=x), wanted) < 12


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_ends(dtype: Any) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 60000.0, -60000.0], dtype)
    be = get_backend("cpu")
    y, p = ops.erf(be, x=x), ops.normal_cdf(be, x=x)
    assert y.dtype == p.dtype == dtype
    np.testing.assert_array_equal(y, np.array([1, -1, np.nan, 0, 0, 1, -1], dtype))
    assert np.signbit(y[4])
    np.testing.assert_array_equal(p[[0, 1, 2, 5, 6]], np.array([1, 0, np.nan, 1, 0], dtype))


def test_derivatives_and_integers() -> None:
    x = nnlab.tensor(np.linspace(-2.5, 2.5, 7), requires_grad=True)
    for function in (nnlab.erf, normal_cdf):
        assert gradcheck(function, x)
        assert gradgradcheck(function, x)
    assert nnlab.erf(nnlab.tensor([0, 1])).tolist() == [0.0, pytest.approx(math.erf(1))]


def test_many_numbers_on_several_threads() -> None:
    """More than a block: the same bits as one by one."""
    x = np.random.default_rng(0).standard_normal(300_001).astype(np.float32)
    be = get_backend("cpu")
    whole = ops.erf(be, x=x)
    np.testing.assert_array_equal(whole[::50_000], [ops.erf(be, x=v)[0] for v in x[::50_000, None]])
