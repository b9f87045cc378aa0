"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from nnlab.autograd import Tensor
from nnlab.autograd.creation import empty
from nnlab.errors import ArgumentError, complaint
from nnlab.geometry import sizes
from nnlab.nn import functional as F
from nnlab.nn import init
from nnlab.nn.functional._checks import check_count
from nnlab.nn.functional.conv import conv2d_pooled, conv_nd, conv_transpose_nd
from nnlab.nn.module import Module
from nnlab.nn.parameter import Parameter

Size = int | Sequence[int]
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What convolutions and transposed convolutions share: checked arguments, parameters, initial values."""

    spatial: ClassVar[int]
    transposed: ClassVar[bool] = False
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size,
        padding: str | Size,
        output_padding: Size,
        dilation: Size,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        for argument, count in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
            check_count(name, argument, count)
        for argument, count in (("in_channels", in_channels), ("out_channels", out_channels)):
            if count % groups:
                raise ArgumentError(complaint(name, argument, f"be divisible by groups={groups}", count))
        if padding_mode not in (("zeros",) if self.transposed else PADDING_MODES):
            must = "be 'zeros'" if self.transposed else f"be one of {PADDING_MODES}"
            raise ArgumentError(complaint(name, "padding_mode", must, padding_mode))
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.groups = groups
        self.padding_mode = padding_mode
        self.kernel_size = sizes(kernel_size, self.spatial, "kernel_size", name)
        self.stride = sizes(stride, self.spatial, "stride", name)
        self.dilation = sizes(dilation, self.spatial, "dilation", name)
        self.output_padding = sizes(output_padding, self.spatial, "output_padding", name, least=0)
        self.padding: str | tuple[int, ...]
        if isinstance(padding, str):
            if self.transposed or padding not in ("same", "valid"):
                raise ArgumentError(complaint(name, "padding", "be an int, a tuple, 'same' or 'valid'", padding))
            if padding == "same" and any(s != 1 for s in self.stride):
                raise ArgumentError(complaint(name, "stride", "be 1 with padding='same'", stride))
            self.padding = padding
        else:
            self.padding = sizes(padding, self.spatial, "padding", name, least=0)
        channels = (in_channels, out_channels // groups) if self.transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(empty((*channels, *self.kernel_size), dtype=dtype, device=device))
        if bias:
            self.bias = Parameter(empty((out_channels,), dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias uniformly from ``+-1 / sqrt(weight.size(1) * kernel elements)``."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(init.fans(self.weight)[0])
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if isinstance(self.padding, str) or any(self.padding):
            text += f", padding={self.padding}"
        if any(d != 1 for d in self.dilation):
            text += f", dilation={self.dilation}"
        if any(self.output_padding):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Conv(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: str | Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            0,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _pads(self) -> list[int]:
        """The padding as ``F.pad`` takes it: pairs, last dimension first; 'same' puts the odd one behind."""
        if self.padding == "same":
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            pairs = [(n // 2, n - n // 2) for n in total]
        else:
            pairs = [(0, 0) if isinstance(p, str) else (p, p) for p in self.padding]
        return [n for pair in reversed(pairs) for n in pair]

    def forward(self, input: Tensor, *, relu: bool = False, pool: bool = False) -> Any:
        """For ``nnlab.nn.fuse``: with ``relu`` negative results become 0, with ``pool`` this is ``conv2d_pooled``."""
        padding: str | tuple[int, ...] = self.padding
        if self.padding_mode != "zeros" and padding != "valid":
            input = F.pad(input, self._pads(), self.padding_mode)
            padding = (0,) * self.spatial
        given = input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        return conv2d_pooled(*given) if pool else conv_nd(self.spatial, *given, relu)


_CONV_DOC = """{n}d convolution (cross-correlation).

    Input (N, C, {axes}) or (C, {axes}); weight (O, C/groups, *kernel_size), bias (O,); output (N, O, *out) with, along
    each dimension, ``out = (in + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1``.

    Args:
        in_channels: C, divisible by groups.
        out_channels: O, divisible by groups.
        kernel_size: an int or one int a dimension; so are the following.
        stride: step of the window.
        padding: what is added on both sides, or 'valid' (nothing), or 'same' (output as large as the input, stride 1).
        dilation: distance between the kernel's elements.
        groups: channels are split into so many independent groups.
        bias: whether to add a learned bias.
        padding_mode: 'zeros', 'reflect', 'replicate' or 'circular'.
        device, dtype: of the parameters; default CPU and float32.

    Weight and bias start uniform in ``+-1 / sqrt(C / groups * kernel elements)``.
    """


class Conv1d(_Conv):
    __doc__ = _CONV_DOC.format(n=1, axes="L")
    spatial = 1


class Conv2d(_Conv):
    __doc__ = _CONV_DOC.format(n=2, axes="H, W")
    spatial = 2


class Conv3d(_Conv):
    __doc__ = _CONV_DOC.format(n=3, axes="D, H, W")
    spatial = 3


class _ConvTranspose(_ConvNd):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return conv_transpose_nd(
            self.spatial,
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,  # type: ignore[arg-type]
            self.output_padding,
            self.groups,
            self.dilation,
            output_size,
        )


_TRANSPOSED_DOC = """{n}d transposed convolution: the input gradient of the convolution with the same arguments.

    Input (N, C, {axes}) or (C, {axes}); weight (C, O/groups, *kernel_size), bias (O,); output (N, O, *out) with, along
    each dimension, ``out = (in - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1``.
    ``forward(input, output_size)`` chooses the output padding that gives the wanted spatial size.

    Args:
        in_channels: C, divisible by groups.
        out_channels: O, divisible by groups.
        kernel_size: an int or one int a dimension; so are the following.
        stride: step of the window.
        padding: cut from both sides of the output.
        output_padding: added to one side of the output; smaller than stride or dilation.
        groups: channels are split into so many independent groups.
        bias: whether to add a learned bias.
        dilation: distance between the kernel's elements.
        padding_mode: 'zeros' only.
        device, dtype: of the parameters; default CPU and float32.
    """


class ConvTranspose1d(_ConvTranspose):
    __doc__ = _TRANSPOSED_DOC.format(n=1, axes="L")
    spatial = 1


class ConvTranspose2d(_ConvTranspose):
    __doc__ = _TRANSPOSED_DOC.format(n=2, axes="H, W")
    spatial = 2


class ConvTranspose3d(_ConvTranspose):
    __doc__ = _TRANSPOSED_DOC.format(n=3, axes="D, H, W")
    spatial = 3
