"""Padding: constant, reflected, replicated, circular."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnlab.autograd.tape import Node, Op
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.ops import pad as ops
from nnlab.ops.pad import Amounts

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


class Pad(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, amounts: Amounts, mode: str, value: float) -> Any:
        ctx.amounts, ctx.mode = amounts, mode
        return ops.forward(ctx.be, x=x, amounts=amounts, mode=mode, value=value)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return PadGrad.apply(dy, ctx.amounts, ctx.mode), None, None, None


class PadGrad(Op):
    @staticmethod
    def forward(ctx: Node, dy: Any, amounts: Amounts, mode: str) -> Any:
        ctx.amounts, ctx.mode = amounts, mode
        return ops.backward(ctx.be, dy=dy, amounts=amounts, mode=mode)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        return Pad.apply(g, ctx.amounts, ctx.mode, 0.0), None, None


def _amounts(input: Tensor, pad: Sequence[int]) -> Amounts:
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ShapeError(complaint("pad", "pad", f"have an even length of at most {2 * input.ndim}", tuple(pad)))
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    amounts = [(0, 0)] * (input.ndim - len(pairs)) + pairs[::-1]
    for n, (a, b) in zip(input.shape, amounts, strict=True):
        if n + a + b < 0 or n + min(a, 0) + min(b, 0) < 0:
            raise ShapeError(complaint("pad", "pad", f"leave a size of at least 0 in shape {tuple(input.shape)}", pad))
    return tuple(amounts)


def _crop(input: Tensor, amounts: Amounts) -> Tensor:
    """Without what negative amounts take away (a view)."""
    if all(a >= 0 and b >= 0 for a, b in amounts):
        return input
    return input[tuple(slice(max(-a, 0), n + min(b, 0)) for n, (a, b) in zip(input.shape, amounts, strict=True))]


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Pad the last dimensions.

    Args:
        input: any shape.
        pad: (before, after) of the last dimension, then of the one before it, and so on; negative crops, with
            ``constant`` and ``circular`` before anything is added, else afterwards.
        mode: ``constant``, ``reflect`` (without repeating the edge), ``replicate`` (the edge) or ``circular``.
        value: for ``constant``; 0 if None.

    Raises:
        ArgumentError: ``mode`` is none of these, or ``value`` is given for another mode than ``constant``.
        ShapeError: ``pad`` has a wrong length, takes away more than there is, or adds more than ``reflect`` (size - 1)
            or ``circular`` (size) can; ``reflect`` or ``replicate`` of a dimension of size 0.
    """
    if mode not in ops.MODES:
        raise ArgumentError(complaint("pad", "mode", f"be one of {ops.MODES}", mode))
    if value and mode != "constant":
        raise ArgumentError(complaint("pad", "value", f"be left out with mode {mode!r}", value))
    amounts = _amounts(input, pad)
    early = mode in ("constant", "circular")
    base = _crop(input, amounts) if early else input
    added = tuple((max(a, 0), max(b, 0)) for a, b in amounts)
    for n, both in zip(base.shape, added, strict=True):
        most = {"reflect": n - 1, "circular": n}.get(mode)
        if most is not None and max(both) > max(most, 0):
            raise ShapeError(complaint("pad", "pad", f"be at most {most} for {mode} on a size of {n}", tuple(pad)))
        if n == 0 and max(both) > 0 and mode != "constant":
            raise ShapeError(complaint("pad", "pad", f"be 0 for {mode} on a size of 0", tuple(pad)))
    result = Pad.apply(base, added, mode, 0.0 if value is None else value)
    return result if early else _crop(result, amounts)
