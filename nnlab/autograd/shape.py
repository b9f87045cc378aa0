"""Views and rearrangements: reshape, permute, expand, join, split, pad, flip."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnlab.autograd.elementwise import cast, common_dtype, sum_to
from nnlab.autograd.reduce import normal_dims, one_dim
from nnlab.autograd.tape import Node, Op
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.ops._numpy import layout

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


class Reshape(Op):
    is_view = True

    @staticmethod
    def forward(ctx: Node, x: Any, shape: tuple[int, ...]) -> Any:
        ctx.shape, ctx.order = x.shape, layout.kept_order(ctx.be, x)
        return x.reshape(shape)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return dy.reshape(ctx.shape), None

    @staticmethod
    def backward_raw(ctx: Node, dy: Any) -> Any:
        dx = dy.reshape(ctx.shape)
        if ctx.order is None:
            return dx, None
        # What comes before goes on in the order that it had in forward.
        result = layout.empty(ctx.be, dx.shape, dx.dtype, ctx.order)
        result[...] = dx
        return result, None


def sizes(values: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes or dimensions given as ``f(2, 3)`` or ``f((2, 3))``."""
    if len(values) == 1 and not isinstance(values[0], int):
        values = tuple(values[0])
    return tuple(int(v) for v in values)


def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """The same elements in another shape, in row-major order; one size may be -1. A view where that is possible."""
    shape = tuple(shape)
    unknown = shape.count(-1)
    known = 1
    for n in shape:
        known *= n if n != -1 else 1
    count = input.numel()
    if (
        unknown > 1
        or min(shape, default=0) < -1
        or (unknown and (known == 0 or count % known))
        or (not unknown and known != count)
    ):
        raise ShapeError(f"[reshape] shape {tuple(input.shape)} ({count} elements) does not fit {shape}")
    return Reshape.apply(input, shape)


class Permute(Op):
    is_view = True

    @staticmethod
    def forward(ctx: Node, x: Any, dims: tuple[int, ...]) -> Any:
        ctx.dims = dims
        return x.transpose(dims)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        inverse = tuple(sorted(range(len(ctx.dims)), key=ctx.dims.__getitem__))
        return Permute.apply(dy, inverse), None


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Reorder the dimensions: a view whose dimension i is the input's ``dims[i]``."""
    if len(dims) != input.ndim:
        raise ShapeError(complaint("permute", "dims", f"name each of {input.ndim} dimensions once", tuple(dims)))
    normal_dims("permute", dims, input.ndim)
    return Permute.apply(input, tuple(d % input.ndim for d in dims))


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Swap two dimensions (a view)."""
    if input.ndim == 0:
        return input
    a, b = one_dim("transpose", dim0, input.ndim), one_dim("transpose", dim1, input.ndim)
    dims = list(range(input.ndim))
    dims[a], dims[b] = dims[b], dims[a]
    return Permute.apply(input, tuple(dims))


def movedim(input: Tensor, source: int, destination: int) -> Tensor:
    """Move one dimension to another place (a view)."""
    a, b = one_dim("movedim", source, input.ndim), one_dim("movedim", destination, input.ndim)
    dims = [d for d in range(input.ndim) if d != a]
    dims.insert(b, a)
    return Permute.apply(input, tuple(dims))


class Expand(Op):
    is_view = True

    @staticmethod
    def forward(ctx: Node, x: Any, shape: tuple[int, ...]) -> Any:
        ctx.shape = x.shape
        return ctx.be.xp.broadcast_to(x, shape)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return sum_to(dy, ctx.shape), None


def expand(input: Tensor, shape: Sequence[int]) -> Tensor:
    """Repeat dimensions of size 1 without copying (a read-only view); -1 keeps a size."""
    shape = tuple(shape)
    lead = len(shape) - input.ndim
    full = tuple(input.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape))
    if lead < 0 or any(n < 0 for n in full) or any(m not in (1, full[lead + i]) for i, m in enumerate(input.shape)):
        raise ShapeError(f"[expand] shape {tuple(input.shape)} does not expand to {shape}")
    return Expand.apply(input, full)


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Drop dimensions of size 1: all of them, or those named."""
    dims = normal_dims("squeeze", dim, input.ndim)
    if dim is not None and not isinstance(dim, int) and len(dim) == 0:
        return input
    return Reshape.apply(input, tuple(n for i, n in enumerate(input.shape) if not (i in dims and n == 1)))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Insert a dimension of size 1."""
    at = one_dim("unsqueeze", dim, input.ndim + 1)
    return Reshape.apply(input, (*input.shape[:at], 1, *input.shape[at:]))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Join the dimensions ``start_dim..end_dim`` (inclusive) into one."""
    if input.ndim == 0:
        return Reshape.apply(input, (1,))
    start, end = one_dim("flatten", start_dim, input.ndim), one_dim("flatten", end_dim, input.ndim)
    if start > end:
        raise ShapeError(complaint("flatten", "start_dim", f"not come after end_dim {end_dim}", start_dim))
    count = 1
    for n in input.shape[start : end + 1]:
        count *= n
    return Reshape.apply(input, (*input.shape[:start], count, *input.shape[end + 1 :]))


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Split one dimension into several; one size may be -1."""
    at = one_dim("unflatten", dim, input.ndim)
    return reshape(input, (*input.shape[:at], *sizes, *input.shape[at + 1 :]))


class Contiguous(Op):
    @staticmethod
    def forward(ctx: Node, x: Any) -> Any:
        return ctx.be.xp.array(x, order="C")

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return (dy,)


def clone(input: Tensor) -> Tensor:
    """A copy, contiguous in row-major order, through which gradients pass."""
    return Contiguous.apply(input)


class Cat(Op):
    @staticmethod
    def forward(ctx: Node, *args: Any) -> Any:
        *arrays, ctx.axis = args
        ctx.sizes = [a.shape[ctx.axis] for a in arrays]
        join = ctx.be.xp.concatenate
        return layout.joint(lambda parts, order: join(parts, axis=order.index(ctx.axis)), arrays)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        grads: list[Any] = []
        start = 0
        for size, need in zip(ctx.sizes, ctx.needs, strict=False):
            grads.append(dy.narrow(ctx.axis, start, size) if need else None)
            start += size
        return *grads, None


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along an existing dimension; all other sizes must agree."""
    if not tensors:
        raise ArgumentError("[cat] at least one tensor is needed")
    first = tensors[0]
    axis = one_dim("cat", dim, first.ndim)
    for t in tensors:
        if (
            t.ndim == 0
            or t.ndim != first.ndim
            or any(n != m for i, (n, m) in enumerate(zip(t.shape, first.shape, strict=True)) if i != axis)
        ):
            shapes = ", ".join(str(tuple(u.shape)) for u in tensors)
            raise ShapeError(f"[cat] shapes must agree except in dimension {dim}, got {shapes}")
    dtype = common_dtype(*tensors)
    return Cat.apply(*[cast(t, dtype) for t in tensors], axis)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors of one shape along a new dimension."""
    if not tensors:
        raise ArgumentError("[stack] at least one tensor is needed")
    if any(t.shape != tensors[0].shape for t in tensors):
        shapes = ", ".join(str(tuple(u.shape)) for u in tensors)
        raise ShapeError(f"[stack] all shapes must be equal, got {shapes}")
    return cat([unsqueeze(t, dim) for t in tensors], one_dim("stack", dim, tensors[0].ndim + 1))


class Split(Op):
    """Pieces along an axis; their gradients are joined in one pass."""

    is_view = True

    @staticmethod
    def forward(ctx: Node, x: Any, parts: tuple[int, ...], axis: int) -> Any:
        ctx.axis = axis
        lead, ends = (slice(None),) * axis, itertools.accumulate(parts)
        return tuple(x[(*lead, slice(end - part, end))] for part, end in zip(parts, ends, strict=True))

    @staticmethod
    def backward(ctx: Node, *dy: Tensor) -> Any:
        return Cat.apply(*dy, ctx.axis), None, None


def split(input: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Cut into pieces of one size (the last may be smaller) or of the sizes given; the pieces are views."""
    axis = one_dim("split", dim, input.ndim)
    n = input.shape[axis]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size <= 0:
            raise ArgumentError(complaint("split", "split_size_or_sections", "be positive", size))
        parts = [min(size, n - i) for i in range(0, n, size)] or [0]
    else:
        parts = list(split_size_or_sections)
        if sum(parts) != n or min(parts, default=0) < 0:
            raise ShapeError(complaint("split", "split_size_or_sections", f"add up to {n}", parts))
    return Split.apply(input, tuple(parts), axis)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Cut into at most ``chunks`` pieces of equal size (the last may be smaller)."""
    if chunks <= 0:
        raise ArgumentError(complaint("chunk", "chunks", "be positive", chunks))
    n = input.shape[one_dim("chunk", dim, input.ndim)]
    return split(input, max(1, -(-n // chunks)), dim)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along a dimension, without it."""
    axis = one_dim("unbind", dim, input.ndim)
    return tuple(squeeze(part, axis) for part in split(input, 1, axis)) if input.shape[axis] else ()


class Flip(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, axes: tuple[int, ...]) -> Any:
        ctx.axes = axes
        return ctx.be.xp.flip(x, axes).copy()

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return Flip.apply(dy, ctx.axes), None


def flip(input: Tensor, dims: int | Sequence[int]) -> Tensor:
    """Reverse the order along the dimensions (a copy, as in PyTorch)."""
    if not isinstance(dims, int) and not dims:
        return clone(input)
    return Flip.apply(input, normal_dims("flip", dims, input.ndim))


class Roll(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, shifts: tuple[int, ...], axes: tuple[int, ...]) -> Any:
        ctx.shifts, ctx.axes = shifts, axes
        return ctx.be.xp.roll(x, shifts, axes)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return Roll.apply(dy, tuple(-s for s in ctx.shifts), ctx.axes), None, None


def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int]) -> Tensor:
    """Shift along dimensions, what falls off one end comes back at the other."""
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(shifts) != len(dims):
        raise ArgumentError(complaint("roll", "shifts", f"have one entry for each of dims {dims}", shifts))
    return Roll.apply(input, shifts, tuple(one_dim("roll", d, input.ndim) for d in dims))


def repeat(input: Tensor, sizes: Sequence[int]) -> Tensor:
    """Tile the tensor ``sizes[i]`` times along dimension i; extra leading sizes add dimensions."""
    lead = len(sizes) - input.ndim
    if lead < 0:
        raise ShapeError(complaint("repeat", "sizes", f"have at least {input.ndim} entries", tuple(sizes)))
    shape = (1,) * lead + tuple(input.shape)
    between = [n for pair in zip((1,) * len(shape), shape, strict=True) for n in pair]
    wide = [n for pair in zip(sizes, shape, strict=True) for n in pair]
    tiled = expand(reshape(input, between), wide)
    return reshape(tiled, [s * n for s, n in zip(sizes, shape, strict=True)])
