"""One step of an optimizer, one element at a time in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def _each(step: Any, *arrays: Any) -> tuple[Any, ...]:
    """The step's results on each element, as arrays of the first one's shape; None for an array that is None."""
    shape = arrays[0].shape
    columns = [[None] * arrays[0].size if a is None else a.reshape(-1).tolist() for a in arrays]
    rows = [step(*row) for row in zip(*columns, strict=True)]
    results = zip(*rows) if rows else [[]] * (len(arrays) - 1)  # all but the gradient
    return tuple(
        None if a is None else np.array(list(values), np.float64).reshape(shape)
        for a, values in zip((arrays[0], *arrays[2:]), results, strict=True)
    )


def sgd(p, g, v, *, first, lr, momentum, dampening, weight_decay, nesterov, maximize) -> tuple[Any, Any]:
    """(p, v) after a step; v is the buffer, None without momentum."""

    def step(p: float, g: float, v: float | None) -> tuple[float, float | None]:
        d = -g if maximize else g
        if weight_decay:
            d += weight_decay * p
        if v is None:
            return p - lr * d, None
        v = d if first else momentum * v + (1 - dampening) * d
        return p - lr * (d + momentum * v if nesterov else v), v

    p, v = _each(step, p, g, v)
    return p, v


def adam(p, g, m, v, u, *, t, lr, beta1, beta2, eps, weight_decay, decoupled, maximize) -> tuple[Any, Any, Any, Any]:
    """(p, m, v, u) after step t; u is the largest v so far, None without amsgrad."""

    def step(p: float, g: float, m: float, v: float, u: float | None) -> tuple[float, ...]:
        g = -g if maximize else g
        if decoupled and weight_decay:
            p *= 1 - lr * weight_decay
        elif weight_decay:
            g += weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        u = u if u is None or math.isnan(u) else max(u, v)
        root = math.sqrt(v if u is None else u) / math.sqrt(1 - beta2**t)
        return p - lr / (1 - beta1**t) * m / (root + eps), m, v, u

    return _each(step, p, g, m, v, u)
