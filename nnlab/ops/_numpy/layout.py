"""In which order the axes of an array lie in memory, and new arrays.

An array (N, C, *spatial) is usually in row-major order. Where planes are small and images many, convolutions on the CPU
give their results batch last: the memory of an array (C, *spatial, N) seen as (N, C, *spatial), so that NumPy's inner
loops run over images. Operations accept any order; those on single elements, and pooling, keep that of their input.
docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.backend.memory import pool

Order = tuple[int, ...]


def order(array: Any) -> Order:
    """The axes from the outermost in memory to the innermost."""
    if array.flags.c_contiguous:
        return tuple(range(array.ndim))
    return tuple(sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]) * (array.shape[axis] > 1)))


def batch_last_order(ndim: int) -> Order:
    return (*range(1, ndim), 0)


def is_batch_last(array: Any) -> bool:
    """Whether the memory is that of a row-major array (C, *spatial, N)."""
    return array.ndim > 2 and not array.flags.c_contiguous and bool(np.moveaxis(array, 0, -1).flags.c_contiguous)


def channels_last_order(ndim: int) -> Order:
    return (0, *range(2, ndim), 1)


def is_channels_last(array: Any) -> bool:
    """Whether the axes lie as those of a row-major array (N, *spatial, C), also with gaps."""
    if array.ndim <= 2 or array.flags.c_contiguous:
        return False
    real = [axis for axis in order(array) if array.shape[axis] > 1]
    return real != sorted(real) and real == [axis for axis in channels_last_order(array.ndim) if axis in real]


def batch_last(be: Backend, array: Any) -> Any:
    """(C, *spatial, N) in row-major order: a view if the memory is so, else a copy."""
    moved = be.xp.moveaxis(array, 0, -1)
    if moved.flags.c_contiguous:
        return moved
    result = empty(be, moved.shape, moved.dtype)
    result[...] = moved
    return result


def empty(be: Backend, shape: tuple[int, ...], dtype: Any, order: Order | None = None) -> Any:
    """An uninitialised array, its axes in memory as ``order`` says; on the CPU from the pool."""
    if order is not None:
        made = empty(be, tuple(shape[axis] for axis in order), dtype)
        return made.transpose(sorted(range(len(order)), key=order.__getitem__))
    return pool.empty(shape, dtype) if be.device.type == "cpu" else be.xp.empty(shape, dtype)


def empty_like(be: Backend, array: Any, dtype: Any = None) -> Any:
    """An uninitialised array of the same shape and order, without gaps."""
    return empty(be, array.shape, array.dtype if dtype is None else dtype, order(array))


def plane_order(array: Any) -> Order | None:
    """The order for a result that keeps an array's: batch last if the array is so, else None, row-major."""
    return batch_last_order(array.ndim) if is_batch_last(array) else None


def kept_order(be: Backend, array: Any) -> Order | None:
    """Likewise, or channels last where the device has convolutions that give such arrays: not on the CPU."""
    if be.device.type != "cpu" and is_channels_last(array):
        return channels_last_order(array.ndim)
    return plane_order(array)


def joint(function: Callable[[Sequence[Any], Order], Any], arrays: Sequence[Any]) -> Any:
    """``function`` of arrays and an order, over memory: the arrays are given with their axes in the order of the first
    one that is not in row-major order (if it has no gaps), and so is the result. CuPy makes all results row-major."""
    for array in arrays:
        if array.ndim <= 2 or array.flags.c_contiguous:
            continue
        axes = order(array)
        if array.transpose(axes).flags.c_contiguous:
            made = function([one.transpose(axes) for one in arrays], axes)
            return made.transpose(sorted(range(len(axes)), key=axes.__getitem__))
    return function(arrays, tuple(range(arrays[0].ndim)))


def planes(array: Any, order: Order | None) -> Any:
    """(rows, *spatial, run) of an array (N, C, *spatial): (C, *spatial, N) for the order batch last, (N, *spatial, C)
    for channels last, else (N * C, *spatial, 1). A view of an array in that order, else a copy."""
    if order is not None:
        return array.transpose(order)
    return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:], 1)


def runs(be: Backend, *arrays: Any) -> list[Any]:
    """Arrays of one shape as one dimension each, in the first one's order: views, or copies where that needs them."""
    axes = order(arrays[0])
    return [array.transpose(axes).reshape(-1) for array in arrays]
