"""softmax and log-softmax by ``kernels/softmax.cu``."""

from __future__ import annotations

from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.ops._cuda import teams


def _kernel(name: str, *arrays: str) -> Kernel:
    parameters = {**dict.fromkeys(arrays, "scalar*"), **dict.fromkeys(("lines", "count", "inner"), "index")}
    return Kernel("softmax", name, parameters, variants=teams.VARIANTS)


_FORWARD = _kernel("softmax_forward", "x", "y")
_BACKWARD = _kernel("softmax_backward", "dy", "y", "dx")
_LOG_FORWARD = _kernel("softmax_log_forward", "x", "y")
_LOG_BACKWARD = _kernel("softmax_log_backward", "dy", "y", "dx")


def _launch(be: Backend, kernel: Kernel, axis: int, result: str, **arrays: Any) -> Any:
    """The array named ``result``, of the others' shape and dtype."""
    xp = be.xp
    arrays = {name: xp.asarray(array, order="C") for name, array in arrays.items()}
    like = next(iter(arrays.values()))
    arrays[result] = xp.empty(like.shape, like.dtype)
    axis %= max(like.ndim, 1)
    count, inner = prod(like.shape[axis : axis + 1]), prod(like.shape[axis + 1 :])
    if like.size:
        lines = like.size // count
        grid = teams.grid(be, kernel, like.dtype, lines, count, inner)
        launch(be, kernel, threads=grid, **arrays, lines=lines, count=count, inner=inner)
    return arrays[result]


def softmax(be: Backend, *, x: Any, axis: int) -> Any:
    return _launch(be, _FORWARD, axis, "y", x=x)


def softmax_backward(be: Backend, *, dy: Any, y: Any, axis: int) -> Any:
    return _launch(be, _BACKWARD, axis, "dx", dy=dy, y=y)


def log_softmax(be: Backend, *, x: Any, axis: int) -> Any:
    return _launch(be, _LOG_FORWARD, axis, "y", x=x)


def log_softmax_backward(be: Backend, *, dy: Any, y: Any, axis: int) -> Any:
    return _launch(be, _LOG_BACKWARD, axis, "dx", dy=dy, y=y)
