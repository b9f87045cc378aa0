"""Matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnlab import types
from nnlab.autograd.amp import low_precision
from nnlab.autograd.elementwise import cast, common_dtype, sum_to
from nnlab.autograd.tape import Node, Op
from nnlab.errors import DtypeError, ShapeError
from nnlab.ops import matmul as ops

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


class MatMul(Op):
    """Product of stacks of matrices, both with at least two dimensions."""

    @staticmethod
    def forward(ctx: Node, a: Any, b: Any) -> Any:
        ctx.shapes = (a.shape, b.shape)
        ctx.save_factors()
        return ops.forward(ctx.be, a=a, b=b)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        sa, sb = ctx.shapes
        da = sum_to(MatMul.apply(dy, ctx.input(1).transpose(-1, -2)), sa) if ctx.needs[0] else None
        db = sum_to(MatMul.apply(ctx.input(0).transpose(-1, -2), dy), sb) if ctx.needs[1] else None
        return da, db


@low_precision
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product with PyTorch's rules: vectors get a dimension for the time of the product, stacks broadcast.

    Args:
        input: (..., M, K) or (K,).
        other: (..., K, N) or (K,).
    """
    a, b = input, other
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"[matmul] both tensors need a dimension, got shapes {tuple(a.shape)} and {tuple(b.shape)}")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ShapeError(f"[matmul] shapes {tuple(a.shape)} and {tuple(b.shape)} do not fit: inner sizes differ")
    dtype = common_dtype(a, b)
    a, b = cast(a, dtype), cast(b, dtype)
    left, right = a.ndim == 1, b.ndim == 1
    a = a.unsqueeze(0) if left else a
    b = b.unsqueeze(1) if right else b
    try:
        y = MatMul.apply(a, b)
    except ValueError as error:
        if isinstance(error, ShapeError):
            raise
        raise ShapeError(f"[matmul] shapes {tuple(input.shape)} and {tuple(other.shape)} do not broadcast") from error
    if left:
        y = y.squeeze(-2)
    return y.squeeze(-1) if right else y


class Linear(Op):
    """x @ w.T + b in one pass over the result."""

    @staticmethod
    def forward(ctx: Node, x: Any, w: Any, b: Any) -> Any:
        ctx.save_factors()
        y = ops.forward(ctx.be, a=x, b=w.T)
        if b is not None:
            y += b
        return y

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        dx = dy @ ctx.input(1) if ctx.needs[0] else None
        dw = db = None
        if ctx.needs[1] or ctx.needs[2]:
            rows = dy.reshape(-1, dy.shape[-1])
            if ctx.needs[1]:
                x = ctx.input(0)
                dw = rows.transpose(0, 1) @ x.reshape(-1, x.shape[-1])
            db = rows.sum(0) if ctx.needs[2] else None
        return dx, dw, db

    @staticmethod
    def backward_raw(ctx: Node, dy: Any) -> Any:
        be = ctx.be
        dx = ops.forward(be, a=dy, b=ctx.input_raw(1)) if ctx.needs[0] else None
        rows = dy.reshape(-1, dy.shape[-1])
        dw = None
        if ctx.needs[1]:
            x = ctx.input_raw(0)
            dw = ops.forward(be, a=rows.T, b=x.reshape(-1, x.shape[-1]))
        db = rows.sum(axis=0, dtype=types.wide(rows.dtype)).astype(rows.dtype, copy=False) if ctx.needs[2] else None
        return dx, dw, db


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Affine map y = x w^T + b.

    Args:
        input: (..., I).
        weight: (O, I).
        bias: (O,) or None.

    Returns:
        (..., O).

    Raises:
        ShapeError: the sizes do not fit.
        DtypeError: the dtypes differ.
    """
    if weight.ndim != 2 or input.ndim == 0 or input.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"[linear] input {tuple(input.shape)} must end in the weight's in_features: weight is "
            f"{tuple(weight.shape)} (out_features, in_features)"
        )
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ShapeError(f"[linear] bias must have shape ({weight.shape[0]},), got {tuple(bias.shape)}")
    if not input.dtype == weight.dtype == (weight.dtype if bias is None else bias.dtype):
        names = ", ".join(t.dtype.name for t in (input, weight, bias) if t is not None)
        raise DtypeError(f"[linear] input, weight and bias must have one dtype, got {names}")
    return Linear.apply(input, weight, bias)
