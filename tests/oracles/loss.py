"""softmax and the losses, one element at a time in float64."""

from __future__ import annotations

import math

import numpy as np


def log_softmax(row) -> list[float]:
    top = max(row)
    total = math.log(math.fsum(math.exp(v - top) for v in row))
    return [v - top - total for v in row]


def softmax(row) -> list[float]:
    return [math.exp(v) for v in log_softmax(row)]


def softmax_grad(dy, y) -> list[float]:
    """Gradient to the scores of a row, y its softmax."""
    across = math.fsum(d * p for d, p in zip(dy, y))
    return [p * (d - across) for d, p in zip(dy, y)]


def log_softmax_grad(dy, y) -> list[float]:
    """Gradient to the scores of a row, y its log-softmax."""
    total = math.fsum(dy)
    return [d - math.exp(q) * total for d, q in zip(dy, y)]


def along(row_oracle, axis: int, *arrays) -> np.ndarray:
    """An oracle of rows applied to each line of arrays of one shape."""
    moved = [np.moveaxis(a, axis, -1) for a in arrays]
    result = np.zeros(moved[0].shape)
    for i in np.ndindex(result.shape[:-1] if result.size else (0,)):
        result[i] = row_oracle(*(a[i].tolist() for a in moved))
    return np.moveaxis(result, -1, axis)


def cross_entropy(x, target, weight, ignore_index: int, smoothing: float) -> tuple[np.ndarray, float]:
    """(loss of each row, divisor of the mean); x (R, C), target (R,) class numbers."""
    classes = x.shape[1]
    losses, total = np.zeros(len(x)), 0.0
    for r, t in enumerate(target):
        if t == ignore_index:
            continue
        q = log_softmax(x[r])
        total += weight[t]
        for c in range(classes):
            share = smoothing / classes + (1 - smoothing) * (c == t)
            if share == 0:  # such a class may have probability 0
                continue
            w = weight[c] if smoothing else weight[t]
            losses[r] -= share * w * q[c]
    return losses, total


def cross_entropy_grad(x, target, weight, ignore_index: int, smoothing: float, g) -> np.ndarray:
    """Gradient of sum(g * loss)."""
    dx = np.zeros(x.shape)
    classes = x.shape[1]
    for r, t in enumerate(target):
        if t == ignore_index:
            continue
        p = softmax(x[r])
        for c in range(classes):
            # d loss / d q[c], then d q[c] / d x[j] = (c == j) - p[j]
            dq = -(smoothing / classes + (1 - smoothing) * (c == t)) * weight[c]
            for j in range(classes):
                dx[r, j] += g[r] * dq * ((c == j) - p[j])
    return dx


def soft_cross_entropy(x, target, weight, smoothing: float) -> np.ndarray:
    """Loss of each row for class probabilities (R, C)."""
    classes = x.shape[1]
    losses = np.zeros(len(x))
    for r in range(len(x)):
        q = log_softmax(x[r])
        for c in range(classes):
            losses[r] -= weight[c] * q[c] * (target[r, c] * (1 - smoothing) + smoothing / classes)
    return losses
