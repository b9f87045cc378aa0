"""Optimizers one element at a time in float64: a step of SGD or Adam, whole trajectories of the others."""

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


# Whole trajectories of one parameter p, given its gradients one after another.


def _downhill(p: float, g: float, weight_decay: float, maximize: bool) -> float:
    return (-g if maximize else g) + weight_decay * p


def adagrad(
    p, gradients, *, lr, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, maximize=False
):
    path, total = [], initial_accumulator_value
    for t, g in enumerate(gradients, 1):
        g = _downhill(p, g, weight_decay, maximize)
        total += g**2
        p -= lr / (1 + (t - 1) * lr_decay) * g / (math.sqrt(total) + eps)
        path.append(p)
    return path


def adadelta(p, gradients, *, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0, maximize=False):
    path, squares, steps = [], 0.0, 0.0
    for g in gradients:
        g = _downhill(p, g, weight_decay, maximize)
        squares = rho * squares + (1 - rho) * g**2
        d = math.sqrt(steps + eps) / math.sqrt(squares + eps) * g
        steps = rho * steps + (1 - rho) * d**2
        p -= lr * d
        path.append(p)
    return path


def rmsprop(p, gradients, *, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False, maximize=False):
    path, squares, mean, v = [], 0.0, 0.0, 0.0
    for g in gradients:
        g = _downhill(p, g, weight_decay, maximize)
        squares = alpha * squares + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        d = g / (math.sqrt(max(squares - (mean**2 if centered else 0), 0)) + eps)
        v = momentum * v + d
        p -= lr * v
        path.append(p)
    return path


def adamax(p, gradients, *, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, maximize=False):
    path, m, u = [], 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        g = _downhill(p, g, weight_decay, maximize)
        m = betas[0] * m + (1 - betas[0]) * g
        u = max(betas[1] * u, abs(g) + eps)
        p -= lr / (1 - betas[0] ** t) * m / u
        path.append(p)
    return path


def nadam(
    p, gradients, *, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3,
    decoupled_weight_decay=False, maximize=False,
):  # fmt: skip
    path, m, v, product = [], 0.0, 0.0, 1.0
    for t, g in enumerate(gradients, 1):
        if decoupled_weight_decay:
            p -= lr * weight_decay * p
        g = _downhill(p, g, 0 if decoupled_weight_decay else weight_decay, maximize)
        now, then = (betas[0] * (1 - 0.5 * 0.96 ** (s * momentum_decay)) for s in (t, t + 1))
        product *= now
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        ahead = then * m / (1 - product * then) + (1 - now) * g / (1 - product)
        p -= lr * ahead / (math.sqrt(v / (1 - betas[1] ** t)) + eps)
        path.append(p)
    return path


def radam(
    p, gradients, *, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False, maximize=False
):
    path, m, v = [], 0.0, 0.0
    limit = 2 / (1 - betas[1]) - 1
    for t, g in enumerate(gradients, 1):
        if decoupled_weight_decay:
            p -= lr * weight_decay * p
        g = _downhill(p, g, 0 if decoupled_weight_decay else weight_decay, maximize)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        d = m / (1 - betas[0] ** t)
        r = limit - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
        if r > 5:
            d *= math.sqrt((r - 4) * (r - 2) * limit / ((limit - 4) * (limit - 2) * r))
            d *= math.sqrt(1 - betas[1] ** t) / (math.sqrt(v) + eps)
        p -= lr * d
        path.append(p)
    return path


def rprop(p, gradients, *, lr, etas=(0.5, 1.2), step_sizes=(1e-6, 50.0), maximize=False):
    path, before, size = [], 0.0, lr
    for g in gradients:
        g = -g if maximize else g
        factor = etas[1] if g * before > 0 else etas[0] if g * before < 0 else 1.0
        size = min(max(size * factor, step_sizes[0]), step_sizes[1])
        if g * before < 0:
            g = 0.0
        p -= size * (1 if g > 0 else -1 if g < 0 else 0)
        before = g
        path.append(p)
    return path
