"""A pool of threads over blocks of work on the CPU.

NumPy releases the interpreter lock in copies and matrix products, so blocks run side by side. Inside, BLAS is held to
one thread: that is faster for blocks that fit the cache, and no result depends on the number of threads, because the
blocks are a function of shapes alone and each writes its own memory.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np

from nnlab.backend import Backend
from nnlab.backend.threads import get_num_threads, one_blas_thread
from nnlab.ops._numpy.layout import runs

BLOCK = 1 << 21  # bytes
ASIDE = 1 << 23  # multiply-adds; less is not worth doing aside

_local = threading.local()
T = TypeVar("T")


class _Job:
    """Tasks that several threads take one by one."""

    def __init__(self, be: Backend, task: Callable[[int], None], count: int) -> None:
        self._be, self._task, self._left = be, task, count
        self._indices = iter(range(count))  # shared: each index goes to one thread
        self._lock, self._finished = threading.Lock(), threading.Lock()
        self._finished.acquire()
        self._errors: list[tuple[int, BaseException]] = []

    def help(self) -> None:
        """Take tasks until none is left. After an error those that follow it are dropped."""
        with self._be.quiet():
            for index in self._indices:
                try:
                    if not any(failed < index for failed, _ in self._errors):
                        self._task(index)
                except BaseException as error:
                    self._errors.append((index, error))
                with self._lock:
                    self._left -= 1
                    if self._left == 0:
                        self._finished.release()

    def settle(self) -> None:
        """Until the tasks that others took are done."""
        with self._finished:
            pass

    def wait(self) -> None:
        """Until the tasks that others took are done. Raises the first one's error."""
        self.settle()
        if self._errors:
            raise min(self._errors, key=lambda each: each[0])[1]


class _Helpers:
    """Threads that wait for jobs; they end with the process."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._count = 0

    def call(self, job: _Job, count: int, threads: int = 0) -> None:
        """Wake ``count`` of at least ``threads``. One that comes too late finds nothing left; nobody waits for it."""
        inner = getattr(_local, "inner", None)
        if inner is not None:  # who waits for the calling thread may help
            inner.put(job)
        while self._count < max(count, threads):
            self._count += 1
            threading.Thread(target=self._work, name=f"nnlab-ops-{self._count}", daemon=True).start()
        for _ in range(count):
            self._jobs.put(job)

    def _work(self) -> None:
        while True:
            self._jobs.get().help()


_helpers = _Helpers()


def _forget_helpers() -> None:
    """A child process has none of its parent's threads."""
    global _helpers
    _helpers = _Helpers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


def run(be: Backend, task: Callable[[int], None], count: int, work: int) -> None:
    """Call ``task(0) .. task(count - 1)``, on the CPU from several threads when that pays.

    Args:
        work: multiply-adds of all tasks together; little work is not worth waking threads for.
    """

    # BLAS takes one thread by itself for so small a product.
    if not be.host_memory or work <= 1 << 16:
        with be.quiet():
            for index in range(count):
                task(index)
        return
    with one_blas_thread():
        threads = get_num_threads()
        if count == 1 or work < 1 << 20 or threads == 1:
            with be.quiet():
                for index in range(count):
                    task(index)
        else:
            job = _Job(be, task, count)
            _helpers.call(job, min(threads, count) - 1)
            job.help()
            job.wait()


@contextmanager
def beside(be: Backend, work: int) -> Iterator[Callable[[Callable[[], None]], Callable[[], None]]]:
    """A function that gives a task to another thread while this one goes on, and returns a function that waits for it.

    A task that nobody has begun when it is waited for is done by the thread that waits. On leaving all are done, and
    the error of the first one that failed is raised. Where threads do not pay (``work`` as in :func:`run`), and on a
    GPU, a task is done at once.
    """
    if not be.host_memory or work < 1 << 20 or get_num_threads() == 1:

        def now(task: Callable[[], None]) -> Callable[[], None]:
            task()
            return lambda: None

        yield now
        return
    jobs: list[_Job] = []

    def later(task: Callable[[], None]) -> Callable[[], None]:
        job = _Job(be, lambda _: task(), 1)
        jobs.append(job)
        _helpers.call(job, 1, get_num_threads() - 1)

        def wait() -> None:
            job.help()
            job.wait()

        return wait

    with one_blas_thread():
        try:
            yield later
        finally:
            for job in jobs:
                job.help()
            for job in jobs:
                job.settle()
        for job in jobs:
            job.wait()


def aside(be: Backend, function: Callable[[], T], work: int) -> Callable[[], T]:
    """Begin ``function()`` on another thread while this one goes on; returns a function that waits for its result.

    Who waits helps with what the other thread has in hand, or calls the function where no thread has begun. There is
    one such function at a time, since each keeps arrays: who begins the next one waits for the last. Where threads do
    not pay (``work`` as in :func:`run`), and on a GPU, it is called at once.
    """
    if not be.host_memory or work < ASIDE or get_num_threads() == 1:
        found = function()
        return lambda: found
    inner: SimpleQueue[_Job | None] = SimpleQueue()
    functions, results = [function], []
    del function

    def task(_: int) -> None:
        before, _local.inner = getattr(_local, "inner", None), inner
        try:
            results.append(functions.pop()())  # who holds the way to wait holds no arrays any more
        finally:
            _local.inner = before
            inner.put(None)

    last = getattr(_local, "last", None)
    if last is not None:
        last()
    job = _Job(be, task, 1)
    _helpers.call(job, 1)

    def end() -> None:
        if getattr(_local, "last", None) is end:
            _local.last = None
            job.help()
            while (part := inner.get()) is not None:
                part.help()

    def wait() -> T:
        end()
        job.wait()
        return results[0]

    _local.last = end
    return wait


def cut(count: int, most: int) -> list[tuple[int, int]]:
    """Ranges of nearly equal length, none above ``most`` (at least 1), that cover 0 .. count."""
    parts = -(-count // max(most, 1))
    return [(count * i // parts, count * (i + 1) // parts) for i in range(parts)]


def elementwise(be: Backend, task: Callable[..., None], *arrays: Any, work: int = 1) -> None:
    """Call ``task`` on parts of arrays of one shape, each part of one dimension; on the CPU parts stay in the cache.

    Args:
        arrays: those that the task writes have no gaps, and all that it writes one order; the first is one of them.
        work: multiply-adds that an element costs as much as.
    """
    flat = runs(be, *arrays)
    size = flat[0].size
    blocks = blocks_of(be, size, flat[0].nbytes)
    if len(blocks) == 1:
        with be.quiet():
            task(*flat)
        return

    def part(number: int) -> None:
        where = slice(*blocks[number])
        task(*[array[where] for array in flat])

    run(be, part, len(blocks), size * work)


def blocks_of(be: Backend, count: int, size: int) -> list[tuple[int, int]]:
    """Ranges of ``count`` things that take ``size`` bytes: about 2 megabytes each on the CPU, one range on a GPU.

    Smaller ones would fit a nearer cache, but threads then spend their time handing over the interpreter lock.
    """
    return cut(count, BLOCK * count // max(size, 1) if be.host_memory else count)


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
