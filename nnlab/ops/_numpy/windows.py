"""Where the taps of a sliding window meet the input."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

from nnlab.geometry import Shape, tap_range

Tap = tuple[Shape, tuple[tuple[int, int], ...], tuple[slice, ...]]


@lru_cache(maxsize=256)
def taps(kernel: Shape, out: Shape, size: Shape, start: Shape, stride: Shape, dilation: Shape) -> tuple[Tap, ...]:
    """For each tap in row-major order: its index, the output range [lo, hi) per dimension whose windows have that tap
    inside the input, and the input slices that it meets there. Output 0 reads from position ``start`` on."""
    result = []
    for tap in product(*map(range, kernel)):
        where, slices = [], []
        for t, o, n, s, st, d in zip(tap, out, size, start, stride, dilation, strict=True):
            lo, hi, first = tap_range(o, n, s + t * d, st)
            where.append((lo, hi))
            slices.append(slice(first, first + (hi - lo - 1) * st + 1, st) if hi > lo else slice(0, 0))
        result.append((tap, tuple(where), tuple(slices)))
    return tuple(result)


def clip(first: int, length: int, size: int) -> tuple[int, int]:
    """The part [lo, hi) of positions first .. first + length - 1 that lies in 0 .. size - 1, counted from ``first``."""
    low = min(max(-first, 0), length)
    return low, max(low, min(length, size - first))
