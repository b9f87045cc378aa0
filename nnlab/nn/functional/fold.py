"""Windows as columns and back."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from nnlab.autograd import Tensor
from nnlab.autograd import fold as ops
from nnlab.errors import ShapeError, complaint
from nnlab.geometry import conv_geometry, sizes
from nnlab.nn.functional._checks import check_input, with_batch

Size = int | Sequence[int]


def unfold(input: Tensor, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Tensor:
    """The windows of each image as columns (im2col).

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: KH, KW; an int or two, so are the following.
        dilation: distance between a window's elements.
        padding: zeros on all sides.
        stride: step of the window.

    Returns:
        (N, C * KH * KW, L), or without N: L windows in row-major order.

    Raises:
        ShapeError: the padded input is smaller than a window.
    """
    check_input("unfold", input)
    x, batched = with_batch("unfold", input, 2)
    kernel = sizes(kernel_size, 2, "kernel_size", "unfold")
    geometry = conv_geometry(x.shape, (1, x.shape[1], *kernel), stride, padding, dilation, layer="unfold")
    y = ops.unfold(x, geometry)
    return y if batched else y.squeeze(0)


def fold(
    input: Tensor, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
) -> Tensor:
    """Columns put back where ``unfold`` with the same arguments found them; what overlaps is added up (col2im).

    Args:
        input: (N, C * KH * KW, L) or (C * KH * KW, L).
        output_size: H, W; an int or two, so are the following.
        kernel_size: KH, KW.
        dilation, padding, stride: as in :func:`unfold`.

    Returns:
        (N, C, H, W) or (C, H, W).

    Raises:
        ShapeError: L is not the number of windows, or the input's rows are not C windows.
    """
    check_input("fold", input)
    if input.ndim not in (2, 3):
        must = "have shape (N, C * kernel elements, L) or (C * kernel elements, L)"
        raise ShapeError(complaint("fold", "input", must, tuple(input.shape)))
    cols = input.unsqueeze(0) if input.ndim == 2 else input
    size, kernel = sizes(output_size, 2, "output_size", "fold"), sizes(kernel_size, 2, "kernel_size", "fold")
    channels, rest = divmod(cols.shape[1], prod(kernel))
    if rest:
        must = f"have a number of rows divisible by the kernel's {prod(kernel)} elements"
        raise ShapeError(complaint("fold", "input", must, tuple(input.shape)))
    shape = (cols.shape[0], channels, *size)
    geometry = conv_geometry(shape, (1, channels, *kernel), stride, padding, dilation, layer="fold")
    if cols.shape[2] != prod(geometry.out_size):
        must = f"have {prod(geometry.out_size)} columns, one for each window {geometry.out_size}"
        raise ShapeError(complaint("fold", "input", must, tuple(input.shape)))
    y = ops.fold(cols, geometry)
    return y if input.ndim == 3 else y.squeeze(0)
