"""Texts whose entropy is known: a chain in which the next character depends on the one before."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

CHARACTERS = "abcd "
# The row of the character before; "d" is always followed by a blank.
CHAIN = np.array(
    [
        [0.10, 0.60, 0.10, 0.10, 0.10],
        [0.25, 0.25, 0.25, 0.00, 0.25],
        [0.00, 0.00, 0.50, 0.50, 0.00],
        [0.00, 0.00, 0.00, 0.00, 1.00],
        [0.90, 0.00, 0.00, 0.05, 0.05],
    ]
)


def text(length: int, seed: int) -> str:
    """So many characters of the chain, begun at "a"."""
    draws, state, written = np.random.default_rng(seed).random(length), 0, []
    for u in draws:
        written.append(state)
        state = int(np.searchsorted(np.cumsum(CHAIN[state]), u, side="right").clip(0, 4))
    return "".join(CHARACTERS[i] for i in written)


def bits(written: str) -> float:
    """Bits per character that the chain itself needs for all but the first one: no model is better on average."""
    ids = [CHARACTERS.index(c) for c in written]
    return float(-np.mean([np.log2(CHAIN[i, j]) for i, j in pairwise(ids)]))


def entropy_rate() -> float:
    """Sum of p_i H(row i), p the chain's stationary distribution."""
    values, vectors = np.linalg.eig(CHAIN.T)
    p = np.real(vectors[:, np.argmin(abs(values - 1))])
    p /= p.sum()
    rows = [-sum(q * np.log2(q) for q in row if q > 0) for row in CHAIN]
    return float(p @ rows)
