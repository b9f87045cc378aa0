"""A convolution's input and kernel sorted by remainders, one number at a time."""

from __future__ import annotations

import numpy as np


def input(x, places, steps, pad, filled: int) -> np.ndarray:
    """(N, *places, filled): channel rest * C + c at a place is x at place * step + rest - pad, 0 outside."""
    found = np.zeros((len(x), *places, filled))
    for n, *place, rest, c in np.ndindex(len(x), *places, int(np.prod(steps)), x.shape[1]):
        rests = np.unravel_index(rest, steps)
        at = tuple(u * s + r - p for u, s, r, p in zip(place, steps, rests, pad))
        if all(0 <= i < size for i, size in zip(at, x.shape[2:])):
            found[(n, *place, rest * x.shape[1] + c)] = x[(n, c, *at)]
    return found


def kernel(w, taps, stride, steps, together: int, filled: int) -> np.ndarray:
    """(together * O, *taps, filled): tap t of output a is (a * stride + t) // step of rest (a * stride + t) % step."""
    found = np.zeros((together * len(w), *taps, filled))
    for a, o, c, *tap in np.ndindex(together, *w.shape):
        way = [*tap[:-1], a * stride[-1] + tap[-1]]
        rest = int(np.ravel_multi_index([t % s for t, s in zip(way, steps)], steps))
        place = tuple(t // s for t, s in zip(way, steps))
        found[(a * len(w) + o, *place, rest * w.shape[1] + c)] = w[(o, c, *tap)]
    return found
