"""Functions of single elements, on the CPU in blocks whose intermediate results stay in the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlab import types
from nnlab.backend import Backend
from nnlab.ops._numpy import layout
from nnlab.ops._numpy.parallel import cut, run

# Elements of a block. Smaller ones leave threads waiting for the interpreter lock.
_BLOCK = 1 << 16


def apply(be: Backend, *, function: Callable[..., Any], x: Any, numbers: tuple[float, ...] = ()) -> Any:
    y = layout.empty_like(be, x)
    source, target = layout.runs(be, x, y)
    blocks = cut(x.size, _BLOCK if be.host_memory else x.size)
    wide = types.wide(x.dtype)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        target[part] = function(be.xp, source[part].astype(wide, copy=False), *numbers)

    run(be, work, len(blocks), 8 * x.size)
    return y
