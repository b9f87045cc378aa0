"""Differentiable look-up of rows of a table.

- ``embedding(weight, index, padding_idx, scale_grad_by_freq)`` -> weight[index], of shape (*index, D).

The rows' gradients are added up by sorted segments (deterministic); positions of ``padding_idx`` give none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnlab.autograd.tape import Node, Op
from nnlab.errors import ArgumentError, complaint
from nnlab.ops import embedding as ops

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


class Embedding(Op):
    @staticmethod
    def forward(ctx: Node, weight: Any, index: Any, scale: Any) -> Any:
        ctx.index, ctx.scale, ctx.rows = index, scale, len(weight)
        return weight[index]

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return EmbeddingGrad.apply(dy, ctx.index, ctx.scale, ctx.rows)


class EmbeddingGrad(Op):
    """The rows' gradients, scaled by position: linear in dy."""

    @staticmethod
    def forward(ctx: Node, dy: Any, index: Any, scale: Any, rows: int) -> Any:
        ctx.index, ctx.scale = index, scale
        flat = dy.reshape(index.size, dy.shape[-1])
        return ops.sum_rows(ctx.be, dy=flat, index=index.reshape(-1), rows=rows, scale=scale)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        y = Embedding.apply(g, ctx.index, None)
        if ctx.scale is None:
            return y
        scale = type(g)(ctx.scale.astype(g.dtype), ctx.be)
        return y * scale.reshape(*ctx.index.shape, 1)


def embedding(weight: Tensor, index: Tensor, padding_idx: int | None, scale_grad_by_freq: bool) -> Tensor:
    """``weight[index]``: weight (rows, D), index integers of any shape.

    Args:
        padding_idx: row (not negative) that gets no gradient, or None.
        scale_grad_by_freq: whether each row's gradient is divided by how often the row was read.

    Raises:
        ArgumentError: an index outside of the table (on a GPU it is not looked at).
    """
    be, rows, places = weight._be, len(weight), index._data
    if be.host_memory and places.size and not 0 <= places.min() <= places.max() < rows:
        bad = int(places[(places < 0) | (places >= rows)][0])
        raise ArgumentError(complaint("embedding", "input", f"be row numbers in 0..{rows - 1}", bad))
    scale: Any = None
    if scale_grad_by_freq:
        scale = 1 / ops.counts(be, index=places.reshape(-1), rows=rows)[places.reshape(-1)]
    if padding_idx is not None:
        used = (places.reshape(-1) != padding_idx).astype(be.xp.float64)
        scale = used if scale is None else scale * used
    return Embedding.apply(weight, places, scale)
