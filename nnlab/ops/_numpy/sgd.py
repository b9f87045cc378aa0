"""SGD in array code. See ops/sgd.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nnlab.backend import Backend

BLOCK = 1 << 16
"""Elements a pass on the CPU: parameter, gradient, state and temporaries of one block stay in the cache."""


def pieces(be: Backend, arrays: list[Any]) -> Iterator[list[Any]]:
    """The arrays (of one shape; None stays None) cut into equal blocks on the CPU, as they are on a GPU.

    The first array and all others that are written to must be what decides: a block is a view, unless an array that is
    only read (position 1, the gradient) is not contiguous.
    """
    if arrays[0].ndim == 0:  # arithmetic of NumPy turns these into scalars, which are no place for results
        arrays = [None if a is None else a.reshape(1) for a in arrays]
    written = [a for i, a in enumerate(arrays) if i != 1 and a is not None]
    if not be.host_memory or arrays[0].size <= BLOCK or not all(a.flags.c_contiguous for a in written):
        yield arrays
        return
    flat = [None if a is None else a.reshape(-1) for a in arrays]
    for start in range(0, arrays[0].size, BLOCK):
        yield [None if a is None else a[start : start + BLOCK] for a in flat]


def downhill(xp: Any, p: Any, g: Any, decay: float, maximize: bool) -> Any:
    """``(-g if maximize else g) + decay * p``; g itself if nothing is to be done."""
    if decay:
        d = p * decay
        return xp.subtract(d, g, out=d) if maximize else xp.add(d, g, out=d)
    return -g if maximize else g


def step(
    be: Backend,
    *,
    params: list[Any],
    grads: list[Any],
    buffers: list[Any] | None,
    first: bool,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    xp = be.xp
    for p_all, g_all, v_all in zip(params, grads, buffers or [None] * len(params), strict=True):
        for p, g, v in pieces(be, [p_all, g_all, v_all]):
            d = downhill(xp, p, g, weight_decay, maximize)
            if v is not None:
                if first:
                    v[...] = d
                else:
                    v *= momentum
                    v += d if dampening == 0 else d * (1 - dampening)
                d = d + momentum * v if nesterov else v
            p -= lr * d
