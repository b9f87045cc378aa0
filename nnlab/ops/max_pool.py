"""Max pooling over 1, 2 and 3 spatial dimensions, and unpooling.

``y[n, c, o] = max over taps t of x[n, c, o * stride - pad + t * dilation]``; padding never wins. The first maximum in
row-major order wins; NaN is larger than everything, and of several NaNs the last wins, as in PyTorch. A window of -inf
gives its first element inside the input.

Shapes: x (N, C, *in), y (N, C, *out), ``geometry`` a :class:`nnlab.geometry.PoolGeometry`. ``index`` (N, C, *out) is
the number of the winning tap in row-major order, uint8 when the kernel has at most 256 taps, else int32. ``positions``
turns it into the flat place in the unpadded input plane (int64), which is what ``return_indices`` gives and unpooling
takes.

Given the index all passes are linear: ``scatter`` is the gradient, and ``gather`` the gradient of that.
docs/math/max_pool.md.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.geometry import PoolGeometry, Shape
from nnlab.ops import body


def forward(be: Backend, *, x: Any, geometry: PoolGeometry) -> tuple[Any, Any]:
    """(y, index)."""
    return body(be, "max_pool").forward(be, x=x, geometry=geometry)


def scatter(be: Backend, *, dy: Any, index: Any, geometry: PoolGeometry) -> Any:
    """dx (N, C, *in): each dy at the place where its window's maximum was; overlapping windows add up in tap order."""
    return body(be, "max_pool").scatter(be, dy=dy, index=index, geometry=geometry)


def gather(be: Backend, *, x: Any, index: Any, geometry: PoolGeometry) -> Any:
    """(N, C, *out): x at the winning places."""
    return body(be, "max_pool").gather(be, x=x, index=index, geometry=geometry)


def positions(be: Backend, *, index: Any, geometry: PoolGeometry) -> Any:
    """int64 (N, C, *out): flat places in the input plane."""
    return body(be, "max_pool").positions(be, index=index, geometry=geometry)


def unpool(be: Backend, *, x: Any, places: Any, size: Shape) -> Any:
    """(N, C, *size): zeros, with x (N, C, *out) put at ``places`` (which must differ within a plane and lie inside)."""
    return body(be, "max_pool").unpool(be, x=x, places=places, size=size)


def take(be: Backend, *, x: Any, places: Any) -> Any:
    """x (N, C, *size) at flat ``places`` (N, C, *out) of each plane; the gradient of ``unpool``."""
    return body(be, "max_pool").take(be, x=x, places=places)


def place_scatter(be: Backend, *, dy: Any, places: Any, size: Shape) -> Any:
    """(N, C, *size): zeros with dy (N, C, *out) added at ``places``, in row-major order; the gradient of ``take``."""
    return body(be, "max_pool").place_scatter(be, dy=dy, places=places, size=size)
