"""Sum of rows by index, the gradient of a table look-up.

``dw[i] = sum of dy[j] * scale[j] over all j with index[j] = i``: dy (n, D), index (n,) integers in 0..rows-1, scale
(n,) or None, dw (rows, D). A row's terms are added up in the order of their positions, half types in float32: the same
bits every time.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body


def sum_rows(be: Backend, *, dy: Any, index: Any, rows: int, scale: Any) -> Any:
    """dw (rows, D)."""
    return body(be, "embedding").sum_rows(be, dy=dy, index=index, rows=rows, scale=scale)


def counts(be: Backend, *, index: Any, rows: int) -> Any:
    """How often each of 0..rows-1 comes in the index: (rows,) int64."""
    return body(be, "embedding").counts(be, index=index, rows=rows)
