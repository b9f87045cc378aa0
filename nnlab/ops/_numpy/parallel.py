"""A pool of threads over blocks of work on the CPU.

NumPy releases the interpreter lock in copies and matrix products, so blocks run side by side. Inside, BLAS is held to
one thread: that is faster for blocks that fit the cache, and no result depends on the number of threads, because the
blocks are a function of shapes alone and each writes its own memory.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from math import prod
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.backend.cpu import thread_count

_local = threading.local()
_blas_lock = threading.Lock()
_blas_holders = 0
_blas_before = 1

BLAS_NAMES = (
    ("scipy_openblas_set_num_threads64_", "scipy_openblas_get_num_threads64_"),
    ("scipy_openblas_set_num_threads", "scipy_openblas_get_num_threads"),
    ("openblas_set_num_threads64_", "openblas_get_num_threads64_"),
    ("openblas_set_num_threads", "openblas_get_num_threads"),
    ("MKL_Set_Num_Threads", "MKL_Get_Max_Threads"),
)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_count(), thread_name_prefix="nnlab-ops")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


@cache
def _blas_calls() -> tuple[Callable[[int], None], Callable[[], int]] | None:
    """Setter and getter of the thread count of the BLAS that NumPy is linked with, if it is a known one."""
    import numpy.linalg._umath_linalg as extension

    try:
        library = ctypes.CDLL(extension.__file__)
    except OSError:
        return None
    for setter, getter in BLAS_NAMES:
        if hasattr(library, setter) and hasattr(library, getter):
            return getattr(library, setter), getattr(library, getter)
    return None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread for a while; several threads may hold it at once."""
    global _blas_holders, _blas_before
    calls = _blas_calls()
    if calls is None:
        yield
        return
    set_threads, get_threads = calls
    with _blas_lock:
        if _blas_holders == 0:
            _blas_before = get_threads()
            if _blas_before != 1:
                set_threads(1)
        _blas_holders += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_holders -= 1
            if _blas_holders == 0 and _blas_before != 1:
                set_threads(_blas_before)


def _share(task: Callable[[int], None], count: int) -> None:
    """The calling thread and helpers of the pool take the tasks one by one: waking a thread for each costs more."""
    left = deque(range(count))

    def take() -> None:
        while left:
            try:
                index = left.popleft()
            except IndexError:  # another thread was faster
                return
            task(index)

    helpers = [_pool().submit(take) for _ in range(min(thread_count(), count) - 1)]
    try:
        take()
    finally:
        left.clear()
        wait([helper for helper in helpers if not helper.cancel()])  # one that has not begun is not needed
    for helper in helpers:
        if not helper.cancelled():
            helper.result()


def run(be: Backend, task: Callable[[int], None], count: int, work: int) -> None:
    """Call ``task(0) .. task(count - 1)``, on the CPU from several threads when that pays.

    Args:
        work: multiply-adds of all tasks together; little work is not worth waking threads for.
    """

    def quietly(index: int) -> None:
        with be.quiet():
            task(index)

    # BLAS takes one thread by itself for so small a product.
    if not be.host_memory or work <= 1 << 16:
        for index in range(count):
            quietly(index)
        return
    with one_blas_thread():
        if count == 1 or work < 1 << 20 or thread_count() == 1:
            for index in range(count):
                quietly(index)
        else:
            _share(quietly, count)


def cut(count: int, most: int) -> list[tuple[int, int]]:
    """Ranges of nearly equal length, none above ``most`` (at least 1), that cover 0 .. count."""
    parts = -(-count // max(most, 1))
    return [(count * i // parts, count * (i + 1) // parts) for i in range(parts)]


def plane_blocks(be: Backend, planes: int, plane_bytes: int) -> list[tuple[int, int]]:
    """Ranges of planes of about half a megabyte on the CPU, one range on a GPU."""
    return cut(planes, (1 << 19) // max(plane_bytes, 1) if be.host_memory else planes)


def scratch(be: Backend, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """An uninitialised array. On the CPU its memory is kept, one buffer a thread and name, for the next caller."""
    if not be.host_memory:
        return be.xp.empty(shape, dtype)
    size = prod(shape) * np.dtype(dtype).itemsize
    buffer = getattr(_local, name, None)
    if buffer is None or buffer.nbytes < size:
        buffer = np.empty(size, np.uint8)
        setattr(_local, name, buffer)
    return buffer[:size].view(dtype).reshape(shape)
