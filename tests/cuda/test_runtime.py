"""The CPU runtime (kernels/host): barriers, warps, shared memory, orders of execution, and the errors it must find."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnlab.backend import emulated
from nnlab.backend.emulated import KernelError
from nnlab.cuda import host
from nnlab.cuda.compiler import CompileError
from nnlab.errors import ArgumentError, DeviceError, MissingExtraError
from tests import emulator

BE = emulator.backend()
ORDERS = ["ascending", "descending", 1, 2]

SGEMM = """
extern "C" __global__ void sgemm(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c,
                                 int m, int n, int k) {
  __shared__ float ta[16][16], tb[16][16];
  const int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 16 + y, column = blockIdx.x * 16 + x;
  float sum = 0.0f;
  for (int start = 0; start < k; start += 16) {
    ta[y][x] = row < m && start + x < k ? a[row * k + start + x] : 0.0f;
    tb[y][x] = column < n && start + y < k ? b[(start + y) * n + column] : 0.0f;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 16; ++i) sum += ta[y][i] * tb[i][x];
    __syncthreads();
  }
  if (row < m && column < n) c[row * n + column] = sum;
}
"""

WARPS = """
extern "C" __global__ void warp_sum(const int* x, int* down, int* all) {
  const unsigned full = 0xFFFFFFFFu;
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  int sum = x[i];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(full, sum, step);
  if (threadIdx.x % 32 == 0) down[i / 32] = sum;
  sum = x[i];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(full, sum, step);
  all[i] = sum;
}
extern "C" __global__ void exchanges(const double* x, double* out, unsigned* votes) {
  const unsigned full = 0xFFFFFFFFu, lane = threadIdx.x;
  out[lane] = __shfl_sync(full, x[lane], 5);
  out[32 + lane] = __shfl_sync(full, x[lane], lane + 1, 8);
  out[64 + lane] = __shfl_up_sync(full, x[lane], 3, 16);
  out[96 + lane] = __shfl_down_sync(full, x[lane], 3, 16);
  out[128 + lane] = __shfl_xor_sync(full, x[lane], 12, 8);
  votes[lane] = __ballot_sync(full, x[lane] > 3.0);
  votes[32 + lane] = __any_sync(full, lane == 7);
  votes[64 + lane] = __any_sync(full, lane == 77);
  votes[96 + lane] = __all_sync(full, lane < 32);
  votes[128 + lane] = __all_sync(full, lane != 9);
}
extern "C" __global__ void halves(int* out) {
  const int lane = threadIdx.x;
  int value = lane;
  if (lane < 12) value = __shfl_xor_sync(0xFFFu, value, 1);
  else value = __shfl_sync(0xFFFFF000u, value, 20);
  __syncwarp();
  out[lane] = value;
}
"""

BLOCKS = """
extern "C" __global__ void block_sum(const float* x, float* out, int n) {
  __shared__ float part[128];
  const int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  part[t] = i < n ? x[i] : 0.0f;
  for (int step = 64; step > 0; step /= 2) {
    __syncthreads();
    if (t < step) part[t] += part[t + step];
  }
  if (t == 0) out[blockIdx.x] = part[0];
}
extern "C" __global__ void reversed(const int* x, int* out) {
  extern __shared__ int kept[];
  kept[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = kept[blockDim.x - 1 - threadIdx.x];
}
extern "C" __global__ void places(int* out) {
  const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] = 100 * block + thread;
}
extern "C" __global__ void votes(int* out) {
  const int t = threadIdx.x;
  out[t] = __syncthreads_and(t < 50);
  out[50 + t] = __syncthreads_and(t < 49);
  out[100 + t] = __syncthreads_or(t == 49);
  out[150 + t] = __syncthreads_or(t > 49);
  out[200 + t] = __syncthreads_count(t % 5 == 0);
}
extern "C" __global__ void count(int* hits, unsigned* largest) {
  atomicAdd(hits, 1);
  atomicMax(largest, blockIdx.x * blockDim.x + threadIdx.x);
}
extern "C" __global__ void unwritten(float* shared, float* dynamic) {
  __shared__ float a[32];
  extern __shared__ float b[];
  shared[blockIdx.x * 32 + threadIdx.x] = a[threadIdx.x];
  dynamic[blockIdx.x * 32 + threadIdx.x] = b[threadIdx.x];
  a[threadIdx.x] = b[threadIdx.x] = 1.0f;
}
"""

WRONG = """
extern "C" __global__ void exits_early(int n) {
  if (threadIdx.x >= n) return;
  __syncthreads();
}
extern "C" __global__ void two_barriers() {
  if (threadIdx.x == 3) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
extern "C" __global__ void not_in_mask(int* out) { out[threadIdx.x] = __shfl_sync(0x0000FFFFu, 1, 0); }
extern "C" __global__ void reads_outside(int* out) {
  if (threadIdx.x < 4) out[threadIdx.x] = __shfl_sync(0xFu, 1, 9);
}
extern "C" __global__ void different_masks(int* out) {
  if (threadIdx.x < 4) out[threadIdx.x] = __ballot_sync(threadIdx.x == 0 ? 0xFu : 0x1Fu, 1);
}
extern "C" __global__ void lanes_gone(int* out) {
  if (threadIdx.x < 4) out[threadIdx.x] = __any_sync(0xFFFFFFFFu, 1);
}
extern "C" __global__ void fill(int* first, int* second, int at) { first[at] = second[0] = 7; }
extern "C" __global__ void typed(const float* x, double a, int n) {}
"""


@pytest.fixture(scope="module")
def build() -> Callable[[str], Path]:
    return lambda text: host.compile_text("test", text, macros={})


def _sgemm(library: Path, m: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(m, k)).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)
    c = BE.xp.empty((m, n), np.float32)
    grid = (-(-n // 16), -(-m // 16))
    BE.run_kernel(library, "sgemm", grid, (16, 16), [a, b, c, np.int32(m), np.int32(n), np.int32(k)])
    return c, a.astype(np.float64) @ b


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [(1, 1, 1), (16, 16, 16), (33, 20, 50)])
def test_sgemm_with_barriers(build: Any, size: tuple[int, int, int], order: str | int) -> None:
    expected_bits, expected = _sgemm(build(SGEMM), *size)
    with BE.ordered(order):
        c, _ = _sgemm(build(SGEMM), *size)
    np.testing.assert_array_equal(c, expected_bits)
    np.testing.assert_allclose(c, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_barrier_shows(build: Any, which: int) -> None:
    """Without its first or its second barrier the product is wrong under some order."""
    parts = SGEMM.split("__syncthreads();")
    text = (
        parts[0] + ("" if which == 0 else "__syncthreads();") + parts[1] + ("__syncthreads();" * (1 - which)) + parts[2]
    )
    results = []
    for order in ORDERS:
        with BE.ordered(order):
            c, expected = _sgemm(build(text), 20, 20, 40)
        results.append(bool(np.allclose(c, expected, rtol=1e-3, atol=1e-4)))
    assert not all(results)


@pytest.mark.parametrize("order", ORDERS)
def test_warp_sums(build: Any, order: str | int) -> None:
    x = np.arange(192, dtype=np.int32) ** 2
    down, everywhere = BE.xp.empty(6, np.int32), BE.xp.empty(192, np.int32)
    with BE.ordered(order):
        BE.run_kernel(build(WARPS), "warp_sum", 2, 96, [x, down, everywhere])
    sums = x.reshape(6, 32).sum(1)
    np.testing.assert_array_equal(down, sums)
    np.testing.assert_array_equal(everywhere, np.repeat(sums, 32))


@pytest.mark.parametrize("order", ORDERS)
def test_exchanges_of_a_warp(build: Any, order: str | int) -> None:
    x = np.random.default_rng(1).normal(3, 1, 32)
    out, votes = BE.xp.empty((5, 32)), BE.xp.empty((5, 32), np.uint32)
    with BE.ordered(order):
        BE.run_kernel(build(WARPS), "exchanges", 1, 32, [x, out, votes])
    lane = np.arange(32)
    group8, group16 = lane // 8 * 8, lane // 16 * 16
    np.testing.assert_array_equal(out[0], x[5])
    np.testing.assert_array_equal(out[1], x[group8 + (lane + 1) % 8])
    np.testing.assert_array_equal(out[2], x[np.where(lane - 3 < group16, lane, lane - 3)])
    np.testing.assert_array_equal(out[3], x[np.where(lane + 3 >= group16 + 16, lane, np.minimum(lane + 3, 31))])
    np.testing.assert_array_equal(out[4], x[np.where((lane ^ 12) > group8 + 7, lane, lane ^ 12)])
    ballot = sum(1 << i for i in range(32) if x[i] > 3)
    np.testing.assert_array_equal(votes, np.repeat(np.array([[ballot], [1], [0], [1], [0]]), 32, axis=1))


@pytest.mark.parametrize("order", ORDERS)
def test_parts_of_a_warp_meet_by_themselves(build: Any, order: str | int) -> None:
    out = BE.xp.empty(32, np.int32)
    with BE.ordered(order):
        BE.run_kernel(build(WARPS), "halves", 1, 32, [out])
    np.testing.assert_array_equal(out, [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10] + [20] * 20)


@pytest.mark.parametrize("order", ORDERS)
def test_blocks(build: Any, order: str | int) -> None:
    library = build(BLOCKS)
    x = np.arange(300, dtype=np.float32)
    sums, turned, places = BE.xp.empty(3, np.float32), BE.xp.empty(100, np.int32), BE.xp.empty((24, 24), np.int32)
    votes, hits, largest = BE.xp.empty((5, 50), np.int32), np.zeros(1, np.int32), np.zeros(1, np.uint32)
    with BE.ordered(order):
        BE.run_kernel(library, "block_sum", 3, 128, [x, sums, np.int32(300)])
        BE.run_kernel(library, "reversed", 1, 100, [np.arange(100, dtype=np.int32), turned], shared=400)
        BE.run_kernel(library, "places", (2, 3, 4), (4, 3, 2), [places])
        BE.run_kernel(library, "votes", 1, 50, [votes])
        BE.run_kernel(library, "count", 7, 33, [hits, largest])
    np.testing.assert_array_equal(sums, [x[:128].sum(), x[128:256].sum(), x[256:].sum()])
    np.testing.assert_array_equal(turned, np.arange(100)[::-1])
    np.testing.assert_array_equal(places, 100 * np.arange(24)[:, None] + np.arange(24))
    np.testing.assert_array_equal(votes, np.repeat([[1], [0], [1], [0], [10]], 50, axis=1))
    assert (hits[0], largest[0]) == (7 * 33, 7 * 33 - 1)


def test_shared_memory_is_poisoned_before_each_block(build: Any) -> None:
    static, dynamic = np.zeros((3, 32), np.float32), np.zeros((3, 32), np.float32)
    BE.run_kernel(build(BLOCKS), "unwritten", 3, 32, [static, dynamic], shared=128)
    assert np.isnan(dynamic).all()
    assert np.isnan(static).all()


def _fails(library: Path, name: str, block: int, arguments: list[Any]) -> str:
    with pytest.raises(KernelError) as caught:
        BE.run_kernel(library, name, 2, block, arguments)
    return str(caught.value)


def test_a_barrier_that_not_all_reach(build: Any) -> None:
    message = _fails(build(WRONG), "exits_early", 70, [np.int32(66)])
    assert message == (
        "[exits_early] block (0, 0, 0), thread (0, 0, 0): waits at __syncthreads (test.cu:4), "
        "but thread (66, 0, 0) has exited"
    )
    BE.run_kernel(build(WRONG), "exits_early", 2, 70, [np.int32(70)])


def test_barriers_at_different_places(build: Any) -> None:
    message = _fails(build(WRONG), "two_barriers", 64, [])
    assert "thread (0, 0, 0): waits at __syncthreads (test.cu:10), but thread (3, 0, 0) waits at" in message
    assert message.endswith("__syncthreads (test.cu:8)")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("not_in_mask", "thread (16, 0, 0): __shfl_sync (test.cu:13) with mask 0x0000ffff, which leaves out this lane"),
        ("reads_outside", "thread (0, 0, 0): __shfl_sync (test.cu:15) reads lane 9, which does not take part"),
        ("different_masks", "thread (1, 0, 0) waits at __ballot_sync (test.cu:18) (masks 0x0000000f and 0x0000001f)"),
        ("lanes_gone", "waits at __any_sync (test.cu:21), but thread (4, 0, 0) has exited"),
    ],
)
def test_wrong_masks(build: Any, name: str, words: str) -> None:
    assert words in _fails(build(WRONG), name, 32, [np.zeros(32, np.int32)])


@pytest.mark.parametrize(
    ("at", "words"), [(10, "wrote bytes 40 to 43 of argument 0"), (-2, "wrote bytes -8 to -5 of argument 0")]
)
def test_a_red_zone_that_was_written(build: Any, at: int, words: str) -> None:
    around = np.zeros(30, np.int32)
    first, second = around[10:20], np.zeros(1, np.int32)
    message = _fails(build(WRONG), "fill", 1, [first, second, np.int32(at)])
    assert message.startswith(f"[fill] {words} (shape (10,), int32, 40 bytes)")
    assert not around.any()
    BE.run_kernel(build(WRONG), "fill", 1, 1, [first, second, np.int32(9)])
    assert around.nonzero()[0].tolist() == [19]


def test_overlapping_arguments_stay_overlapping(build: Any) -> None:
    whole = np.zeros(10, np.int32)
    BE.run_kernel(build(WRONG), "fill", 1, 1, [whole[:6], whole[4:], np.int32(5)])
    assert whole.nonzero()[0].tolist() == [4, 5]


def test_an_empty_array_has_no_memory(build: Any) -> None:
    assert "wrote to an empty array" in _fails(
        build(WRONG), "fill", 1, [np.zeros(0, np.int32), np.zeros(1, np.int32), np.int32(0)]
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [np.zeros(1, np.float32), np.float32(0), np.int32(0)],
        [np.float64(0), np.float64(0), np.int32(0)],
        [np.zeros(1, np.float32), np.float64(0)],
    ],
)
def test_arguments_of_another_type_are_refused(build: Any, arguments: list[Any]) -> None:
    with pytest.raises(ArgumentError, match=r"\[typed\]"):
        BE.run_kernel(build(WRONG), "typed", 1, 1, arguments)


def test_what_no_card_takes_is_refused(build: Any) -> None:
    with pytest.raises(ArgumentError, match=r"\[places\] 'block' must have 1..1024 threads, got \(32, 33\)"):
        BE.run_kernel(build(BLOCKS), "places", 1, (32, 33), [np.zeros(1056, np.int32)])
    wanted = "'order' must be 'ascending', 'descending' or a seed, got 'sideways'"
    with pytest.raises(ArgumentError, match=wanted), BE.ordered("sideways"):
        pass


def test_launches_from_several_host_threads(build: Any) -> None:
    library = build(SGEMM)
    expected, _ = _sgemm(library, 33, 20, 50)
    with ThreadPoolExecutor(4) as pool:
        for c, _ in pool.map(lambda _: _sgemm(library, 33, 20, 50), range(40)):
            np.testing.assert_array_equal(c, expected)


def test_a_launch_after_an_error_is_right(build: Any) -> None:
    for _ in range(3):
        _fails(build(WRONG), "exits_early", 70, [np.int32(66)])
        c, expected = _sgemm(build(SGEMM), 20, 20, 20)
        np.testing.assert_allclose(c, expected, rtol=1e-4, atol=1e-5)


def test_a_kernel_that_does_not_exist(build: Any) -> None:
    with pytest.raises(DeviceError, match=r"\[nothing\] there is no such kernel"):
        BE.run_kernel(build(WRONG), "nothing", 1, 1, [])


def test_libraries_are_kept_and_keyed(kernel_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'extern "C" __global__ void set(int* x) { x[0] = VALUE; }\n'
    library = host.compile_text("set", text, macros={"VALUE": 1})
    assert library.parent == kernel_cache / "kernels"
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("compiled again"))
    assert host.compile_text("set", text, macros={"VALUE": 1}) == library
    monkeypatch.undo()
    monkeypatch.setenv("NNLAB_CACHE_DIR", str(kernel_cache))
    other = [
        host.compile_text("set", text, macros={"VALUE": 2}),
        host.compile_text("set", text + "// changed\n", macros={"VALUE": 1}),
    ]
    monkeypatch.setattr(host, "FLAGS", (*host.FLAGS, "-g"))
    other.append(host.compile_text("set", text, macros={"VALUE": 1}))
    assert len({library, *other}) == 4


def test_a_kernel_that_does_not_compile() -> None:
    with pytest.raises(CompileError, match=r"(?s)broken does not compile with .*broken\.cu:2:.*undefined_name"):
        host.compile_text("broken", '\nextern "C" __global__ void f(int* x) { x[0] = undefined_name; }\n', macros={})


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    emulated.compiler.cache_clear()
    try:
        with pytest.raises(MissingExtraError, match=r"no C\+\+ compiler was found \(looked for no-such-compiler\)"):
            emulated.compiler()
        assert "no C++ compiler was found" in str(emulated.why_unusable())
    finally:
        emulated.compiler.cache_clear()


def test_switching_stacks_by_the_c_library(kernel_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other processors than x86-64 use."""
    monkeypatch.setattr(host, "FLAGS", (*host.FLAGS, "-DNNLAB_UCONTEXT"))
    c, expected = _sgemm(host.compile_text("test", SGEMM, macros={}), 20, 20, 20)
    np.testing.assert_allclose(c, expected, rtol=1e-4, atol=1e-5)
