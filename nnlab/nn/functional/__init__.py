"""Layers as functions, with PyTorch's names, argument order and defaults."""

from __future__ import annotations

from nnlab.nn.functional.activation import (
    bias_relu,
    dropout,
    leaky_relu,
    log_softmax,
    relu,
    relu_,
    sigmoid,
    softmax,
    tanh,
)
from nnlab.nn.functional.conv import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from nnlab.nn.functional.fold import fold, unfold
from nnlab.nn.functional.fractional_max_pool import fractional_max_pool2d, fractional_max_pool3d
from nnlab.nn.functional.linear import linear
from nnlab.nn.functional.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    l1_loss,
    mse_loss,
    nll_loss,
)
from nnlab.nn.functional.lp_pool import lp_pool1d, lp_pool2d, lp_pool3d
from nnlab.nn.functional.normalization import batch_norm, local_response_norm
from nnlab.nn.functional.padding import pad
from nnlab.nn.functional.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from nnlab.nn.functional.shuffle import channel_shuffle, pixel_shuffle, pixel_unshuffle
from nnlab.nn.functional.upsampling import interpolate

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bias_relu",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cross_entropy",
    "dropout",
    "fold",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "interpolate",
    "l1_loss",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "mse_loss",
    "nll_loss",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
    "relu",
    "relu_",
    "sigmoid",
    "softmax",
    "tanh",
    "unfold",
]
