"""Layers that normalise each sample for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from nnlab.autograd import Tensor
from nnlab.autograd.creation import full, ones, zeros
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn import functional as F
from nnlab.nn import init
from nnlab.nn.functional._checks import check_count, with_batch
from nnlab.nn.module import Module
from nnlab.nn.parameter import Parameter
from nnlab.types import int64


class _Affine(Module):
    """Weight (ones at first) and bias (zeros at first), each or both left out."""

    weight: Parameter | None
    bias: Parameter | None

    def _learn(self, shape: tuple[int, ...], weight: bool, bias: bool, device: Any, dtype: Any) -> None:
        self.register_parameter("weight", Parameter(ones(shape, dtype=dtype, device=device)) if weight else None)
        self.register_parameter("bias", Parameter(zeros(shape, dtype=dtype, device=device)) if bias else None)

    def reset_parameters(self) -> None:
        """Weight to ones, bias to zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


def _sizes(where: str, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or any(not isinstance(n, int) or n < 1 for n in shape):
        must = "be a positive int or several"
        raise ArgumentError(complaint(where, "normalized_shape", must, normalized_shape))
    return shape


def _check_eps(where: str, eps: float) -> None:
    if eps < 0:
        raise ArgumentError(complaint(where, "eps", "not be negative", eps))


class LayerNorm(_Affine):
    """``(x - mean) / sqrt(var + eps) * weight + bias``, mean and biased variance over the last dimensions.

    Args:
        normalized_shape: size of the last dimension, or sizes of the last ones, that are normalised together.
        eps: added to the variance.
        elementwise_affine: whether weight (and bias) of shape normalized_shape are learned.
        bias: whether there is a bias.
        device, dtype: of the parameters; default CPU and float32.

    Input and output (..., *normalized_shape). Source: Ba, Kiros, Hinton, "Layer normalization", 2016.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_eps("LayerNorm", eps)
        self.normalized_shape = _sizes("LayerNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._learn(self.normalized_shape, elementwise_affine, elementwise_affine and bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(_Affine):
    """``x / sqrt(mean(x**2) + eps) * weight``, the mean over the last dimensions.

    Args:
        normalized_shape: size of the last dimension, or sizes of the last ones, that are normalised together.
        eps: added to the mean square; None: see :func:`nnlab.nn.functional.rms_norm`.
        elementwise_affine: whether a weight of shape normalized_shape is learned.
        device, dtype: of the weight; default CPU and float32.

    Input and output (..., *normalized_shape).
    Source: Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_eps("RMSNorm", eps or 0.0)
        self.normalized_shape = _sizes("RMSNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._learn(self.normalized_shape, elementwise_affine, False, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    """``(x - mean) / sqrt(var + eps) * weight + bias``, mean and biased variance of each image's group of channels.

    Args:
        num_groups: into how many groups of neighbouring channels the channels are cut.
        num_channels: number of channels C, a multiple of num_groups.
        eps: added to the variance.
        affine: whether weight (and bias) (C,) are learned.
        device, dtype: of the parameters; default CPU and float32.
        bias: whether there is a bias.

    Input and output (N, C, ...). Source: Wu and He, "Group normalization", ECCV 2018.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_count("GroupNorm", "num_groups", num_groups)
        check_count("GroupNorm", "num_channels", num_channels)
        if num_channels % num_groups:
            must = f"be divisible by num_groups={num_groups}"
            raise ArgumentError(complaint("GroupNorm", "num_channels", must, num_channels))
        _check_eps("GroupNorm", eps)
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._learn((num_channels,), affine, affine and bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim < 2 or input.shape[1] != self.num_channels:
            must = f"have shape (N, {self.num_channels}, ...)"
            raise ShapeError(complaint("GroupNorm", "input", must, tuple(input.shape)))
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class _InstanceNorm(_Affine):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel of each image.

    Args:
        num_features: number of channels C.
        eps: added to the variance.
        momentum: share of the new batch in the running statistics; None leaves them as they are.
        affine: whether weight (and bias) (C,) are learned.
        track_running_stats: whether running mean and (unbiased) variance (C,) are kept and used in evaluation; else
            evaluation uses the input's own statistics, as training does.
        device, dtype: of the parameters; default CPU and float32.
        bias: whether there is a bias.

    Input with or without the batch dimension N, of C channels also where the layer has nothing per channel. As in
    PyTorch the buffer num_batches_tracked is there (with track_running_stats) but never counts.
    Source: Ulyanov, Vedaldi, Lempitsky, "Instance normalization", 2016.
    """

    spatial: ClassVar[int]
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_count(name, "num_features", num_features)
        if momentum is not None and not 0 <= momentum <= 1:
            raise ArgumentError(complaint(name, "momentum", "be between 0 and 1, or None", momentum))
        _check_eps(name, eps)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        shape = (num_features,)
        self._learn(shape, affine, affine and bias, device, dtype)
        track = track_running_stats
        self.register_buffer("running_mean", zeros(shape, dtype=dtype, device=device) if track else None)
        self.register_buffer("running_var", ones(shape, dtype=dtype, device=device) if track else None)
        self.register_buffer("num_batches_tracked", full((), 0, dtype=int64, device=device) if track else None)

    def reset_running_stats(self) -> None:
        """Forget all batches seen so far."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)

    def reset_parameters(self) -> None:
        """Forget all batches; weight to ones, bias to zeros."""
        self.reset_running_stats()
        super().reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        name = type(self).__name__
        x, batched = with_batch(name, input, self.spatial)
        if x.shape[1] != self.num_features:
            raise ShapeError(complaint(name, "input", f"have {self.num_features} channels", tuple(input.shape)))
        y = F.instance_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            self.momentum or 0.0,
            self.eps,
        )
        return y if batched else y.squeeze(0)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class InstanceNorm1d(_InstanceNorm):
    __doc__ = _InstanceNorm.__doc__
    spatial = 1


class InstanceNorm2d(_InstanceNorm):
    __doc__ = _InstanceNorm.__doc__
    spatial = 2


class InstanceNorm3d(_InstanceNorm):
    __doc__ = _InstanceNorm.__doc__
    spatial = 3
