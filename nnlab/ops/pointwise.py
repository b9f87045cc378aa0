"""A function of single elements, given as array code ``function(xp, x, *numbers)``, over an array of any shape.

Half types are computed in float32 and rounded once; the result has the input's dtype and its order of axes in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body


def apply(be: Backend, *, function: Callable[..., Any], x: Any, numbers: tuple[float, ...] = ()) -> Any:
    """y, of x's shape and dtype."""
    return body(be, "pointwise").apply(be, function=function, x=x, numbers=numbers)
