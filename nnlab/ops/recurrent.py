"""A recurrent layer in one direction over a whole sequence: products by ``matmul``, steps by the cells' own operations.

    x_gates = x W_ih^T for all steps at once;    at each step  h_gates = h W_hh^T  and the cell (ops/lstm_cell.py, ...)

``cell`` is "lstm", "gru", "rnn_tanh" or "rnn_relu", with G = 4, 3, 1, 1 blocks of H columns in the weights. ``reverse``
walks from the last step to the first. With ``lengths`` (one for each sequence, 1..T) a sequence is frozen at the steps
t >= length: its state stays, its outputs there are 0, and x there does not matter (it must be finite). On the CPU its
bits then depend on its own numbers, its place in the batch and B alone: each step's products are of (B, ...) whatever T
is.

Shapes: x (T, B, I), y (T, B, H), h0, h_n, c0, c_n (B, H), w_ih (GH, I), w_hh (GH, H), b_ih, b_hh (GH,) or None; h0 and
c0 may be None for zeros; c0 and c_n belong to "lstm" alone. docs/math/recurrent.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nnlab.backend import Backend
from nnlab.ops import gru_cell, lstm_cell, matmul, rnn_cell
from nnlab.ops._numpy import parallel

BLOCKS = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


PART, ROWS = 1 << 22, 16  # multiply-adds of a step, and rows of a batch, that are worth a thread


class Saved(NamedTuple):
    """What backward needs, beside x and the weights.

    hs: states (T + 1, B, H): before and after each step; ``reverse`` begins at the end.
    cs: the same of c, lstm alone.
    gates: (T, B, 4H) of the steps, lstm and gru.
    active: bool (T, B), None without lengths.
    """

    cell: str
    reverse: bool
    hs: Any
    cs: Any
    gates: Any
    active: Any


class Needs(NamedTuple):
    """Which gradients are wanted."""

    x: bool
    w_ih: bool
    w_hh: bool
    b_ih: bool
    b_hh: bool
    h0: bool
    c0: bool


class Gradients(NamedTuple):
    """The gradients, None where none is wanted."""

    x: Any
    w_ih: Any
    w_hh: Any
    b_ih: Any
    b_hh: Any
    h0: Any
    c0: Any


def _steps(saved: Saved, steps: int) -> list[tuple[int, int, int]]:
    """(t, place of the state before, place of the state after) in the order of computation."""
    if saved.reverse:
        return [(t, t + 1, t) for t in reversed(range(steps))]
    return [(t, t, t + 1) for t in range(steps)]


def _product(be: Backend, a: Any, b: Any, saved: Saved) -> Any:
    """a (T, B, K) times b (K, N): one product for all steps; with lengths one a step, so that no bits depend on T."""
    return matmul.forward(be, a=a, b=b if saved.active is None else b[None])


def forward(
    be: Backend,
    *,
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any,
    b_hh: Any,
    h0: Any,
    c0: Any,
    cell: str,
    reverse: bool = False,
    lengths: list[int] | None = None,
    keep: bool = True,
) -> tuple[Any, Any, Any, Saved]:
    """(y, h_n, c_n, saved); c_n is None but for "lstm". Without ``keep`` saved does not serve backward."""
    xp, dtype = be.xp, x.dtype
    steps, batch = x.shape[:2]
    hidden = w_hh.shape[1]
    lstm = cell == "lstm"
    active = None
    if lengths is not None:
        active = be.asarray(np.arange(steps)[:, None] < np.asarray(lengths, np.int64)[None])
    stored = steps if keep else 1
    hs: Any = xp.empty((steps + 1, batch, hidden), dtype)
    cs: Any = xp.empty((stored + 1, batch, hidden), dtype) if lstm else None
    gates: Any = xp.empty((stored, batch, 4 * hidden), dtype) if cell in ("lstm", "gru") else None
    saved = Saved(cell, reverse, hs, cs, gates, active)
    order = _steps(saved, steps)
    hs[order[0][1]] = 0 if h0 is None else h0
    if cs is not None:
        cs[order[0][1] % len(cs)] = 0 if c0 is None else c0
    x_gates = _product(be, x, w_ih.T, saved)
    biases = [b if b is not None else xp.zeros(len(w_hh), dtype) for b in (b_ih, b_hh)]

    def walk(rows: slice) -> None:
        batch = rows.stop - rows.start
        product = matmul.repeated(be, b=w_hh.T, rows=batch)
        h_gates = xp.empty((batch, len(w_hh)), dtype)
        for t, before, after in order:
            h, h_next = hs[before, rows], hs[after, rows]
            product(h, h_gates)
            given: dict[str, Any] = {
                "x_gates": x_gates[t, rows],
                "h_gates": h_gates,
                "x_bias": biases[0],
                "h_bias": biases[1],
                "h": h,
                "active": None if active is None else active[t, rows],
            }
            if lstm:
                c, c_next = cs[before % len(cs), rows], cs[after % len(cs), rows]
                lstm_cell.forward(be, **given, c=c, out=(h_next, c_next, gates[t % stored, rows]))
            elif cell == "gru":
                gru_cell.forward(be, **given, out=(h_next, gates[t % stored, rows]))
            else:
                rnn_cell.forward(be, **given, nonlinearity=cell.removeprefix("rnn_"), out=h_next)

    _side_by_side(be, walk, steps, batch, w_hh.size)
    last = order[-1][2]
    y = hs[:steps] if reverse else hs[1:]
    if active is not None:
        y = xp.where(active[:, :, None], y, dtype.type(0))
    # Copies: a result changed in place must change nothing else.
    return y, hs[last].copy(), None if cs is None else cs[last % len(cs)].copy(), saved


def backward(
    be: Backend, *, dy: Any, dh_n: Any, dc_n: Any, x: Any, w_ih: Any, w_hh: Any, saved: Saved, needs: Needs
) -> Gradients:
    """The gradients; dc_n, that to c_n, is None but for "lstm"."""
    xp, dtype = be.xp, dy.dtype
    steps, batch, hidden = dy.shape
    hs, cs, gates, active = saved.hs, saved.cs, saved.gates, saved.active
    width = len(w_hh)
    if active is None:
        dy = xp.asarray(dy, order="C")
    else:
        dy = xp.where(active[:, :, None], dy, dtype.type(0))
    dx_gates = xp.empty((steps, batch, width), dtype)
    # The n block of a GRU's second product has a gradient of its own.
    dh_gates = xp.empty((steps, batch, width), dtype) if saved.cell == "gru" else dx_gates
    order = _steps(saved, steps)[::-1]
    dh0: Any = xp.empty_like(dh_n) if needs.h0 else None
    dc0: Any = xp.empty_like(dc_n) if needs.c0 else None

    def walk(rows: slice) -> None:
        arriving = [dh_n[rows]]
        product = matmul.repeated(be, b=w_hh, rows=rows.stop - rows.start)
        through = xp.empty((rows.stop - rows.start, hidden), dtype)
        dc = None if dc_n is None else dc_n[rows]
        for t, before, after in order:
            parts = [dy[t, rows], *arriving]
            now = None if active is None else active[t, rows]
            target, passing = dx_gates[t, rows], None
            if saved.cell == "lstm":
                kept = lstm_cell.Saved(gates[t, rows], cs[before, rows], cs[after, rows], now)
                _, dc, passing = lstm_cell.backward(be, dh_next=parts, dc_next=dc, saved=kept, out=target)
            elif saved.cell == "gru":
                state = gru_cell.Saved(gates[t, rows], hs[before, rows], now)
                _, _, passing = gru_cell.backward(be, dh_next=parts, saved=state, out=(target, dh_gates[t, rows]))
            else:
                plain = rnn_cell.Saved(hs[after, rows], saved.cell.removeprefix("rnn_"), now)
                _, passing = rnn_cell.backward(be, dh_next=parts, saved=plain, out=target)
            arriving = [] if passing is None else [passing]
            if t != order[-1][0] or needs.h0:
                product(dh_gates[t, rows], through)
                arriving.insert(0, through)
        if dh0 is not None:
            dh0[rows] = arriving[0] if len(arriving) == 1 else arriving[0] + arriving[1]
        if dc0 is not None:
            dc0[rows] = dc

    _side_by_side(be, walk, steps, batch, w_hh.size)
    rows = steps * batch
    from_x, from_h = dx_gates.reshape(rows, width), dh_gates.reshape(rows, width)
    before_steps = (hs[1:] if saved.reverse else hs[:-1]).reshape(rows, hidden)
    return Gradients(
        x=_product(be, dx_gates, w_ih, saved) if needs.x else None,
        w_ih=matmul.forward(be, a=from_x.T, b=x.reshape(rows, x.shape[2])) if needs.w_ih else None,
        w_hh=matmul.forward(be, a=from_h.T, b=before_steps) if needs.w_hh else None,
        b_ih=_column_sums(be, from_x) if needs.b_ih else None,
        b_hh=_column_sums(be, from_h) if needs.b_hh else None,
        h0=dh0,
        c0=dc0,
    )


def _side_by_side(be: Backend, walk: Callable[[slice], None], steps: int, batch: int, weights: int) -> None:
    """Walk over the steps: sequences do not meet, so on the CPU threads share a large batch."""
    parts = [(0, batch)]
    if be.device.type == "cpu" and batch * weights >= PART:
        parts = parallel.cut(batch, max(ROWS, -(-batch // 4)))
    parallel.run(be, lambda i: walk(slice(*parts[i])), len(parts), steps * batch * weights)


def _column_sums(be: Backend, rows: Any) -> Any:
    return rows.sum(axis=0, dtype=be.xp.float64).astype(rows.dtype)
