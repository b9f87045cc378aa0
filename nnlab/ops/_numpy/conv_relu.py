"""Convolution and relu on arrays: the convolution's result is rectified in place."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.geometry import ConvGeometry
from nnlab.ops._numpy import conv, layout, relu
from nnlab.ops._numpy.parallel import elementwise


def forward(
    be: Backend, *, x: Any, w: Any, b: Any = None, geometry: ConvGeometry, keep: bool = True
) -> tuple[Any, Any]:
    y = conv.forward(be, x=x, w=w, b=b, geometry=geometry)
    if y.transpose(layout.order(y)).flags.c_contiguous:
        elementwise(be, lambda part: relu.rectify(be, part, part), y)
    else:  # its runs would be copies
        y = relu.forward(be, x=y)
    return y, y if keep else None


def backward(be: Backend, *, dy: Any, saved: Any) -> Any:
    return relu.backward(be, dy=dy, y=saved)
