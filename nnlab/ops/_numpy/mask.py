"""Zero what a mask drops."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlab.backend import Backend

_BITS = {2: np.int16, 4: np.int32, 8: np.int64}


def keep(be: Backend, array: Any, mask: Any) -> Any:
    """The array where mask (bool, same shape) is true, else 0, also for infinity and NaN.

    On the CPU the mask is spread over each number's bits: ``where`` branches on every element, which random masks make
    several times slower.
    """
    if not be.host_memory:
        return be.xp.where(mask, array, array.dtype.type(0))
    bits = mask.astype(_BITS[array.dtype.itemsize])
    np.negative(bits, out=bits)
    bits &= array.view(bits.dtype)
    return bits.view(array.dtype)
