"""Power-average pooling over 1, 2 and 3 spatial dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from nnlab.autograd import Tensor
from nnlab.autograd import pool as ops
from nnlab.autograd.amp import in_float32
from nnlab.autograd.elementwise import where
from nnlab.errors import ArgumentError, complaint
from nnlab.geometry import pool_geometry
from nnlab.nn.functional._checks import check_input, with_batch

Size = int | Sequence[int]


@in_float32
def _lp_pool(
    spatial: int, input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None, ceil_mode: bool
) -> Tensor:
    name = f"lp_pool{spatial}d"
    check_input(name, input)
    if not isinstance(norm_type, int | float) or not 0 < norm_type < float("inf"):
        raise ArgumentError(complaint(name, "norm_type", "be a positive finite number", norm_type))
    x, batched = with_batch(name, input, spatial)
    geometry = pool_geometry(x.shape, kernel_size, stride, 0, 1, ceil_mode, layer=name)
    powers = x * x if norm_type == 2 else x**norm_type
    total = ops.avg_pool(powers, geometry) * prod(geometry.kernel)
    # The root has no derivative at 0; as in PyTorch it counts as 0.
    empty = total == 0
    inner = where(empty, 1.0, total)
    root = inner.sqrt() if norm_type == 2 else inner ** (1.0 / norm_type)
    y = where(empty, 0.0, root)
    return y if batched else y.squeeze(0)


_DOC = """``(sum of x ** p over the window) ** (1 / p)`` with p = ``norm_type``: input (N, C, {axes}) or (C, {axes}).

    Windows that ``ceil_mode`` lets hang over the edge count their mean as often as a whole window has elements. Where
    the sum is 0 the gradient is 0; where it is negative (odd p) the result is NaN, except for p = 1.

    Args:
        norm_type: p > 0; 1 gives sum pooling, 2 L2 pooling, and large p come near max pooling.
        kernel_size: an int or one int a dimension, so is the stride.
        stride: step of the window, default kernel_size.
        ceil_mode: round the output size up instead of down.
    """


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


lp_pool1d.__doc__, lp_pool2d.__doc__, lp_pool3d.__doc__ = (_DOC.format(axes=axes) for axes in ("L", "H, W", "D, H, W"))
