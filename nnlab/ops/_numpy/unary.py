"""Functions of single elements on arrays, in x's order."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy.gates import sigmoid
from nnlab.ops._numpy.layout import empty_like
from nnlab.ops._numpy.parallel import elementwise
from nnlab.ops._numpy.precision import wide

_WORK = 8  # multiply-adds that an element costs as much as


def forward(be: Backend, *, x: Any, function: str) -> Any:
    y = empty_like(be, x)

    def work(out: Any, part: Any) -> None:
        if function != "sigmoid":
            getattr(be.xp, function)(part, out=out)
        elif wide(be, part) is part:
            sigmoid(be, part, out=out)
        else:
            out[...] = sigmoid(be, wide(be, part))

    elementwise(be, work, y, x, work=_WORK)
    return y


def backward(be: Backend, *, dy: Any, y: Any, function: str) -> Any:
    xp = be.xp
    dx = empty_like(be, y)

    def work(out: Any, grad: Any, result: Any) -> None:
        result = wide(be, result)
        if function != "exp":
            # dy * (1 - y * y), or dy * (y - y * y)
            slope = out if out.dtype == result.dtype else xp.empty(out.shape, result.dtype)
            xp.multiply(result, result, out=slope)
            xp.subtract(result.dtype.type(1) if function == "tanh" else result, slope, out=slope)
            result = slope
        xp.multiply(grad, result, out=out, casting="same_kind")

    elementwise(be, work, dx, dy, y, work=_WORK)
    return dx
