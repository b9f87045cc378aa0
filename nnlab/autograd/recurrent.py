"""Differentiable recurrent layers: one layer in one direction over a whole sequence is one operation on the tape.

- ``recurrent(cell, x, w_ih, w_hh, b_ih, b_hh, h0, c0, w_ch, reverse=False, lengths=None)`` -> (y, h_n, c_n); c_n is
  None but for "lstm". Shapes and meaning: ``nnlab.ops.recurrent``.
- ``unrolled(...)``: the same out of elementary operations, step by step; what gradients of gradients go through, and an
  LSTM with peepholes w_ch (3H,), by which i, f see c_{t-1} and o sees c_t.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnlab.autograd.activation import relu
from nnlab.autograd.amp import low_precision
from nnlab.autograd.elementwise import where
from nnlab.autograd.engine import grad
from nnlab.autograd.shape import chunk, stack, unbind
from nnlab.autograd.tape import Node, Op, wrap
from nnlab.ops import matmul
from nnlab.ops import recurrent as ops

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


class Recurrent(Op):
    """(x, w_ih, w_hh, b_ih, b_hh, h0, c0) to (y, h_n) or (y, h_n, c_n)."""

    @staticmethod
    def forward(ctx: Node, *args: Any, **options: Any) -> Any:
        x, w_ih, w_hh, b_ih, b_hh, h0, c0 = args
        y, h_n, c_n, saved = ops.forward(
            ctx.be, x=x, w_ih=w_ih, w_hh=w_hh, b_ih=b_ih, b_hh=b_hh, h0=h0, c0=c0, keep=any(ctx.needs), **options
        )
        if any(ctx.needs):
            ctx.given = tuple(i for i, a in enumerate(args) if a is not None)
            ctx.save_inputs(*ctx.given)
            ctx.save_output()  # y may share the memory of the states, so changes in place must be noticed
            ctx.saved, ctx.options = saved, options
        return (y, h_n) if c_n is None else (y, h_n, c_n)

    @staticmethod
    def backward(ctx: Node, *dy: Tensor) -> Any:
        # Computed anew in differentiable operations. Each input is a node of its own here, so that gradients stop at it
        # even where one input is made from another.
        args = [ctx.input(i) if i in ctx.given else None for i in range(7)]
        args = [a if a is None or not need else a.reshape(a.shape) for a, need in zip(args, ctx.needs, strict=True)]
        wanted = [a for a, need in zip(args, ctx.needs, strict=True) if need]
        results = [r for r in unrolled(*args, **ctx.options) if r is not None]
        found = iter(grad(results, wanted, list(dy), create_graph=True, allow_unused=True))  # type: ignore[arg-type]
        return tuple(next(found) if need else None for need in ctx.needs)

    @staticmethod
    def backward_raw(ctx: Node, dy: Any, dh_n: Any, dc_n: Any = None) -> Any:
        ctx.output_raw()
        x, w_ih, w_hh = (ctx.input_raw(i) for i in range(3))
        needs = ops.Needs(*ctx.needs)
        return tuple(
            ops.backward(ctx.be, dy=dy, dh_n=dh_n, dc_n=dc_n, x=x, w_ih=w_ih, w_hh=w_hh, saved=ctx.saved, needs=needs)
        )


def unrolled(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any,
    b_hh: Any,
    h0: Any,
    c0: Any,
    w_ch: Any = None,
    *,
    cell: str,
    reverse: bool = False,
    lengths: list[int] | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(y, h_n, c_n) out of elementary differentiable operations."""
    steps, batch = x.shape[:2]
    h = x.new_full((batch, w_hh.shape[1]), 0) if h0 is None else h0
    c = x.new_full(h.shape, 0) if c0 is None and cell == "lstm" else c0
    x_gates = x @ w_ih.t() if lengths is None else step_product(x, w_ih.t())
    x_gates = unbind(x_gates if b_ih is None else x_gates + b_ih)
    peepholes = (None,) * 3 if w_ch is None else chunk(w_ch, 3)
    results: list[Any] = [None] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
        b = h @ w_hh.t()
        b = b if b_hh is None else b + b_hh
        h_next, c_next = _step(cell, x_gates[t], b, h, c, peepholes)
        y = h_next
        if lengths is not None:
            now = wrap(x._be, x._be.asarray(np.asarray(lengths, np.int64)[:, None] > t))
            y = where(now, h_next, 0.0)
            h_next = where(now, h_next, h)
            c_next = None if c_next is None else where(now, c_next, c)
        h, c, results[t] = h_next, c_next, y
    return stack(results), h, c


def _step(cell: str, a: Tensor, b: Tensor, h: Tensor, c: Any, peepholes: tuple[Any, ...]) -> tuple[Tensor, Any]:
    if cell == "lstm":
        i, f, g, o = chunk(a + b, 4, 1)
        p_i, p_f, p_o = peepholes
        i, f = (s if p is None else s + p * c for s, p in ((i, p_i), (f, p_f)))
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        o = o if p_o is None else o + p_o * c
        return o.sigmoid() * c.tanh(), c
    if cell == "gru":
        (ar, az, an), (br, bz, bn) = chunk(a, 3, 1), chunk(b, 3, 1)
        z = (az + bz).sigmoid()
        return (1 - z) * (an + (ar + br).sigmoid() * bn).tanh() + z * h, None
    return (relu(a + b) if cell == "rnn_relu" else (a + b).tanh()), None


@low_precision
def recurrent(
    cell: str,
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    w_ch: Tensor | None = None,
    *,
    reverse: bool = False,
    lengths: list[int] | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(y, h_n, c_n) of one layer in one direction; see ``nnlab.ops.recurrent``, and above for w_ch."""
    if w_ch is not None:
        return unrolled(x, w_ih, w_hh, b_ih, b_hh, h0, c0, w_ch, cell=cell, reverse=reverse, lengths=lengths)
    results = Recurrent.apply(x, w_ih, w_hh, b_ih, b_hh, h0, c0, cell=cell, reverse=reverse, lengths=lengths)
    return (*results, None) if len(results) == 2 else results


class StepProduct(Op):
    @staticmethod
    def forward(ctx: Node, a: Any, b: Any) -> Any:
        ctx.save_factors()
        return matmul.forward(ctx.be, a=a, b=b[None], alone=True)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        da = StepProduct.apply(dy, ctx.input(1).t()) if ctx.needs[0] else None
        db = ctx.input(0).flatten(0, 1).t() @ dy.flatten(0, 1) if ctx.needs[1] else None
        return da, db


@low_precision
def step_product(a: Tensor, b: Tensor) -> Tensor:
    """a (T, B, K) times b (K, N), one product a step: on the CPU no bits depend on T."""
    return StepProduct.apply(a, b)


class TakeRows(Op):
    """x (N, ...) to its rows at the given places, each named at most once."""

    @staticmethod
    def forward(ctx: Node, x: Any, places: Any) -> Any:
        ctx.places, ctx.count = places, len(x)
        return x[places]

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return PutRows.apply(dy, ctx.places, ctx.count)


class PutRows(Op):
    """Rows to places (each named at most once) among ``count``; all others hold ``value``."""

    @staticmethod
    def forward(ctx: Node, x: Any, places: Any, count: int, value: float = 0.0) -> Any:
        ctx.places = places
        y = ctx.be.xp.full((count, *x.shape[1:]), value, x.dtype)
        y[places] = x
        return y

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return TakeRows.apply(dy, ctx.places)


def take_rows(x: Tensor, places: np.ndarray) -> Tensor:
    """The rows of x (N, ...) at places (M,), host integers, each named at most once."""
    return TakeRows.apply(x, x._be.asarray(places))


def put_rows(x: Tensor, places: np.ndarray, count: int, value: float = 0.0) -> Tensor:
    """(count, ...): the rows of x at places (M,), host integers, each named at most once, and ``value`` elsewhere."""
    return PutRows.apply(x, x._be.asarray(places), count, value)
