"""Random masks that many elements share, and their application: the dropouts of whole channels, and alpha dropout.

- ``draw(x, shape, p)`` -> bool Tensor of a shape on x's device, false with probability p; one draw of the generator.
- ``mask(x, keep, scale, shift, other)`` -> ``x * scale + shift`` where ``keep`` (broadcast) holds, else ``other``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnlab import random, types
from nnlab.autograd.tape import Node, Op, wrap
from nnlab.ops import dropout as dropout_ops

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


class Mask(Op):
    """The kept elements, scaled and shifted; half types are computed in float32."""

    @staticmethod
    def forward(ctx: Node, x: Any, keep: Any, scale: float, shift: float, other: float) -> Any:
        ctx.keep, ctx.scale = keep, scale
        wide = types.wide(x.dtype)
        y = x * wide.type(scale)
        if shift:
            y += wide.type(shift)
        return ctx.be.xp.where(keep, y, wide.type(other)).astype(x.dtype, copy=False)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return Mask.apply(dy, ctx.keep, ctx.scale, 0.0, 0.0)


def draw(x: Tensor, shape: tuple[int, ...], p: float, generator: random.Generator | None = None) -> Tensor:
    """Which elements of a shape to keep: the bits that :func:`nnlab.autograd.activation.dropout` would draw."""
    generator = random.default_generator if generator is None else generator
    be = x._be
    ones = be.xp.ones(shape, types.float32)
    _, saved = dropout_ops.forward(be, x=ones, p=p, seed=generator.seed, offset=generator.next_offset())
    return wrap(be, saved.mask)


def mask(x: Tensor, keep: Tensor, scale: float, shift: float = 0.0, other: float = 0.0) -> Tensor:
    """``x * scale + shift`` where ``keep`` holds, else ``other``; what is dropped may be NaN or infinite."""
    return Mask.apply(x, keep._data, scale, shift, other)
