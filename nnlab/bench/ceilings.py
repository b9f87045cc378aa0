"""What the machine can do, measured in the same run: the two ceilings of a roofline."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nnlab.bench import timing
from nnlab.bench.peer import Peer
from nnlab.bench.problem import Call
from nnlab.ops import matmul
from nnlab.ops._numpy import parallel

COPY = 1 << 27  # bytes, several times any cache
SIDE = 2048


@dataclass(frozen=True)
class Ceilings:
    """Bytes read and written per second by a copy, floating-point operations per second of a matrix product."""

    bytes_per_second: float
    flops_per_second: float

    def as_json(self) -> dict[str, float]:
        return asdict(self)


def sizes(be: Any) -> tuple[int, int]:
    """Bytes of the copy, side of the product: a GPU needs larger ones to reach its speed."""
    return (COPY, SIDE) if be.host_memory else (8 * COPY, 4 * SIDE)


def measure(be: Any, dtype: str, peer: Peer | None, budget: float = 1.0) -> Ceilings:
    """The best of nnlab and the peer, for numbers of a dtype."""
    copied, side = sizes(be)
    random = np.random.default_rng(0)
    source = be.asarray(np.ones(copied // 4, np.float32))
    a, b = (be.asarray(random.standard_normal((side, side)).astype(dtype)) for _ in range(2))
    target = be.xp.empty_like(source)
    copies: list[list[Call]] = [[_copy(be, source, target)]]
    products: list[list[Call]] = [[lambda: matmul.forward(be, a=a, b=b)]]
    if peer is not None:
        ours, theirs = peer.tensor(source), peer.tensor(target)
        left, right = peer.tensor(a), peer.tensor(b)
        copies.append([lambda: theirs.copy_(ours)])
        products.append([lambda: left @ right])
    copy = min(t.median for t in timing.interleave(be, copies, budget))
    product = min(t.median for t in timing.interleave(be, products, budget))
    return Ceilings(2 * copied / copy, 2 * side**3 / product)


def _copy(be: Any, source: Any, target: Any) -> Call:
    blocks = parallel.cut(source.size, 1 << 20) if be.host_memory else [(0, source.size)]

    def block(i: int) -> None:
        start, end = blocks[i]
        target[start:end] = source[start:end]

    return lambda: parallel.run(be, block, len(blocks), source.size)
