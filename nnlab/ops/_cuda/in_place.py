"""Kernels that overwrite their arguments, also where these are views."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nnlab.backend import Backend


@contextmanager
def contiguous(be: Backend, *arrays: Any) -> Iterator[list[Any]]:
    """The arrays as a kernel can overwrite them: a copy of one that is not contiguous, copied back at the end."""
    flat = [be.xp.asarray(array, order="C") for array in arrays]
    yield flat
    for array, copy in zip(arrays, flat, strict=True):
        if copy is not array:
            array[...] = copy
