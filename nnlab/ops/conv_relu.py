"""Convolution and relu: ``y = max(conv(x, w) + b, 0)``, the bits of ``relu`` after ``conv``.

NaN stays NaN; the gradient at 0 is 0.

Shapes as in :mod:`nnlab.ops.conv`. What the backward pass needs of y is which elements are not 0: on tensor cores the
kernel leaves that as a mask of one bit an element, elsewhere y itself is kept.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.geometry import ConvGeometry
from nnlab.ops import body


def forward(
    be: Backend, *, x: Any, w: Any, b: Any = None, geometry: ConvGeometry, keep: bool = True
) -> tuple[Any, Any]:
    """(y, saved): y (N, O, *out); saved is a mask, or y, or without ``keep`` None."""
    return body(be, "conv_relu").forward(be, x=x, w=w, b=b, geometry=geometry, keep=keep)


def backward(be: Backend, *, dy: Any, saved: Any) -> Any:
    """dz = dy where y is not 0, else 0: the gradient of the convolution's result."""
    return body(be, "conv_relu").backward(be, dy=dy, saved=saved)
