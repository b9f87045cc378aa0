"""Max and average pooling, fixed and adaptive, and their gradients, one element at a time in float64."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from tests.oracles.windows import Ints, inside, place, positions


def out_size(size: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints, ceil_mode: bool) -> Ints:
    result = []
    for n, k, s, p, d in zip(size, kernel, stride, pad, dilation):
        count = (math.ceil if ceil_mode else math.floor)((n + 2 * p - d * (k - 1) - 1) / s) + 1
        while ceil_mode and (count - 1) * s >= n + p:
            count -= 1
        result.append(count)
    return tuple(result)


def _flat(position: Ints, size: Ints) -> int:
    return int(np.ravel_multi_index(position, size))


def _best(plane, window: list[Ints]) -> Ints:
    """The place of the maximum: the first of equal ones, the last NaN if there is any."""
    best = window[0]
    for q in window[1:]:
        if plane[q] > plane[best] or math.isnan(plane[q]):
            best = q
    return best


def max_pool(x, out: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints) -> tuple[np.ndarray, np.ndarray]:
    """(y, flat places)."""
    y = np.zeros((*x.shape[:2], *out))
    where = np.zeros(y.shape, np.int64)
    for n, c in positions(x.shape[:2]):
        for p in positions(out):
            taps = [place(p, t, stride, pad, dilation) for t in positions(kernel)]
            q = _best(x[n, c], [q for q in taps if inside(q, x.shape[2:])])
            y[(n, c, *p)], where[(n, c, *p)] = x[(n, c, *q)], _flat(q, x.shape[2:])
    return y, where


def scatter(dy, where, size: Ints) -> np.ndarray:
    """Each gradient added at its place."""
    dx = np.zeros((*dy.shape[:2], math.prod(size)))
    for n, c in positions(dy.shape[:2]):
        for p in positions(dy.shape[2:]):
            dx[n, c, where[(n, c, *p)]] += dy[(n, c, *p)]
    return dx.reshape(*dy.shape[:2], *size)


def take(x, where) -> np.ndarray:
    """The elements at flat places."""
    y = np.zeros(where.shape)
    for n, c in positions(where.shape[:2]):
        for p in positions(where.shape[2:]):
            y[(n, c, *p)] = x[n, c].reshape(-1)[where[(n, c, *p)]]
    return y


def taps_at(x, index, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints) -> np.ndarray:
    """The element at tap number ``index`` of each window; 0 in the padding."""
    y = np.zeros(index.shape)
    for n, c in positions(index.shape[:2]):
        for p in positions(index.shape[2:]):
            tap = tuple(int(t) for t in np.unravel_index(index[(n, c, *p)], kernel))
            q = place(p, tap, stride, pad, dilation)
            y[(n, c, *p)] = x[(n, c, *q)] if inside(q, x.shape[2:]) else 0
    return y


def _divisor(p: Ints, size: Ints, kernel: Ints, stride: Ints, pad: Ints, include_pad: bool, override) -> float:
    if override is not None:
        return override
    count = 1
    for o, n, k, s, a in zip(p, size, kernel, stride, pad):
        low, high = (-a, n + a) if include_pad else (0, n)
        count *= sum(low <= o * s - a + t < high for t in range(k))
    return count


def avg_pool(x, out: Ints, kernel: Ints, stride: Ints, pad: Ints, include_pad: bool, override) -> np.ndarray:
    y = np.zeros((*x.shape[:2], *out))
    one = (1,) * len(out)
    for p in positions(out):
        total = np.zeros(x.shape[:2])
        for t in positions(kernel):
            q = place(p, t, stride, pad, one)
            if inside(q, x.shape[2:]):
                total += x[(slice(None), slice(None), *q)]
        divisor = _divisor(p, x.shape[2:], kernel, stride, pad, include_pad, override)
        y[(slice(None), slice(None), *p)] = total / divisor
    return y


def avg_pool_grad(dy, size: Ints, kernel: Ints, stride: Ints, pad: Ints, include_pad: bool, override) -> np.ndarray:
    dx = np.zeros((*dy.shape[:2], *size))
    one = (1,) * len(size)
    for p in positions(dy.shape[2:]):
        share = dy[(slice(None), slice(None), *p)] / _divisor(p, size, kernel, stride, pad, include_pad, override)
        for t in positions(kernel):
            q = place(p, t, stride, pad, one)
            if inside(q, size):
                dx[(slice(None), slice(None), *q)] += share
    return dx


def adaptive_window(p: Ints, size: Ints, out: Ints) -> list[Ints]:
    """Input positions of one output of adaptive pooling."""
    ranges = [range(math.floor(i * n / o), math.ceil((i + 1) * n / o)) for i, n, o in zip(p, size, out)]
    return list(product(*ranges))


def adaptive_avg(x, out: Ints) -> np.ndarray:
    y = np.zeros((*x.shape[:2], *out))
    for p in positions(out):
        window = adaptive_window(p, x.shape[2:], out)
        y[(slice(None), slice(None), *p)] = sum(x[(slice(None), slice(None), *q)] for q in window) / len(window)
    return y


def adaptive_avg_grad(dy, size: Ints) -> np.ndarray:
    dx = np.zeros((*dy.shape[:2], *size))
    for p in positions(dy.shape[2:]):
        window = adaptive_window(p, size, dy.shape[2:])
        for q in window:
            dx[(slice(None), slice(None), *q)] += dy[(slice(None), slice(None), *p)] / len(window)
    return dx


def adaptive_max(x, out: Ints) -> tuple[np.ndarray, np.ndarray]:
    """(y, flat places)."""
    y = np.zeros((*x.shape[:2], *out))
    where = np.zeros(y.shape, np.int64)
    for n, c in positions(x.shape[:2]):
        for p in positions(out):
            q = _best(x[n, c], adaptive_window(p, x.shape[2:], out))
            y[(n, c, *p)], where[(n, c, *p)] = x[(n, c, *q)], _flat(q, x.shape[2:])
    return y, where
