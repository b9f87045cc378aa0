"""Normalisation layers."""

from __future__ import annotations

from typing import Any, ClassVar

from nnlab.autograd import Tensor, no_grad
from nnlab.autograd.creation import full, ones, zeros
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn import functional as F
from nnlab.nn import init
from nnlab.nn.functional._checks import check_count
from nnlab.nn.functional.normalization import batch_norm_relu
from nnlab.nn.module import Module
from nnlab.nn.parameter import Parameter
from nnlab.types import int64


class _BatchNorm(Module):
    """Batch normalisation: ``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel.

    Args:
        num_features: number of channels C.
        eps: added to the variance.
        momentum: share of the new batch in the running statistics; None takes the plain average of all batches.
        affine: whether weight (ones at first) and bias (zeros at first) are learned.
        track_running_stats: whether running mean and (unbiased) variance are kept for evaluation; without them
            evaluation uses the batch's own statistics.
        device, dtype: of the parameters; default CPU and float32.
        bias: whether there is a bias.

    In training a batch without samples counts, but leaves the running mean and variance as they are.
    Buffers: running_mean (C,), running_var (C,), num_batches_tracked ().
    Source: Ioffe and Szegedy, "Batch normalization", ICML 2015.
    """

    dims: ClassVar[tuple[int, ...]]
    axes: ClassVar[str]
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
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
        if eps < 0:
            raise ArgumentError(complaint(name, "eps", "not be negative", eps))
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        shape = (num_features,)
        bias = affine and bias
        self.register_parameter("weight", Parameter(ones(shape, dtype=dtype, device=device)) if affine else None)
        self.register_parameter("bias", Parameter(zeros(shape, dtype=dtype, device=device)) if bias else None)
        track = track_running_stats
        self.register_buffer("running_mean", zeros(shape, dtype=dtype, device=device) if track else None)
        self.register_buffer("running_var", ones(shape, dtype=dtype, device=device) if track else None)
        self.register_buffer("num_batches_tracked", full((), 0, dtype=int64, device=device) if track else None)

    def reset_running_stats(self) -> None:
        """Forget all batches seen so far."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget all batches; weight to ones, bias to zeros."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _share(self) -> float:
        """Count the batch, and the share that it gets in the running statistics."""
        if self.num_batches_tracked is None:
            return 0.0
        with no_grad():
            self.num_batches_tracked.add_(1)
        return 1.0 / self.num_batches_tracked.item() if self.momentum is None else self.momentum

    def forward(self, input: Tensor, *, relu: bool = False) -> Tensor:
        """For ``nnlab.nn.fuse``: with ``relu`` negative results become 0."""
        if input.ndim not in self.dims:
            raise ShapeError(complaint(type(self).__name__, "input", f"have shape {self.axes}", tuple(input.shape)))
        if input.shape[1] != self.num_features:
            raise ShapeError(
                f"[{type(self).__name__}] input has {input.shape[1]} channels but the layer has {self.num_features} "
                f"(input shape {tuple(input.shape)})"
            )
        by_batch = self.training or self.running_mean is None
        return batch_norm_relu(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            by_batch,
            self._share() if self.training else 0.0,
            self.eps,
            relu=relu,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    __doc__ = _BatchNorm.__doc__
    dims, axes = (2, 3), "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    __doc__ = _BatchNorm.__doc__
    dims, axes = (4,), "(N, C, H, W)"


class BatchNorm3d(_BatchNorm):
    __doc__ = _BatchNorm.__doc__
    dims, axes = (5,), "(N, C, D, H, W)"


class LocalResponseNorm(Module):
    """``x / (k + alpha / n * sum of x'**2)**beta``; the sum is over ``size`` channels around x's, n = size.

    With ``within`` it is over ``size`` positions along each spatial dimension around x in its own channel, and n is
    their number. Alpha is divided by n, as in PyTorch and Caffe; the paper's formula has no such division.
    Source: Krizhevsky, Sutskever, Hinton, NIPS 2012, section 3.3.
    """

    def __init__(
        self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, within: bool = False
    ) -> None:
        super().__init__()
        check_count("LocalResponseNorm", "size", size)
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.within = within

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k, within=self.within)

    def extra_repr(self) -> str:
        within = ", within=True" if self.within else ""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}{within}"
