"""Reductions over all or some dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nnlab import types
from nnlab.autograd import unary as un
from nnlab.autograd.amp import in_float32
from nnlab.autograd.elementwise import cast, test, where
from nnlab.autograd.tape import Node, Op
from nnlab.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor

Dims = int | Sequence[int] | None


class ValuesIndices(NamedTuple):
    """Result of a reduction or sort along one dimension."""

    values: Tensor
    indices: Tensor


def normal_dims(name: str, dim: Dims, ndim: int) -> tuple[int, ...]:
    """Dimensions as sorted non-negative numbers; None or an empty tuple means all."""
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(ndim))
    dims = [dim] if isinstance(dim, int) else list(dim)
    span = ndim or 1
    for d in dims:
        if not -span <= d < span:
            raise ShapeError(f"[{name}] 'dim' must be in {-span}..{span - 1} for {ndim} dimensions, got {d}")
    result = tuple(sorted(d % span for d in dims)) if ndim else ()
    if len(set(result)) != len(result):
        raise ShapeError(f"[{name}] 'dim' names a dimension twice: {tuple(dims)}")
    return result


def one_dim(name: str, dim: int, ndim: int) -> int:
    """One dimension as a non-negative number (0 for a 0-d tensor)."""
    dims = normal_dims(name, dim, ndim)
    return dims[0] if dims else 0


def _kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


class Sum(Op):
    """Sum over axes, or the sum divided by ``count``; half types add up in float32."""

    @staticmethod
    def forward(ctx: Node, x: Any, axes: tuple[int, ...], keepdim: bool, count: int | None = None) -> Any:
        ctx.shape, ctx.axes, ctx.count = x.shape, axes, count
        total = x.sum(axis=axes, keepdims=keepdim, dtype=types.wide(x.dtype))
        return (total if count is None else total / count).astype(x.dtype, copy=False)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        if ctx.count is not None:
            dy = cast(cast(dy, types.wide(dy.dtype)) / ctx.count, dy.dtype)
        return dy.reshape(_kept(ctx.shape, ctx.axes)).expand(ctx.shape), None, None


@in_float32
def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum over ``dim`` (all dimensions if None); bool and integers give int64."""
    if dtype is not None:
        input = cast(input, types.as_dtype(dtype))
    elif not types.is_floating(input.dtype):
        input = cast(input, types.int64)
    return Sum.apply(input, normal_dims("sum", dim, input.ndim), keepdim)


def mean(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Arithmetic mean over ``dim`` (all dimensions if None)."""
    if not types.is_floating(input.dtype):
        raise ArgumentError(f"[mean] the tensor must be floating, got {input.dtype.name}")
    axes = normal_dims("mean", dim, input.ndim)
    count = 1
    for a in axes:
        count *= input.shape[a]
    return Sum.apply(input, axes, keepdim, count)


def var(
    input: Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: int | None = None
) -> Tensor:
    """Variance over ``dim``: sum((x - mean)^2) / (n - correction); ``unbiased`` is correction 1."""
    axes = normal_dims("var", dim, input.ndim)
    count = 1
    for a in axes:
        count *= input.shape[a]
    if correction is None:
        correction = 1 if unbiased else 0
    centred = input - mean(input, axes, keepdim=True)
    left = count - correction
    return Sum.apply(centred * centred, axes, keepdim) * (1.0 / left if left > 0 else float("nan"))


def std(
    input: Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: int | None = None
) -> Tensor:
    """Standard deviation over ``dim``, the square root of :func:`var`."""
    return un.sqrt(var(input, dim, unbiased, keepdim, correction=correction))


class Extreme(Op):
    """Maximum or minimum over axes (kept with size 1); ties share the gradient evenly (PyTorch's amax)."""

    @staticmethod
    def forward(ctx: Node, x: Any, axes: tuple[int, ...], name: str) -> Any:
        y = getattr(x, name)(axis=axes, keepdims=True)
        if ctx.needs[0]:
            hit = ((x == y) | (x != x)).astype(x.dtype)
            ctx.share = hit / hit.sum(axis=axes, keepdims=True)
        return y

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return dy * type(dy)(ctx.share, ctx.be), None, None


def _extreme(name: str, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    axes = normal_dims(name, dim, input.ndim)
    if 0 in [input.shape[axis] for axis in axes]:
        raise ShapeError(f"[{name}] an empty tensor of shape {tuple(input.shape)} has no {name}")
    y = Extreme.apply(input, axes, name.removeprefix("a"))
    return y if keepdim else y.squeeze(axes)


def amax(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Largest value over ``dim``; NaN propagates, ties share the gradient evenly."""
    return _extreme("amax", input, dim, keepdim)


def amin(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Smallest value over ``dim``; NaN propagates, ties share the gradient evenly."""
    return _extreme("amin", input, dim, keepdim)


def _position(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    over = input.numel() if dim is None or not input.ndim else input.shape[one_dim(name, dim, input.ndim)]
    if over == 0:
        raise ShapeError(f"[{name}] an empty tensor of shape {tuple(input.shape)} has no {name}")
    if dim is None:
        flat = ArgExtreme.apply(input.detach().reshape(-1), 0, name)
        return flat.reshape((1,) * input.ndim) if keepdim else flat.reshape(())
    if input.ndim == 0:
        return ArgExtreme.apply(input.detach().reshape(1), 0, name).reshape(())
    axis = one_dim(name, dim, input.ndim)
    position = ArgExtreme.apply(input.detach(), axis, name)
    return position if keepdim else position.squeeze(axis)


class ArgExtreme(Op):
    """Position of the first extreme (or first NaN) along an axis; no gradient."""

    @staticmethod
    def forward(ctx: Node, x: Any, axis: int, name: str) -> Any:
        xp = ctx.be.xp
        if not x.size:  # CuPy's functions refuse it, whatever the axis
            return xp.zeros((*x.shape[:axis], 1, *x.shape[axis + 1 :]), xp.int64)
        return xp.expand_dims(getattr(xp, name)(x, axis=axis), axis).astype(xp.int64)


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Position of the first maximum along ``dim``, or in the flattened tensor if None; NaN counts as largest."""
    return _position("argmax", input, dim, keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Position of the first minimum along ``dim``, or in the flattened tensor if None; NaN counts as smallest."""
    return _position("argmin", input, dim, keepdim)


def _along(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Any:
    if dim is None:
        return _extreme("a" + name, input, None, keepdim)
    position = _position("arg" + name, input, dim, keepdim=True)
    values = input.gather(dim, position) if input.ndim else input
    if keepdim or not input.ndim:
        return ValuesIndices(values, position)
    axis = one_dim(name, dim, input.ndim)
    return ValuesIndices(values.squeeze(axis), position.squeeze(axis))


def max(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Maximum: of all elements (ties share the gradient), or (values, indices) along ``dim`` (first maximum)."""
    return _along("max", input, dim, keepdim)


def min(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Minimum: of all elements (ties share the gradient), or (values, indices) along ``dim`` (first minimum)."""
    return _along("min", input, dim, keepdim)


@in_float32
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Product of all elements, or along ``dim``; the gradient is right with zeros too."""
    if not types.is_floating(input.dtype):
        input = cast(input, types.int64)
    if dim is None:
        flat = Prod.apply(input.reshape(-1), 0)
        return flat.reshape((1,) * input.ndim) if keepdim else flat.reshape(())
    axis = one_dim("prod", dim, input.ndim)
    y = Prod.apply(input.reshape(1) if input.ndim == 0 else input, axis)
    return y if keepdim and input.ndim else y.squeeze(axis)


class Prod(Op):
    """Product along an axis (kept with size 1)."""

    @staticmethod
    def forward(ctx: Node, x: Any, axis: int) -> Any:
        ctx.save_inputs(0)
        ctx.axis = axis
        return x.prod(axis=axis, keepdims=True)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        # Product of the others = (product of those before) * (product of those after), without a division.
        from nnlab.autograd.shape import cat

        x, axis = ctx.input(0), ctx.axis
        one = x.narrow(axis, 0, 1) * 0.0 + 1.0
        before, after = [one], [one]
        n = x.shape[axis]
        for i in range(n - 1):
            before.append(before[-1] * x.narrow(axis, i, 1))
            after.append(after[-1] * x.narrow(axis, n - 1 - i, 1))
        others = [b * a for b, a in zip(before, reversed(after), strict=True)]
        return dy * cat(others, axis), None


class Cumsum(Op):
    """Running sum along an axis."""

    @staticmethod
    def forward(ctx: Node, x: Any, axis: int) -> Any:
        ctx.axis = axis
        return x.cumsum(axis=axis, dtype=x.dtype)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return Cumsum.apply(dy.flip(ctx.axis), ctx.axis).flip(ctx.axis), None


@in_float32
def cumsum(input: Tensor, dim: int) -> Tensor:
    """Running sum along ``dim``; integers give int64."""
    if not types.is_floating(input.dtype):
        input = cast(input, types.int64)
    if input.ndim == 0:
        return input
    return Cumsum.apply(input, one_dim("cumsum", dim, input.ndim))


def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether every element is non-zero."""
    return _Truth.apply(input.detach(), normal_dims("all", dim, input.ndim), keepdim, "all")


def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether some element is non-zero."""
    return _Truth.apply(input.detach(), normal_dims("any", dim, input.ndim), keepdim, "any")


class _Truth(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, axes: tuple[int, ...], keepdim: bool, name: str) -> Any:
        return getattr(x, name)(axis=axes, keepdims=keepdim)


@in_float32
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over ``dim`` without overflow."""
    axes = normal_dims("logsumexp", dim, input.ndim)
    peak = amax(input.detach(), axes, keepdim=True)
    peak = where(test("isfinite", peak), peak, 0.0)
    total = un.log(sum(un.exp(input - peak), axes, keepdim=True)) + peak
    return total if keepdim else total.squeeze(axes)


@in_float32
def norm(input: Tensor, p: float = 2, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """p-norm of the elements over ``dim`` (p may be infinity); the gradient at zero is zero for p = 2."""
    size = un.abs(input)
    if p == float("inf"):
        return amax(size, dim, keepdim)
    if p == 1:
        return sum(size, dim, keepdim)
    if p == 2:
        square = sum(input * input, dim, keepdim)
        zero = square == 0
        return where(zero, 0.0, un.sqrt(where(zero, 1.0, square)))
    return sum(size**p, dim, keepdim) ** (1.0 / p)


def sort(input: Tensor, dim: int = -1, descending: bool = False) -> ValuesIndices:
    """Sort along ``dim``, stable; returns (values, indices)."""
    if input.ndim == 0:
        return ValuesIndices(input, argmax(input))
    axis = one_dim("sort", dim, input.ndim)
    indices = Argsort.apply(input.detach(), axis, descending)
    return ValuesIndices(input.gather(axis, indices), indices)


class Argsort(Op):
    """Stable sorting positions along an axis; no gradient."""

    @staticmethod
    def forward(ctx: Node, x: Any, axis: int, descending: bool) -> Any:
        xp = ctx.be.xp
        if not descending:
            return xp.argsort(x, axis=axis, kind="stable")
        # Reversed twice, so that equal elements keep their order.
        n = x.shape[axis]
        return xp.flip(n - 1 - xp.argsort(xp.flip(x, axis), axis=axis, kind="stable"), axis)


def argsort(input: Tensor, dim: int = -1, descending: bool = False) -> Tensor:
    """Positions that sort along ``dim``, stable."""
    return sort(input, dim, descending).indices


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True) -> ValuesIndices:
    """The k largest (or smallest) along ``dim`` in order; returns (values, indices)."""
    axis = one_dim("topk", dim, input.ndim)
    n = input.shape[axis] if input.ndim else 1
    if not 0 <= k <= n:
        raise ArgumentError(f"[topk] 'k' must be in 0..{n}, got {k}")
    values, indices = sort(input, dim, descending=largest)
    return ValuesIndices(values.narrow(axis, 0, k), indices.narrow(axis, 0, k))
