"""Windows as columns and back, as layers."""

from __future__ import annotations

from collections.abc import Sequence

from nnlab.autograd import Tensor
from nnlab.nn import functional as F
from nnlab.nn.module import Module

Size = int | Sequence[int]


class Unfold(Module):
    """The windows of each image as columns: input (N, C, H, W) or (C, H, W), output (N, C * KH * KW, L) or without N.

    Args:
        kernel_size: KH, KW; an int or two, so are the following.
        dilation: distance between a window's elements.
        padding: zeros on all sides.
        stride: step of the window.
    """

    def __init__(self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """Columns added up into planes: input (N, C * KH * KW, L) or without N, output (N, C, H, W) or (C, H, W).

    Args:
        output_size: H, W; an int or two, so are the following.
        kernel_size: KH, KW.
        dilation, padding, stride: as in :class:`Unfold`.
    """

    def __init__(
        self, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )
