"""kernels/include/mma.cuh and async_copy.cuh: tiles through ldmatrix, mma and cp.async, on the host against NumPy, and
compiled by NVRTC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from nnlab.backend.emulated import KernelError
from nnlab.cuda import compiler, host, sources
from nnlab.errors import MissingExtraError
from tests import emulator
from tests.cuda.common import break_sources

BE = emulator.backend()
ORDERS = ["ascending", "descending", 1, 2]

MMA = """
#include "include/mma.cuh"

// c (16, 8) += a (16, 16) b (16, 8); b is (8, 16), its transpose, in memory for `columns`.
template <bool BFLOAT, bool COLUMNS>
__device__ void multiply(const uint16_t_* a, const uint16_t_* b, float* c) {
  __shared__ __align__(16) unsigned short ta[16][24], tb[16][24];  // rows of 48 bytes
  const int lane = threadIdx.x, warp = threadIdx.y;
  if (warp == 0)
    for (int i = lane; i < 256; i += 32) ta[i / 16][i % 16] = a[i];
  else
    for (int i = lane; i < 128; i += 32) COLUMNS ? (tb[i / 16][i % 16] = b[i]) : (tb[i / 8][i % 8] = b[i]);
  __syncthreads();
  uint32 fa[4], fb[2];
  load_matrices(fa, &ta[lane % 16][lane / 16 * 8]);
  if (COLUMNS)
    load_matrices(fb, &tb[lane % 8][lane / 8 % 2 * 8]);
  else
    load_matrices_transposed(fb, &tb[lane % 16][0]);
  float sum[4];
  for (int i = 0; i < 4; ++i) sum[i] = c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2];
  if (BFLOAT)
    mma_bf16(sum, fa, fb);
  else
    mma_f16(sum, fa, fb);
  __syncthreads();
  if (warp == 0)
    for (int i = 0; i < 4; ++i) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
}
extern "C" __global__ void half_rows(const unsigned short* a, const unsigned short* b, float* c) {
  multiply<false, false>(a, b, c);
}
extern "C" __global__ void half_columns(const unsigned short* a, const unsigned short* b, float* c) {
  multiply<false, true>(a, b, c);
}
extern "C" __global__ void bfloat_rows(const unsigned short* a, const unsigned short* b, float* c) {
  multiply<true, false>(a, b, c);
}
extern "C" __global__ void bfloat_columns(const unsigned short* a, const unsigned short* b, float* c) {
  multiply<true, true>(a, b, c);
}
extern "C" __global__ void tf32(const float* a, const float* b, float* c, int rounded) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  uint32 fa[4], fb[2];
  for (int i = 0; i < 4; ++i) {
    const float value = a[(g + i % 2 * 8) * 8 + t + i / 2 * 4];
    fa[i] = rounded ? to_tf32(value) : __float_as_uint(value);
  }
  for (int i = 0; i < 2; ++i) {
    const float value = b[(t + i * 4) * 8 + g];
    fb[i] = rounded ? to_tf32(value) : __float_as_uint(value);
  }
  float sum[4];
  for (int i = 0; i < 4; ++i) sum[i] = c[(g + i / 2 * 8) * 8 + t * 2 + i % 2];
  mma_tf32(sum, fa, fb);
  for (int i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = sum[i];
}
// Which element of four (8, 8) matrices a lane's register i holds; x1, x2 and x4, then the same transposed.
extern "C" __global__ void matrices(const unsigned short* x, unsigned* out) {
  __shared__ __align__(16) unsigned short tile[32][8];
  const int lane = threadIdx.x;
  for (int i = 0; i < 8; ++i) tile[lane][i] = x[lane * 8 + i];
  __syncwarp();
  uint32 one[1], two[2], four[4];
  load_matrices(one, tile[lane % 8]);
  load_matrices(two, tile[lane % 16]);
  load_matrices(four, tile[lane]);
  for (int i = 0; i < 4; ++i) out[lane * 14 + 3 + i] = four[i];
  for (int i = 0; i < 2; ++i) out[lane * 14 + 1 + i] = two[i];
  out[lane * 14] = one[0];
  load_matrices_transposed(one, tile[lane % 8]);
  load_matrices_transposed(two, tile[lane % 16]);
  load_matrices_transposed(four, tile[lane]);
  for (int i = 0; i < 4; ++i) out[lane * 14 + 10 + i] = four[i];
  for (int i = 0; i < 2; ++i) out[lane * 14 + 8 + i] = two[i];
  out[lane * 14 + 7] = one[0];
}
""".replace("uint16_t_", "unsigned short")

WRONG = """
#include "include/mma.cuh"
extern "C" __global__ void part(float* c) {
  float sum[4] = {};
  const uint32 a[4] = {}, b[2] = {};
  if (threadIdx.x < 16) mma_f16(sum, a, b);
  c[threadIdx.x] = sum[0];
}
extern "C" __global__ void small(float* c) {
  float sum[4] = {};
  const uint32 a[4] = {}, b[2] = {};
  mma_f16(sum, a, b);
  c[threadIdx.x] = sum[0];
}
extern "C" __global__ void mixed(float* c) {
  float sum[4] = {};
  const uint32 a[4] = {}, b[2] = {};
  if (threadIdx.x < 16) mma_f16(sum, a, b);
  else mma_bf16(sum, a, b);
  c[threadIdx.x] = sum[0];
}
extern "C" __global__ void crooked(float* c) {
  __shared__ __align__(16) unsigned short tile[32][12];
  uint32 r[1];
  load_matrices(r, tile[threadIdx.x]);
  c[threadIdx.x] = (float)r[0];
}
"""

COPIES = """
#include "include/async_copy.cuh"

// y[i] = sum of x[i], x[i + n], ..., two buffers, the next part under way while one is added up.
extern "C" __global__ void pipeline(const float4* x, float4* y, int parts) {
  __shared__ float4 buffer[2][32];
  const int t = threadIdx.x;
  copy_async<16>(&buffer[0][t], &x[t]);
  commit_copies();
  float4 sum = make_float4(0, 0, 0, 0);
  for (int i = 0; i < parts; ++i) {
    if (i + 1 < parts) copy_async<16>(&buffer[(i + 1) % 2][t], &x[(i + 1) * 32 + t]);
    commit_copies();
    wait_copies<1>();
    __syncthreads();
    const float4 v = buffer[i % 2][31 - t];  // another thread's copy
    sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
    __syncthreads();
  }
  y[31 - t] = sum;
}
extern "C" __global__ void parts(const unsigned* x, unsigned* y, int inside) {
  extern __shared__ __align__(16) unsigned kept[];
  const int t = threadIdx.x;
  copy_async<4>(&kept[t], &x[t]);
  copy_async<8>(&kept[32 + 2 * t], &x[2 * t]);
  copy_async<16>(&kept[96 + 4 * t], &x[4 * t], inside);
  commit_copies();
  wait_copies<0>();
  __syncthreads();
  for (int i = 0; i < 7; ++i) y[7 * t + i] = kept[7 * t + i];
}
extern "C" __global__ void crooked(const unsigned* x, unsigned* y) {
  __shared__ unsigned kept[36];
  copy_async<8>(&kept[1], &x[0]);
}
extern "C" __global__ void elsewhere(const unsigned* x, unsigned* y) {
  copy_async<4>(&y[0], &x[0]);
}
"""


def write(folder: Path, name: str, text: str) -> Path:
    """A kernel file among copies of our headers."""
    root = folder / "kernels"
    (root / "include").mkdir(parents=True, exist_ok=True)
    for header in (sources.folder() / "include").glob("*.cuh"):
        (root / "include" / header.name).write_text(header.read_text())
    (root / f"{name}.cu").write_text(text)
    return root


@pytest.fixture
def build(tmp_path: Path) -> Any:
    macros = {"DTYPE_FLOAT32": 1, "INDEX_BITS": 32}
    return lambda text: host.compile_text("test", sources.source("test", write(tmp_path, "test", text)), macros=macros)


def draw(shape: tuple[int, ...], dtype: Any, key: int) -> np.ndarray:
    return np.random.default_rng(key).normal(size=shape).astype(np.float32).astype(dtype)


def in_order(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """c + a b in float32, term by term in the order of k."""
    total = c.astype(np.float32)
    for k in range(a.shape[1]):
        total = total + a[:, k : k + 1].astype(np.float32) * b[k].astype(np.float32)
    return total


def check_mma(library: Path) -> None:
    for name, dtype in (("half", np.dtype(np.float16)), ("bfloat", np.dtype(ml_dtypes.bfloat16))):
        a, b, c = draw((16, 16), dtype, 1), draw((16, 8), dtype, 2), draw((16, 8), np.float32, 3)
        for order in ORDERS:
            for layout, memory in (("rows", b), ("columns", np.ascontiguousarray(b.T))):
                found = c.copy()
                with BE.ordered(order):
                    BE.run_kernel(
                        library, f"{name}_{layout}", 1, (32, 2), [a.view(np.uint16), memory.view(np.uint16), found]
                    )
                np.testing.assert_array_equal(found, in_order(a, b, c), f"{name} {layout}")


def check_tf32(library: Path) -> None:
    a, b, c = draw((16, 8), np.float32, 4), draw((8, 8), np.float32, 5), draw((16, 8), np.float32, 6)
    for rounded in (False, True):
        narrow = [
            ((x.view(np.uint32) + np.uint32(0x1000 * rounded)) & np.uint32(0xFFFFE000)).view(np.float32) for x in (a, b)
        ]
        found = c.copy()
        BE.run_kernel(library, "tf32", 1, 32, [a, b, found, np.int32(rounded)])
        np.testing.assert_array_equal(found, in_order(*narrow, c))
        assert np.abs(found - (c + a.astype(np.float64) @ b)).max() > 1e-5


def check_matrices(library: Path) -> None:
    x = np.arange(256, dtype=np.uint16).reshape(4, 8, 8)
    out = np.zeros((32, 2, 7), np.uint32)
    BE.run_kernel(library, "matrices", 1, 32, [x, out])
    for lane in range(32):
        g, t = lane // 4, lane % 4
        for number, matrix in enumerate([0, 0, 1, 0, 1, 2, 3]):
            plain = x[matrix, g, 2 * t : 2 * t + 2].tolist()
            assert out[lane, 0, number] == plain[0] | plain[1] << 16, (lane, number)
            turned = x[matrix, 2 * t : 2 * t + 2, g].tolist()
            assert out[lane, 1, number] == turned[0] | turned[1] << 16, (lane, number)


def check_all(library: Path) -> None:
    check_mma(library)
    check_tf32(library)
    check_matrices(library)


def test_products_of_tiles(build: Any) -> None:
    check_all(build(MMA))


def test_rounding_to_tf32(build: Any) -> None:
    text = """
#include "include/mma.cuh"
extern "C" __global__ void narrow(const float* x, unsigned* y) { y[threadIdx.x] = to_tf32(x[threadIdx.x]); }
"""
    largest = np.finfo(np.float32).max
    x = np.array([1 + 2**-11, 1 + 2**-11 - 2**-23, -1 - 2**-11, largest, np.inf, -np.inf, np.nan, 0], np.float32)
    y = np.zeros(8, np.uint32)
    BE.run_kernel(build(text), "narrow", 1, 8, [x, y])
    wanted = np.array([1 + 2**-10, 1, -1 - 2**-10, np.inf, np.inf, -np.inf, np.nan, 0], np.float32)
    np.testing.assert_array_equal(y.view(np.float32), wanted)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("&ta[lane % 16][lane / 16 * 8]", "&ta[lane / 16 * 8 + lane % 8][lane / 8 % 2 * 8]"),
        ("mma_bf16(sum, fa, fb);", "mma_f16(sum, fa, fb);"),
        ("load_matrices_transposed(fb, &tb", "load_matrices(fb, &tb"),
        ("a[(g + i % 2 * 8) * 8 + t + i / 2 * 4]", "a[(g + i / 2 * 8) * 8 + t + i % 2 * 4]"),
        ("b[(t + i * 4) * 8 + g]", "b[(2 * t + i) * 8 + g]"),
        (
            "sum[i] = c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2",
            "sum[i] = c[(lane / 4 + i % 2 * 8) * 8 + lane % 4 * 2",
        ),
    ],
)
def test_a_wrong_fragment_is_noticed(build: Any, old: str, new: str) -> None:
    assert MMA.count(old) == 1
    with pytest.raises(AssertionError):
        check_all(build(MMA.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a[g + r % 2 * 8][k + r / 2 * width]", "a[g + r / 2 * 8][k + r % 2 * width]"),
        ("b[k + r * width][g]", "b[k + (1 - r) * width][g]"),
        ("lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2", "lane / 4 + i % 2 * 8, column = lane % 4 * 2 + i / 2"),
        ("word & 0xFFFFE000u", "word & 0xFFFFF000u"),
        ("->row.words[t]", "->row.words[(t + 1) % 4]"),
        ("from >> g % 2 * 16", "from >> (1 - g % 2) * 16"),
    ],
)
def test_a_wrong_layout_is_noticed(
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    break_sources(monkeypatch, tmp_path / "broken", "include/mma.cuh", old, new)
    with pytest.raises(AssertionError):
        check_all(build(MMA))


@pytest.mark.parametrize(
    ("name", "threads", "words"),
    [
        ("part", 32, "waits at mma_f16 (test.cu:6), but thread (16, 0, 0) has exited"),
        ("small", 20, "mma_f16 (test.cu:12) in a warp of 20 threads"),
        ("mixed", 32, "waits at mma_f16 (test.cu:18), but thread (16, 0, 0) waits at mma_bf16 (test.cu:19)"),
        ("crooked", 32, "thread (1, 0, 0): load_matrices (test.cu:25): the address of a row is no multiple of 16"),
    ],
)
def test_calls_that_are_wrong(build: Any, name: str, threads: int, words: str) -> None:
    with pytest.raises(KernelError) as caught:
        BE.run_kernel(build(WRONG), name, 1, threads, [np.zeros(32, np.float32)])
    assert words in str(caught.value)


def run_pipeline(library: Path) -> list[bool]:
    x = np.random.default_rng(7).normal(size=(5, 32, 4)).astype(np.float32)
    right = []
    for order in ORDERS:
        y = np.zeros((32, 4), np.float32)
        with BE.ordered(order):
            BE.run_kernel(library, "pipeline", 1, 32, [x, y, np.int32(5)])
        right.append(bool(np.allclose(y, x.sum(0), atol=1e-5)))
    return right


def test_a_pipeline_of_copies(build: Any) -> None:
    assert all(run_pipeline(build(COPIES)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    wait_copies<1>();\n", ""),
        ("wait_copies<1>", "wait_copies<2>"),
        ("    wait_copies<1>();\n    __syncthreads();\n", "    wait_copies<1>();\n"),
        ("sum.w += v.w;\n    __syncthreads();\n", "sum.w += v.w;\n"),
    ],
)
def test_a_missing_wait_shows(build: Any, old: str, new: str) -> None:
    assert COPIES.count(old) == 1
    assert not all(run_pipeline(build(COPIES.replace(old, new))))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("inside", [16, 8, 0])
def test_sizes_of_copies(build: Any, order: str | int, inside: int) -> None:
    x, y = np.arange(1, 129, dtype=np.uint32), np.zeros(224, np.uint32)
    with BE.ordered(order):
        BE.run_kernel(build(COPIES), "parts", 1, 32, [x, y, np.int32(inside)], shared=896)
    last = x.reshape(32, 4).copy()
    last[:, inside // 4 :] = 0
    np.testing.assert_array_equal(y, np.concatenate([x[:32], x[:64], last.ravel()]))


def test_copies_that_are_wrong(build: Any) -> None:
    x, y = np.zeros(32, np.uint32), np.zeros(32, np.uint32)
    for name, words in (("crooked", "no multiple of that"), ("elsewhere", "an address that is not in shared memory")):
        with pytest.raises(KernelError, match=words):
            BE.run_kernel(build(COPIES), name, 1, 1, [x, y])


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90a", "sm_120"])
@pytest.mark.parametrize("text", [MMA, COPIES], ids=["mma", "copies"])
def test_compiles_for_gpus(tmp_path: Path, kernel_cache: Path, arch: str, text: str) -> None:
    try:
        compiler.toolkit_include()
    except MissingExtraError as error:
        pytest.skip(str(error))
    root = write(tmp_path, "test", text)
    cubin = compiler.compile_unit("test", arch=arch, macros={"DTYPE_FLOAT32": 1, "INDEX_BITS": 32}, root=root)
    assert all(usage.spill_stores == 0 for usage in cubin.usage.values())
