"""relu on arrays, in x's order."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy.layout import empty_like
from nnlab.ops._numpy.mask import keep
from nnlab.ops._numpy.parallel import elementwise


def forward(be: Backend, *, x: Any) -> Any:
    y = empty_like(be, x)
    elementwise(be, lambda out, part: be.xp.maximum(part, part.dtype.type(0), out=out), y, x)
    return y


def backward(be: Backend, *, dy: Any, y: Any) -> Any:
    dx = empty_like(be, y, dy.dtype)
    elementwise(be, lambda out, part, result: keep(be, part, result != 0, out), dx, dy, y, work=2)
    return dx
