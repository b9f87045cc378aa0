"""Differentiable convolutions of 1, 2 and 3 spatial dimensions.

- ``conv(x, w, b, geometry)``: x (N, C, *in), w (O, C/groups, *kernel), b (O,) or None -> y (N, O, *out);
  geometry from ``nnlab.geometry.conv_geometry(x.shape, w.shape, ...)``.
- ``conv_relu(x, w, b, geometry)``: max(y, 0) of that y, the same bits in one operation.
- ``conv_relu_max_pool(x, w, b, geometry)``: the maxima of its windows of 2 x 2, stride 2, in one operation, where
  ``nnlab.ops.conv_relu_max_pool.takes`` it.
- ``conv_transpose(x, w, b, geometry)``: x (N, C, *in), w (C, O/groups, *kernel), b (O,) or None -> y (N, O, *out);
  geometry from ``nnlab.geometry.conv_transpose_geometry(x.shape, w.shape, ...)``.

The three passes of a convolution are linear in each argument and the derivative of one is made of the other two, so the
set is closed under differentiation of any order.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from nnlab.autograd.tape import Node, Op
from nnlab.geometry import ConvGeometry
from nnlab.ops import conv as ops
from nnlab.ops import conv_relu as relu_ops
from nnlab.ops import conv_relu_max_pool as pooled_ops
from nnlab.ops import conv_transpose as transpose_ops
from nnlab.ops._numpy import parallel

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


def _bias_axes(dy: Tensor) -> tuple[int, ...]:
    return (0, *range(2, dy.ndim))


class Conv(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, w: Any, b: Any, geometry: ConvGeometry) -> Any:
        ctx.save_factors()
        ctx.geometry = geometry
        return ops.forward(ctx.be, x=x, w=w, b=b, geometry=geometry)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        dx = ConvInputGrad.apply(dy, ctx.input(1), ctx.geometry) if ctx.needs[0] else None
        dw = ConvWeightGrad.apply(ctx.input(0), dy, ctx.geometry) if ctx.needs[1] else None
        return dx, dw, dy.sum(_bias_axes(dy)) if ctx.needs[2] else None

    @staticmethod
    def backward_raw(ctx: Node, dy: Any) -> Any:
        later = _parameter_grads(ctx, dy)
        return _input_grad(ctx, dy), *later


def _input_grad(ctx: Node, dy: Any) -> Any:
    return ops.input_grad(ctx.be, dy=dy, w=ctx.input_raw(1), geometry=ctx.geometry) if ctx.needs[0] else None


def _parameter_grads(ctx: Node, dy: Any) -> tuple[Any, Any]:
    """Those of weight and bias, which may be computed meanwhile."""
    be, g, to_weight, to_bias = ctx.be, ctx.geometry, *ctx.needs[1:3]
    if not to_weight:
        return None, ops.bias_grad(be, dy=dy) if to_bias else None
    work = prod(g.y_shape) * prod(g.w_shape[1:])
    if not to_bias:
        return parallel.aside(be, partial(ops.weight_grad, be, x=ctx.input_raw(0), dy=dy, geometry=g), work), None
    both = parallel.aside(be, partial(ops.parameter_grads, be, x=ctx.input_raw(0), dy=dy, geometry=g), work)
    return lambda: both()[0], lambda: both()[1]


class ConvReLU(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, w: Any, b: Any, geometry: ConvGeometry) -> Any:
        ctx.save_factors()
        ctx.geometry = geometry
        y, saved = relu_ops.forward(ctx.be, x=x, w=w, b=b, geometry=geometry, keep=any(ctx.needs))
        ctx.mask = None if saved is y else saved
        if saved is y:
            ctx.save_output()
        return y

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return Conv.backward(ctx, ConvReLUGrad.apply(dy, _saved(ctx)))

    @staticmethod
    def backward_raw(ctx: Node, dy: Any) -> Any:
        return Conv.backward_raw(ctx, relu_ops.backward(ctx.be, dy=dy, saved=_saved(ctx)))


def _saved(ctx: Node) -> Any:
    """The mask, or y where that is kept."""
    return ctx.output_raw() if ctx.mask is None else ctx.mask


class ConvReLUGrad(Op):
    """The gradient of the convolution's result: linear in dy, so its gradient is itself."""

    @staticmethod
    def forward(ctx: Node, dy: Any, saved: Any) -> Any:
        ctx.saved = saved
        return relu_ops.backward(ctx.be, dy=dy, saved=saved)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        return ConvReLUGrad.apply(g, ctx.saved)


class ConvReLUMaxPool(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, w: Any, b: Any, geometry: ConvGeometry) -> Any:
        ctx.save_factors()
        ctx.geometry = geometry
        y, ctx.saved = pooled_ops.forward(ctx.be, x=x, w=w, b=b, geometry=geometry, keep=any(ctx.needs))
        return y

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return Conv.backward(ctx, ConvReLUMaxPoolGrad.apply(dy, ctx.saved, ctx.geometry))

    @staticmethod
    def backward_raw(ctx: Node, dy: Any) -> Any:
        dz = pooled_ops.backward(ctx.be, dy=dy, saved=ctx.saved, geometry=ctx.geometry)
        return Conv.backward_raw(ctx, dz)


class ConvReLUMaxPoolGrad(Op):
    """The gradient of the convolution's result, linear in dy."""

    @staticmethod
    def forward(ctx: Node, dy: Any, saved: Any, geometry: ConvGeometry) -> Any:
        ctx.saved, ctx.geometry = saved, geometry
        return pooled_ops.backward(ctx.be, dy=dy, saved=saved, geometry=geometry)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        return ConvReLUMaxPoolGather.apply(g, ctx.saved, ctx.geometry)


class ConvReLUMaxPoolGather(Op):
    """The gradient of :class:`ConvReLUMaxPoolGrad`, which is the gradient of this."""

    @staticmethod
    def forward(ctx: Node, dz: Any, saved: Any, geometry: ConvGeometry) -> Any:
        ctx.saved, ctx.geometry = saved, geometry
        return pooled_ops.gather(ctx.be, dz=dz, saved=saved, geometry=geometry)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        return ConvReLUMaxPoolGrad.apply(g, ctx.saved, ctx.geometry)


class ConvInputGrad(Op):
    """dx of :class:`Conv` as a function of (dy, w)."""

    @staticmethod
    def forward(ctx: Node, dy: Any, w: Any, geometry: ConvGeometry) -> Any:
        ctx.save_factors()
        ctx.geometry = geometry
        return ops.input_grad(ctx.be, dy=dy, w=w, geometry=geometry)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        to_dy = Conv.apply(g, ctx.input(1), None, ctx.geometry) if ctx.needs[0] else None
        return to_dy, ConvWeightGrad.apply(g, ctx.input(0), ctx.geometry) if ctx.needs[1] else None


class ConvWeightGrad(Op):
    """dw of :class:`Conv` as a function of (x, dy)."""

    @staticmethod
    def forward(ctx: Node, x: Any, dy: Any, geometry: ConvGeometry) -> Any:
        ctx.save_factors()
        ctx.geometry = geometry
        return ops.weight_grad(ctx.be, x=x, dy=dy, geometry=geometry)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        to_x = ConvInputGrad.apply(ctx.input(1), g, ctx.geometry) if ctx.needs[0] else None
        return to_x, Conv.apply(ctx.input(0), g, None, ctx.geometry) if ctx.needs[1] else None


class ConvTranspose(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, w: Any, b: Any, geometry: ConvGeometry) -> Any:
        ctx.save_factors()
        ctx.geometry = geometry
        return transpose_ops.forward(ctx.be, x=x, w=w, b=b, geometry=geometry)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        dx = Conv.apply(dy, ctx.input(1), None, ctx.geometry) if ctx.needs[0] else None
        dw = ConvWeightGrad.apply(dy, ctx.input(0), ctx.geometry) if ctx.needs[1] else None
        return dx, dw, dy.sum(_bias_axes(dy)) if ctx.needs[2] else None

    @staticmethod
    def backward_raw(ctx: Node, dy: Any) -> Any:
        geometry = ctx.geometry
        dx = transpose_ops.input_grad(ctx.be, dy=dy, w=ctx.input_raw(1), geometry=geometry) if ctx.needs[0] else None
        dw = transpose_ops.weight_grad(ctx.be, x=ctx.input_raw(0), dy=dy, geometry=geometry) if ctx.needs[1] else None
        return dx, dw, transpose_ops.bias_grad(ctx.be, dy=dy) if ctx.needs[2] else None


def conv(x: Tensor, w: Tensor, b: Tensor | None, geometry: ConvGeometry) -> Tensor:
    """Convolution y (N, O, *out) of x (N, C, *in) with w (O, C/groups, *kernel) and b (O,) or None."""
    return Conv.apply(x, w, b, geometry)


def conv_relu(x: Tensor, w: Tensor, b: Tensor | None, geometry: ConvGeometry) -> Tensor:
    """max(conv(x, w, b, geometry), 0)."""
    return ConvReLU.apply(x, w, b, geometry)


def conv_relu_max_pool(x: Tensor, w: Tensor, b: Tensor | None, geometry: ConvGeometry) -> Tensor | None:
    """The maxima of :func:`conv_relu`'s windows of 2 x 2; None where that is no operation of its own."""
    if not pooled_ops.takes(x._be, geometry=geometry, dtype=x.dtype):
        return None
    return ConvReLUMaxPool.apply(x, w, b, geometry)


def conv_transpose(x: Tensor, w: Tensor, b: Tensor | None, geometry: ConvGeometry) -> Tensor:
    """Transposed convolution y (N, O, *out) of x (N, C, *in) with w (C, O/groups, *kernel) and b (O,) or None."""
    return ConvTranspose.apply(x, w, b, geometry)
