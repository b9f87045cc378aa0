"""Convolution and relu by tensor cores (``conv_mma``), or by ``conv`` with its result rectified in place.

Tensor cores leave a mask of bits for the backward pass, which ``kernels/conv_relu.cu`` reads; otherwise y is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.geometry import ConvGeometry
from nnlab.ops._cuda import conv, conv_mma, relu
from nnlab.ops._cuda.conv_problem import memory_of, sum_parts

_FORWARD = Kernel("conv_relu", "conv_relu_forward", {"y": "scalar*", "n": "index"})
_BACKWARD = Kernel(
    "conv_relu",
    "conv_relu_backward",
    {
        "dy": "scalar*",
        "mask": "uint8*",
        "dz": "scalar*",
        "parts": "acc*",
        **dict.fromkeys(("positions", "channels", "share"), "index"),
    },
)


def forward(
    be: Backend, *, x: Any, w: Any, b: Any = None, geometry: ConvGeometry, keep: bool = True
) -> tuple[Any, Any]:
    if conv_mma.takes(be, geometry, x.dtype):
        return conv_mma.forward_relu(be, x=x, w=w, b=b, geometry=geometry, keep=keep)
    y = conv.forward(be, x=x, w=w, b=b, geometry=geometry)
    memory, _ = memory_of(be, y)  # no copy: results have no gaps
    launch(be, _FORWARD, threads=y.size, y=memory, n=y.size)
    return y, y if keep else None


def backward(be: Backend, *, dy: Any, saved: Any, bias: bool = True) -> tuple[Any, Any]:
    if saved.dtype != np.uint8:
        dz = relu.backward(be, dy=dy, y=saved)
        return dz, conv.bias_grad(be, dy=dz) if bias else None
    given = be.xp.asarray(be.xp.moveaxis(dy, 1, -1), order="C")
    dz, channels = be.xp.empty(given.shape, dy.dtype), dy.shape[1]
    grid, share, parts = conv.channel_sums(be, len(saved), channels, dy.dtype, True)
    launch(
        be, _BACKWARD, threads=grid, dy=given, mask=saved, dz=dz, parts=parts, positions=len(saved), channels=channels,
        share=share,
    )  # fmt: skip
    db = sum_parts(be, parts, dy.dtype, inputs=1, taps=1) if bias else None
    return be.xp.moveaxis(dz, -1, 1), db
