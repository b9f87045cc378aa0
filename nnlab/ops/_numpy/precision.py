"""Half precision adds up in float32."""

from __future__ import annotations

from typing import Any

from nnlab import types
from nnlab.backend import Backend


def wide(be: Backend, array: Any) -> Any:
    """float16 and bfloat16 as float32, other dtypes as they are."""
    dtype = types.wide(array.dtype)
    return array if array.dtype == dtype else array.astype(dtype)
