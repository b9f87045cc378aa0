"""A step of a GRU in array code. See ops/gru_cell.py."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy.gates import chosen, into, sigmoid, total, with_bias
from nnlab.ops._numpy.precision import wide
from nnlab.ops.gru_cell import Saved


def forward(
    be: Backend,
    *,
    x_gates: Any,
    h_gates: Any,
    x_bias: Any,
    h_bias: Any,
    h: Any,
    active: Any = None,
    out: tuple[Any, Any] | None = None,
) -> tuple[Any, Saved]:
    xp, n, dtype = be.xp, h.shape[1], h.dtype
    h_out, gates_out = out or (None, None)
    a, b = with_bias(be, x_gates, x_bias), with_bias(be, h_gates, h_bias)
    s = xp.empty((len(h), 4 * n), a.dtype)
    s[:, : 2 * n] = sigmoid(be, a[:, : 2 * n] + b[:, : 2 * n])
    s[:, 2 * n : 3 * n] = xp.tanh(a[:, 2 * n :] + s[:, :n] * b[:, 2 * n :])
    s[:, 3 * n :] = b[:, 2 * n :]
    z, fresh = s[:, n : 2 * n], s[:, 2 * n : 3 * n]
    h_next = into(h_out, chosen(be, active, (1 - z) * fresh + z * wide(be, h), h), dtype)
    gates = into(gates_out, chosen(be, active, s, 0), dtype)
    return h_next, Saved(gates, h, active)


def backward(
    be: Backend, *, dh_next: list[Any], saved: Saved, out: tuple[Any, Any] | None = None
) -> tuple[Any, Any, Any]:
    xp, n, dtype = be.xp, saved.h.shape[1], saved.h.dtype
    dx_out, dh_out = out or (None, None)
    gates = wide(be, saved.gates)
    r, z, fresh, q = (gates[:, k * n : (k + 1) * n] for k in range(4))
    dh = total(be, dh_next)
    inner = dh * (1 - z) * ((1 - fresh) * (1 + fresh))
    da = xp.empty((len(dh), 3 * n), dh.dtype)
    da[:, :n] = inner * q * (r * (1 - r))
    da[:, n : 2 * n] = dh * (wide(be, saved.h) - fresh) * (z * (1 - z))
    da[:, 2 * n :] = inner
    db = da.copy()
    db[:, 2 * n :] *= r
    dx_gates = into(dx_out, chosen(be, saved.active, da, 0), dtype)
    dh_gates = into(dh_out, chosen(be, saved.active, db, 0), dtype)
    passing = chosen(be, saved.active, dh * z, dh)
    return dx_gates, dh_gates, passing.astype(dtype, copy=False)
