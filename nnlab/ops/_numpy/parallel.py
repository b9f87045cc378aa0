"""A pool of threads over blocks of work on the CPU.

NumPy releases the interpreter lock in copies and matrix products, so blocks run side by side. Inside, BLAS is held to
one thread: that is faster for blocks that fit the cache, and no result depends on the number of threads, because the
blocks are a function of shapes alone and each writes its own memory.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.backend.threads import get_num_threads, one_blas_thread

_local = threading.local()


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="nnlab-ops")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


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
        threads = get_num_threads()
        if count == 1 or work < 1 << 20 or threads == 1:
            for index in range(count):
                quietly(index)
        else:
            for _ in _pool(threads).map(quietly, range(count)):
                pass


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
