"""Adaptive max pooling by ``kernels/adaptive_max_pool.cu``."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.geometry import Shape
from nnlab.ops._cuda import windows
from nnlab.ops._cuda.memory import empty, in_order, memory_of, run_of

_SIZES = dict.fromkeys(("n", "run", *windows.ADAPTIVE), "index")
_FORWARD = Kernel(
    "adaptive_max_pool", "adaptive_max_pool_forward", {"x": "scalar*", "y": "scalar*", "places": "int64*", **_SIZES}
)
_SCATTER = Kernel(
    "adaptive_max_pool", "adaptive_max_pool_scatter", {"dy": "scalar*", "places": "int64*", "dx": "scalar*", **_SIZES}
)


def forward(be: Backend, *, x: Any, out: Shape) -> tuple[Any, Any]:
    source, last = memory_of(be, x)
    shape = (*x.shape[:2], *out)
    memory, y = empty(be, shape, x.dtype, last)
    winners, places = empty(be, shape, be.xp.int64, last)
    sizes = {"n": y.size, "run": run_of(shape, last), **windows.adaptive(x.shape[2:], out)}
    launch(be, _FORWARD, threads=y.size, x=source, y=memory, places=winners, **sizes)
    return y, places


def scatter(be: Backend, *, dy: Any, places: Any, size: Shape) -> Any:
    winners, last = memory_of(be, places)
    memory, dx = empty(be, (*dy.shape[:2], *size), dy.dtype, last)
    sizes = {"n": dx.size, "run": run_of(dx.shape, last), **windows.adaptive(size, dy.shape[2:])}
    launch(be, _SCATTER, threads=dx.size, dy=in_order(be, dy, last), places=winners, dx=memory, **sizes)
    return dx
