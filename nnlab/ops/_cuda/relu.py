"""relu by ``kernels/relu.cu``; integers by array code."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.ops._cuda.memory import array_of, elements
from nnlab.ops._numpy import relu as arrays
from nnlab.types import is_floating

_FORWARD = Kernel("relu", "relu_forward", {"x": "scalar*", "y": "scalar*", "n": "index"})
_BACKWARD = Kernel("relu", "relu_backward", {"dy": "scalar*", "y": "scalar*", "dx": "scalar*", "n": "index"})


def forward(be: Backend, *, x: Any) -> Any:
    if not is_floating(x.dtype):
        return arrays.forward(be, x=x)
    axes, (source,) = elements(be, x)
    y = be.xp.empty(source.shape, x.dtype)
    launch(be, _FORWARD, threads=x.size, x=source, y=y, n=x.size)
    return array_of(y, axes)


def backward(be: Backend, *, dy: Any, y: Any) -> Any:
    axes, (result, gradient) = elements(be, y, dy)
    dx = be.xp.empty(result.shape, dy.dtype)
    launch(be, _BACKWARD, threads=dy.size, dy=gradient, y=result, dx=dx, n=dy.size)
    return array_of(dx, axes)
