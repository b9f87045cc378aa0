"""Differentiable columns of windows: ``unfold(x, geometry)`` and ``fold(cols, geometry)``; see ``nnlab.ops.fold``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnlab.autograd.tape import Node, Op
from nnlab.geometry import ConvGeometry
from nnlab.ops import fold as ops

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


class Unfold(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, geometry: ConvGeometry) -> Any:
        ctx.geometry = geometry
        return ops.unfold(ctx.be, x=x, geometry=geometry)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return Fold.apply(dy, ctx.geometry), None


class Fold(Op):
    @staticmethod
    def forward(ctx: Node, cols: Any, geometry: ConvGeometry) -> Any:
        ctx.geometry = geometry
        return ops.fold(ctx.be, cols=cols, geometry=geometry)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return Unfold.apply(dy, ctx.geometry), None


def unfold(x: Tensor, geometry: ConvGeometry) -> Tensor:
    """(N, C * kernel elements, windows) of x (N, C, *in)."""
    return Unfold.apply(x, geometry)


def fold(cols: Tensor, geometry: ConvGeometry) -> Tensor:
    """(N, C, *in), what overlaps added up, of cols (N, C * kernel elements, windows)."""
    return Fold.apply(cols, geometry)
