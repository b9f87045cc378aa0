"""relu and dropout, one element at a time."""

from __future__ import annotations

import numpy as np

_MASK = 0xFFFFFFFF


def relu(x) -> np.ndarray:
    return np.array([v if v > 0 or v != v else 0.0 for v in x.reshape(-1)]).reshape(x.shape)


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


def dropout(x, p: float, seed: int, offset: int) -> np.ndarray:
    flat = [
        float(v) / (1 - p) if p < 1 and philox_word(seed, offset, i) >= round(p * 2**32) else 0.0
        for i, v in enumerate(x.reshape(-1))
    ]
    return np.array(flat).reshape(x.shape)
