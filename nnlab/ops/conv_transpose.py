"""Transposed convolution: the input gradient of a convolution, used as a forward pass.

``geometry`` is that convolution's (from ``nnlab.geometry.conv_transpose_geometry``): its y is the transposed
convolution's x (N, C, *in), its x the transposed convolution's y (N, O, *out), and w (C, O/G, *kernel) is shared. So

    y  = conv.input_grad(dy=x, w, b)        dx = conv.forward(x=dy, w)        dw = conv.weight_grad(x=dy, dy=x)

Source: Zeiler et al., "Deconvolutional networks", CVPR 2010. docs/math/conv_transpose.md.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.geometry import ConvGeometry
from nnlab.ops import conv


def forward(be: Backend, *, x: Any, w: Any, b: Any = None, geometry: ConvGeometry) -> Any:
    """y (N, O, *out)."""
    return conv.input_grad(be, dy=x, w=w, b=b, geometry=geometry)


def input_grad(be: Backend, *, dy: Any, w: Any, geometry: ConvGeometry) -> Any:
    """dx (N, C, *in)."""
    return conv.forward(be, x=dy, w=w, geometry=geometry)


def weight_grad(be: Backend, *, x: Any, dy: Any, geometry: ConvGeometry) -> Any:
    """dw (C, O/G, *kernel)."""
    return conv.weight_grad(be, x=dy, dy=x, geometry=geometry)


def bias_grad(be: Backend, *, dy: Any) -> Any:
    """db (O,)."""
    return conv.bias_grad(be, dy=dy)
