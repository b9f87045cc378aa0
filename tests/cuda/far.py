"""Kernels at the far end of arrays that 32-bit indices do not reach, without the memory.

Arrays lie in memory that the system hands out page by page when it is touched. Of each grid one block alone runs: the
kernel file is compiled with a ``blockIdx`` and a ``gridDim`` that are those of the whole grid.

Functions ``far_...`` of tests/cuda/cases/<op>.py are such cases. They are run by tests/cuda/test_far.py.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnlab.backend import emulated
from nnlab.cuda import launch, sources
from tests.cuda import case

DTYPE = "float16"  # of kernels that have it
BLOCK = 64
FAR = 2**32  # more than an unsigned int counts

_NORESERVE = 0x4000  # MAP_NORESERVE of Linux
_PREFIX = """
extern "C" NNLAB_API uint3 far_block, far_grid;
uint3 far_block, far_grid;
#define blockIdx far_block
#define gridDim far_grid
"""


class _Module:
    """NumPy, but new memory is not touched."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def zeros(shape: Any, dtype: Any = float) -> np.ndarray:
        shape = shape if isinstance(shape, tuple) else (shape,)
        size = prod(shape) * np.dtype(dtype).itemsize
        memory = mmap.mmap(-1, max(size, 1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
        return np.frombuffer(memory, dtype, prod(shape)).reshape(shape)

    empty = zeros


class FarBackend(emulated.EmulatedBackend):
    """Runs the block of a launch that ``element`` belongs to (None: the last), on the arrays themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.xp = _Module()
        self.element: int | None = None

    def run_kernel(self, library: Path, name: str, grid: Any, block: Any, arguments: Sequence[Any], *rest: Any) -> None:
        loaded = ctypes.CDLL(str(library))
        sizes = (*grid, 1, 1)[:3]
        place = [n - 1 for n in sizes] if self.element is None else [self.element // block[0], 0, 0]
        for symbol, values in (("far_grid", sizes), ("far_block", place)):
            (ctypes.c_uint32 * 3).in_dll(loaded, symbol)[:] = values
        super().run_kernel(library, name, (1,), block, arguments, *rest)


class _InPlace:
    """In the place of the copies between red zones: the arrays themselves."""

    def __init__(self, *arrays: Any) -> None:
        pass

    def __enter__(self) -> _InPlace:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def address(self, array: np.ndarray | None) -> int:
        return 0 if array is None else int(array.ctypes.data)

    def check(self, *arguments: Any) -> None:
        pass

    copy_back = check


class FarCase(case.Case):
    def sparse(self, *shape: int) -> np.ndarray:
        """Zeros of the case's dtype; memory is taken where they are written."""
        array: np.ndarray = self.be.xp.zeros(shape, self.dtype)
        return array


def end(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The last elements of an array in every dimension."""
    return array[tuple(slice(-n, None) for n in shape)]


def cases(op: str) -> dict[str, case.Function]:
    return case.functions(op, far=True)


def run(op: str, name: str) -> None:
    """Run a far case and compare."""
    source = sources.source
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "source", lambda unit, root=None: _PREFIX + source(unit, root))
        patch.setattr(launch, "_image", getattr(launch._image, "__wrapped__", launch._image))  # keep nothing
        patch.setattr(emulated, "_Arena", _InPlace)
        patch.setattr(launch, "BLOCK", BLOCK)
        patch.setattr(launch, "MAX_BLOCKS", 2**31 - 1)
        be = FarBackend()
        with be.quiet():
            one = FarCase(be, DTYPE if DTYPE in case.dtypes(op) else "float32", f"{op}.{name}")
            cases(op)[name](one)
    assert one.results, f"{op}.{name} compares nothing"
