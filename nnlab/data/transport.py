"""Trees of arrays through shared memory.

Pickle protocol 5 takes the array contents out of a tree; they lie one after another, each at a multiple of 64 bytes.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from multiprocessing.shared_memory import SharedMemory
from typing import Any, NamedTuple

import numpy as np

_ALIGN = 64


class Packed(NamedTuple):
    """A tree without its array contents, and the lengths of those in bytes."""

    skeleton: bytes
    lengths: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes that the contents take, with gaps."""
        return sum(_aligned(length) for length in self.lengths)


def _aligned(length: int) -> int:
    return -(-length // _ALIGN) * _ALIGN


def pack(tree: Any) -> tuple[Packed, list[memoryview]]:
    """Take a tree apart."""
    buffers: list[pickle.PickleBuffer] = []
    skeleton = pickle.dumps(tree, protocol=5, buffer_callback=buffers.append)
    contents = [buffer.raw() for buffer in buffers]
    return Packed(skeleton, tuple(content.nbytes for content in contents)), contents


def memory_of(segment: SharedMemory) -> memoryview:
    """The memory of a segment that is open."""
    assert segment.buf is not None
    return segment.buf


def write(target: memoryview, contents: Sequence[memoryview]) -> None:
    """Lay the contents out in a memory of at least ``Packed.nbytes``."""
    place = np.frombuffer(target, np.uint8)
    start = 0
    for content in contents:
        place[start : start + content.nbytes] = np.frombuffer(content, np.uint8) if content.nbytes else 0
        start += _aligned(content.nbytes)


def unpack(packed: Packed, source: memoryview) -> Any:
    """Put a tree together again; its arrays use the memory of ``source`` and are read-only if it is."""
    parts, start = [], 0
    for length in packed.lengths:
        parts.append(source[start : start + length])
        start += _aligned(length)
    return pickle.loads(packed.skeleton, buffers=parts)
