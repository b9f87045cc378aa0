"""Convolution (cross-correlation) of 1, 2 and 3 spatial dimensions, and its two gradients.

``y[n, o, p] = b[o] + sum_{c, t} w[o, c, t] * x[n, g * C/G + c, p * stride - pad + t * dilation]`` with g the group of o
and x read as zero outside. The three passes are the three contractions of one trilinear form, so each is linear in
either argument and their derivatives are one another.

Shapes: x (N, C, *in), w (O, C/G, *kernel), b (O,), y and dy (N, O, *out), as ``geometry`` (a
:class:`nnlab.geometry.ConvGeometry`) says. Half precision is computed in float32 and rounded once.

Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285. docs/math/conv.md.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.geometry import ConvGeometry
from nnlab.ops import body


def forward(be: Backend, *, x: Any, w: Any, b: Any = None, geometry: ConvGeometry) -> Any:
    """y (N, O, *out)."""
    return body(be, "conv").forward(be, x=x, w=w, b=b, geometry=geometry)


def input_grad(be: Backend, *, dy: Any, w: Any, b: Any = None, geometry: ConvGeometry) -> Any:
    """dx (N, C, *in): the gradient of sum(y * dy) with respect to x; plus b (C,), a transposed convolution's bias."""
    return body(be, "conv").input_grad(be, dy=dy, w=w, b=b, geometry=geometry)


def weight_grad(be: Backend, *, x: Any, dy: Any, geometry: ConvGeometry) -> Any:
    """dw (O, C/G, *kernel): the gradient of sum(y * dy) with respect to w."""
    return body(be, "conv").weight_grad(be, x=x, dy=dy, geometry=geometry)


def bias_grad(be: Backend, *, dy: Any) -> Any:
    """db (O,): the sum of dy over all axes but 1."""
    return body(be, "conv").bias_grad(be, dy=dy)


def parameter_grads(be: Backend, *, x: Any, dy: Any, geometry: ConvGeometry) -> tuple[Any, Any]:
    """(dw, db): what :func:`weight_grad` and :func:`bias_grad` give, on tensor cores from one pass over dy."""
    return body(be, "conv").parameter_grads(be, x=x, dy=dy, geometry=geometry)
