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
from nnlab.ops._cuda.memory import memory_of

_FORWARD = Kernel("conv_relu", "conv_relu_forward", {"y": "scalar*", "n": "index"})
_BACKWARD = Kernel(
    "conv_relu",
    "conv_relu_backward",
    {"dy": "scalar*", "mask": "uint8*", "dz": "scalar*", "n": "index", "channels": "index"},
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


def backward(be: Backend, *, dy: Any, saved: Any) -> Any:
    if saved.dtype != np.uint8:
        return relu.backward(be, dy=dy, y=saved)
    given = be.xp.asarray(be.xp.moveaxis(dy, 1, -1), order="C")
    dz = be.xp.empty(given.shape, dy.dtype)
    launch(be, _BACKWARD, threads=saved.size, dy=given, mask=saved, dz=dz, n=saved.size, channels=dy.shape[1])
    return be.xp.moveaxis(dz, -1, 1)
