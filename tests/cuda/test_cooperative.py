"""Cooperative launches: blocks that wait for one another (kernels/include/grid_sync.cuh)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnlab.backend.emulated import KernelError
from nnlab.cuda import compiler, host, launch, sources
from nnlab.cuda.launch import Grid, Kernel
from nnlab.errors import ArgumentError, MissingExtraError
from tests import emulator
from tests.cuda.test_mma import write

BE = emulator.backend()
ORDERS = ["ascending", "descending", 1, 2]

KERNELS = """
#include "include/grid_sync.cuh"

// x of n = all threads' elements is shifted by one block, `steps` times; each block keeps its number in shared memory.
extern "C" __global__ void shift(int* x, int* y, int* kept, uint32* counter, int steps) {
  __shared__ int number[2];
  extern __shared__ int turns[];
  const int t = threadIdx.x, block = blockIdx.y * gridDim.x + blockIdx.x, blocks = gridDim.x * gridDim.y;
  if (t == 0) number[1] = block;
  turns[t] = 0;
  __syncthreads();
  for (int step = 0; step < steps; ++step) {
    const int from = (number[1] + 1) % blocks;
    const int value = x[from * blockDim.x + blockDim.x - 1 - t];
    grid_sync(counter);
    x[block * blockDim.x + t] = value;
    turns[t] += 1;
    if (t % 32 < 7) __syncwarp(0x7Fu);
    __syncthreads();
    grid_sync(counter);
  }
  y[block * blockDim.x + t] = x[block * blockDim.x + t];
  if (t == 0) kept[block] = 100 * number[1] + turns[blockDim.x - 1];
}
extern "C" __global__ void one_ends(int* x, uint32* counter) {
  if (blockIdx.x == 2) return;
  x[blockIdx.x] = 1;
  grid_sync(counter);
}
extern "C" __global__ void one_thread_ends(int* x, uint32* counter) {
  if (threadIdx.x == 3 && blockIdx.x == 1) return;
  grid_sync(counter);
}
extern "C" __global__ void two_places(int* x, uint32* counter) {
  if (blockIdx.x == 1) grid_sync(counter);
  else grid_sync(counter);
}
"""
MACROS = {"DTYPE_FLOAT32": 1, "INDEX_BITS": 32}


@pytest.fixture
def build(tmp_path: Path) -> Any:
    return lambda text: host.compile_text("test", sources.source("test", write(tmp_path, "test", text)), macros=MACROS)


def run_shift(library: Path, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = np.arange(6 * 40, dtype=np.int32)
    y, kept, counter = np.zeros_like(x), np.zeros(6, np.int32), np.zeros(1, np.uint32)
    arguments = [x.copy(), y, kept, counter, np.int32(steps)]
    BE.run_kernel(library, "shift", (3, 2), 40, arguments, shared=160, cooperative=True)
    wanted = x.reshape(6, 40)
    for _ in range(steps):
        wanted = np.roll(wanted, -1, axis=0)[:, ::-1]
    return y.reshape(6, 40), wanted, kept


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_blocks_wait_for_one_another(build: Any, order: str | int, steps: int) -> None:
    with BE.ordered(order):
        found, wanted, kept = run_shift(build(KERNELS), steps)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(kept, 100 * np.arange(6) + steps)


@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_barrier_of_the_grid_shows(build: Any, which: int) -> None:
    parts = KERNELS.split("    grid_sync(counter);\n")
    parts[which] += "    __syncthreads();\n" + parts.pop(which + 1)
    library = build("    grid_sync(counter);\n".join(parts))
    right = []
    for order in ORDERS:
        with BE.ordered(order):
            found, wanted, _ = run_shift(library, 4)
        right.append(bool((found == wanted).all()))
    assert not all(right)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "one_ends",
            "block (0, 0, 0), thread (0, 0, 0): waits at grid_sync (test.cu:28), but block (2, 0, 0) has ended",
        ),
        ("one_thread_ends", "block (1, 0, 0), thread (0, 0, 0): waits at grid_sync (test.cu:32), but thread (3, 0, 0)"),
        (
            "two_places",
            "block (0, 0, 0), thread (0, 0, 0): waits at grid_sync (test.cu:36), "
            "but block (1, 0, 0) waits at grid_sync (test.cu:35)",
        ),
    ],
)
def test_blocks_that_never_meet(build: Any, name: str, words: str) -> None:
    x, counter = np.zeros(8, np.int32), np.zeros(1, np.uint32)
    with pytest.raises(KernelError) as caught:
        BE.run_kernel(build(KERNELS), name, 4, 8, [x, counter], cooperative=True)
    assert words in str(caught.value)
    assert not x.any()
    run_shift(build(KERNELS), 2)


def test_only_in_a_cooperative_launch(build: Any) -> None:
    with pytest.raises(KernelError, match=r"waits at grid_sync \(test.cu:36\), but the launch is not cooperative"):
        BE.run_kernel(build(KERNELS), "two_places", 1, 8, [np.zeros(8, np.int32), np.zeros(1, np.uint32)])


def test_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path, "test", KERNELS.replace("int* x, int* y, int* kept", "float* x, float* y, int* kept"))
    monkeypatch.setattr(sources, "folder", lambda: root)
    (root / "host").symlink_to(Path(host.__file__).resolve().parents[2] / "kernels" / "host")
    monkeypatch.setattr(launch, "_image", launch._image.__wrapped__)
    kinds = {"x": "scalar*", "y": "scalar*", "kept": "int32*", "counter": "uint32*", "steps": "int32"}
    kernel = Kernel("test", "shift", kinds)
    x, y = np.arange(64, dtype=np.float32), np.zeros(64, np.float32)
    others = {"kept": np.zeros(2, np.int32), "counter": np.zeros(1, np.uint32), "steps": 1}
    grid = Grid((2,), (32,), shared=128, cooperative=True)
    launch.launch(BE, kernel, threads=grid, x=x, y=y, **others)
    np.testing.assert_array_equal(y.reshape(2, 32), np.arange(64).reshape(2, 32)[::-1, ::-1])
    many = Grid((300,), (32,), cooperative=True)
    wanted = r"\[shift\] 'blocks' must be at most 256 that run side by side on emulated, got \(300,\)"
    with pytest.raises(ArgumentError, match=wanted):
        launch.launch(BE, kernel, threads=many, x=x, y=y, **others)
    assert BE.blocks_together(1024) == 8


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90a", "sm_120"])
def test_compiles_for_gpus(tmp_path: Path, kernel_cache: Path, arch: str) -> None:
    try:
        compiler.toolkit_include()
    except MissingExtraError as error:
        pytest.skip(str(error))
    root = write(tmp_path, "test", KERNELS)
    assert compiler.compile_unit("test", arch=arch, macros=MACROS, root=root).path.is_file()
