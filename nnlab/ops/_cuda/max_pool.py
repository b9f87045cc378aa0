"""Max pooling by ``kernels/max_pool.cu``; ``positions``, ``place_scatter`` and the check of places are array code."""

from __future__ import annotations

from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.geometry import PoolGeometry, Shape
from nnlab.ops._cuda import windows
from nnlab.ops._cuda.memory import empty, in_order, memory_of, run_of
from nnlab.ops._numpy.max_pool import check_places, index_dtype, place_scatter, positions

__all__ = ["forward", "gather", "place_scatter", "positions", "scatter", "take", "unpool"]


def _pair(name: str, arrays: dict[str, str]) -> dict[str, Kernel]:
    """A kernel by the dtype of the index."""
    return {
        dtype: Kernel(
            "max_pool",
            f"max_pool_{name}{suffix}",
            {
                **{array: kind.format(index=dtype) for array, kind in arrays.items()},
                **dict.fromkeys(("n", "run", *windows.PARAMETERS), "index"),
            },
        )
        for dtype, suffix in (("uint8", ""), ("int32", "_wide"))
    }


_FORWARD = _pair("forward", {"x": "scalar*", "y": "scalar*", "index": "{index}*"})
_SCATTER = _pair("scatter", {"dy": "scalar*", "index": "{index}*", "dx": "scalar*"})
_GATHER = _pair("gather", {"x": "scalar*", "index": "{index}*", "y": "scalar*"})
_PLACES = {"x": "scalar*", "places": "int64*", "y": "scalar*", "n": "index", "out": "index", "size": "index"}
_UNPOOL = Kernel("max_pool", "max_pool_unpool", _PLACES)
_TAKE = Kernel("max_pool", "max_pool_take", _PLACES)


def _launch(be: Backend, kernels: dict[str, Kernel], geometry: PoolGeometry, n: int, last: bool, **arrays: Any) -> None:
    launch(
        be, kernels[arrays["index"].dtype.name], threads=n, reach=windows.reach(geometry), n=n,
        run=run_of(geometry.x_shape, last), **arrays, **windows.arguments(geometry),
    )  # fmt: skip


def forward(be: Backend, *, x: Any, geometry: PoolGeometry) -> tuple[Any, Any]:
    source, last = memory_of(be, x)
    memory, y = empty(be, geometry.y_shape, x.dtype, last)
    winners, index = empty(be, geometry.y_shape, index_dtype(geometry), last)
    _launch(be, _FORWARD, geometry, y.size, last, x=source, y=memory, index=winners)
    return y, index


def scatter(be: Backend, *, dy: Any, index: Any, geometry: PoolGeometry) -> Any:
    winners, last = memory_of(be, index)
    memory, dx = empty(be, geometry.x_shape, dy.dtype, last)
    _launch(be, _SCATTER, geometry, dx.size, last, dy=in_order(be, dy, last), index=winners, dx=memory)
    return dx


def gather(be: Backend, *, x: Any, index: Any, geometry: PoolGeometry) -> Any:
    winners, last = memory_of(be, index)
    memory, y = empty(be, geometry.y_shape, x.dtype, last)
    _launch(be, _GATHER, geometry, y.size, last, x=in_order(be, x, last), index=winners, y=memory)
    return y


def unpool(be: Backend, *, x: Any, places: Any, size: Shape) -> Any:
    y = be.xp.zeros((*x.shape[:2], *size), x.dtype)
    _by_place(be, _UNPOOL, x, places, y, prod(size))
    return y


def take(be: Backend, *, x: Any, places: Any) -> Any:
    y = be.xp.empty(places.shape, x.dtype)
    _by_place(be, _TAKE, x, places, y, prod(x.shape[2:]))
    return y


def _by_place(be: Backend, kernel: Kernel, x: Any, places: Any, y: Any, size: int) -> None:
    xp = be.xp
    check_places(places, size)
    launch(
        be, kernel, threads=places.size, x=xp.asarray(x, order="C"), places=xp.asarray(places, xp.int64, order="C"),
        y=y, n=places.size, out=prod(places.shape[2:]), size=size,
    )  # fmt: skip
