"""Launches on several host threads: the same bits and the same errors as on one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from nnlab.backend.emulated import KernelError
from nnlab.cuda import host
from tests import emulator

BE = emulator.backend()

KERNELS = """
// Each block takes long enough for other host threads to be woken, and writes which block it is.
__device__ float busy(int rounds) {
  float sum = 0.0f;
  for (int i = 0; i < rounds; ++i) sum += sqrtf((float)i + sum);
  return sum;
}
extern "C" __global__ void fill(float* out, int rounds) {
  __shared__ float part[32];
  extern __shared__ float more[];
  const float before = part[threadIdx.x], other = more[threadIdx.x];
  __syncthreads();
  part[threadIdx.x] = busy(rounds) * 0.0f + (float)threadIdx.x;
  more[31 - threadIdx.x] = (float)blockIdx.x;
  __syncthreads();
  const bool poisoned = before != before && other != other;
  out[blockIdx.x * 32 + threadIdx.x] = poisoned ? part[31 - threadIdx.x] + more[threadIdx.x] : -1.0f;
}
extern "C" __global__ void count(int* hits, int rounds) {
  if (busy(rounds) >= 0.0f) atomicAdd(hits, 1);
}
extern "C" __global__ void fails(const int* bad, int rounds) {
  busy(bad[blockIdx.x] ? rounds / 4 : rounds);
  if (threadIdx.x == bad[blockIdx.x]) return;
  __syncthreads();
}
extern "C" __global__ void who(unsigned long long* stacks, int rounds) {
  busy(rounds);
  int local;
  if (threadIdx.x == 0) stacks[blockIdx.x] = (unsigned long long)&local;
  __syncthreads();
}
"""


@pytest.fixture(scope="module")
def library() -> Path:
    return host.compile_text("threads", KERNELS, macros={})


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("nnlab.backend.threads._chosen", request.param)
    return int(request.param)


def test_the_same_bits(library: Path, threads: int) -> None:
    """Shared memory is each block's own and poisoned, whichever host thread runs it."""
    for _ in range(5):
        out = np.zeros((64, 32), np.float32)
        BE.run_kernel(library, "fill", 64, 32, [out, np.int32(2000)], shared=128)
        lane = np.arange(32)
        np.testing.assert_array_equal(out, (31 - lane) + np.arange(64)[:, None])


def test_atomics(library: Path, threads: int) -> None:
    hits = np.zeros(1, np.int32)
    BE.run_kernel(library, "count", 300, 32, [hits, np.int32(100)])
    assert hits[0] == 300 * 32


def test_the_first_failing_block_is_reported(library: Path, threads: int) -> None:
    bad = np.zeros(200, np.int32)
    bad[:] = 40  # no such thread
    bad[[77, 78, 79, 150]] = [5, 6, 7, 8]
    for _ in range(5):
        with pytest.raises(KernelError, match=r"\[fails\] block \(77, 0, 0\), .*but thread \(5, 0, 0\) has exited"):
            BE.run_kernel(library, "fails", 200, 32, [bad, np.int32(300)])
    bad[:] = 40
    BE.run_kernel(library, "fails", 200, 32, [bad, np.int32(300)])


@pytest.mark.parametrize("order", ["ascending", "descending", 3])
def test_an_order_is_kept_by_one_thread(
    library: Path, monkeypatch: pytest.MonkeyPatch, order: str | int, kernel_cache: Path
) -> None:
    text = """
extern "C" __global__ void number(int* counter, int* out) {
  for (volatile int i = 0; i < 3000; ++i) {}
  if (threadIdx.x == 0) out[blockIdx.x] = counter[0]++;
}
"""
    monkeypatch.setattr("nnlab.backend.threads._chosen", 4)
    runs = []
    for _ in range(3):
        counter, out = np.zeros(1, np.int32), np.zeros(100, np.int32)
        with BE.ordered(order):
            BE.run_kernel(host.compile_text("number", text, macros={}), "number", 100, 8, [counter, out])
        runs.append(out.tolist())
    assert runs[0] == runs[1] == runs[2]
    assert sorted(runs[0]) == list(range(100))
    if order == "ascending":
        assert runs[0] == list(range(100))


def test_several_threads_do_work(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stacks of another host thread lie elsewhere."""
    monkeypatch.setattr("nnlab.backend.threads._chosen", 2)
    for _ in range(20):
        stacks = np.zeros(100, np.uint64)
        BE.run_kernel(library, "who", 100, 32, [stacks, np.int32(20000)])
        if len(np.unique(stacks)) > 1:
            return
    pytest.fail("all blocks ran on one host thread")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has none of its parent's helping threads."""
    monkeypatch.setattr("nnlab.backend.threads._chosen", 2)

    def run() -> None:
        BE.run_kernel(library, "who", 100, 32, [np.zeros(100, np.uint64), np.int32(20000)])

    run()
    child = os.fork()
    if child == 0:
        try:
            run()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
