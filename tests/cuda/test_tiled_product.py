"""A register-tiled matrix product: what dense kernels ask of the CPU runtime. benchmarks/bench_emulated.py times it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnlab.cuda import host
from tests import emulator

BE = emulator.backend()

# Blocks of 256 threads make tiles of 64 x 64, each thread 4 x 4 of them.
SGEMM_TILED = """
#define TILE 64
#define DEPTH 8
#define PART 4
extern "C" __global__ void __launch_bounds__(256)
    sgemm_tiled(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int m, int n, int k) {
  __shared__ float ta[DEPTH][TILE], tb[DEPTH][TILE];
  const int t = threadIdx.x, x = t % (TILE / PART), y = t / (TILE / PART);
  const int row0 = blockIdx.y * TILE, column0 = blockIdx.x * TILE;
  float sum[PART][PART] = {};
  for (int start = 0; start < k; start += DEPTH) {
    for (int i = t; i < TILE * DEPTH; i += 256) {
      const int row = row0 + i / DEPTH, at = start + i % DEPTH;
      ta[i % DEPTH][i / DEPTH] = row < m && at < k ? a[row * k + at] : 0.0f;
    }
    for (int i = t; i < TILE * DEPTH; i += 256) {
      const int column = column0 + i % TILE, at = start + i / TILE;
      tb[i / TILE][i % TILE] = column < n && at < k ? b[at * n + column] : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < DEPTH; ++j) {
      float left[PART], right[PART];
#pragma unroll
      for (int i = 0; i < PART; ++i) left[i] = ta[j][y * PART + i];
#pragma unroll
      for (int i = 0; i < PART; ++i) right[i] = tb[j][x * PART + i];
#pragma unroll
      for (int i = 0; i < PART; ++i)
#pragma unroll
        for (int l = 0; l < PART; ++l) sum[i][l] += left[i] * right[l];
    }
    __syncthreads();
  }
  for (int i = 0; i < PART; ++i)
    for (int l = 0; l < PART; ++l) {
      const int row = row0 + y * PART + i, column = column0 + x * PART + l;
      if (row < m && column < n) c[row * n + column] = sum[i][l];
    }
}
"""


def product(text: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    (m, k), n = a.shape, b.shape[1]
    c = BE.xp.empty((m, n), np.float32)
    sizes: list[Any] = [np.int32(size) for size in (m, n, k)]
    grid = (-(-n // 64), -(-m // 64))
    BE.run_kernel(host.compile_text("tiled", text, macros={}), "sgemm_tiled", grid, 256, [a, b, c, *sizes])
    return c


@pytest.mark.parametrize("size", [(1, 1, 1), (64, 64, 8), (130, 70, 33)])
def test_terms_add_up_in_order(size: tuple[int, int, int]) -> None:
    """Products and sums are rounded one by one, so that NumPy's loop over k gives the same bits, unrolled or not."""
    m, n, k = size
    random = np.random.default_rng(0)
    a, b = random.normal(size=(m, k)).astype(np.float32), random.normal(size=(k, n)).astype(np.float32)
    wanted = np.zeros((m, n), np.float32)
    for i in range(k):
        wanted += a[:, i : i + 1] * b[i]
    for order in ("ascending", "descending", 5):
        with BE.ordered(order):
            np.testing.assert_array_equal(product(SGEMM_TILED, a, b), wanted)
    np.testing.assert_array_equal(product(SGEMM_TILED, a, b), wanted)
    np.testing.assert_array_equal(product(SGEMM_TILED.replace("#pragma unroll\n", ""), a, b), wanted)
