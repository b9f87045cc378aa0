"""Convolution, relu and max pooling of 2 x 2 windows, stride 2: the bits of ``conv``, ``max_pool``, ``relu`` in turn.

Only where tensor cores compute all three at once (``takes``); elsewhere the operations follow one another. Shapes as in
:mod:`nnlab.ops.conv`, with two spatial dimensions; the last row or column of an odd size lies in no window. The
convolution's own result is never stored. What the backward pass needs is ``saved`` (N, O, *out // 2), a byte for each
result: the place of the maximum in its window, 0 to 3 in row-major order, or 4 where relu made it 0.

Given ``saved`` all passes are linear: ``backward`` is the gradient, and ``gather`` the gradient of that.
docs/math/conv.md.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.geometry import ConvGeometry
from nnlab.ops import body


def takes(be: Backend, *, geometry: ConvGeometry, dtype: Any) -> bool:
    """Whether the operation is there for this problem: a function of device, shapes and dtype."""
    return be.device.type != "cpu" and body(be, "conv_relu_max_pool").takes(be, geometry=geometry, dtype=dtype)


def forward(
    be: Backend, *, x: Any, w: Any, b: Any = None, geometry: ConvGeometry, keep: bool = True
) -> tuple[Any, Any]:
    """(y, saved): y (N, O, *out // 2); saved is None without ``keep``."""
    return body(be, "conv_relu_max_pool").forward(be, x=x, w=w, b=b, geometry=geometry, keep=keep)


def backward(be: Backend, *, dy: Any, saved: Any, geometry: ConvGeometry) -> Any:
    """dz (N, O, *out): dy at the maxima that are not 0, else 0; the gradient of the convolution's result."""
    return body(be, "conv_relu_max_pool").backward(be, dy=dy, saved=saved, geometry=geometry)


def gather(be: Backend, *, dz: Any, saved: Any, geometry: ConvGeometry) -> Any:
    """(N, O, *out // 2): dz at the maxima, 0 where they are 0."""
    return body(be, "conv_relu_max_pool").gather(be, dz=dz, saved=saved, geometry=geometry)
