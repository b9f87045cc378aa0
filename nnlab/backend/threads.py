"""How many threads the CPU works with, and how many of them are the BLAS's own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from nnlab.errors import ArgumentError, complaint

VARIABLES = ("NNLAB_NUM_THREADS", "OMP_NUM_THREADS")

_chosen: int | None = None
_blas_lock = threading.Lock()
_blas_holders = 0
_blas_before: list[tuple[Any, int]] = []  # libraries that had more than one thread


def set_num_threads(threads: int) -> None:
    """Set how many threads operations on the CPU use, and kernels on the device ``emulated``.

    Results do not depend on it. Matrix products are cut into blocks that these threads share, each by one thread of
    the BLAS, so its own setting (OPENBLAS_NUM_THREADS) changes nothing here.

    Raises:
        ArgumentError: ``threads`` is not a positive integer.
    """
    global _chosen
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ArgumentError(complaint("set_num_threads", "threads", "be a positive integer", threads))
    _chosen = threads


def get_num_threads() -> int:
    """What :func:`set_num_threads` set, else NNLAB_NUM_THREADS, else OMP_NUM_THREADS, else the process's cores."""
    if _chosen is not None:
        return _chosen
    for variable in VARIABLES:
        asked = os.environ.get(variable, "")
        if asked.isdecimal() and int(asked) > 0:
            return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _blas() -> list[Any]:
    """The BLAS libraries of this process, found when the first product is made; none is known without threadpoolctl,
    which a machine that only tests kernels may lack."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def blas_name() -> str:
    """The BLAS's name, version and the processor that its kernels are made for, e.g. "openblas 0.3.31 SkylakeX"."""
    facts = [[library.internal_api, library.version, getattr(library, "architecture", None)] for library in _blas()]
    return ", ".join(" ".join(str(fact) for fact in each if fact) for each in facts) or "unknown"


@cache
def small_products() -> bool:
    """Whether the BLAS multiplies small matrices without copying them first, as OpenBLAS does on AVX-512."""
    return any(getattr(library, "architecture", None) in ("SkylakeX", "Cooperlake") for library in _blas())


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread for a while; several threads may hold it at once."""
    global _blas_holders, _blas_before
    with _blas_lock:
        if _blas_holders == 0:
            _blas_before = [(library, threads) for library in _blas() if (threads := library.get_num_threads()) != 1]
            for library, _ in _blas_before:
                library.set_num_threads(1)
        _blas_holders += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_holders -= 1
            if _blas_holders == 0:
                for library, threads in _blas_before:
                    library.set_num_threads(threads)
