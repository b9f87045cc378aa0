"""Adaptive max pooling by ``kernels/adaptive_max_pool.cu``."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.geometry import Shape
from nnlab.ops._cuda import windows

_SIZES = dict.fromkeys(("n", *windows.ADAPTIVE), "index")
_FORWARD = Kernel(
    "adaptive_max_pool", "adaptive_max_pool_forward", {"x": "scalar*", "y": "scalar*", "places": "int64*", **_SIZES}
)
_SCATTER = Kernel(
    "adaptive_max_pool", "adaptive_max_pool_scatter", {"dy": "scalar*", "places": "int64*", "dx": "scalar*", **_SIZES}
)


def forward(be: Backend, *, x: Any, out: Shape) -> tuple[Any, Any]:
    xp = be.xp
    shape = (*x.shape[:2], *out)
    y, places = xp.empty(shape, x.dtype), xp.empty(shape, xp.int64)
    sizes = windows.adaptive(x.shape[2:], out)
    launch(be, _FORWARD, threads=y.size, x=xp.asarray(x, order="C"), y=y, places=places, n=y.size, **sizes)
    return y, places


def scatter(be: Backend, *, dy: Any, places: Any, size: Shape) -> Any:
    xp = be.xp
    dx = xp.empty((*dy.shape[:2], *size), dy.dtype)
    dy, places = xp.asarray(dy, order="C"), xp.asarray(places, order="C")
    sizes = windows.adaptive(size, dy.shape[2:])
    launch(be, _SCATTER, threads=dx.size, dy=dy, places=places, dx=dx, n=dx.size, **sizes)
    return dx
