"""Padding: constant, reflected, replicated, circular."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnlab.autograd.tape import Node, Op
from nnlab.errors import ArgumentError, ShapeError, complaint

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


class Pad(Op):
    """Constant padding; negative amounts crop."""

    @staticmethod
    def forward(ctx: Node, x: Any, amounts: tuple[tuple[int, int], ...], value: float) -> Any:
        ctx.amounts = amounts
        y = ctx.be.xp.full(
            tuple(n + a + b for n, (a, b) in zip(x.shape, amounts, strict=True)), x.dtype.type(value), dtype=x.dtype
        )
        inner, outer = [], []
        for n, (a, b) in zip(x.shape, amounts, strict=True):
            inner.append(slice(max(-a, 0), n - max(-b, 0)))
            outer.append(slice(max(a, 0), n + a + b - max(b, 0)))
        y[tuple(outer)] = x[tuple(inner)]
        return y

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return Pad.apply(dy, tuple((-a, -b) for a, b in ctx.amounts), 0.0), None, None


def _pad_pairs(input: Tensor, pad: Sequence[int]) -> tuple[tuple[int, int], ...]:
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ShapeError(complaint("pad", "pad", f"have an even length of at most {2 * input.ndim}", tuple(pad)))
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    amounts = [(0, 0)] * (input.ndim - len(pairs)) + pairs[::-1]
    for n, (a, b) in zip(input.shape, amounts, strict=True):
        if n + a + b < 0 or n + min(a, 0) + min(b, 0) < 0:
            raise ShapeError(complaint("pad", "pad", f"leave a size of at least 0 in shape {tuple(input.shape)}", pad))
    return tuple(amounts)


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Pad the last dimensions.

    Args:
        input: any shape.
        pad: (before, after) of the last dimension, then of the one before it, and so on; negative crops.
        mode: ``constant``, ``reflect`` (without repeating the edge), ``replicate`` (the edge) or ``circular``.
        value: for ``constant``; 0 if None.
    """
    amounts = _pad_pairs(input, pad)
    if mode == "constant":
        return Pad.apply(input, amounts, 0.0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise ArgumentError(complaint("pad", "mode", "be constant, reflect, replicate or circular", mode))
    if value:
        raise ArgumentError(complaint("pad", "value", f"be left out with mode {mode!r}", value))
    result = input
    for axis, (a, b) in enumerate(amounts):
        n = input.shape[axis]
        if (a, b) == (0, 0):
            continue
        limit = {"reflect": n - 1, "replicate": a + b + 1, "circular": n}[mode]
        if max(a, b) > limit or n == 0:
            raise ShapeError(complaint("pad", "pad", f"be at most {limit} for {mode} on a size of {n}", tuple(pad)))
        order = range(-a, n + b)
        if mode == "reflect":
            picks = [-i if i < 0 else 2 * (n - 1) - i if i >= n else i for i in order]
        elif mode == "replicate":
            picks = [min(max(i, 0), n - 1) for i in order]
        else:
            picks = [i % n for i in order]
        result = result.index_select(axis, picks)
    return result
