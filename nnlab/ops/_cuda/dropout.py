"""Dropout by ``kernels/dropout.cu``."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.backend.graphs import draw
from nnlab.cuda.launch import Kernel, launch
from nnlab.ops.dropout import Saved, scale, threshold

_FORWARD = Kernel(
    "dropout",
    "dropout_forward",
    {
        "x": "scalar*",
        "y": "scalar*",
        "mask": "bool*",
        "draw": "uint64*",
        "n": "index",
        "threshold": "uint64",
        "scale": "acc",
    },
)
_BACKWARD = Kernel(
    "dropout",
    "dropout_backward",
    {"dy": "scalar*", "mask": "bool*", "dx": "scalar*", "n": "index", "scale": "acc"},
)


def forward(be: Backend, *, x: Any, p: float, seed: int, offset: int) -> tuple[Any, Saved]:
    xp = be.xp
    x = xp.asarray(x, order="C")
    y, mask = xp.empty(x.shape, x.dtype), xp.empty(x.shape, bool)
    saved = Saved(mask, scale(p))
    launch(
        be, _FORWARD, threads=-(-x.size // 4),
        x=x, y=y, mask=mask, draw=draw(be, seed, offset), n=x.size, threshold=threshold(p), scale=saved.scale,
    )  # fmt: skip
    return y, saved


def backward(be: Backend, *, dy: Any, saved: Saved) -> Any:
    xp = be.xp
    dy, mask = xp.asarray(dy, order="C"), xp.asarray(saved.mask, order="C")
    dx = xp.empty(dy.shape, dy.dtype)
    launch(be, _BACKWARD, threads=dy.size, dy=dy, mask=mask, dx=dx, n=dy.size, scale=saved.scale)
    return dx
