"""relu, alone and with a bias, and dropout, one element at a time."""

from __future__ import annotations

import numpy as np

_MASK = 0xFFFFFFFF


def relu(x) -> np.ndarray:
    return np.array([v if v > 0 or v != v else 0.0 for v in x.reshape(-1)]).reshape(x.shape)


def relu_grad(dy, y) -> np.ndarray:
    """dy where y is not 0; NaN is not."""
    return np.array([d if v != 0 else 0.0 for d, v in zip(dy.reshape(-1), y.reshape(-1))]).reshape(y.shape)


def bias_relu(x, b) -> np.ndarray:
    y = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        value = x[i] + b[i[1]]
        y[i] = value if value > 0 or value != value else 0.0
    return y


def bias_relu_grad(dy, y) -> tuple[np.ndarray, np.ndarray]:
    """(dx, db): dy where y is not 0 (NaN is not), and its sum over each channel."""
    dx, db = np.zeros(y.shape), np.zeros(y.shape[1])
    for i in np.ndindex(y.shape):
        dx[i] = dy[i] if y[i] != 0 else 0.0
        db[i[1]] += dx[i]
    return dx, db


def philox_word(seed: int, offset: int, i: int) -> int:
    """Word i of a draw: Philox4x32-10 with counter (i // 4, offset) and key seed, in Python integers."""
    counter = [(i // 4) & _MASK, (i // 4) >> 32, offset & _MASK, offset >> 32]
    key = [seed & _MASK, seed >> 32]
    for _ in range(10):
        left, right = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = [
            (right >> 32) ^ counter[1] ^ key[0],
            right & _MASK,
            (left >> 32) ^ counter[3] ^ key[1],
            left & _MASK,
        ]
        key = [(key[0] + 0x9E3779B9) & _MASK, (key[1] + 0xBB67AE85) & _MASK]
    return counter[i % 4]


def kept(shape: tuple[int, ...], p: float, seed: int, offset: int) -> np.ndarray:
    """Which elements dropout keeps."""
    count = int(np.prod(shape))
    return np.array([philox_word(seed, offset, i) >= round(p * 2**32) for i in range(count)], bool).reshape(shape)


def dropout(x, p: float, seed: int, offset: int) -> np.ndarray:
    keep = kept(x.shape, p, seed, offset).reshape(-1)
    return np.array([float(v) / (1 - p) if k else 0.0 for v, k in zip(x.reshape(-1), keep)]).reshape(x.shape)
