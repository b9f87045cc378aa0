"""Average pooling, fixed and adaptive, by ``kernels/avg_pool.cu``."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.geometry import PoolGeometry, Shape
from nnlab.ops._cuda import windows
from nnlab.ops._cuda.memory import empty, memory_of, run_of

_FIXED = {"n": "index", "run": "index", "count": "int32", "divisor": "acc", **windows.PARAMETERS}
_FORWARD = Kernel("avg_pool", "avg_pool_forward", {"x": "scalar*", "y": "scalar*", **_FIXED})
_BACKWARD = Kernel("avg_pool", "avg_pool_backward", {"dy": "scalar*", "dx": "scalar*", **_FIXED})
_ADAPTIVE = dict.fromkeys(("n", "run", *windows.ADAPTIVE), "index")
_ADAPTIVE_FORWARD = Kernel("avg_pool", "avg_pool_adaptive_forward", {"x": "scalar*", "y": "scalar*", **_ADAPTIVE})
_ADAPTIVE_BACKWARD = Kernel("avg_pool", "avg_pool_adaptive_backward", {"dy": "scalar*", "dx": "scalar*", **_ADAPTIVE})


def _fixed(geometry: PoolGeometry, count_include_pad: bool, divisor_override: int | None) -> dict[str, Any]:
    return {
        "count": int(count_include_pad) if divisor_override is None else 2,
        "divisor": 1 if divisor_override is None else divisor_override,
        "reach": windows.reach(geometry),
        **windows.arguments(geometry),
    }


def forward(
    be: Backend, *, x: Any, geometry: PoolGeometry, count_include_pad: bool, divisor_override: int | None
) -> Any:
    source, last = memory_of(be, x)
    memory, y = empty(be, geometry.y_shape, x.dtype, last)
    fixed = _fixed(geometry, count_include_pad, divisor_override)
    launch(be, _FORWARD, threads=y.size, x=source, y=memory, n=y.size, run=run_of(y.shape, last), **fixed)
    return y


def backward(
    be: Backend, *, dy: Any, geometry: PoolGeometry, count_include_pad: bool, divisor_override: int | None
) -> Any:
    source, last = memory_of(be, dy)
    memory, dx = empty(be, geometry.x_shape, dy.dtype, last)
    fixed = _fixed(geometry, count_include_pad, divisor_override)
    launch(be, _BACKWARD, threads=dx.size, dy=source, dx=memory, n=dx.size, run=run_of(dx.shape, last), **fixed)
    return dx


def adaptive_forward(be: Backend, *, x: Any, out: Shape) -> Any:
    source, last = memory_of(be, x)
    memory, y = empty(be, (*x.shape[:2], *out), x.dtype, last)
    sizes = windows.adaptive(x.shape[2:], out)
    launch(be, _ADAPTIVE_FORWARD, threads=y.size, x=source, y=memory, n=y.size, run=run_of(y.shape, last), **sizes)
    return y


def adaptive_backward(be: Backend, *, dy: Any, size: Shape) -> Any:
    source, last = memory_of(be, dy)
    memory, dx = empty(be, (*dy.shape[:2], *size), dy.dtype, last)
    sizes = windows.adaptive(size, dy.shape[2:])
    launch(
        be, _ADAPTIVE_BACKWARD, threads=dx.size, dy=source, dx=memory, n=dx.size, run=run_of(dx.shape, last), **sizes
    )
    return dx
