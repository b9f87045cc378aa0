"""Average pooling over 1, 2 and 3 spatial dimensions, and adaptive average pooling.

``y[n, c, o] = sum of the window / divisor``. The divisor is ``divisor_override``, else the number of window elements
inside the padded input (``count_include_pad``; what ``ceil_mode`` adds beyond the padding never counts) or inside the
input.

Adaptive pooling to ``out`` elements averages the positions ``floor(o * in / out) .. ceil((o + 1) * in / out) - 1``.

Shapes: x (N, C, *in), y (N, C, *out). The passes are linear and each is the other's gradient.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.geometry import PoolGeometry, Shape
from nnlab.ops import body


def forward(
    be: Backend, *, x: Any, geometry: PoolGeometry, count_include_pad: bool, divisor_override: int | None
) -> Any:
    """y (N, C, *out)."""
    return body(be, "avg_pool").forward(
        be, x=x, geometry=geometry, count_include_pad=count_include_pad, divisor_override=divisor_override
    )


def backward(
    be: Backend, *, dy: Any, geometry: PoolGeometry, count_include_pad: bool, divisor_override: int | None
) -> Any:
    """dx (N, C, *in)."""
    return body(be, "avg_pool").backward(
        be, dy=dy, geometry=geometry, count_include_pad=count_include_pad, divisor_override=divisor_override
    )


def adaptive_forward(be: Backend, *, x: Any, out: Shape) -> Any:
    """y (N, C, *out)."""
    return body(be, "avg_pool").adaptive_forward(be, x=x, out=out)


def adaptive_backward(be: Backend, *, dy: Any, size: Shape) -> Any:
    """dx (N, C, *size)."""
    return body(be, "avg_pool").adaptive_backward(be, dy=dy, size=size)
