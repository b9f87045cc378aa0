"""Elementwise arithmetic and functions with broadcasting and dtype promotion."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nnlab import types
from nnlab.autograd.amp import in_float32
from nnlab.autograd.tape import Node, Op, TensorCore
from nnlab.errors import DtypeError, ShapeError
from nnlab.ops import select as select_ops
from nnlab.ops._numpy import layout

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor

Operand = Any  # a Tensor or a Python number


def sum_to(gradient: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum a gradient over the axes along which an operand of this shape was broadcast."""
    if gradient.shape == shape:
        return gradient
    lead = gradient.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and gradient.shape[lead + i] != 1)
    return gradient.sum(axes, keepdim=True).reshape(shape) if axes else gradient.reshape(shape)


def common_dtype(*operands: Operand) -> Any:
    """The dtype that an operation on these tensors and Python numbers has (see nnlab/types.py)."""
    first = operands[0]
    if all(isinstance(o, TensorCore) and o._data.dtype == first._data.dtype for o in operands):
        return first._data.dtype
    kinds = []
    for o in operands:
        if isinstance(o, TensorCore):
            kinds.append((2 if o._data.ndim else 1, o._data.dtype))
        elif isinstance(o, bool | int | float):
            kinds.append((0, types.python_dtype(o)))
        else:
            raise DtypeError(f"[tensor] an operand must be a Tensor or a number, got {type(o).__name__}")
    return types.result_type(kinds)


def as_operand(value: Operand, dtype: Any) -> Operand:
    """An operand in the common dtype: tensors are cast, numbers become scalars of that dtype."""
    if isinstance(value, TensorCore):
        return value if value._data.dtype == dtype else Cast.apply(value, dtype)
    if dtype.kind in "ui" and isinstance(value, float):
        raise DtypeError(f"[tensor] {value!r} does not fit dtype {dtype.name}")
    try:
        return dtype.type(value)
    except (OverflowError, TypeError) as error:  # TypeError: bfloat16 of a huge integer
        raise DtypeError(f"[tensor] {value!r} does not fit dtype {dtype.name}") from error


def _shape(operand: Any) -> tuple[int, ...]:
    return tuple(getattr(operand, "shape", ()))


def _binary(op: type[Op], a: Operand, b: Operand, floating: bool = False) -> Tensor:
    dtype = common_dtype(a, b)
    if floating and not types.is_floating(dtype):
        dtype = types.DEFAULT_FLOAT
    try:
        return op.apply(as_operand(a, dtype), as_operand(b, dtype))
    except ValueError as error:
        if isinstance(error, ShapeError) or "broadcast" not in str(error):
            raise
        raise ShapeError(f"[{op.name()}] shapes {_shape(a)} and {_shape(b)} do not broadcast") from error


class Cast(Op):
    lasting = True

    @staticmethod
    def forward(ctx: Node, x: Any, dtype: Any) -> Any:
        ctx.dtype = x.dtype
        return x.astype(dtype)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return (cast(dy, ctx.dtype),)


def cast(x: Tensor, dtype: Any) -> Tensor:
    """The tensor in another dtype; the same tensor if it has that dtype already."""
    return x if x.dtype == dtype else Cast.apply(x, dtype)


def _joined(function: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """``function`` of two arrays, or of one and a number, in their order of memory (:func:`layout.joint`)."""
    arrays = [value for value in (a, b) if getattr(value, "ndim", 0)]
    if len({array.ndim for array in arrays}) != 1 or arrays[0].ndim <= 2:
        return function(a, b)

    def over_memory(parts: Any, _: layout.Order) -> Any:
        given = iter(parts)
        return function(*(next(given) if getattr(value, "ndim", 0) else value for value in (a, b)))

    return layout.joint(over_memory, arrays)


class _Broadcasting(Op):
    """Base of binary operations: gives backward the operands' shapes."""

    @staticmethod
    def shapes(ctx: Node, a: Any, b: Any) -> None:
        ctx.shapes = (a.shape, b.shape)


class Add(_Broadcasting):
    @staticmethod
    def forward(ctx: Node, a: Any, b: Any) -> Any:
        _Broadcasting.shapes(ctx, a, b)
        return _joined(operator.add, a, b)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return tuple(sum_to(dy, s) if n else None for s, n in zip(ctx.shapes, ctx.needs, strict=True))


class Sub(_Broadcasting):
    @staticmethod
    def forward(ctx: Node, a: Any, b: Any) -> Any:
        _Broadcasting.shapes(ctx, a, b)
        return _joined(operator.sub, a, b)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        sa, sb = ctx.shapes
        return sum_to(dy, sa) if ctx.needs[0] else None, sum_to(-dy, sb) if ctx.needs[1] else None


def _save_operands(ctx: Node, a: Any, b: Any, *wanted: bool) -> None:
    """Keep the operands that backward wants; a Python number is kept as it is."""
    _Broadcasting.shapes(ctx, a, b)
    ctx.scalars = {i: v for i, v in enumerate((a, b)) if not ctx.be.is_array(v)}
    ctx.save_inputs(*[i for i in range(2) if wanted[i] and i not in ctx.scalars])


def _operand(ctx: Node, i: int) -> Any:
    return ctx.scalars[i].item() if i in ctx.scalars else ctx.input(i)


class Mul(_Broadcasting):
    @staticmethod
    def forward(ctx: Node, a: Any, b: Any) -> Any:
        _save_operands(ctx, a, b, ctx.needs[1], ctx.needs[0])
        return _joined(operator.mul, a, b)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        sa, sb = ctx.shapes
        return (
            sum_to(dy * _operand(ctx, 1), sa) if ctx.needs[0] else None,
            sum_to(dy * _operand(ctx, 0), sb) if ctx.needs[1] else None,
        )


class Div(_Broadcasting):
    @staticmethod
    def forward(ctx: Node, a: Any, b: Any) -> Any:
        _save_operands(ctx, a, b, ctx.needs[1], True)
        return _joined(ctx.be.xp.true_divide, a, b)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        sa, sb = ctx.shapes
        b = _operand(ctx, 1)
        da = dy / b
        return (
            sum_to(da, sa) if ctx.needs[0] else None,
            sum_to(-da * (_operand(ctx, 0) / b), sb) if ctx.needs[1] else None,
        )


class Pow(_Broadcasting):
    @staticmethod
    def forward(ctx: Node, a: Any, b: Any) -> Any:
        _save_operands(ctx, a, b, True, True)
        return ctx.be.xp.power(a, b)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        sa, sb = ctx.shapes
        a, b = _operand(ctx, 0), _operand(ctx, 1)
        da = db = None
        if ctx.needs[0]:
            if 1 in ctx.scalars:
                da = dy * (a ** (b - 1) * b) if b != 0 else dy * 0.0
            else:
                # 0**0 is constant in the base: its derivative is 0, not 0 * 0**-1.
                da = dy * where(b == 0, 0.0, b * a ** (b - 1))
            da = sum_to(da, sa)
        if ctx.needs[1]:
            base = a if isinstance(a, TensorCore) else dy * 0.0 + a
            # x**p at x = 0 is flat in p for p >= 0; log(0) must not turn that into NaN.
            flat = (base == 0) & (b >= 0)
            db = sum_to(dy * where(flat, 0.0, a**b * where(flat, 1.0, base).log()), sb)
        return da, db


class Maximum(_Broadcasting):
    """Larger of two; at a tie half of the gradient goes to each side. NaN propagates."""

    @staticmethod
    def forward(ctx: Node, a: Any, b: Any) -> Any:
        _Broadcasting.shapes(ctx, a, b)
        ctx.share = _share(ctx.be.xp, a, b) if any(ctx.needs) else None
        return ctx.be.xp.maximum(a, b)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return _split(ctx, dy)


class Minimum(_Broadcasting):
    """Smaller of two; at a tie half of the gradient goes to each side. NaN propagates."""

    @staticmethod
    def forward(ctx: Node, a: Any, b: Any) -> Any:
        _Broadcasting.shapes(ctx, a, b)
        ctx.share = _share(ctx.be.xp, b, a) if any(ctx.needs) else None
        return ctx.be.xp.minimum(a, b)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return _split(ctx, dy)


def _share(xp: Any, a: Any, b: Any) -> Any:
    """How much of the gradient belongs to a in max(a, b): 1, 0, or 0.5 at a tie."""
    dtype = a.dtype
    return (a > b).astype(dtype) + (a == b).astype(dtype) * dtype.type(0.5)


def _split(ctx: Node, dy: Tensor) -> Any:
    share = type(dy)(ctx.share, ctx.be)
    sa, sb = ctx.shapes
    return sum_to(dy * share, sa) if ctx.needs[0] else None, sum_to(dy * (1 - share), sb) if ctx.needs[1] else None


class Where(Op):
    @staticmethod
    def forward(ctx: Node, condition: Any, a: Any, b: Any) -> Any:
        ctx.shapes = (a.shape, b.shape)
        ctx.condition = condition
        return select_ops.select(ctx.be, condition=condition, a=a, b=b)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        condition = type(dy)(ctx.condition, ctx.be)
        sa, sb = ctx.shapes
        return (
            None,
            sum_to(where(condition, dy, 0.0), sa) if ctx.needs[1] else None,
            sum_to(where(condition, 0.0, dy), sb) if ctx.needs[2] else None,
        )


def where(condition: Tensor, input: Operand, other: Operand) -> Tensor:
    """``input`` where the boolean condition holds, else ``other``; all broadcast together."""
    dtype = common_dtype(input, other)
    if condition.dtype != types.bool_:
        raise DtypeError(f"[where] 'condition' must be bool, got {condition.dtype.name}")
    return Where.apply(condition, as_operand(input, dtype), as_operand(other, dtype))


class Clamp(Op):
    """Limit to [low, high]; the gradient passes where low <= x <= high."""

    @staticmethod
    def forward(ctx: Node, x: Any, low: Any, high: Any) -> Any:
        inside = None
        for bound, compare in ((low, x.__ge__), (high, x.__le__)):
            if bound is not None and ctx.needs[0]:
                inside = compare(bound) if inside is None else inside & compare(bound)
        ctx.inside = inside
        return ctx.be.xp.clip(x, low, high).astype(x.dtype, copy=False)  # NumPy clips bfloat16 in float32

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return dy * type(dy)(ctx.inside.astype(dy.dtype), ctx.be), None, None


def clamp(input: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """Limit every element to [min, max]; None leaves that side open."""
    if min is None and max is None:
        raise DtypeError("[clamp] at least one of 'min' and 'max' must be given")
    dtype = common_dtype(input, *[v for v in (min, max) if v is not None])
    low, high = (None if v is None else dtype.type(v) for v in (min, max))
    return Clamp.apply(cast(input, dtype), low, high)


def add(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """``input + alpha * other`` with broadcasting."""
    return _binary(Add, input, other if alpha == 1 else mul(other, alpha))


def sub(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """``input - alpha * other`` with broadcasting."""
    return _binary(Sub, input, other if alpha == 1 else mul(other, alpha))


def mul(input: Operand, other: Operand) -> Tensor:
    """``input * other`` with broadcasting."""
    return _binary(Mul, input, other)


def div(input: Operand, other: Operand) -> Tensor:
    """``input / other`` with broadcasting; integers give the default floating dtype."""
    return _binary(Div, input, other, floating=True)


@in_float32
def pow(input: Operand, exponent: Operand) -> Tensor:
    """``input ** exponent`` with broadcasting."""
    return _binary(Pow, input, exponent)


def maximum(input: Operand, other: Operand) -> Tensor:
    """Elementwise larger; NaN propagates, a tie shares the gradient."""
    return _binary(Maximum, input, other)


def minimum(input: Operand, other: Operand) -> Tensor:
    """Elementwise smaller; NaN propagates, a tie shares the gradient."""
    return _binary(Minimum, input, other)


class _Plain(Op):
    """An operation without gradient."""

    @staticmethod
    def forward(ctx: Node, name: str, *args: Any) -> Any:
        return getattr(ctx.be.xp, name)(*args)


def compare(name: str, a: Operand, b: Operand) -> Tensor:
    """A comparison or another operation without gradient on two operands in their common dtype."""
    dtype = common_dtype(a, b)
    a, b = (o.detach() if isinstance(o, TensorCore) else o for o in (a, b))  # type: ignore[attr-defined]
    if not isinstance(b, TensorCore) and isinstance(b, float) and not types.is_floating(dtype):
        dtype = types.DEFAULT_FLOAT
    return _Plain.apply(name, as_operand(a, dtype), as_operand(b, dtype))


def test(name: str, x: Tensor) -> Tensor:
    """An operation without gradient on one tensor (isnan, logical_not, floor ...)."""
    return _Plain.apply(name, x.detach())
