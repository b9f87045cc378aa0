"""Differentiable resampling of planes: ``resample(x, lines)``, one map of ``nnlab.ops.resample`` a dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnlab.autograd.amp import in_float32
from nnlab.autograd.tape import Node, Op
from nnlab.ops import resample as ops
from nnlab.ops.resample import Line

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


class Resample(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, lines: tuple[Line, ...]) -> Any:
        ctx.lines = lines
        return ops.forward(ctx.be, x=x, lines=lines)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return Resample.apply(dy, tuple(line.transposed for line in ctx.lines)), None


@in_float32
def resample(x: Tensor, lines: tuple[Line, ...]) -> Tensor:
    """y (N, C, *out) of x (N, C, *in)."""
    return Resample.apply(x, lines)
