"""Random numbers as pure functions of counters, the same on every device.

Dropout masks and other random arrays drawn on a device come from Philox4x32-10: word ``i`` of draw ``offset`` under
``seed`` is one of the four outputs of ``philox4x32(counter=(i // 4, offset), key=seed)``. Weights, normals, shuffles
and augmentation are drawn on the host from NumPy's generator, keyed by the same (seed, offset). A generator's whole
state is therefore the pair (seed, offset), and a resumed run continues exactly.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.errors import ArgumentError, complaint

_MULTIPLIER = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF


def philox(be: Backend, seed: int, offset: int, n: int) -> Any:
    """Random words of one draw.

    Args:
        be: backend that computes them.
        seed: key, 64 bit.
        offset: number of the draw, 64 bit.
        n: how many words.

    Returns:
        uint32 array ``(n,)``; word ``i`` depends on (seed, offset, i) alone.
    """
    xp = be.xp
    u64 = xp.uint64
    mask, shift = u64(_MASK), u64(32)
    block = xp.arange((n + 3) // 4, dtype=u64)
    # All four words are kept in 64 bit, so that a product and its high half need no second multiplication.
    c0, c1 = block & mask, block >> shift
    c2 = xp.full_like(block, offset & _MASK)
    c3 = xp.full_like(block, (offset >> 32) & _MASK)
    k0, k1 = seed & _MASK, (seed >> 32) & _MASK
    for _ in range(10):
        p0 = c0 * u64(_MULTIPLIER[0])
        p1 = c2 * u64(_MULTIPLIER[1])
        c0 = (p1 >> shift) ^ c1 ^ u64(k0)
        c2 = (p0 >> shift) ^ c3 ^ u64(k1)
        c1, c3 = p1 & mask, p0 & mask
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    words = xp.empty((block.size, 4), dtype=xp.uint32)
    words[:, 0], words[:, 1], words[:, 2], words[:, 3] = c0, c1, c2, c3
    return words.reshape(-1)[:n]


def host_generator(seed: int, *counters: int) -> np.random.Generator:
    """NumPy generator that is a pure function of the seed and up to three counters.

    Used for everything drawn on the host: weights (draw number), shuffles (epoch), augmentation (epoch, sample index).
    """
    if len(counters) > 3:
        raise ArgumentError(complaint("random.host_generator", "counters", "be at most three numbers", counters))
    words = [0, *counters, *([0] * (3 - len(counters)))]
    return np.random.Generator(np.random.Philox(counter=words, key=seed))


class Generator:
    """Seed and number of the next draw.

    Args:
        seed: 0 <= seed < 2**64.
    """

    def __init__(self, seed: int = 0) -> None:
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Set the seed and start again with draw 0."""
        if not 0 <= seed < 2**64:
            raise ArgumentError(complaint("manual_seed", "seed", "be in 0..2**64-1", seed))
        self.seed = int(seed)
        self.offset = 0
        return self

    def next_offset(self) -> int:
        """Take the next draw's number."""
        offset = self.offset
        self.offset += 1
        return offset

    def numpy(self) -> np.random.Generator:
        """A host generator for the next draw."""
        return host_generator(self.seed, self.next_offset())

    def get_state(self) -> dict[str, int]:
        return {"seed": self.seed, "offset": self.offset}

    def set_state(self, state: dict[str, int]) -> None:
        self.seed, self.offset = int(state["seed"]), int(state["offset"])


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed everything that nnlab draws (weights, dropout, shuffles) on all devices; returns the generator."""
    return default_generator.manual_seed(seed)
