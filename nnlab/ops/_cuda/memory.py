"""Arrays as the memory that kernels take, which is contiguous, and results in the order of their inputs.

Convolutions on tensor cores give arrays (N, C, *spatial) with channels last: the memory of (N, *spatial, C). What comes
after reads that memory as it lies and returns its results so.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.geometry import Shape
from nnlab.ops._numpy import layout


def in_order(be: Backend, array: Any, last: bool) -> Any:
    """The memory of an array with channels last or first, a copy if the array lies otherwise."""
    return be.xp.asarray(be.xp.moveaxis(array, 1, -1) if last else array, order="C")


def memory_of(be: Backend, array: Any) -> tuple[Any, bool]:
    """The array as it lies in memory, a copy if it has another order or gaps, and whether channels are last there."""
    last = layout.is_channels_last(array)
    return in_order(be, array, last), last


def empty(be: Backend, shape: Shape, dtype: Any, last: bool) -> tuple[Any, Any]:
    """(memory, array): an array with channels first or last in memory."""
    memory = be.xp.empty((shape[0], *shape[2:], shape[1]) if last else shape, dtype)
    return memory, be.xp.moveaxis(memory, -1, 1) if last else memory


def run_of(shape: Shape, last: bool) -> int:
    """How many elements of a position lie side by side: the ``run`` of pooling kernels."""
    return shape[1] if last else 1


def elements(be: Backend, array: Any, *others: Any) -> tuple[layout.Order, list[Any]]:
    """The order of an array's axes, and the memory of arrays of its shape in that order, copies of those in another."""
    axes = layout.order(array)
    return axes, [be.xp.asarray(one.transpose(axes), order="C") for one in (array, *others)]


def array_of(memory: Any, axes: layout.Order) -> Any:
    """The array whose memory in that order this is."""
    return memory.transpose(sorted(range(len(axes)), key=axes.__getitem__))
