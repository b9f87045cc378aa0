"""Arithmetic of the half types on the host (kernels/host/half_arithmetic.h) against exact fractions, and more of CUDA's
vocabulary."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from nnlab.cuda import compiler, host
from nnlab.errors import MissingExtraError
from tests import emulator
from tests.cuda.common import break_sources, plain

BE = emulator.backend()

ARITHMETIC = """
#include <cuda_bf16.h>
#include <cuda_fp16.h>
template <class T>
__device__ void arithmetic(const T* x, T* y, bool* z, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    const T a = x[3 * i], b = x[3 * i + 1], c = x[3 * i + 2];
    T* out = y + 8 * i;
    out[0] = a + b;
    out[1] = a - b;
    out[2] = a * b;
    out[3] = a / b;
    out[4] = __hfma(a, b, c);
    out[5] = -a;
    out[6] = a;
    out[6] += b;
    out[6] *= c;
    out[7] = __hmax(a, __hmin(b, c));
    z[4 * i] = a < b;
    z[4 * i + 1] = a == b;
    z[4 * i + 2] = __hge(a, b);
    z[4 * i + 3] = __hisnan(a / b);
  }
}
extern "C" __global__ void half_arithmetic(const __half* x, __half* y, bool* z, int n) { arithmetic(x, y, z, n); }
extern "C" __global__ void bfloat_arithmetic(const __nv_bfloat16* x, __nv_bfloat16* y, bool* z, int n) {
  arithmetic(x, y, z, n);
}
extern "C" __global__ void pairs(const __half2* x, __half2* y, float2* z) {
  y[0] = __hadd2(x[0], x[1]);
  y[1] = __hfma2(x[0], x[1], __float2half2_rn(0.5f));
  y[2] = __floats2half2_rn(__low2float(x[0]), 3.0f);
  y[3] = __halves2half2(__high2half(x[1]), __float2half(-1.0f));
  z[0] = __half22float2(x[1]);
  __nv_bfloat162 b = __floats2bfloat162_rn(1.0f, 2.0f);
  z[1] = __bfloat1622float2(__hmul2(b, __halves2bfloat162(b.y, b.x)));
}
"""

VOCABULARY = """
__constant__ float table[4] = {1.0f, 2.0f, 4.0f, 8.0f};
__constant__ const int places[2][2] = {{1, 2}, {3, 4}};
extern "C" __global__ void vocabulary(const uint4* x, ushort4* y, unsigned* out, int* sums) {
  const int t = threadIdx.x;
  const ushort4 v = reinterpret_cast<const ushort4*>(x)[t];
  y[t] = make_ushort4(v.w, v.z, v.y, v.x);
  out[t] = (unsigned)table[t % 4] + places[t % 2][1] + (__activemask() >> t & 1u);
  const unsigned mask = t < 16 ? 0xFFFFu : 0xFFFF0000u;
  sums[6 * t] = __reduce_add_sync(mask, t - 10);
  sums[6 * t + 1] = __reduce_min_sync(mask, t - 10);
  sums[6 * t + 2] = __reduce_max_sync(mask, t - 10);
  sums[6 * t + 3] = (int)__reduce_or_sync(mask, 1u << t % 8);
  sums[6 * t + 4] = (int)__reduce_and_sync(mask, (unsigned)t | 64u);
  sums[6 * t + 5] = (int)__reduce_xor_sync(mask, (unsigned)t * 3u);
}
extern "C" __global__ void short_warp(unsigned* out) {
  out[threadIdx.x] = __reduce_add_sync(0xFFFFFFFFu, 1u + threadIdx.x);
}
"""

HALF, BFLOAT = np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)
FORMATS = {"half": (HALF, 11, -24, 16), "bfloat": (BFLOAT, 8, -133, 128)}  # precision, 2**-24 is the least, < 2**16


def rounded(value: Fraction, precision: int, least: int, top: int) -> float:
    """The nearest number of a format, ties to even."""
    if value == 0:
        return 0.0
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    unit = Fraction(2) ** max(exponent - precision + 1, least)
    result = round(size / unit) * unit  # of a Fraction: to even
    result = float("inf") if result >= Fraction(2) ** top else float(result)
    return -result if value < 0 else result


def draw(dtype: np.dtype, count: int) -> np.ndarray:
    """Finite numbers of any size, near to one another, tiny; first products that are ties, with little to add."""
    random = np.random.default_rng(3)
    bits = random.integers(0, 1 << 16, (count, 3), np.uint16)
    part = count // 4
    bits[part : 2 * part] = bits[part : 2 * part] % 256 + (0x3C00 if dtype == HALF else 0x3F80)
    bits[2 * part : 3 * part] = bits[2 * part : 3 * part] % 2048  # subnormal and next to it
    bits[2 * part : 3 * part : 2, 1] += 0x3000 if dtype == HALF else 0x3E80
    x = bits.view(dtype)
    x[~np.isfinite(plain(x))] = dtype.type(1.5)
    unit = 2.0**-10 if dtype == HALF else 2.0**-7
    x[:4] = np.array([[1 + unit, 1.5, tiny] for tiny in (2.0**-24, -(2.0**-24), 2.0**-120, -(2.0**-120))], dtype)
    return x


def check(name: str) -> None:
    dtype, *form = FORMATS[name]
    x = draw(dtype, 4000)
    y, z = np.zeros((len(x), 8), dtype), np.zeros((len(x), 4), bool)
    library = host.compile_text("half", ARITHMETIC, macros={})
    BE.run_kernel(library, f"{name}_arithmetic", 1, 64, [x, y, z, np.int32(len(x))])
    found = plain(y).astype(np.float64)
    for row, results, truths in zip(plain(x).astype(np.float64), found, z, strict=True):
        a, b, c = (Fraction(v) for v in row)
        wanted: list[Any] = [a + b, a - b, a * b, a / b if b else None, a * b + c, -a]
        for k, exact in enumerate(wanted):
            if exact is not None:
                assert results[k] == rounded(exact, *form), (k, row)
        with np.errstate(all="ignore"):
            inner = np.float64(rounded(a + b, *form))
            last = inner * row[2] if not np.isfinite(inner) else rounded(Fraction(inner) * c, *form)
        np.testing.assert_array_equal(results[6], last)  # NaN equals NaN, -0 equals 0
        assert results[7] == max(row[0], min(row[1], row[2]))
        assert truths.tolist() == [row[0] < row[1], row[0] == row[1], row[0] >= row[1], row[0] == row[1] == 0]


@pytest.mark.parametrize("name", FORMATS)
def test_every_result_is_rounded_once(name: str) -> None:
    check(name)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return same_bits<double>((rest > 0) == (sum > 0) ? bits + 1 : bits - 1);", "return sum;"),
        ("return same_bits<float>(std::fabs((double)near) < std::fabs(value) ? bits + 1 : bits - 1);", "return near;"),
    ],
)
def test_rounding_twice_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str) -> None:
    """In bfloat16, whose sums do not fit a double and whose smallest products do not fit a float."""
    break_sources(monkeypatch, tmp_path, "host/half_arithmetic.h", old, new)
    with pytest.raises(AssertionError):
        check("bfloat")


def test_pairs() -> None:
    x = np.array([[1.5, -2.0], [0.25, 8.0]], np.float16)
    y, z = np.zeros((4, 2), np.float16), np.zeros((2, 2), np.float32)
    BE.run_kernel(host.compile_text("half", ARITHMETIC, macros={}), "pairs", 1, 1, [x, y, z])
    np.testing.assert_array_equal(y, [[1.75, 6], [0.875, -15.5], [1.5, 3], [8, -1]])
    np.testing.assert_array_equal(z, [[0.25, 8], [2, 2]])


def test_vocabulary() -> None:
    x = np.arange(128, dtype=np.uint16)
    y, out, sums = np.zeros((32, 4), np.uint16), np.zeros(32, np.uint32), np.zeros((32, 6), np.int32)
    library = host.compile_text("vocabulary", VOCABULARY, macros={})
    BE.run_kernel(library, "vocabulary", 1, 32, [x, y, out, sums])
    np.testing.assert_array_equal(y, x.reshape(32, 4)[:, ::-1])
    t = np.arange(32)
    np.testing.assert_array_equal(out, 2 ** (t % 4) + np.where(t % 2, 4, 2) + 1)
    for half in (t[:16], t[16:]):
        xor = np.bitwise_xor.reduce(half * 3)
        wanted = [(half - 10).sum(), half[0] - 10, half[-1] - 10, 255, np.bitwise_and.reduce(half | 64), xor]
        np.testing.assert_array_equal(sums[half], np.tile(wanted, (16, 1)))
    short = np.zeros(40, np.uint32)
    BE.run_kernel(library, "short_warp", 1, 40, [short])
    np.testing.assert_array_equal(short, [528] * 32 + [sum(range(33, 41))] * 8)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("text", [ARITHMETIC, VOCABULARY], ids=["arithmetic", "vocabulary"])
def test_compiles_for_gpus(tmp_path: Path, kernel_cache: Path, arch: str, text: str) -> None:
    try:
        compiler.toolkit_include()
    except MissingExtraError as error:
        pytest.skip(str(error))
    (tmp_path / "test.cu").write_text(text)
    assert compiler.compile_unit("test", arch=arch, macros={}, root=tmp_path).path.is_file()
