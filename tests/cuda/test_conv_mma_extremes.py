"""Convolutions on tensor cores of infinities, NaN, and the largest and smallest numbers: what docs/numerics.md says.

The oracle is the definition in float64 of the padded arrays, whose padding is made of zeros: 0 times infinity is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnlab import precision, types
from nnlab.geometry import conv_geometry
from nnlab.ops._cuda import conv, conv_mma
from nnlab.testing import tolerance
from tests import emulator
from tests.cuda.tensor_cores import tf32
from tests.oracles import conv as oracle

BE = emulator.backend()
INF, NAN, LARGEST = np.inf, np.nan, float(np.finfo(np.float32).max)
LARGEST_TF32 = float(np.uint32(0x7F7FE000).view(np.float32))
LAST_TO_ROUND_DOWN = float(np.uint32(0x7F7FEFFF).view(np.float32))
WAYS = pytest.mark.parametrize(
    ("dtype", "setting"),
    [("float32", "high"), ("float32", "medium"), ("float16", "high"), ("bfloat16", "high")],
    ids=["precise", "tf32", "float16", "bfloat16"],
)
FLOAT32 = pytest.mark.parametrize("setting", ["high", "medium"], ids=["precise", "tf32"])
PADS = pytest.mark.parametrize("pad", [0, 1])
PASSES = pytest.mark.parametrize("which", ["y", "dx", "dw"])
FACTORS = {"y": ("x", "w"), "dx": ("dy", "w"), "dw": ("dy", "x")}


class Problem:
    """Factors of a convolution of 8 by 16 channels, 3 x 3; numbers around 1 of which some are 0."""

    def __init__(self, dtype: str, pad: int = 0) -> None:
        self.g = conv_geometry((2, 8, 5, 5), (16, 8, 3, 3), 1, pad)
        random = np.random.default_rng(7)
        self.dtype = np.dtype(types.as_dtype(dtype))
        shapes = {"x": self.g.x_shape, "w": self.g.w_shape, "dy": self.g.y_shape}
        self.factors = {
            name: (random.uniform(0.5, 1.5, shape) * random.choice([-1, 0, 1], shape)).astype(self.dtype)
            for name, shape in shapes.items()
        }

    def found(self, which: str, setting: str) -> np.ndarray:
        x, w, dy = (BE.asarray(self.factors[name]) for name in ("x", "w", "dy"))
        with pytest.MonkeyPatch.context() as patch, BE.quiet():
            patch.setattr(BE, "tensor_cores", True)
            patch.setattr(precision, "_conv", setting)
            assert conv_mma.takes(BE, self.g, self.dtype)
            if which == "y":
                return BE.to_numpy(conv.forward(BE, x=x, w=w, geometry=self.g)).astype(np.float64)
            if which == "dx":
                return BE.to_numpy(conv.input_grad(BE, dy=dy, w=w, geometry=self.g)).astype(np.float64)
            return BE.to_numpy(conv.weight_grad(BE, x=x, dy=dy, geometry=self.g)).astype(np.float64)

    def wanted(self, which: str, seen: Any = np.asarray) -> np.ndarray:
        """In float64, of factors as the kernels see them, then as large numbers of the dtype are: infinite or not."""
        x, w, dy = (seen(self.factors[name]).astype(np.float64) for name in ("x", "w", "dy"))
        pad = self.g.pad_low[0]
        padded = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
        with np.errstate(all="ignore"):
            if which == "y":
                exact = oracle.forward(padded, w, None, (1, 1), (0, 0), (0, 0), (1, 1), 1)
            elif which == "dw":
                exact = oracle.gradients(padded, w, dy, (1, 1), (0, 0), (1, 1), 1)[1]
            else:  # a convolution of dy, padded with zeros, by the turned weights
                wide = [(0, 0), (0, 0), (2 - pad, 2 - pad), (2 - pad, 2 - pad)]
                turned = w[:, :, ::-1, ::-1].swapaxes(0, 1)
                exact = oracle.forward(np.pad(dy, wide), turned, None, (1, 1), (0, 0), (0, 0), (1, 1), 1)
            return exact.astype(np.float32).astype(self.dtype).astype(np.float64)

    def check(self, which: str, setting: str, seen: Any = np.asarray, wanted: np.ndarray | None = None) -> np.ndarray:
        wanted = self.wanted(which, seen) if wanted is None else wanted
        found, finite = self.found(which, setting), np.isfinite(wanted)
        np.testing.assert_array_equal(np.where(np.isfinite(found), 0, found), np.where(finite, 0, wanted))
        terms = 16 * 9 if which != "dw" else 50
        rtol = tolerance(self.dtype, terms)
        size = np.abs(wanted[finite]).max(initial=0.0)
        np.testing.assert_allclose(found[finite], wanted[finite], rtol=rtol, atol=rtol * size)
        return found


def seen_by(dtype: str, setting: str) -> Any:
    return tf32 if (dtype, setting) == ("float32", "medium") else np.asarray


@PADS
@PASSES
@WAYS
@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_one_number_that_is_not_finite(value: float, dtype: str, setting: str, which: str, pad: int) -> None:
    """It reaches the results that it belongs to, as IEEE arithmetic has it: infinite, but NaN where a 0 meets it."""
    for name in FACTORS[which]:
        problem = Problem(dtype, pad)
        problem.factors[name][1, 3, 1, 2] = value
        found = problem.check(which, setting, seen_by(dtype, setting))
        assert np.isnan(found).any() and np.isfinite(found).any()
        assert np.isinf(found).any() == (not np.isnan(value))


@PASSES
@WAYS
def test_several_of_them(dtype: str, setting: str, which: str) -> None:
    """Infinities of both signs in a sum are NaN; an infinity of each factor meets."""
    problem = Problem(dtype)
    first, second = (problem.factors[name] for name in FACTORS[which])
    first[1, 3, 1, 1:3] = INF, -INF
    second[2 % len(second), 4, 2, 2] = INF
    first[0, 5, 0, 1] = NAN
    problem.check(which, setting, seen_by(dtype, setting))


@PASSES
@FLOAT32
def test_the_largest_numbers(setting: str, which: str) -> None:
    """What is rounded to the largest TF32 number is right; sums are infinite where float32's are."""
    for name in FACTORS[which]:
        for value in (LARGEST_TF32, -LAST_TO_ROUND_DOWN, LAST_TO_ROUND_DOWN):
            problem = Problem("float32")
            problem.factors[name][1, 3, 1, 2] = value
            found = problem.check(which, setting, seen_by("float32", setting))
            assert np.isinf(found).any() and not np.isnan(found).any() and (np.abs(found) > 1e38).any()


@PASSES
@FLOAT32
@pytest.mark.parametrize("value", [LARGEST, float(np.nextafter(np.float32(LAST_TO_ROUND_DOWN), np.float32(INF)))])
def test_what_rounds_to_infinity(value: float, setting: str, which: str) -> None:
    """The largest float32 numbers have no TF32 number: they are infinite, though their products would be finite."""
    for name in FACTORS[which]:
        problem = Problem("float32")
        problem.factors[name][1, 3, 1, 2] = value
        plain = problem.wanted(which)
        assert not np.isnan(plain).any()
        problem.factors[name][1, 3, 1, 2] = INF
        infinite = problem.wanted(which, seen_by("float32", setting))
        problem.factors[name][1, 3, 1, 2] = value
        found = problem.check(which, setting, wanted=infinite)
        assert (np.isfinite(plain) & ~np.isfinite(found)).any()


@FLOAT32
def test_a_signalling_nan_may_count_as_infinity(setting: str) -> None:
    """Products of TF32 numbers ignore the low 13 bits; no arithmetic makes a NaN of those alone."""
    problem = Problem("float32")
    problem.factors["x"][1, 3, 1, 2] = INF
    infinite = problem.wanted("y", seen_by("float32", setting))
    problem.factors["x"].view(np.uint32)[1, 3, 1, 2] = 0x7F800001
    problem.check("y", setting, wanted=infinite)


@PASSES
@FLOAT32
def test_the_smallest_numbers(setting: str, which: str) -> None:
    """A factor below 2^-126 is off by at most 2^-137, which the other one magnifies; its sign is kept or it is 0."""
    first, second = FACTORS[which]
    for small, large in ((first, second), (second, first)):
        problem = Problem("float32")
        random = np.random.default_rng(5)
        shape = problem.factors[small].shape
        problem.factors[small] = (random.uniform(-1, 1, shape) * 2.0 ** random.uniform(-149, -126, shape)).astype("f4")
        problem.factors[large] = (problem.factors[large] * 2.0**120).astype(np.float32)
        terms, size = 16 * 9, float(np.abs(problem.factors[large]).max())
        found, wanted = problem.found(which, setting), problem.wanted(which, seen_by("float32", setting))
        exact = problem.wanted(which)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=terms * 2.0**-137 * size)
        assert np.abs(found - exact).max() <= terms * 2.0**-137 * size
        assert np.abs(found).max() > 1e-5  # denormal numbers are no zeros


@PASSES
def test_full_precision_down_to_2_to_the_minus_112(which: str) -> None:
    """There what is left of a number after its first 11 bits still has 12 bits as a TF32 number."""
    for small in FACTORS[which]:
        problem = Problem("float32")
        problem.factors[small] = (problem.factors[small] * 2.0**-111).astype(np.float32)
        problem.check(which, "high")
