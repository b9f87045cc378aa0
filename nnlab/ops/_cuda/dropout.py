"""Dropout by ``kernels/dropout.cu``."""

from __future__ import annotations

from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.backend.graphs import draw
from nnlab.cuda.launch import Kernel, launch
from nnlab.ops._cuda.memory import array_of, elements, empty, memory_of
from nnlab.ops.dropout import Saved, scale, threshold

_ARRAYS = {"x": "scalar*", "y": "scalar*", "mask": "bool*", "draw": "uint64*", "n": "index"}
_KEPT = {"threshold": "uint64", "scale": "acc"}
_FORWARD = Kernel("dropout", "dropout_forward", {**_ARRAYS, **_KEPT})
_FORWARD_LAST = Kernel("dropout", "dropout_forward_last", {**_ARRAYS, "channels": "index", "inner": "index", **_KEPT})
_BACKWARD = Kernel(
    "dropout",
    "dropout_backward",
    {"dy": "scalar*", "mask": "bool*", "dx": "scalar*", "n": "index", "scale": "acc"},
)


def forward(be: Backend, *, x: Any, p: float, seed: int, offset: int) -> tuple[Any, Saved]:
    source, last = memory_of(be, x)
    memory, y = empty(be, x.shape, x.dtype, last)
    kept, mask = empty(be, x.shape, bool, last)
    saved = Saved(mask, scale(p))
    given = {
        "x": source, "y": memory, "mask": kept, "draw": draw(be, seed, offset), "n": x.size,
        "threshold": threshold(p), "scale": saved.scale,
    }  # fmt: skip
    if last:
        launch(be, _FORWARD_LAST, threads=x.size, channels=x.shape[1], inner=prod(x.shape[2:]), **given)
    else:
        launch(be, _FORWARD, threads=-(-x.size // 4), **given)
    return y, saved


def backward(be: Backend, *, dy: Any, saved: Saved) -> Any:
    axes, (mask, gradient) = elements(be, saved.mask, dy)
    dx = be.xp.empty(mask.shape, dy.dtype)
    launch(be, _BACKWARD, threads=dy.size, dy=gradient, mask=mask, dx=dx, n=dy.size, scale=saved.scale)
    return array_of(dx, axes)
