"""Differentiable pooling over 1, 2 and 3 spatial dimensions; x is (N, C, *in).

- ``max_pool(x, geometry)`` -> y; geometry from ``nnlab.geometry.pool_geometry(x.shape, kernel_size, stride, ...)``.
- ``max_pool_with_indices(x, geometry)`` -> (y, indices); indices int64, flat position in the unpadded input plane.
- ``max_unpool(x, indices, size)`` -> y (N, C, *size); size from ``nnlab.geometry.max_unpool_size(...)``.
- ``avg_pool(x, geometry, count_include_pad=True, divisor_override=None)`` -> y.
- ``adaptive_avg_pool(x, output_size)`` -> y; output_size from ``nnlab.geometry.adaptive_size(x.shape, ...)``.
- ``adaptive_max_pool(x, output_size)`` -> y.
- ``adaptive_max_pool_with_indices(x, output_size)`` -> (y, indices).
- ``fractional_max_pool(x, samples, kernel, out)`` -> (y, indices).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnlab.autograd.tape import Node, Op, wrap
from nnlab.errors import ArgumentError, complaint
from nnlab.geometry import PoolGeometry, Shape
from nnlab.ops import adaptive_max_pool as adaptive_max_ops
from nnlab.ops import avg_pool as avg_ops
from nnlab.ops import fractional_max_pool as fractional_ops
from nnlab.ops import max_pool as max_ops

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


class MaxPool(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, geometry: PoolGeometry) -> Any:
        y, index = max_ops.forward(ctx.be, x=x, geometry=geometry)
        ctx.index, ctx.geometry = index, geometry
        return y, index

    @staticmethod
    def backward(ctx: Node, dy: Tensor, _: None) -> Any:
        return MaxPoolScatter.apply(dy, ctx.index, ctx.geometry)

    @staticmethod
    def backward_raw(ctx: Node, dy: Any, _: None) -> Any:
        return max_ops.scatter(ctx.be, dy=dy, index=ctx.index, geometry=ctx.geometry)


class MaxPoolScatter(Op):
    @staticmethod
    def forward(ctx: Node, dy: Any, index: Any, geometry: PoolGeometry) -> Any:
        ctx.index, ctx.geometry = index, geometry
        return max_ops.scatter(ctx.be, dy=dy, index=index, geometry=geometry)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        return MaxPoolGather.apply(g, ctx.index, ctx.geometry)


class MaxPoolGather(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, index: Any, geometry: PoolGeometry) -> Any:
        ctx.index, ctx.geometry = index, geometry
        return max_ops.gather(ctx.be, x=x, index=index, geometry=geometry)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        return MaxPoolScatter.apply(g, ctx.index, ctx.geometry)


class Take(Op):
    """The elements of each plane at flat places."""

    @staticmethod
    def forward(ctx: Node, x: Any, places: Any) -> Any:
        ctx.places, ctx.size = places, x.shape[2:]
        return max_ops.take(ctx.be, x=x, places=places)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        return PlaceScatter.apply(g, ctx.places, ctx.size)


class PlaceScatter(Op):
    """Zeros with elements added at flat places of each plane."""

    @staticmethod
    def forward(ctx: Node, dy: Any, places: Any, size: Shape) -> Any:
        ctx.places = places
        return max_ops.place_scatter(ctx.be, dy=dy, places=places, size=size)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        return Take.apply(g, ctx.places)


class MaxUnpool(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, places: Any, size: Shape) -> Any:
        ctx.places = places
        return max_ops.unpool(ctx.be, x=x, places=places, size=size)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return Take.apply(dy, ctx.places)


class AdaptiveMaxPool(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, out: Shape) -> Any:
        y, places = adaptive_max_ops.forward(ctx.be, x=x, out=out)
        ctx.places, ctx.size = places, x.shape[2:]
        return y, places

    @staticmethod
    def backward(ctx: Node, dy: Tensor, _: None) -> Any:
        return AdaptiveScatter.apply(dy, ctx.places, ctx.size)


class AdaptiveScatter(Op):
    """:class:`PlaceScatter` for places in the windows of adaptive pooling."""

    @staticmethod
    def forward(ctx: Node, dy: Any, places: Any, size: Shape) -> Any:
        ctx.places = places
        return adaptive_max_ops.scatter(ctx.be, dy=dy, places=places, size=size)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        return Take.apply(g, ctx.places)


class AvgPool(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, **options: Any) -> Any:
        ctx.options = options
        return avg_ops.forward(ctx.be, x=x, **options)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return AvgPoolGrad.apply(dy, **ctx.options)


class AvgPoolGrad(Op):
    @staticmethod
    def forward(ctx: Node, dy: Any, **options: Any) -> Any:
        ctx.options = options
        return avg_ops.backward(ctx.be, dy=dy, **options)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        return AvgPool.apply(g, **ctx.options)


class AdaptiveAvgPool(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, out: Shape) -> Any:
        ctx.size = x.shape[2:]
        return avg_ops.adaptive_forward(ctx.be, x=x, out=out)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return AdaptiveAvgPoolGrad.apply(dy, ctx.size)


class AdaptiveAvgPoolGrad(Op):
    @staticmethod
    def forward(ctx: Node, dy: Any, size: Shape) -> Any:
        ctx.out = dy.shape[2:]
        return avg_ops.adaptive_backward(ctx.be, dy=dy, size=size)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        return AdaptiveAvgPool.apply(g, ctx.out)


def max_pool(x: Tensor, geometry: PoolGeometry) -> Tensor:
    """Maximum of each window: y (N, C, *out)."""
    return MaxPool.apply(x, geometry)[0]


def max_pool_with_indices(x: Tensor, geometry: PoolGeometry) -> tuple[Tensor, Tensor]:
    """(y, indices): indices int64 (N, C, *out), the flat place of each maximum in its input plane."""
    y, index = MaxPool.apply(x, geometry)
    return y, wrap(x._be, max_ops.positions(x._be, index=index._data, geometry=geometry))


def max_unpool(x: Tensor, indices: Tensor, size: Shape) -> Tensor:
    """Zeros (N, C, *size) with x (N, C, *out) put at ``indices``; an index should occur once a plane."""
    return MaxUnpool.apply(x, indices._data, size)


def avg_pool(
    x: Tensor, geometry: PoolGeometry, count_include_pad: bool = True, divisor_override: int | None = None
) -> Tensor:
    """Mean of each window, or its sum / ``divisor_override``: y (N, C, *out)."""
    if divisor_override is not None and divisor_override == 0:
        raise ArgumentError(complaint("avg_pool", "divisor_override", "not be zero", divisor_override))
    return AvgPool.apply(x, geometry=geometry, count_include_pad=count_include_pad, divisor_override=divisor_override)


def adaptive_avg_pool(x: Tensor, output_size: Shape) -> Tensor:
    """Mean over the windows that cut the input into ``output_size`` parts: y (N, C, *output_size)."""
    return AdaptiveAvgPool.apply(x, output_size)


def adaptive_max_pool(x: Tensor, output_size: Shape) -> Tensor:
    """Maximum over the windows that cut the input into ``output_size`` parts: y (N, C, *output_size)."""
    return AdaptiveMaxPool.apply(x, output_size)[0]


def adaptive_max_pool_with_indices(x: Tensor, output_size: Shape) -> tuple[Tensor, Tensor]:
    """(y, indices) of :func:`adaptive_max_pool`; indices as those of :func:`max_pool_with_indices`."""
    return AdaptiveMaxPool.apply(x, output_size)


def fractional_max_pool(x: Tensor, samples: Tensor, kernel: Shape, out: Shape) -> tuple[Tensor, Tensor]:
    """(y, indices): maxima of windows placed by ``samples`` (N, C, dimensions), numbers in [0, 1)."""
    places = fractional_ops.places(x._be, x=x._data, samples=samples._data, kernel=kernel, out=out)
    return Take.apply(x, places), wrap(x._be, places)
