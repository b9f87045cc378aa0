"""Inputs for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnlab.autograd.creation import tensor
from nnlab.autograd.tensor import Tensor


def spaced(shape: Sequence[int], *, seed: int = 0, gap: float = 0.01, dtype: Any = np.float64) -> Tensor:
    """A tensor whose elements are all different by at least ``gap``, centred on zero, in shuffled order.

    A maximum over such elements cannot change under a finite difference smaller than ``gap / 2``. No element is zero.
    """
    count = int(np.prod(shape))
    order = np.random.Generator(np.random.Philox(seed)).permutation(count)
    values = (order - (count - 1) / 2 + 0.25) * gap
    return tensor(values.reshape(tuple(shape)), dtype=dtype)
