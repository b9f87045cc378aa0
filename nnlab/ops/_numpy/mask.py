"""Zero what a mask drops."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.ops._numpy.parallel import scratch

_BITS = {2: np.int16, 4: np.int32, 8: np.int64}


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
