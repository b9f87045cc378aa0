"""The checked build of the CPU runtime: kernels wrong on purpose for each kind of finding, silence on right ones."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnlab.backend import checked
from nnlab.backend.counts import Counts, Line
from nnlab.backend.emulated import KernelError
from nnlab.cuda import host
from nnlab.errors import ArgumentError, DeviceError
from tests import emulator
from tests.cuda import case
from tests.cuda.common import break_sources
from tests.cuda.test_runtime import BLOCKS, SGEMM, WARPS

BE = emulator.backend()
if checked.why_unusable() is not None:
    pytest.skip(str(checked.why_unusable()), allow_module_level=True)
ORDERS = ["ascending", "descending", 1, 2, 3]

MEMORY = """
extern "C" __global__ void fill(int* first, const int* second, int at) {
  if (threadIdx.x == 1) first[at] = second[0];
}
extern "C" __global__ void reads(const int* x, int* y, long long at) { y[0] = x[at]; }
extern "C" __global__ void wide(const float* x, float4* y) { y[0] = *(const float4*)x; }
extern "C" __global__ void doubles(const float* x, double* y) { y[0] = *(const double*)x; }
extern "C" __global__ void spoils(const int* x, int* y) { ((int*)x)[2] = y[0]; }
extern "C" __global__ void astray(int* x, unsigned long long where) { x[0] = *(int*)where; }
extern "C" __global__ void null(int* x) { *(int*)(x[0] - 7ll) = 0; }
extern "C" __global__ void copies(float* y, const float* x, int n) { memcpy(y, x, n); }
extern "C" __global__ void adds_up(unsigned* y, int at) { atomicAdd(y + at, 1u); }
extern "C" __global__ void bytes(const unsigned char* x, unsigned char* y, int at) { y[at] = x[0]; }

__device__ __forceinline__ int helper(const int* x, int i) {
  return x[i];
}
extern "C" __global__ void inlined(const int* x, int* y) {
  y[0] = helper(x, 5);
}
"""

SHARED = """
extern "C" __global__ void unwritten(float* y) {
  __shared__ float before[8];
  __shared__ float tile[64];
  if (threadIdx.x < 8) before[threadIdx.x] = 0;
  if (threadIdx.x != 9) tile[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x];
}
extern "C" __global__ void dynamic(float* y, int at) {
  extern __shared__ float kept[];
  kept[threadIdx.x + at] = 1;
  y[threadIdx.x] = kept[threadIdx.x];
}
extern "C" __global__ void earlier_block(int* y) {
  __shared__ int kept;
  if (blockIdx.x + threadIdx.x == 0) kept = 1;
  __syncthreads();
  if (threadIdx.x == 0) y[blockIdx.x] = kept;
}
extern "C" __global__ void row(float* y, int at) {
  __shared__ float tile[4][8];
  tile[1][at] = 1;
  y[0] = tile[1][at];
}
extern "C" __global__ void part(unsigned char* y) {
  __shared__ unsigned char flags[64];
  flags[2 * threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = flags[threadIdx.x];
}
"""

RACES = """
extern "C" __global__ void neighbours(int* y) {
  __shared__ int part[64];
  part[threadIdx.x] = threadIdx.x;
  y[threadIdx.x] = part[threadIdx.x ^ 1];
}
extern "C" __global__ void all_write(int* y) {
  y[0] = 1;
}
extern "C" __global__ void reads_late(int* y) {
  __shared__ int part;
  if (threadIdx.x == 3) part = 5;
  __syncthreads();
  y[threadIdx.x] = part;
  if (threadIdx.x == 40) part = 6;
}
extern "C" __global__ void blocks_write(int* y) {
  if (threadIdx.x + threadIdx.z == 0) y[0] = 1;
}
extern "C" __global__ void blocks_read(const int* x, int* y) {
  if (threadIdx.x == 0) y[1 + blockIdx.x] = y[0];
  __syncthreads();
  if (blockIdx.x == 1 && threadIdx.x == 2) y[0] = 7;
}
extern "C" __global__ void plain_and_atomic(int* y) {
  if (threadIdx.x == 0) y[0] = 0;
  else atomicAdd(y, 1);
}
extern "C" __global__ void read_and_atomic(int* y, int* seen) {
  if (threadIdx.x == 0) seen[0] = y[0];
  else atomicAdd(y, 1);
}
extern "C" __global__ void by_shuffle(int* y) {
  __shared__ int part[32];
  part[threadIdx.x] = threadIdx.x;
  const int lane = __shfl_sync(0xFFFFFFFFu, threadIdx.x, threadIdx.x ^ 1);
  y[threadIdx.x] = part[lane];
}
extern "C" __global__ void half_mask(int* y) {
  __shared__ int part[32];
  part[threadIdx.x] = threadIdx.x;
  __syncwarp(threadIdx.x < 16 ? 0xFFFFu : 0xFFFF0000u);
  y[threadIdx.x] = part[threadIdx.x ^ 16];
}
extern "C" __global__ void other_warp(int* y) {
  __shared__ int part[64];
  part[threadIdx.x] = threadIdx.x;
  __syncwarp();
  y[threadIdx.x] = part[threadIdx.x ^ 32];
}
extern "C" __global__ void halves(unsigned char* y) {
  ((unsigned short*)y)[threadIdx.x / 2] = 1;
}
"""

ARITHMETIC = """
extern "C" __global__ void add(int* y, int a) { y[0] = a + 1; }
extern "C" __global__ void subtract(int* y, int a) { y[0] = a - 2; }
extern "C" __global__ void multiply(int* y, int a) { y[0] = a * a; }
extern "C" __global__ void negate(int* y, int a) { y[0] = -a; }
extern "C" __global__ void wide(long long* y, long long a) { y[0] = a * 4; }
extern "C" __global__ void divide(int* y, int a) { y[0] = 7 / (a - 2147483647); }
extern "C" __global__ void shift(int* y, unsigned a) { y[0] = 1 << (a & 63); }
extern "C" __global__ void wraps(unsigned* y, unsigned a) { y[0] = a * a + a; }
"""

CORRECT = """
extern "C" __global__ void warp_tree(const float* x, float* y) {
  __shared__ float part[64];
  const int t = threadIdx.x, warp = t / 32 * 32, lane = t % 32;
  part[t] = x[t];
  __syncwarp();
  for (int step = 16; step > 0; step /= 2) {
    if (lane < step) part[warp + lane] += part[warp + lane + step];
    __syncwarp();
  }
  if (lane == 0) y[t / 32] = part[warp];
}
extern "C" __global__ void histogram(const int* x, int* y, int n) {
  __shared__ int counts[16];
  if (threadIdx.x < 16) counts[threadIdx.x] = 0;
  __syncthreads();
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicAdd(counts + x[i], 1);
  __syncthreads();
  if (threadIdx.x < 16) atomicAdd(y + threadIdx.x, counts[threadIdx.x]);
}
extern "C" __global__ void pieces(const float4* x, float4* y, unsigned char* mask, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    float4 v = x[i];
    v.x += 1;
    y[i] = v;
    mask[i] = v.y > 0;
  }
}
extern "C" __global__ void some_lanes(int* y) {
  __shared__ int part[32];
  const int lane = threadIdx.x;
  part[lane] = lane;
  if (lane < 8) {
    __syncwarp(0xFFu);
    const int sum = part[lane] + part[7 - lane];
    __syncwarp(0xFFu);
    part[lane] = sum;
  }
  __syncwarp();
  y[lane] = part[31 - lane];
}
"""


@pytest.fixture(scope="module")
def build() -> Callable[[str], Path]:
    return lambda text: host.compile_text("test", text, macros={}, checked=True)


def launch(library: Path, name: str, block: Any, *arguments: Any, grid: Any = 1, shared: int = 0) -> Counts:
    with BE.checked() as report:
        BE.run_kernel(library, name, grid, block, arguments, shared)
    return report.kernels[name]


def finding(library: Path, name: str, block: Any, *arguments: Any, grid: Any = 1, shared: int = 0) -> str:
    with pytest.raises(KernelError) as caught:
        launch(library, name, block, *arguments, grid=grid, shared=shared)
    return str(caught.value)


def ints(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.int32)


@pytest.mark.parametrize(("at", "first"), [(10, 40), (-1, -4), (2**29, 2**31), (-(2**31), -(2**33))])
def test_writes_outside(build: Any, at: int, first: int) -> None:
    y = ints(2, 5)
    message = finding(build(MEMORY), "fill", 2, y, ints(1), np.int32(at))
    assert message == (
        f"[fill] block (0, 0, 0), thread (1, 0, 0): writes bytes {first} to {first + 3} of argument 0 'first' "
        "(shape (2, 5), int32, 40 bytes), outside of it (test.cu:3)"
    )
    assert not y.any()
    launch(build(MEMORY), "fill", 2, y, np.full(1, 6, np.int32), np.int32(9))
    assert y[1, 4] == 6


@pytest.mark.parametrize("at", [3, -1, 2**31, -(2**31)])
def test_reads_outside(build: Any, at: int) -> None:
    message = finding(build(MEMORY), "reads", 1, ints(3), ints(1), np.int64(at))
    assert message == (
        f"[reads] block (0, 0, 0), thread (0, 0, 0): reads bytes {4 * at} to {4 * at + 3} of argument 0 'x' "
        "(shape (3,), int32, 12 bytes), outside of it (test.cu:5)"
    )


def test_an_empty_array_has_no_memory(build: Any) -> None:
    message = finding(build(MEMORY), "reads", 1, ints(0, 4), ints(1), np.int64(0))
    assert "reads bytes 0 to 3 of argument 0 'x' (shape (0, 4), int32, 0 bytes), outside of it" in message


def test_the_line_of_an_inlined_function(build: Any) -> None:
    message = finding(build(MEMORY), "inlined", 1, ints(3), ints(1))
    assert message.endswith(
        "reads bytes 20 to 23 of argument 0 'x' (shape (3,), int32, 12 bytes), outside of it (test.cu:16)"
    )


def test_misaligned(build: Any) -> None:
    whole, y = np.zeros(16, np.float32), np.zeros(4, np.float32)
    message = finding(build(MEMORY), "wide", 1, whole[1:], y)
    assert message.endswith(
        "reads bytes 0 to 15 of argument 0 'x' (shape (15,), float32, 60 bytes), not aligned to 16 bytes (test.cu:6)"
    )
    assert "not aligned to 8 bytes (test.cu:7)" in finding(build(MEMORY), "doubles", 1, whole[3:], np.zeros(1))
    launch(build(MEMORY), "wide", 1, whole[4:], y)
    launch(build(MEMORY), "doubles", 1, whole[2:], np.zeros(1))


def test_writes_to_const(build: Any) -> None:
    message = finding(build(MEMORY), "spoils", 1, ints(3), ints(1))
    assert message.endswith(
        "writes bytes 8 to 11 of argument 0 'x' (shape (3,), int32, 12 bytes), which is const (test.cu:8)"
    )
    shared = ints(4)  # what another argument may write is not const
    launch(build(MEMORY), "spoils", 1, shared, shared[2:])


def test_nothing_there(build: Any) -> None:
    message = finding(build(MEMORY), "astray", 1, ints(1), np.uint64(4096))
    assert message.endswith("thread (0, 0, 0): reads 4 bytes at address 0x1000, where there is nothing (test.cu:9)")
    assert "writes 4 bytes at address 0x0, where" in finding(build(MEMORY), "null", 1, np.full(1, 7, np.int32))
    elsewhere = ints(1)  # memory of the process, but no argument
    assert "where there is nothing" in finding(build(MEMORY), "astray", 1, ints(1), np.uint64(elsewhere.ctypes.data))


def test_copies_and_atomics_outside(build: Any) -> None:
    x, y = np.ones(8, np.float32), np.zeros(5, np.float32)
    message = finding(build(MEMORY), "copies", 1, y, x, np.int32(24))
    assert message.endswith(
        "writes bytes 0 to 23 of argument 0 'y' (shape (5,), float32, 20 bytes), outside of it (test.cu:11)"
    )
    assert "reads bytes 0 to 35 of argument 1" in finding(build(MEMORY), "copies", 1, y, x, np.int32(36))
    launch(build(MEMORY), "copies", 1, y, x, np.int32(20))
    assert (y == 1).all()
    message = finding(build(MEMORY), "adds_up", 1, np.zeros(2, np.uint32), np.int32(2))
    assert message.endswith(
        "updates bytes 8 to 11 of argument 0 'y' (shape (2,), uint32, 8 bytes), outside of it (test.cu:12)"
    )


def test_single_bytes(build: Any) -> None:
    x = np.zeros(3, np.uint8)
    message = finding(build(MEMORY), "bytes", 1, x, x.copy(), np.int32(3))
    assert message.endswith("writes byte 3 of argument 1 'y' (shape (3,), uint8, 3 bytes), outside of it (test.cu:13)")


@pytest.mark.parametrize("order", ORDERS)
def test_shared_memory_that_nobody_has_written(build: Any, order: Any) -> None:
    with BE.ordered(order):
        message = finding(build(SHARED), "unwritten", 64, np.zeros(64, np.float32))
    assert message == (
        "[unwritten] block (0, 0, 0), thread (9, 0, 0): reads bytes 36 to 39 of shared tile (256 bytes), "
        "which nobody has written before (test.cu:8)"
    )


def test_shared_memory_of_an_earlier_block(build: Any) -> None:
    message = finding(build(SHARED), "earlier_block", 32, ints(2), grid=2)
    assert "block (1, 0, 0), thread (0, 0, 0): reads bytes 0 to 3 of shared kept (4 bytes), which nobody" in message


def test_parts_of_words_of_shared_memory(build: Any) -> None:
    message = finding(build(SHARED), "part", 32, np.zeros(32, np.uint8))
    assert "thread (1, 0, 0): reads byte 1 of shared flags (64 bytes), which nobody has written before" in message


def test_dynamic_shared_memory(build: Any) -> None:
    y = np.zeros(8, np.float32)
    launch(build(SHARED), "dynamic", 8, y, np.int32(0), shared=32)
    message = finding(build(SHARED), "dynamic", 8, y, np.int32(1), shared=32)
    assert message.endswith("thread (0, 0, 0): reads bytes 0 to 3 of dynamic shared memory (32 bytes), "
                            "which nobody has written before (test.cu:13)")  # fmt: skip
    message = finding(build(SHARED), "dynamic", 8, y, np.int32(0), shared=28)
    assert message.endswith(
        "thread (7, 0, 0): writes bytes 28 to 31 of dynamic shared memory (28 bytes), outside of it (test.cu:12)"
    )


def test_an_index_outside_of_its_row(build: Any) -> None:
    message = finding(build(SHARED), "row", 1, np.zeros(1, np.float32), np.int32(8))
    assert message == "[row] block (0, 0, 0), thread (0, 0, 0): index 8 is outside of 'float [8]' (test.cu:23)"
    assert "index -1 is outside of" in finding(build(SHARED), "row", 1, np.zeros(1, np.float32), np.int32(-1))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8", "bool"])
def test_results_that_nobody_has_written(build: Any, dtype: str) -> None:
    ctype = {"float16": "short", "float32": "float", "float64": "double", "int32": "int"}.get(dtype, "unsigned char")
    library = build(f'extern "C" __global__ void copy(const {ctype}* x, {ctype}* y) {{ y[0] = x[2]; }}')
    x, y = BE.xp.empty(3, dtype), BE.xp.empty(1, dtype)
    message = finding(library, "copy", 1, x, y)
    assert f"of argument 0 'x' (shape (3,), {dtype}, {x.nbytes} bytes), which nobody has written before" in message
    launch(library, "copy", 1, np.zeros(3, dtype), y)
    value = 0 if dtype == "float16" else -1  # all bits set is a value of an integer
    fill = build(f'extern "C" __global__ void fill({ctype}* x) {{ x[threadIdx.x] = ({ctype}){value}; }}')
    launch(fill, "fill", 3, x)
    launch(library, "copy", 1, x, y)


def test_a_part_of_a_result_that_nobody_has_written(build: Any) -> None:
    library = build('extern "C" __global__ void shifted(float* y) { y[threadIdx.x + 1] = y[threadIdx.x]; }')
    y = BE.xp.empty(2, np.float32)
    assert "reads bytes 0 to 3 of argument 0 'y'" in finding(library, "shifted", 1, y)
    y[0] = 1
    launch(library, "shifted", 1, y)
    assert y[1] == 1
    launch(library, "shifted", 1, np.full(2, np.nan, np.float32))
    minus = np.full(3, -1, np.int32)  # all bits set, but written
    launch(build(MEMORY), "reads", 1, minus, ints(1), np.int64(2))


Y = "argument 0 'y' (shape (64,), int32, 256 bytes)"
BYTES = "argument 0 'y' (shape (64,), uint8, 64 bytes)"
RACES_OF_A_BLOCK = [  # kernel, threads, the access, its line, the earlier one and its line
    ("neighbours", 64, "reads ... of shared part (256 bytes)", 5, "wrote", 4),
    ("all_write", 2, f"writes ... of {Y}", 8, "wrote", 8),
    ("reads_late", 64, "writes ... of shared part (4 bytes)", 15, "read", 14),
    ("plain_and_atomic", 64, f"updates ... of {Y}", 27, "wrote", 26),
    ("read_and_atomic", 64, f"updates ... of {Y}", 31, "read", 30),
    ("by_shuffle", 32, "reads ... of shared part (128 bytes)", 37, "wrote", 35),
    ("half_mask", 32, "reads ... of shared part (128 bytes)", 43, "wrote", 41),
    ("other_warp", 64, "reads ... of shared part (256 bytes)", 49, "wrote", 47),
    ("halves", 4, f"writes ... of {BYTES}", 52, "wrote", 52),
]


def arguments_of(name: str) -> list[np.ndarray]:
    if name == "halves":
        return [np.zeros(64, np.uint8)]
    return [ints(64), ints(64)] if name in ("blocks_read", "read_and_atomic") else [ints(64)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("name", "block", "now", "line", "before", "earlier"), RACES_OF_A_BLOCK)
def test_races_of_a_block(
    build: Any, name: str, block: int, now: str, line: int, before: str, earlier: int, order: Any
) -> None:
    """Found under every order of threads, from one side or the other; under ascending order as given."""
    with BE.ordered(order):
        message = finding(build(RACES), name, block, *arguments_of(name))
    if name == "neighbours" and "which nobody has written before" in message:
        return  # the neighbour has not run yet
    found = re.fullmatch(
        rf"\[{name}\] block \(0, 0, 0\), thread \((\d+), 0, 0\): (.*) \(test.cu:(\d+)\), "
        r"which thread \((\d+), 0, 0\) (.*) \(test.cu:(\d+)\): no barrier is between them",
        message,
    )
    assert found, message
    assert found[1] != found[4]
    assert sorted([int(found[3]), int(found[6])]) == sorted([line, earlier])
    if order == "ascending":
        assert (re.sub("bytes? .*? of", "... of", found[2]), int(found[3]), found[5]) == (now, line, before)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["blocks_write", "blocks_read"])
def test_races_between_blocks(build: Any, name: str, order: Any) -> None:
    with BE.ordered(order):
        message = finding(build(RACES), name, 64, *arguments_of(name), grid=3)
    found = re.fullmatch(
        rf"\[{name}\] block \((\d), 0, 0\), thread \(\d, 0, 0\): (?:writes|reads) bytes 0 to 3 of argument . 'y' "
        r"\(shape \(64,\), int32, 256 bytes\) \(test.cu:\d+\), which block \((\d), 0, 0\), thread \(\d, 0, 0\) "
        r"(?:read|wrote) \(test.cu:\d+\): blocks are not ordered",
        message,
    )
    assert found, message
    assert found[1] != found[2]


def test_both_blocks_are_named(build: Any) -> None:
    y = ints(64)
    message = finding(build(RACES), "blocks_write", (8, 1, 2), y, grid=(1, 2, 3))
    assert message == (
        f"[blocks_write] block (0, 1, 0), thread (0, 0, 0): writes bytes 0 to 3 of {Y} "
        "(test.cu:18), which block (0, 0, 0), thread (0, 0, 0) wrote (test.cu:18): blocks are not ordered"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "a", "words"),
    [
        ("add", 2**31 - 1, "2147483647 + 1 overflows 'int' (test.cu:2)"),
        ("subtract", 1 - 2**31, "-2147483647 - 2 overflows 'int' (test.cu:3)"),
        ("multiply", -(2**16), "-65536 * -65536 overflows 'int' (test.cu:4)"),
        ("negate", -(2**31), "-(-2147483648) overflows 'int' (test.cu:5)"),
        ("wide", 2**61, "2305843009213693952 * 4 overflows 'long long int' (test.cu:6)"),
        ("divide", 2**31 - 1, "7 / 0 has no result in 'int' (test.cu:7)"),
        ("shift", 32, "shift of 1 by 32 bits, of type 'int' (test.cu:8)"),
    ],
)
def test_arithmetic_without_a_result(build: Any, name: str, a: int, words: str) -> None:
    library, wide = build(ARITHMETIC), name == "wide"
    number: Any = np.int64 if wide else np.uint32 if name == "shift" else np.int32
    y = np.zeros(1, np.int64 if wide else np.int32)
    assert finding(library, name, 1, y, number(a)) == f"[{name}] block (0, 0, 0), thread (0, 0, 0): {words}"
    launch(library, name, 1, y, number(3))


def test_unsigned_numbers_wrap(build: Any) -> None:
    launch(build(ARITHMETIC), "wraps", 1, y := np.zeros(1, np.uint32), np.uint32(2**31 + 5))
    assert y[0] == ((2**31 + 5) ** 2 + 2**31 + 5) % 2**32


@pytest.mark.parametrize("order", ORDERS)
def test_silent_on_what_is_right(build: Any, order: Any) -> None:
    random = np.random.default_rng(2)
    a, b = random.standard_normal((20, 40)).astype(np.float32), random.standard_normal((40, 33)).astype(np.float32)
    c, sums = BE.xp.empty((20, 33), np.float32), BE.xp.empty(3, np.float32)
    x, two = np.arange(300, dtype=np.float32), BE.xp.empty(2, np.float32)
    counts, turned, lanes = ints(16), BE.xp.empty(100, np.int32), BE.xp.empty(32, np.int32)
    down, everywhere, places = BE.xp.empty(6, np.int32), BE.xp.empty(192, np.int32), BE.xp.empty((24, 24), np.int32)
    wide, wider, mask = x[:160].reshape(40, 4), BE.xp.empty((40, 4), np.float32), BE.xp.empty(40, bool)
    values, squares = random.integers(0, 16, 500).astype(np.int32), np.arange(192, dtype=np.int32) ** 2
    with BE.ordered(order):
        launch(build(SGEMM), "sgemm", (16, 16), a, b, c, np.int32(20), np.int32(33), np.int32(40), grid=(3, 2))
        launch(build(BLOCKS), "block_sum", 128, x, sums, np.int32(300), grid=3)
        launch(build(BLOCKS), "reversed", 100, np.arange(100, dtype=np.int32), turned, shared=400)
        launch(build(BLOCKS), "places", (4, 3, 2), places, grid=(2, 3, 4))
        launch(build(WARPS), "warp_sum", 96, squares, down, everywhere, grid=2)
        launch(build(CORRECT), "warp_tree", 64, x[:64], two)
        launch(build(CORRECT), "histogram", 64, values, counts, np.int32(500), grid=8)
        launch(build(CORRECT), "pieces", 32, wide, wider, mask, np.int32(40), grid=2)
        launch(build(CORRECT), "some_lanes", 32, lanes)
    np.testing.assert_allclose(c, a.astype(np.float64) @ b, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(sums, [x[:128].sum(), x[128:256].sum(), x[256:].sum()])
    np.testing.assert_array_equal(turned, np.arange(100)[::-1])
    np.testing.assert_array_equal(places, 100 * np.arange(24)[:, None] + np.arange(24))
    np.testing.assert_array_equal(everywhere, np.repeat(squares.reshape(6, 32).sum(1), 32))
    np.testing.assert_array_equal(two, [x[:32].sum(), x[32:64].sum()])
    np.testing.assert_array_equal(counts, np.bincount(values, minlength=16))
    np.testing.assert_array_equal(wider, wide + np.array([1, 0, 0, 0], np.float32))
    np.testing.assert_array_equal(lanes[::-1], [7] * 8 + list(range(8, 32)))
    assert mask.all()


def test_barriers_and_masks_are_still_looked_at(build: Any) -> None:
    library = build('extern "C" __global__ void exits(int n) { if (threadIdx.x < n) return; __syncthreads(); }')
    message = finding(library, "exits", 8, np.int32(2))
    assert "thread (2, 0, 0): waits at __syncthreads (test.cu:1), but thread (0, 0, 0) has exited" in message


# -- kernels of the library, and broken copies of them -----------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("order", ORDERS)
def test_a_tiled_product_without_a_barrier(build: Any, which: int, order: Any) -> None:
    parts = SGEMM.split("__syncthreads();")
    text = parts[0] + (" ", "__syncthreads();")[which] + parts[1] + ("__syncthreads();", " ")[which] + parts[2]
    a, b, c = (np.ones((40, 40), np.float32) for _ in range(3))
    sizes = [np.int32(40)] * 3
    with BE.ordered(order):
        message = finding(build(text), "sgemm", (16, 16), a, b, c, *sizes, grid=(3, 3))
    assert "no barrier is between them" in message or (which == 0 and "nobody has written before" in message)


RELU, INDEX = "relu.cu", "include/indexing.cuh"


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (RELU, "y[i] = to_scalar", "y[i + 1] = to_scalar", "outside of it (relu.cu:21)"),
        (RELU, "y[i] = to_scalar", "y[i / 2] = to_scalar", "no barrier is between them"),
        (RELU, "y[i] = to_scalar", "if (i) y[i] = to_scalar", "which nobody has written before (relu.cu:31)"),
        (INDEX, "(index_t)gridDim.x * (index_t)blockDim.x", "(index_t)blockDim.x", "blocks are not ordered"),
        (INDEX, "(index_t)gridDim.x *", "(index_t)2147483647 *", "overflows 'int' (include/indexing.cuh:11)"),
    ],
)
def test_broken_kernels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, old: str, new: str, words: str
) -> None:
    with BE.checked() as report:
        case.run(BE, "relu", "both_passes", "float32", 32, {})
    assert report.kernels["relu_forward"].launches == report.kernels["relu_backward"].launches > 0
    break_sources(monkeypatch, tmp_path, file, old, new)
    with pytest.raises(KernelError, match=re.escape(words)), BE.checked():
        case.run(BE, "relu", "both_passes", "float32", 32, {}, orders=(1,))


# -- use ---------------------------------------------------------------------------------------------------------------


def test_a_launch_after_a_finding_is_right(build: Any) -> None:
    for _ in range(2):
        finding(build(MEMORY), "fill", 2, ints(3), ints(1), np.int32(5))
        launch(build(MEMORY), "fill", 2, y := ints(3), np.full(1, 8, np.int32), np.int32(2))
        assert y.tolist() == [0, 0, 8]


def test_the_report_adds_up(build: Any) -> None:
    with BE.checked() as report:
        for _ in range(3):
            BE.run_kernel(build(MEMORY), "bytes", 1, 1, [np.zeros(2, np.uint8), np.zeros(2, np.uint8), np.int32(1)])
    assert report.kernels == {"bytes": Counts(launches=3, global_accesses=6)}


def test_the_build_must_be_the_asked_one(build: Any) -> None:
    arguments = [ints(3), ints(1), np.int64(0)]
    fast = host.compile_text("test", MEMORY, macros={})
    with pytest.raises(ArgumentError, match=r"\[reads\] .* was compiled without checks"), BE.checked():
        BE.run_kernel(fast, "reads", 1, 1, arguments)
    with pytest.raises(ArgumentError, match=r"\[reads\] .* runs inside `with be.checked\(\)` only"):
        BE.run_kernel(build(MEMORY), "reads", 1, 1, arguments)
    assert BE.arch == "host"


def test_without_addr2line(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    library = host.compile_text("bare", MEMORY, macros={}, checked=True)
    message = finding(library, "fill", 2, ints(3), ints(1), np.int32(5))
    assert re.search(r"outside of it \(binutils' addr2line would tell the line\)$", message)


def test_where_it_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(DeviceError, match=r"\[emulated\] checked launches need Linux"), BE.checked():
        pass


COUNTS = """
extern "C" __global__ void columns(float* y, int step) {
  __shared__ float tile[1024];
  tile[threadIdx.x * step] = 1;
  __syncthreads();
  y[threadIdx.x * step] = tile[threadIdx.x * step];
}
extern "C" __global__ void vectors(float4* y) {
  __shared__ float4 tile[64];
  tile[threadIdx.x] = y[threadIdx.x];
}
extern "C" __global__ void one(const float* x, float* y) {
  if (threadIdx.x % 2) y[threadIdx.x] = x[0];
}
extern "C" __global__ void loop(const double* x, double* y, int n) {
  double sum = 0;
  for (int i = threadIdx.x; i < n; i += 32) sum += x[i];
  y[threadIdx.x] = sum;
}
"""


@pytest.mark.parametrize(
    ("name", "arguments", "sectors", "wavefronts"),
    [  # (instructions, actual, ideal)
        ("columns", (np.zeros(1024, np.float32), np.int32(1)), (1, 4, 4), (2, 2, 2)),
        ("columns", (np.zeros(1024, np.float32), np.int32(2)), (1, 8, 4), (2, 4, 2)),
        ("columns", (np.zeros(1024, np.float32), np.int32(8)), (1, 32, 4), (2, 16, 2)),
        ("columns", (np.zeros(1024, np.float32), np.int32(32)), (1, 32, 4), (2, 64, 2)),
        ("columns", (np.zeros(1100, np.float32)[3:], np.int32(1)), (1, 5, 4), (2, 2, 2)),
        ("vectors", (np.zeros(128, np.float32),), (1, 16, 16), (1, 4, 4)),
        ("one", (np.zeros(4, np.float32), np.zeros(32, np.float32)), (2, 1 + 4, 1 + 2), (0, 0, 0)),
        ("loop", (np.zeros(70), np.zeros(32), np.int32(70)), (4, 8 + 8 + 2 + 8, 8 + 8 + 2 + 8), (0, 0, 0)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("order", ["ascending", 4])
def test_counts(build: Any, name: str, arguments: Any, sectors: Any, wavefronts: Any, order: Any) -> None:
    with BE.checked(counting=True) as report, BE.ordered(order):
        BE.run_kernel(build(COUNTS), name, 1, 32, arguments)
    found = report.kernels[name]
    assert (found.global_instructions, found.sectors, found.ideal_sectors) == sectors
    assert (found.shared_instructions, found.wavefronts, found.ideal_wavefronts) == wavefronts


def test_counts_by_line(build: Any) -> None:
    with BE.checked(counting=True) as report:
        for _ in range(2):
            BE.run_kernel(build(COUNTS), "columns", 1, 32, [np.zeros(1024, np.float32), np.int32(8)])
    assert list(report.lines("columns").items()) == [
        ("test.cu:6", Line(False, 2, 64, 8)),
        ("test.cu:4 (shared)", Line(True, 2, 16, 2)),
        ("test.cu:6 (shared)", Line(True, 2, 16, 2)),
    ]
