"""Windows as columns and back, one element at a time in float64."""

from __future__ import annotations

import math

import numpy as np

from tests.oracles.windows import Ints, inside, place, positions


def unfold(x, out: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints) -> np.ndarray:
    cols = np.zeros((x.shape[0], x.shape[1], math.prod(kernel), math.prod(out)))
    for number, p in enumerate(positions(out)):
        for tap, t in enumerate(positions(kernel)):
            q = place(p, t, stride, pad, dilation)
            if inside(q, x.shape[2:]):
                cols[:, :, tap, number] = x[(slice(None), slice(None), *q)]
    return cols.reshape(x.shape[0], -1, math.prod(out))


def fold(cols, size: Ints, out: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints) -> np.ndarray:
    windows = cols.reshape(cols.shape[0], -1, math.prod(kernel), math.prod(out))
    x = np.zeros((*windows.shape[:2], *size))
    for number, p in enumerate(positions(out)):
        for tap, t in enumerate(positions(kernel)):
            q = place(p, t, stride, pad, dilation)
            if inside(q, size):
                x[(slice(None), slice(None), *q)] += windows[:, :, tap, number]
    return x
