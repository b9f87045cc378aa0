"""Power-average pooling layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from nnlab.autograd import Tensor
from nnlab.nn import functional as F
from nnlab.nn.module import Module

Size = int | Sequence[int]


class _LPPool(Module):
    """``(sum of x ** p over the window) ** (1 / p)``; see :func:`nnlab.nn.functional.lp_pool2d`.

    Args:
        norm_type: p > 0; 1 gives sum pooling, 2 L2 pooling.
        kernel_size: an int or one int a dimension, so is the stride.
        stride: step of the window, default kernel_size.
        ceil_mode: round the output size up instead of down.
    """

    spatial: ClassVar[int]

    def __init__(
        self, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        pool = (F.lp_pool1d, F.lp_pool2d, F.lp_pool3d)[self.spatial - 1]
        return pool(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    __doc__ = _LPPool.__doc__
    spatial = 1


class LPPool2d(_LPPool):
    __doc__ = _LPPool.__doc__
    spatial = 2


class LPPool3d(_LPPool):
    __doc__ = _LPPool.__doc__
    spatial = 3
