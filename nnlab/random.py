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
from nnlab.backend.graphs import refuse
from nnlab.errors import ArgumentError, complaint

_MULTIPLIER = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
_CPU_BLOCKS = 1 << 14  # the temporaries of so many counters stay in the cache


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
    refuse("draws random numbers by array code")
    xp = be.xp
    blocks = (n + 3) // 4
    words = xp.empty((blocks, 4), dtype=xp.uint32)
    step = _CPU_BLOCKS if be.host_memory else max(blocks, 1)
    for start in range(0, blocks, step):
        end = min(start + step, blocks)
        for column, word in enumerate(_rounds(xp, seed, offset, xp.arange(start, end, dtype=xp.uint64))):
            words[start:end, column] = word
    return words.reshape(-1)[:n]


def _rounds(xp: Any, seed: int, offset: int, block: Any) -> tuple[Any, Any, Any, Any]:
    """The four outputs of each counter (block, offset), as uint64 arrays below 2**32."""
    u64 = xp.uint64
    mask, shift = u64(_MASK), u64(32)
    # Words are kept in 64 bit, so that a product holds its low and its high half.
    c0, c1 = block & mask, block >> shift
    c2, c3 = xp.full_like(block, offset & _MASK), xp.full_like(block, offset >> 32)
    k0, k1 = seed & _MASK, seed >> 32
    for _ in range(10):
        p0, p1 = c0 * u64(_MULTIPLIER[0]), c2 * u64(_MULTIPLIER[1])
        c0, c2 = p1 >> shift, p0 >> shift
        c0 ^= c1
        c0 ^= u64(k0)
        c2 ^= c3
        c2 ^= u64(k1)
        p0 &= mask
        p1 &= mask
        c1, c3 = p1, p0
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


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
        refuse("draws random numbers on the host")
        return host_generator(self.seed, self.next_offset())

    def get_state(self) -> dict[str, int]:
        return {"seed": self.seed, "offset": self.offset}

    def set_state(self, state: dict[str, int]) -> None:
        self.seed, self.offset = int(state["seed"]), int(state["offset"])


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed everything that nnlab draws (weights, dropout, shuffles) on all devices; returns the generator."""
    return default_generator.manual_seed(seed)
