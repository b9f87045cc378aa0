"""Normalisations and their gradients, one element at a time in float64."""

from __future__ import annotations

import math

import numpy as np

from tests.oracles.windows import positions


def batch_norm(x, weight, bias, eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y, mean, biased variance) with the batch's statistics; x (N, C, P)."""
    y = np.zeros(x.shape)
    mean, var = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for c in range(x.shape[1]):
        values = [float(v) for v in x[:, c].reshape(-1)]
        mean[c] = math.fsum(values) / len(values)
        var[c] = math.fsum((v - mean[c]) ** 2 for v in values) / len(values)
        y[:, c] = (x[:, c] - mean[c]) / math.sqrt(var[c] + eps) * weight[c] + bias[c]
    return y, mean, var


def batch_norm_grad(x, weight, dy, eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(dx, dweight, dbias) by the chain rule through mean and variance; x (N, C, P)."""
    dx = np.zeros(x.shape)
    dweight, dbias = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for c in range(x.shape[1]):
        values, grads = x[:, c].reshape(-1), dy[:, c].reshape(-1)
        count = len(values)
        mean = math.fsum(values) / count
        var = math.fsum((values - mean) ** 2) / count
        std = math.sqrt(var + eps)
        dweight[c] = math.fsum(g * (v - mean) / std for g, v in zip(grads, values))
        dbias[c] = math.fsum(grads)
        dxhat = grads * weight[c]
        dvar = math.fsum(dxhat * (values - mean)) * -0.5 * std**-3
        dmean = -math.fsum(dxhat) / std
        dx[:, c] = (dxhat / std + dvar * 2 * (values - mean) / count + dmean / count).reshape(dx[:, c].shape)
    return dx, dweight, dbias


def _neighbours(c: int, channels: int, size: int) -> range:
    """Channels in the window of c: one more below than above for an even size."""
    return range(max(0, c - size // 2), min(channels, c + (size - 1) // 2 + 1))


def channel_sum(x, below: int, above: int) -> np.ndarray:
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        for j in range(max(0, c - below), min(x.shape[1], c + above + 1)):
            y[:, c] += x[:, j]
    return y


def local_response_scale(x, size: int, alpha: float, k: float) -> np.ndarray:
    s = np.zeros(x.shape)
    for c in range(x.shape[1]):
        s[:, c] = k + alpha * sum(x[:, j] ** 2 for j in _neighbours(c, x.shape[1], size)) / size
    return s


def local_response_norm(x, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        total = sum(x[:, j] ** 2 for j in _neighbours(c, x.shape[1], size))
        y[:, c] = x[:, c] / (k + alpha * total / size) ** beta
    return y


def local_response_norm_grad(x, dy, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    """dx[i] = sum over c of dy[c] * d y[c] / d x[i]; x (N, C, P)."""
    dx = np.zeros(x.shape)
    channels = x.shape[1]
    for n, p in positions((x.shape[0], x.shape[2])):
        column = x[n, :, p]
        for c in range(channels):
            window = _neighbours(c, channels, size)
            scale = k + alpha * sum(column[j] ** 2 for j in window) / size
            dx[n, c, p] += dy[n, c, p] * scale**-beta
            for j in window:
                inner = 2 * alpha * column[j] / size
                dx[n, j, p] += dy[n, c, p] * column[c] * -beta * scale ** (-beta - 1) * inner
    return dx


def group_norm(x, weight, bias, groups: int, eps: float, centred: bool) -> np.ndarray:
    """y of x (N, C, P), one number at a time."""
    y = np.zeros(x.shape)
    size = x.shape[1] // groups
    for n, c, p in positions(x.shape):
        first = c // size * size
        line = [float(x[n, j, q]) for j, q in positions((x.shape[1], x.shape[2])) if first <= j < first + size]
        mean = math.fsum(line) / len(line) if centred else 0.0
        square = math.fsum((v - mean) ** 2 for v in line) / len(line)
        y[n, c, p] = (x[n, c, p] - mean) / math.sqrt(square + eps) * weight[c] + bias[c]
    return y


def group_norm_grad(x, weight, dy, groups: int, eps: float, centred: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(dx, dweight, dbias) by the chain rule through mean and variance of each line; x (N, C, P)."""
    dx, dweight, dbias = np.zeros(x.shape), np.zeros(x.shape[1]), np.zeros(x.shape[1])
    size = x.shape[1] // groups
    for n, group in positions((x.shape[0], groups)):
        channels = range(group * size, (group + 1) * size)
        places = [(c, p) for c in channels for p in range(x.shape[2])]
        values = [float(x[n, c, p]) for c, p in places]
        mean = math.fsum(values) / len(values) if centred else 0.0
        std = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values) + eps)
        dxhat = [float(dy[n, c, p]) * weight[c] for c, p in places]
        dvar = math.fsum(g * (v - mean) for g, v in zip(dxhat, values)) * -0.5 * std**-3
        dmean = -math.fsum(dxhat) / std if centred else 0.0
        for (c, p), v, g in zip(places, values, dxhat):
            dx[n, c, p] = g / std + dvar * 2 * (v - mean) / len(values) + dmean / len(values)
            dweight[c] += dy[n, c, p] * (v - mean) / std
            dbias[c] += dy[n, c, p]
    return dx, dweight, dbias
