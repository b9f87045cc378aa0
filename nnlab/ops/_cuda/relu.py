"""relu by ``kernels/relu.cu``; integers by array code."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.ops._numpy import relu as arrays
from nnlab.types import is_floating

_FORWARD = Kernel("relu", "relu_forward", {"x": "scalar*", "y": "scalar*", "n": "index"})
_BACKWARD = Kernel("relu", "relu_backward", {"dy": "scalar*", "y": "scalar*", "dx": "scalar*", "n": "index"})


def forward(be: Backend, *, x: Any) -> Any:
    if not is_floating(x.dtype):
        return arrays.forward(be, x=x)
    x = be.xp.asarray(x, order="C")
    y = be.xp.empty(x.shape, x.dtype)
    launch(be, _FORWARD, threads=x.size, x=x, y=y, n=x.size)
    return y


def backward(be: Backend, *, dy: Any, y: Any) -> Any:
    xp = be.xp
    dy, y = xp.asarray(dy, order="C"), xp.asarray(y, order="C")
    dx = xp.empty(dy.shape, dy.dtype)
    launch(be, _BACKWARD, threads=dy.size, dy=dy, y=y, dx=dx, n=dy.size)
    return dx
