"""Padding and its transpose, one element at a time in float64."""

from __future__ import annotations

import numpy as np

from tests.oracles.windows import Ints, positions


def source(mode: str, i: int, n: int) -> int | None:
    """Where position i of the padded line, counted from the input's first, is taken from; None: the constant."""
    if mode == "constant":
        return i if 0 <= i < n else None
    while not 0 <= i < n:
        if mode == "circular":
            i += n if i < 0 else -n
        elif mode == "replicate":
            i += 1 if i < 0 else -1
        else:
            i = -i if i < 0 else 2 * (n - 1) - i
    return i


def _sources(mode: str, p: Ints, size: Ints, amounts) -> Ints | None:
    found = tuple(source(mode, o - a, n) for o, n, (a, _) in zip(p, size, amounts))
    return None if None in found else found


def pad(x, amounts, mode: str, value: float) -> np.ndarray:
    y = np.zeros(tuple(n + a + b for n, (a, b) in zip(x.shape, amounts)))
    for p in positions(y.shape):
        q = _sources(mode, p, x.shape, amounts)
        y[p] = value if q is None else x[q]
    return y


def pad_grad(dy, amounts, mode: str) -> np.ndarray:
    dx = np.zeros(tuple(n - a - b for n, (a, b) in zip(dy.shape, amounts)))
    for p in positions(dy.shape):
        q = _sources(mode, p, dx.shape, amounts)
        if q is not None:
            dx[q] += dy[p]
    return dx
