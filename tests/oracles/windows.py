"""Sliding windows one element at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

Ints = tuple[int, ...]


def out_size(size: Ints, kernel: Ints, stride: Ints, low: Ints, high: Ints, dilation: Ints) -> Ints:
    """Number of windows that fit into the padded input."""
    result = []
    for n, k, s, a, b, d in zip(size, kernel, stride, low, high, dilation):
        count = 0
        while count * s + (k - 1) * d < n + a + b:
            count += 1
        result.append(count)
    return tuple(result)


def positions(size: Ints) -> Iterator[Ints]:
    return product(*map(range, size))


def place(output: Ints, tap: Ints, stride: Ints, low: Ints, dilation: Ints) -> Ints:
    """Input position that a tap reads; it may lie in the padding."""
    return tuple(o * s - p + t * d for o, t, s, p, d in zip(output, tap, stride, low, dilation))


def inside(position: Ints, size: Ints) -> bool:
    return all(0 <= q < n for q, n in zip(position, size))
