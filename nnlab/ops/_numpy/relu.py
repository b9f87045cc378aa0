"""relu on arrays, in x's order."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.ops._numpy.layout import empty_like
from nnlab.ops._numpy.mask import keep_passed
from nnlab.ops._numpy.parallel import BLOCK, elementwise


@lru_cache(maxsize=8)
def _zeros(dtype: np.dtype) -> np.ndarray:
    zeros = np.zeros(BLOCK // dtype.itemsize, dtype)
    zeros.flags.writeable = False
    return zeros


def rectify(be: Backend, part: Any, out: Any) -> None:
    """max(part, 0). NumPy compares two arrays three times as fast as an array and a number."""
    length = part.shape[-1]
    if be.host_memory and length <= len(zeros := _zeros(part.dtype)):
        be.xp.maximum(part, zeros[:length], out=out)
    else:
        be.xp.maximum(part, part.dtype.type(0), out=out)


def forward(be: Backend, *, x: Any) -> Any:
    y = empty_like(be, x)
    elementwise(be, lambda out, part: rectify(be, part, out), y, x)
    return y


def backward(be: Backend, *, dy: Any, y: Any) -> Any:
    dx = empty_like(be, y, dy.dtype)
    elementwise(be, lambda out, part, result: keep_passed(be, part, result, out), dx, dy, y, work=2)
    return dx
