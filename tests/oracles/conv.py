"""Convolution and its gradients from the definition, in float64."""

from __future__ import annotations

import numpy as np

from tests.oracles.windows import Ints, inside, out_size, place, positions


def forward(x, w, b, stride: Ints, low: Ints, high: Ints, dilation: Ints, groups: int) -> np.ndarray:
    out = out_size(x.shape[2:], w.shape[2:], stride, low, high, dilation)
    y = np.zeros((x.shape[0], w.shape[0], *out))
    if b is not None:
        for o in range(w.shape[0]):
            y[:, o] = b[o]
    wide, narrow = w.shape[0] // groups, w.shape[1]
    for p in positions(out):
        for t in positions(w.shape[2:]):
            q = place(p, t, stride, low, dilation)
            if not inside(q, x.shape[2:]):
                continue
            for g in range(groups):
                outputs, inputs = slice(g * wide, (g + 1) * wide), slice(g * narrow, (g + 1) * narrow)
                y[(slice(None), outputs, *p)] += x[(slice(None), inputs, *q)] @ w[(outputs, slice(None), *t)].T
    return y


def gradients(x, w, dy, stride: Ints, low: Ints, dilation: Ints, groups: int) -> tuple[np.ndarray, ...]:
    """(dx, dw, db)."""
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    wide, narrow = w.shape[0] // groups, w.shape[1]
    for p in positions(dy.shape[2:]):
        for t in positions(w.shape[2:]):
            q = place(p, t, stride, low, dilation)
            if not inside(q, x.shape[2:]):
                continue
            for g in range(groups):
                outputs, inputs = slice(g * wide, (g + 1) * wide), slice(g * narrow, (g + 1) * narrow)
                grad, value = dy[(slice(None), outputs, *p)], x[(slice(None), inputs, *q)]
                dx[(slice(None), inputs, *q)] += grad @ w[(outputs, slice(None), *t)]
                dw[(outputs, slice(None), *t)] += grad.T @ value
    return dx, dw, dy.sum(axis=tuple(i for i in range(dy.ndim) if i != 1))
