"""Zero what a mask drops."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.ops._numpy.parallel import scratch

_BITS = {2: np.int16, 4: np.int32, 8: np.int64}
_UNSIGNED = {4: np.uint32, 8: np.uint64}


def keep(be: Backend, array: Any, mask: Any, out: Any) -> None:
    """Write the array where mask (bool, same shape) is true, else 0, also for infinity and NaN.

    On the CPU each number's bits are multiplied by 0 or 1: ``where`` branches on every element, which random masks make
    several times slower.
    """
    if not be.host_memory:
        out[...] = be.xp.where(mask, array, array.dtype.type(0))
        return
    bits = _BITS[array.dtype.itemsize]
    factor = scratch(be, "mask", mask.shape, bits)
    factor[...] = mask
    np.multiply(array.view(bits), factor, out=out.view(bits))


def keep_passed(be: Backend, array: Any, y: Any, out: Any) -> None:
    """Write the array where relu's result y (same shape) is not 0, else 0.

    On the CPU relu gives no -0 in float32 and float64, so y's bits as an unsigned number are 0 where y is: their sign
    is the factor, without a mask of its own.
    """
    if not be.host_memory or array.dtype.itemsize == 2 or y.dtype != array.dtype:
        keep(be, array, y != 0, out)
        return
    bits = _UNSIGNED[array.dtype.itemsize]
    factor = out.view(bits)
    np.sign(y.view(bits), out=factor)
    np.multiply(factor, array.view(bits), out=factor)
