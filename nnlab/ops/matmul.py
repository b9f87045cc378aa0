"""Matrix product y = a @ b.

Shapes: a (..., M, K), b (..., K, N), y (..., M, N); the leading sizes broadcast. Half precision is multiplied and added
up in float32 and rounded once. The bits depend on the operands alone, not on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body


def forward(be: Backend, *, a: Any, b: Any) -> Any:
    """y (..., M, N)."""
    return body(be, "matmul").forward(be, a=a, b=b)


def repeated(be: Backend, *, b: Any, rows: int) -> Callable[[Any, Any], None]:
    """The product with one b (K, N) of many a (rows, K): a function of a and of the array (rows, N) to overwrite.

    b is brought into the memory order that is best for that number of rows, once; it must not change in between. Each
    product runs on the calling thread.
    """
    return body(be, "matmul").repeated(be, b=b, rows=rows)  # type: ignore[no-any-return]
