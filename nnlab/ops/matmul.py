"""Matrix product y = a @ b.

Shapes: a (..., M, K), b (..., K, N), y (..., M, N); the leading sizes broadcast. Half precision is multiplied and added
up in float32 and rounded once. The bits depend on the operands alone, not on the number of threads.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body


def forward(be: Backend, *, a: Any, b: Any) -> Any:
    """y (..., M, N)."""
    return body(be, "matmul").forward(be, a=a, b=b)
