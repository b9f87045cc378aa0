"""Recorded steps on ``cuda``: a stream's capture becomes a CUDA graph.

CuPy itself is reached through the backend's array module.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from nnlab.backend import cublas, graphs
from nnlab.backend.cuda import CudaBackend, allocator, compute_capability
from nnlab.precision import get_float32_matmul_precision


class _Module:
    """CuPy as far as it can be recorded: matrix products by a cuBLAS handle of our own, nothing from the host."""

    def __init__(self, cupy: Any, products: cublas.Cublas) -> None:
        self._cupy, self._products = cupy, products
        self.ndarray = cupy.ndarray

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._cupy, name)
        setattr(self, name, value)
        return value

    def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
        return self._products.matmul(self._cupy, a, b, out)

    def concatenate(self, arrays: Sequence[Any], axis: int = 0) -> Any:
        """Copies one by one: for more than 8 arrays CuPy brings a table of their addresses from the host."""
        first = arrays[0]
        axis %= first.ndim
        total = sum(array.shape[axis] for array in arrays)
        shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
        result = self._cupy.empty(shape, np.result_type(*(array.dtype for array in arrays)))
        start = 0
        for array in arrays:
            end = start + array.shape[axis]
            result[(slice(None),) * axis + (slice(start, end),)] = array
            start = end
        return result

    @contextmanager
    def products(self) -> Iterator[None]:
        self._products.set_tf32(get_float32_matmul_precision() != "highest")
        yield


@contextmanager
def _nothing_from_the_host(xp: Any) -> Iterator[None]:
    """Refuse what CuPy itself would copy from the host, tables of addresses and the like: recorded would be a copy out
    of memory that holds something else by the time of a run. All such copies go through pinned memory."""
    pinned = xp.get_default_pinned_memory_pool()

    def malloc(size: int) -> Any:
        graphs.refuse("copies numbers from the host")
        return pinned.malloc(size)

    xp.cuda.set_pinned_memory_allocator(malloc)
    try:
        yield
    finally:
        xp.cuda.set_pinned_memory_allocator(pinned.malloc)


class _Lane:
    """What all recordings of a thread share: a stream, ordered by events with the one that is current outside, and a
    cuBLAS handle with its workspace."""

    def __init__(self, be: CudaBackend) -> None:
        cupy = be.xp
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.before, self.after = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        size = cublas.WORKSPACE[compute_capability(be.device.index) >= (9, 0)]
        self.workspace = cupy.empty(size, np.uint8)
        version = int(cupy.cuda.runtime.runtimeGetVersion()) // 1000
        cupy.cuda.get_cublas_handle()  # CuPy finds and loads the library
        products = cublas.Cublas(cublas.load(version), be.tensor_cores)
        products.use(self.stream.ptr, self.workspace.data.ptr, size)
        self.module = _Module(cupy, products)


class CudaRecording:
    """The launches of a step as a CUDA graph; see :class:`nnlab.backend.graphs.Recording`.

    Its memory pool lives as long as the graph: no other array ever gets the memory that the graph's launches write.
    """

    def __init__(self, be: CudaBackend, thread: threading.local) -> None:
        self._be, self._thread = be, thread
        cupy = be.xp
        if not hasattr(thread, "lane"):
            thread.lane = _Lane(be)
        self._lane: _Lane = thread.lane
        self._stream = self._lane.stream
        self._pool = cupy.cuda.MemoryPool()
        describe = lambda: str(be.device)  # noqa: E731
        self._malloc = allocator(self._pool, cupy.cuda.memory.OutOfMemoryError, describe)
        self._graph: Any = None

    @contextmanager
    def _own(self) -> Iterator[None]:
        """Stream, memory and products of this recording."""
        before = self._be.xp
        with before.cuda.using_allocator(self._malloc), self._stream:
            self._thread.module = self._lane.module
            try:
                yield
            finally:
                if isinstance(before, _Module):
                    self._thread.module = before
                else:
                    del self._thread.module

    @property
    @contextmanager
    def working(self) -> Iterator[None]:
        outside = self._be.xp.cuda.get_current_stream()
        self._stream.wait_event(outside.record(self._lane.before))
        try:
            with self._own():
                yield
        finally:
            outside.wait_event(self._stream.record(self._lane.after))

    @contextmanager
    def recorded(self, arrays: Sequence[Any]) -> Iterator[None]:
        with self._own(), _nothing_from_the_host(self._be.xp):
            self._stream.begin_capture()
            try:
                yield
            except BaseException:
                with suppress(Exception):  # it may be spoilt: then ending it is an error too
                    self._stream.end_capture()
                raise
            self._graph = self._stream.end_capture()

    def view(self, array: Any) -> Any:
        return array

    def launch(self) -> None:
        self._graph.launch(self._stream)
