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
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from nnlab import types
from nnlab.backend import Backend
from nnlab.ops import gru_cell, lstm_cell, matmul, rnn_cell
from nnlab.ops._numpy import layout, parallel

BLOCKS = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
PART, ROWS = 1 << 25, 16  # multiply-adds of a step, and rows of a batch, that are worth a thread
CHUNK, CHUNKS = 1 << 26, 4  # multiply-adds of the steps whose other products a thread makes aside; chunks at most
STEPWISE = 8  # parts of products with lengths

Order = list[tuple[int, int, int]]  # (t, place of the state before, place of the state after)


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


def _steps(saved: Saved, steps: int) -> Order:
    """The steps in the order of computation."""
    if saved.reverse:
        return [(t, t + 1, t) for t in reversed(range(steps))]
    return [(t, t, t + 1) for t in range(steps)]


def _product(be: Backend, a: Any, b: Any, saved: Saved, out: Any, alone: bool) -> None:
    """a (T, B, K) times b (K, N): one product for all steps; with lengths one a step, so that no bits depend on T."""
    if saved.active is None:
        matmul.forward(be, a=a, b=b, out=out, alone=alone)
        return
    count = 1 if alone or be.device.type != "cpu" else STEPWISE
    runs = [slice(*run) for run in parallel.cut(len(a), -(-len(a) // count))]

    def work(i: int) -> None:
        matmul.forward(be, a=a[runs[i]], b=b[None], out=out[runs[i]], alone=True)

    parallel.run(be, work, len(runs), a.size * b.shape[1])


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
    hs: Any = layout.empty(be, (steps + 1, batch, hidden), dtype)
    cs: Any = layout.empty(be, (stored + 1, batch, hidden), dtype) if lstm else None
    gates: Any = layout.empty(be, (stored, batch, 4 * hidden), dtype) if cell in ("lstm", "gru") else None
    saved = Saved(cell, reverse, hs, cs, gates, active)
    order = _steps(saved, steps)
    hs[order[0][1]] = 0 if h0 is None else h0
    if cs is not None:
        cs[order[0][1] % len(cs)] = 0 if c0 is None else c0
    x_gates = layout.empty(be, (steps, batch, len(w_hh)), dtype)
    parts, work = _parts(be, batch, w_hh.size), steps * batch * w_hh.size
    chunks = _chunks(be, order, parts, w_hh.size, dtype)
    biases = [b if b is not None else xp.zeros(len(w_hh), dtype) for b in (b_ih, b_hh)]

    def from_x(these: slice, alone: bool = True) -> None:
        _product(be, x[these], w_ih.T, saved, x_gates[these], alone)

    def walk(rows: slice) -> None:
        product = matmul.repeated(be, b=w_hh.T, rows=rows.stop - rows.start)
        h_gates = xp.empty((rows.stop - rows.start, len(w_hh)), dtype)
        for t, before, after in order:
            if t in made:
                made[t]()
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

    with parallel.beside(be, work) as later:
        from_x(_span(chunks[0]), False)
        made = {chunk[0][0]: later(partial(from_x, _span(chunk))) for chunk in chunks[1:]}
        _side_by_side(be, walk, parts, work)
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
    dx_gates = layout.empty(be, (steps, batch, width), dtype)
    # The n block of a GRU's second product has a gradient of its own.
    dh_gates = layout.empty(be, (steps, batch, width), dtype) if saved.cell == "gru" else dx_gates
    same = dh_gates is dx_gates
    order = _steps(saved, steps)[::-1]
    dx: Any = layout.empty(be, x.shape, dtype) if needs.x else None
    dh0: Any = xp.empty_like(dh_n) if needs.h0 else None
    dc0: Any = xp.empty_like(dc_n) if needs.c0 else None
    parts, work = _parts(be, batch, w_hh.size), steps * batch * w_hh.size
    chunks = _chunks(be, order, parts, w_hh.size, dtype)
    before_steps = hs[1:] if saved.reverse else hs[:-1]
    terms: dict[str, dict[int, Any]] = {name: {} for name in ("w_ih", "w_hh", "b_ih", "b_hh")}

    def walk(rows: slice) -> None:
        arriving = [dh_n[rows]]
        product = matmul.repeated(be, b=w_hh, rows=rows.stop - rows.start)
        through = xp.empty((rows.stop - rows.start, hidden), dtype)
        dc = None if dc_n is None else dc_n[rows]
        for chunk in chunks:
            for t, before, after in chunk:
                given = [dy[t, rows], *arriving]
                now = None if active is None else active[t, rows]
                target, passing = dx_gates[t, rows], None
                if saved.cell == "lstm":
                    kept = lstm_cell.Saved(gates[t, rows], cs[before, rows], cs[after, rows], now)
                    _, dc, passing = lstm_cell.backward(be, dh_next=given, dc_next=dc, saved=kept, out=target)
                elif saved.cell == "gru":
                    state = gru_cell.Saved(gates[t, rows], hs[before, rows], now)
                    _, _, passing = gru_cell.backward(be, dh_next=given, saved=state, out=(target, dh_gates[t, rows]))
                else:
                    plain = rnn_cell.Saved(hs[after, rows], saved.cell.removeprefix("rnn_"), now)
                    _, passing = rnn_cell.backward(be, dh_next=given, saved=plain, out=target)
                arriving = [] if passing is None else [passing]
                if t != order[-1][0] or needs.h0:
                    product(dh_gates[t, rows], through)
                    arriving.insert(0, through)
            if len(chunks) > 1:
                for function in wanted:
                    later(partial(function, _span(chunk)))
        if dh0 is not None:
            dh0[rows] = arriving[0] if len(arriving) == 1 else arriving[0] + arriving[1]
        if dc0 is not None:
            dc0[rows] = dc

    # The gradients by the products over some steps.
    alone = len(chunks) > 1

    def to_x(these: slice) -> None:
        _product(be, dx_gates[these], w_ih, saved, dx[these], alone)

    def to_w_ih(these: slice) -> None:
        a, b = _rows(dx_gates[these]), _rows(x[these])
        terms["w_ih"][these.start] = matmul.forward(be, a=a.T, b=b, alone=alone)

    def to_w_hh(these: slice) -> None:
        a, b = _rows(dh_gates[these]), _rows(before_steps[these])
        terms["w_hh"][these.start] = matmul.forward(be, a=a.T, b=b, alone=alone)

    def to_b_ih(these: slice) -> None:
        terms["b_ih"][these.start] = _rows(dx_gates[these]).sum(axis=0, dtype=xp.float64)

    def to_b_hh(these: slice) -> None:
        terms["b_hh"][these.start] = _rows(dh_gates[these]).sum(axis=0, dtype=xp.float64)

    each = (
        (to_x, needs.x),
        (to_w_ih, needs.w_ih),
        (to_w_hh, needs.w_hh),
        (to_b_ih, needs.b_ih or (same and needs.b_hh)),
        (to_b_hh, needs.b_hh and not same),
    )
    wanted = [function for function, need in each if need]
    with parallel.beside(be, work) as later:
        _side_by_side(be, walk, parts, work)
    if not alone:
        for function in wanted:
            function(_span(order))
    sums = {name: _total(found) for name, found in terms.items()}
    if same:
        sums["b_hh"] = sums["b_ih"]
    return Gradients(
        x=dx,
        w_ih=sums["w_ih"],
        w_hh=sums["w_hh"],
        b_ih=sums["b_ih"].astype(dtype) if needs.b_ih else None,
        b_hh=sums["b_hh"].astype(dtype) if needs.b_hh else None,
        h0=dh0,
        c0=dc0,
    )


def _parts(be: Backend, batch: int, weights: int) -> list[slice]:
    """Sequences do not meet, so on the CPU threads share a large batch."""
    if be.device.type == "cpu" and batch * weights >= PART:
        return [slice(*part) for part in parallel.cut(batch, max(ROWS, -(-batch // 4)))]
    return [slice(0, batch)]


def _chunks(be: Backend, order: Order, parts: list[slice], weights: int, dtype: Any) -> list[Order]:
    """Runs of steps: on the CPU, another thread makes the other products of one while the walk is at the next ones."""
    count = 1
    if be.device.type == "cpu" and len(parts) == 1 and dtype == types.wide(dtype):
        count = max(1, min(CHUNKS, len(order) * parts[0].stop * weights // CHUNK))
    return [order[slice(*run)] for run in parallel.cut(len(order), -(-len(order) // count))]


def _span(chunk: Order) -> slice:
    """These steps as a range, forward."""
    first = min(t for t, _, _ in chunk)
    return slice(first, first + len(chunk))


def _side_by_side(be: Backend, walk: Callable[[slice], None], parts: list[slice], work: int) -> None:
    parallel.run(be, lambda i: walk(parts[i]), len(parts), work)


def _rows(array: Any) -> Any:
    """(T, B, K) to (T * B, K)."""
    return array.reshape(-1, array.shape[2])


def _total(terms: dict[int, Any]) -> Any:
    """The sum of the chunks' terms, by their first steps; None without any."""
    found = [terms[first] for first in sorted(terms)]
    for other in found[1:]:
        found[0] += other
    return found[0] if found else None
