"""Convolutions and transposed convolutions over 1, 2 and 3 spatial dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from nnlab.autograd import Tensor
from nnlab.autograd.amp import low_precision
from nnlab.autograd.conv import conv, conv_relu_max_pool, conv_transpose
from nnlab.autograd.conv import conv_relu as rectified
from nnlab.errors import ShapeError, complaint
from nnlab.geometry import ConvGeometry, conv_geometry, conv_transpose_geometry
from nnlab.nn.functional._checks import check_input, with_batch

Size = int | Sequence[int]


def _weight(where: str, weight: Tensor, spatial: int) -> None:
    if weight.ndim != spatial + 2:
        raise ShapeError(complaint(where, "weight", f"have {spatial + 2} dimensions", tuple(weight.shape)))


@low_precision
def conv_nd(
    spatial: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: str | Size,
    dilation: Size,
    groups: int,
    relu: bool = False,
) -> Tensor:
    """What the functions below do; with ``relu`` negative results become 0."""
    x, batched, geometry = _problem(spatial, input, weight, bias, stride, padding, dilation, groups)
    y = (rectified if relu else conv)(x, weight, bias, geometry)
    return y if batched else y.squeeze(0)


@low_precision
def conv2d_pooled(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: str | Size,
    dilation: Size,
    groups: int,
) -> tuple[Tensor, bool]:
    """(the maxima of relu of :func:`conv2d` over windows of 2 x 2, True) where one operation computes all of that, else
    (the convolution, False)."""
    x, batched, geometry = _problem(2, input, weight, bias, stride, padding, dilation, groups)
    pooled = conv_relu_max_pool(x, weight, bias, geometry)
    y = conv(x, weight, bias, geometry) if pooled is None else pooled
    return y if batched else y.squeeze(0), pooled is not None


def _problem(
    spatial: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: str | Size,
    dilation: Size,
    groups: int,
) -> tuple[Tensor, bool, ConvGeometry]:
    """(the input with a batch, whether it had one, the geometry), all checked."""
    where = f"conv{spatial}d"
    check_input(where, input, weight=weight, bias=bias)
    _weight(where, weight, spatial)
    x, batched = with_batch(where, input, spatial)
    geometry = conv_geometry(x.shape, weight.shape, stride, padding, dilation, groups, layer=where)
    if bias is not None and bias.shape != (weight.shape[0],):
        raise ShapeError(complaint(where, "bias", f"have shape ({weight.shape[0]},)", tuple(bias.shape)))
    return x, batched, geometry


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: str | Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation: input (N, C, L) or (C, L), weight (O, C/groups, K), bias (O,)."""
    return conv_nd(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: str | Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation: input (N, C, H, W) or (C, H, W), weight (O, C/groups, KH, KW), bias (O,).

    ``y[n, o, i, j] = bias[o] + sum over c, u, v of weight[o, c, u, v] * x[n, c', i*s + u*d - p, j*s + v*d - p]`` with
    ``c'`` the c-th channel of o's group. ``padding`` is an int, a pair, 'valid' (none) or 'same' (stride 1 only).
    """
    return conv_nd(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: str | Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation: input (N, C, D, H, W) or (C, D, H, W), weight (O, C/groups, KD, KH, KW), bias (O,)."""
    return conv_nd(3, input, weight, bias, stride, padding, dilation, groups)


def conv_relu(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: str | Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """``relu`` of :func:`conv1d`, :func:`conv2d` or :func:`conv3d`, by the weight's dimensions: their bits in one
    operation, gradients included.

    The convolution's own result is never kept: on tensor cores the kernel rectifies what it writes and leaves one bit
    an element for the backward pass, elsewhere the result is rectified in place.
    """
    if not 3 <= weight.ndim <= 5:
        raise ShapeError(complaint("conv_relu", "weight", "have 3 to 5 dimensions", tuple(weight.shape)))
    return conv_nd(weight.ndim - 2, input, weight, bias, stride, padding, dilation, groups, relu=True)


@low_precision
def conv_transpose_nd(
    spatial: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: Size,
    output_padding: Size,
    groups: int,
    dilation: Size,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """What the three functions below do; ``output_size`` chooses the output padding."""
    where = f"conv_transpose{spatial}d"
    check_input(where, input, weight=weight, bias=bias)
    _weight(where, weight, spatial)
    x, batched = with_batch(where, input, spatial)
    geometry = conv_transpose_geometry(
        x.shape,
        weight.shape,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
        output_size=output_size,
        layer=where,
    )
    channels = weight.shape[1] * groups
    if bias is not None and bias.shape != (channels,):
        raise ShapeError(complaint(where, "bias", f"have shape ({channels},)", tuple(bias.shape)))
    y = conv_transpose(x, weight, bias, geometry)
    return y if batched else y.squeeze(0)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Transposed convolution: input (N, C, L) or (C, L), weight (C, O/groups, K), bias (O,)."""
    return conv_transpose_nd(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Transposed convolution: input (N, C, H, W) or (C, H, W), weight (C, O/groups, KH, KW), bias (O,).

    The input gradient of a convolution with the same stride, padding, dilation and groups. Output size along each
    dimension: ``(in - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1``.
    """
    return conv_transpose_nd(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Transposed convolution: input (N, C, D, H, W) or (C, D, H, W), weight (C, O/groups, KD, KH, KW), bias (O,)."""
    return conv_transpose_nd(3, input, weight, bias, stride, padding, output_padding, groups, dilation)
