"""A step of an LSTM in array code. See ops/lstm_cell.py."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy.gates import chosen, into, sigmoid, total, with_bias
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
    s = with_bias(be, x_gates, x_bias)
    s += h_gates
    s += h_bias
    i, f, g, o = (s[:, k * n : (k + 1) * n] for k in range(4))
    sigmoid(be, s[:, : 2 * n], out=s[:, : 2 * n])
    xp.tanh(g, out=g)
    sigmoid(be, o, out=o)
    c_new = f * wide(be, c)
    c_new += i * g
    h_new = xp.tanh(c_new)
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
    inner = wide(be, dc_next) + dh * o * ((1 - tc) * (1 + tc))
    ds = xp.empty(gates.shape, gates.dtype)
    ds[:, :n] = inner * g * (i * (1 - i))
    ds[:, n : 2 * n] = inner * wide(be, saved.c) * (f * (1 - f))
    ds[:, 2 * n : 3 * n] = inner * i * ((1 - g) * (1 + g))
    ds[:, 3 * n :] = dh * tc * (o * (1 - o))
    dgates = into(out, chosen(be, saved.active, ds, 0), dtype)
    dc = chosen(be, saved.active, inner * f, dc_next).astype(dtype, copy=False)
    passing = None
    if saved.active is not None:
        passing = xp.where(saved.active[:, None], dh.dtype.type(0), dh).astype(dtype, copy=False)
    return dgates, dc, passing
