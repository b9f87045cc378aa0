"""A step of an LSTM in array code. See ops/lstm_cell.py."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy.gates import chosen, into, room, sigmoid, total, with_bias
from nnlab.ops._numpy.precision import wide
from nnlab.ops.lstm_cell import Saved


def forward(
    be: Backend,
    *,
    x_gates: Any,
    h_gates: Any,
    x_bias: Any,
    h_bias: Any,
    h: Any,
    c: Any,
    active: Any = None,
    out: tuple[Any, Any, Any] | None = None,
) -> tuple[Any, Any, Saved]:
    xp, n, dtype = be.xp, c.shape[1], c.dtype
    h_out, c_out, gates_out = out or (None, None, None)
    s = xp.add(wide(be, x_gates), wide(be, h_gates), out=room(be, gates_out, active, x_gates.shape, dtype))
    s += with_bias(be, x_bias, h_bias)
    i, f, g, o = (s[:, k * n : (k + 1) * n] for k in range(4))
    tanh_g = xp.tanh(g)
    sigmoid(be, s, out=s)  # of g too: one call over contiguous memory is faster than two over parts
    g[...] = tanh_g
    c_new = xp.multiply(f, wide(be, c), out=room(be, c_out, active, c.shape, dtype))
    tanh_g *= i
    c_new += tanh_g
    h_new = xp.tanh(c_new, out=room(be, h_out, active, c.shape, dtype))
    h_new *= o
    h_next = into(h_out, chosen(be, active, h_new, h), dtype)
    c_next = into(c_out, chosen(be, active, c_new, c), dtype)
    gates = into(gates_out, chosen(be, active, s, 0), dtype)
    return h_next, c_next, Saved(gates, c, c_next, active)


def backward(
    be: Backend, *, dh_next: list[Any], dc_next: Any, saved: Saved, out: Any = None
) -> tuple[Any, Any, Any | None]:
    xp, n, dtype = be.xp, dc_next.shape[1], dc_next.dtype
    gates = wide(be, saved.gates)
    i, f, g, o = (gates[:, k * n : (k + 1) * n] for k in range(4))
    dh = total(be, dh_next)
    tc = xp.tanh(wide(be, saved.c_next))
    ds = xp.subtract(1, gates, out=room(be, out, saved.active, gates.shape, dtype))
    ds *= gates  # right for i, f, o
    di, df, dg, do = (ds[:, k * n : (k + 1) * n] for k in range(4))
    di *= g
    df *= wide(be, saved.c)
    xp.subtract(1, g, out=dg)
    dg *= 1 + g
    dg *= i
    do *= tc
    do *= dh
    inner = 1 - tc
    tc += 1
    inner *= tc
    inner *= o
    inner *= dh
    inner += wide(be, dc_next)
    three = ds[:, : 3 * n].reshape(len(ds), 3, n)
    three *= inner[:, None]
    inner *= f
    dgates = into(out, chosen(be, saved.active, ds, 0), dtype)
    dc = chosen(be, saved.active, inner, dc_next).astype(dtype, copy=False)
    passing = None
    if saved.active is not None:
        passing = xp.where(saved.active[:, None], dh.dtype.type(0), dh).astype(dtype, copy=False)
    return dgates, dc, passing
