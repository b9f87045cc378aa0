"""Memory of large arrays on the CPU, kept for the next array of its size.

Freed memory goes back to the operating system, which hands out zeroed pages when the next array is written: in a
training step that costs as much as the arithmetic. Here a block is given out again as soon as no array uses it, and a
step allocates almost nothing after the first one. What is kept, used and free together, stays below one and a half of
what was in use at some moment: with less, blocks of one size would be freed for those of another in every step.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from math import prod
from typing import Any

import numpy as np

LEAST = 1 << 16  # bytes; smaller arrays cost malloc less than this does
ALIGNMENT = 64  # bytes: a line of the cache, and the widest vector
ROOM = 2  # a block may be so many times as large as what is wanted
SLACK = 1.5  # bytes kept to bytes in use at some moment, at most
_FREE = 2  # references to a block that no array uses: the list's and getrefcount's own


class Pool:
    """Blocks of memory by size. An array's ``base`` is its block, so references tell which blocks are in use."""

    def __init__(self) -> None:
        self._blocks: dict[int, deque[np.ndarray]] = {}  # of a size, the latest given out at the left
        self._lock = threading.Lock()
        self._total = self._peak = 0

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An uninitialised array in row-major order."""
        dtype = np.dtype(dtype)
        wanted = prod(shape) * dtype.itemsize
        if wanted < LEAST:
            return np.empty(shape, dtype)
        with self._lock:
            block = self._take(_rounded(wanted))
        return block[:wanted].view(dtype).reshape(shape)

    def trim(self) -> None:
        """Give back all memory that no array uses."""
        with self._lock:
            self._drop(self._total)
            self._peak = self._total

    def reserved(self) -> int:
        """Bytes that are kept, in use or not."""
        return self._total

    def _take(self, size: int) -> np.ndarray:
        for fitting in sorted(held for held in self._blocks if size <= held <= ROOM * size):
            same = self._blocks[fitting]
            for number in range(len(same)):
                if sys.getrefcount(same[number]) == _FREE:
                    block = same[number]
                    del same[number]
                    same.appendleft(block)
                    return block
        used = self._total - self._unused()
        self._peak = max(self._peak, used + size)
        self._drop(int(self._total + size - SLACK * self._peak))
        block = _aligned(size)
        self._blocks.setdefault(size, deque()).appendleft(block)
        self._total += size
        return block

    def _unused(self) -> int:
        return sum(
            size for size, same in self._blocks.items() for i in range(len(same)) if sys.getrefcount(same[i]) == _FREE
        )

    def _drop(self, excess: int) -> None:
        """Free unused blocks until ``excess`` bytes are free, those of a size that were given out longest ago first."""
        for size, same in list(self._blocks.items()):
            for number in reversed(range(len(same))):
                if excess <= 0:
                    return
                if sys.getrefcount(same[number]) == _FREE:
                    del same[number]
                    self._total -= size
                    excess -= size


def _rounded(size: int) -> int:
    """Up to 1/8 more, so that arrays of nearly one size share blocks."""
    step = max(ALIGNMENT, 1 << (size.bit_length() - 4))
    return -(-size // step) * step


def _aligned(size: int) -> np.ndarray:
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    # frombuffer: the block itself, not the memory around it, is the base of the arrays in it.
    return np.frombuffer(memory.data, np.uint8, size, start)


pool = Pool()
