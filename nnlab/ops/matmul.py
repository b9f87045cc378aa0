"""Matrix product y = a @ b.

Shapes: a (..., M, K), b (..., K, N), y (..., M, N); the leading sizes broadcast. Half precision is multiplied and added
up in float32 and rounded once. The bits depend on the operands alone, not on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body


def forward(be: Backend, *, a: Any, b: Any, out: Any = None, alone: bool = False) -> Any:
    """y (..., M, N).

    Args:
        out: a contiguous array to overwrite; default: a new one.
        alone: in one piece by the calling thread.
    """
    return body(be, "matmul").forward(be, a=a, b=b, out=out, alone=alone)


def repeated(be: Backend, *, b: Any, rows: int) -> Callable[[Any, Any], None]:
    """The product with one b (K, N) of many a (rows, K): a function of a and of an array (rows, N) to overwrite.

    That array must be contiguous. b is brought into the memory order that is best for that number of rows, once; it
    must not change in between. Each product runs on the calling thread.
    """
    return body(be, "matmul").repeated(be, b=b, rows=rows)
