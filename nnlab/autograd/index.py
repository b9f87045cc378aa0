"""Indexing, gathering and index assignment.

The gradient of an indexed read adds up at the positions read. Where positions can repeat, that is a sum of rows by
index (``nnlab/ops/embedding.py``), in a fixed order: the same bits every time, on every device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnlab.autograd.reduce import one_dim
from nnlab.autograd.tape import Node, Op, TensorCore
from nnlab.errors import ShapeError, complaint
from nnlab.ops.embedding import sum_rows

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


def raw_index(index: Any, be: Any) -> Any:
    """An index with its tensors, lists and arrays as arrays of the backend."""
    if isinstance(index, tuple):
        return tuple(raw_index(i, be) for i in index)
    if isinstance(index, TensorCore):
        return index._data
    if isinstance(index, list):
        return be.xp.asarray(index)
    return index


def is_basic(index: Any) -> bool:
    """Whether an index selects by slices and integers alone, so that no element is read twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, int | slice) for p in parts)


def scatter_sum(be: Any, values: Any, positions: Any, size: int) -> Any:
    """``out[positions[i]] += values[i]`` over a flat output, in the order of i."""
    return sum_rows(be, dy=values[:, None], index=positions, rows=size, scale=None).reshape(size)


class GetItem(Op):
    is_view = True

    @staticmethod
    def forward(ctx: Node, x: Any, index: Any) -> Any:
        ctx.shape, ctx.index = x.shape, index
        return x[index]

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return ScatterAdd.apply(dy, ctx.index, ctx.shape), None


class ScatterAdd(Op):
    """Zeros of ``shape`` with dy added at ``index``: the transpose of :class:`GetItem`."""

    @staticmethod
    def forward(ctx: Node, dy: Any, index: Any, shape: tuple[int, ...]) -> Any:
        ctx.index = index
        xp = ctx.be.xp
        if is_basic(index):
            out = xp.zeros(shape, dtype=dy.dtype)
            out[index] = dy
            return out
        size = 1
        for n in shape:
            size *= n
        positions = xp.arange(size).reshape(shape)[index]
        return scatter_sum(ctx.be, dy.reshape(-1), positions.reshape(-1), size).reshape(shape)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return GetItem.apply(dy, ctx.index), None, None


def getitem(input: Tensor, index: Any) -> Tensor:
    """Indexing as in NumPy: integers, slices, None, Ellipsis (views), boolean and integer tensors (copies)."""
    try:
        return GetItem.apply(input, raw_index(index, input._be))
    except IndexError as error:
        raise ShapeIndexError(f"[index] shape {tuple(input.shape)}: {error}") from error


class ShapeIndexError(ShapeError, IndexError):
    """An index outside the tensor; also an IndexError, so that iteration ends as Python expects."""


class SetItem(Op):
    """x with ``x[index] = value`` (a new array; the in-place machinery writes it back)."""

    @staticmethod
    def forward(ctx: Node, x: Any, value: Any, index: Any) -> Any:
        ctx.index = index
        ctx.value_shape = value.shape if hasattr(value, "shape") else ()
        y = x.copy()
        y[index] = value
        return y

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        from nnlab.autograd.elementwise import sum_to

        dx = SetItem.apply(dy, 0.0, ctx.index) if ctx.needs[0] else None
        dv = None
        if ctx.needs[1]:
            dv = GetItem.apply(dy, ctx.index)
            shape = ctx.value_shape
            dv = sum_to(dv, shape[len(shape) - dv.ndim :] if len(shape) > dv.ndim else shape).reshape(shape)
        return dx, dv, None


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """``length`` elements from ``start`` along a dimension (a view)."""
    axis = one_dim("narrow", dim, input.ndim)
    n = input.shape[axis]
    begin = start + n if start < 0 else start
    if begin < 0 or length < 0 or begin + length > n:
        raise ShapeError(complaint("narrow", "start, length", f"stay within size {n}", (start, length)))
    return GetItem.apply(input, (slice(None),) * axis + (slice(begin, begin + length),))


def index_select(input: Tensor, dim: int, index: Any) -> Tensor:
    """The slices named by a 1-d integer tensor (or list) along a dimension."""
    axis = one_dim("index_select", dim, input.ndim)
    return getitem(input, (slice(None),) * axis + (list(index) if isinstance(index, list | tuple) else index,))


class Gather(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, index: Any, axis: int) -> Any:
        ctx.shape, ctx.index, ctx.axis = x.shape, index, axis
        part = tuple(slice(0, n) if i != axis else slice(None) for i, n in enumerate(index.shape))
        return ctx.be.xp.take_along_axis(x[part], index, axis=axis)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return Scatter.apply(dy, ctx.index, ctx.axis, ctx.shape), None, None


class Scatter(Op):
    """Zeros of ``shape`` with dy added where :class:`Gather` read."""

    @staticmethod
    def forward(ctx: Node, dy: Any, index: Any, axis: int, shape: tuple[int, ...]) -> Any:
        ctx.index, ctx.axis = index, axis
        xp = ctx.be.xp
        position: Any = 0
        size, stride = 1, 1
        for n in shape:
            size *= n
        for i in reversed(range(len(shape))):
            n = index.shape[i]
            along = index % shape[i] if i == axis else xp.arange(n).reshape((n,) + (1,) * (len(shape) - 1 - i))
            position = position + along * stride
            stride *= shape[i]
        return scatter_sum(ctx.be, dy.reshape(-1), position.reshape(-1), size).reshape(shape)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        index = type(dy)(ctx.index, ctx.be)
        return Gather.apply(dy, index, ctx.axis), None, None, None


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """``out[i][j] = input[index[i][j]][j]`` for dim 0, and so on; index has as many dimensions as the input."""
    axis = one_dim("gather", dim, input.ndim)
    if index.dtype.kind not in "iu":
        raise ShapeError(complaint("gather", "index", "have an integer dtype", index.dtype.name))
    if index.ndim != input.ndim or any(
        m > n for i, (m, n) in enumerate(zip(index.shape, input.shape, strict=True)) if i != axis
    ):
        raise ShapeError(
            complaint("gather", "index", f"fit the input's shape {tuple(input.shape)}", tuple(index.shape))
        )
    return Gather.apply(input, index, axis)
