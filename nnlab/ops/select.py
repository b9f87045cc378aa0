"""A choice between two by a mask: a where the condition (bool) holds, else b; all broadcast, a and b of one dtype."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body


def select(be: Backend, *, condition: Any, a: Any, b: Any) -> Any:
    """y, of the shape that the three broadcast to; a and b are arrays or scalars of their dtype."""
    return body(be, "select").select(be, condition=condition, a=a, b=b)
