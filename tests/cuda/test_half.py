"""kernels/host/cuda_fp16.h and cuda_bf16.h, the half types of kernels run on the host, against NumPy and ml_dtypes."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from nnlab.cuda import host, sources
from tests import emulator
from tests.cuda.common import break_sources

EMULATED = emulator.backend()

PROBE = """
extern "C" __global__ void widen(const scalar_t* x, acc_t* y, index_t n) {
  for (index_t i = 0; i < n; ++i) y[i] = to_acc(x[i]);
}
extern "C" __global__ void narrow(const acc_t* x, scalar_t* y, index_t n) {
  for (index_t i = 0; i < n; ++i) y[i] = to_scalar(x[i]);
}
"""
WORDS = np.arange(65536, dtype=np.uint16)
ALL = WORDS.view(np.float16)
BFLOAT = np.dtype(ml_dtypes.bfloat16)


def probe(dtype: str) -> Path:
    types = (sources.folder() / "include" / "types.cuh").read_text().replace("#pragma once", "")
    return host.compile_text("probe", types + PROBE, macros={f"DTYPE_{dtype}": 1, "INDEX_BITS": 32})


@pytest.fixture(scope="module")
def library() -> Path:
    return probe("FLOAT16")


def narrowed(library: Path, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The bits of floats rounded to a half type."""
    narrow = np.empty(x.size, dtype)
    EMULATED.run_kernel(library, "narrow", 1, 1, [x, narrow, np.int32(x.size)])
    return narrow.view(np.uint16)


def test_every_half_widens_exactly(library: Path) -> None:
    wide = np.empty(ALL.size, np.float32)
    EMULATED.run_kernel(library, "widen", 1, 1, [ALL, wide, np.int32(ALL.size)])
    np.testing.assert_array_equal(wide, ALL.astype(np.float32))


def test_rounds_to_nearest_even(library: Path) -> None:
    """Every half, every midpoint between two, and the floats next to those; NaN; what overflows and underflows."""
    finite = np.sort(ALL[np.isfinite(ALL)]).astype(np.float32)
    middle = (finite[:-1] + finite[1:]) / 2
    x = np.concatenate(
        [finite, middle, np.nextafter(middle, np.float32(np.inf)), np.nextafter(middle, np.float32(-np.inf))]
        + [np.array([65519.0, 65520.0, 65536.0, 1e30, np.inf, -np.inf, np.nan, 2.0**-25, 2.0**-26, 1e-40], np.float32)]
    )
    narrow = np.empty(x.size, np.float16)
    EMULATED.run_kernel(library, "narrow", 1, 1, [x, narrow, np.int32(x.size)])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(narrow, x.astype(np.float16))


def test_every_bfloat16_widens_to_its_bits() -> None:
    wide = np.empty(WORDS.size, np.float32)
    EMULATED.run_kernel(probe("BFLOAT16"), "widen", 1, 1, [WORDS.view(BFLOAT), wide, np.int32(WORDS.size)])
    np.testing.assert_array_equal(wide.view(np.uint32), WORDS.astype(np.uint32) << 16)
    number = ~np.isnan(wide)
    np.testing.assert_array_equal(wide[number], WORDS.view(BFLOAT)[number].astype(np.float32))


def test_bfloat16_rounds_to_nearest_even() -> None:
    """All 65536 upper halves of a float with lower halves around the midpoint: against the nearer of two neighbours,
    written out, and against ml_dtypes."""
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x1234, 0xC321], np.uint32)
    bits = ((WORDS.astype(np.uint32) << 16)[:, None] | lower).ravel()
    x = bits.view(np.float32)
    found = narrowed(probe("BFLOAT16"), x, BFLOAT)
    nan = np.isnan(x)
    assert np.isnan(found[nan].view(BFLOAT).astype(np.float32)).all()
    below, rest = bits >> 16, bits & 0xFFFF
    up = (rest > 0x8000) | ((rest == 0x8000) & (below % 2 == 1))
    np.testing.assert_array_equal(found[~nan], (below + up)[~nan])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found[~nan], x[~nan].astype(BFLOAT).view(np.uint16))


@pytest.mark.parametrize(
    ("old", "new"), [("0x7FFFu + ((bits >> 16) & 1u)", "0x8000u"), ("0x7FFFu + ((bits >> 16) & 1u)", "0u")]
)
def test_wrong_rounding_is_noticed(old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_sources(monkeypatch, tmp_path, "host/cuda_bf16.h", old, new)
    with pytest.raises(AssertionError):
        test_bfloat16_rounds_to_nearest_even()
