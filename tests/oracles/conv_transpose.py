"""Transposed convolution and its gradients from the definition: each input element stamps the kernel on the output."""

from __future__ import annotations

import numpy as np

from tests.oracles.windows import Ints, inside, place, positions


def size(x, w, stride: Ints, pad: Ints, extra: Ints, dilation: Ints) -> Ints:
    return tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + 1 + e
        for n, k, s, p, e, d in zip(x.shape[2:], w.shape[2:], stride, pad, extra, dilation)
    )


def forward(x, w, b, stride: Ints, pad: Ints, extra: Ints, dilation: Ints, groups: int) -> np.ndarray:
    out = size(x, w, stride, pad, extra, dilation)
    y = np.zeros((x.shape[0], w.shape[1] * groups, *out))
    if b is not None:
        for o in range(len(b)):
            y[:, o] = b[o]
    narrow, wide = w.shape[0] // groups, w.shape[1]
    for p in positions(x.shape[2:]):
        for t in positions(w.shape[2:]):
            q = place(p, t, stride, pad, dilation)
            if not inside(q, out):
                continue
            for g in range(groups):
                inputs, outputs = slice(g * narrow, (g + 1) * narrow), slice(g * wide, (g + 1) * wide)
                y[(slice(None), outputs, *q)] += x[(slice(None), inputs, *p)] @ w[(inputs, slice(None), *t)]
    return y


def gradients(x, w, dy, stride: Ints, pad: Ints, dilation: Ints, groups: int) -> tuple[np.ndarray, ...]:
    """(dx, dw, db)."""
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    narrow, wide = w.shape[0] // groups, w.shape[1]
    for p in positions(x.shape[2:]):
        for t in positions(w.shape[2:]):
            q = place(p, t, stride, pad, dilation)
            if not inside(q, dy.shape[2:]):
                continue
            for g in range(groups):
                inputs, outputs = slice(g * narrow, (g + 1) * narrow), slice(g * wide, (g + 1) * wide)
                grad = dy[(slice(None), outputs, *q)]
                dx[(slice(None), inputs, *p)] += grad @ w[(inputs, slice(None), *t)].T
                dw[(inputs, slice(None), *t)] += x[(slice(None), inputs, *p)].T @ grad
    return dx, dw, dy.sum(axis=tuple(i for i in range(dy.ndim) if i != 1))
