"""Bias and relu by ``kernels/bias_relu.cu``."""

from __future__ import annotations

from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, accumulator, launch
from nnlab.ops._cuda import teams
from nnlab.ops._cuda.memory import empty, in_order, memory_of

_FORWARD = Kernel(
    "bias_relu",
    "bias_relu_forward",
    {"x": "scalar*", "b": "scalar*", "y": "scalar*", "n": "index", "channels": "index", "inner": "index"},
)
_BACKWARD = Kernel(
    "bias_relu",
    "bias_relu_backward",
    {
        **dict.fromkeys(("dy", "y", "dx"), "scalar*"),
        "partial": "acc*",
        **dict.fromkeys(("images", "channels", "inner", "parts", "part"), "index"),
    },
    variants=teams.VARIANTS,
)
_SUM = Kernel(
    "bias_relu",
    "bias_relu_sum",
    {"partial": "acc*", "db": "scalar*", "channels": "index", "parts": "index"},
    variants=teams.VARIANTS,
)

_PART, _COLUMN = 4096, 64  # elements of a channel that a team adds up; that a single thread adds up


def _sizes(x: Any, last: bool) -> tuple[int, int, int]:
    """(images, channels, inner). With channels last each position counts as an image."""
    positions = prod(x.shape[2:])
    return (x.shape[0] * positions, x.shape[1], 1) if last else (x.shape[0], x.shape[1], positions)


def forward(be: Backend, *, x: Any, b: Any) -> Any:
    source, last = memory_of(be, x)
    memory, y = empty(be, x.shape, x.dtype, last)
    _, channels, inner = _sizes(x, last)
    launch(
        be, _FORWARD, threads=x.size, x=source, b=be.xp.asarray(b, order="C"), y=memory, n=x.size, channels=channels,
        inner=inner,
    )  # fmt: skip
    return y


def backward(be: Backend, *, dy: Any, y: Any) -> tuple[Any, Any]:
    xp = be.xp
    result, last = memory_of(be, y)
    images, channels, inner = _sizes(y, last)
    memory, dx = empty(be, y.shape, dy.dtype, last)
    db = xp.zeros(channels, dy.dtype)
    if not dy.size:
        return dx, db
    elements = images * inner
    part = _COLUMN if inner == 1 else _PART
    parts = -(-elements // part)
    partial = xp.empty((parts, channels), accumulator(dy.dtype))
    count, step = min(part, elements), channels if inner == 1 else 1
    grid = teams.grid(be, _BACKWARD, dy.dtype, partial.size, count, step, 1 if inner == 1 else None)
    launch(
        be, _BACKWARD, threads=grid, dy=in_order(be, dy, last), y=result, dx=memory, partial=partial, images=images,
        channels=channels, inner=inner, parts=parts, part=part,
    )  # fmt: skip
    grid = teams.grid(be, _SUM, dy.dtype, channels, parts, channels, teams.of_line(parts))
    launch(be, _SUM, threads=grid, partial=partial, db=db, channels=channels, parts=parts)
    return dx, db
