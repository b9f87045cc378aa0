"""Sliding windows as columns, and columns added up into planes.

``cols[n, (c, t), p] = x[n, c, p * stride - pad + t * dilation]``, zero outside, with taps t of the kernel and output
positions p both in row-major order. ``geometry`` is that of a convolution of x with one output channel.

Shapes: x (N, C, *in), cols (N, C * prod(kernel), prod(out)). The passes are linear and each is the other's transpose.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.geometry import ConvGeometry
from nnlab.ops import body


def unfold(be: Backend, *, x: Any, geometry: ConvGeometry) -> Any:
    """cols."""
    return body(be, "fold").unfold(be, x=x, geometry=geometry)


def fold(be: Backend, *, cols: Any, geometry: ConvGeometry) -> Any:
    """x (N, C, *in): at each position the sum of all entries of cols that were read there."""
    return body(be, "fold").fold(be, cols=cols, geometry=geometry)
