"""kernels/host/cuda_fp16.h, the half precision that host runs of kernels use, against NumPy's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnlab.cuda import host, sources
from tests import emulator

EMULATED = emulator.backend()

PROBE = """
extern "C" __global__ void widen(const scalar_t* x, acc_t* y, index_t n) {
  for (index_t i = 0; i < n; ++i) y[i] = to_acc(x[i]);
}
extern "C" __global__ void narrow(const acc_t* x, scalar_t* y, index_t n) {
  for (index_t i = 0; i < n; ++i) y[i] = to_scalar(x[i]);
}
"""
ALL = np.arange(65536, dtype=np.uint16).view(np.float16)


@pytest.fixture(scope="module")
def library() -> Path:
    types = (sources.folder() / "include" / "types.cuh").read_text().replace("#pragma once", "")
    return host.compile_text("probe", types + PROBE, macros={"DTYPE_FLOAT16": 1, "INDEX_BITS": 32})


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
