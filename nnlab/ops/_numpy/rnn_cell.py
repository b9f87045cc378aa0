"""A step of a simple recurrent network in array code. See ops/rnn_cell.py."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy.gates import chosen, into, total, with_bias
from nnlab.ops._numpy.precision import wide
from nnlab.ops.rnn_cell import Saved


def forward(
    be: Backend,
    *,
    x_gates: Any,
    h_gates: Any,
    x_bias: Any,
    h_bias: Any,
    h: Any,
    nonlinearity: str,
    active: Any = None,
    out: Any = None,
) -> tuple[Any, Saved]:
    xp, dtype = be.xp, x_gates.dtype
    s = with_bias(be, x_gates, x_bias)
    s += with_bias(be, h_gates, h_bias)
    new = xp.maximum(s, s.dtype.type(0)) if nonlinearity == "relu" else xp.tanh(s)
    h_next = into(out, chosen(be, active, new, h), dtype)
    return h_next, Saved(h_next, nonlinearity, active)


def backward(be: Backend, *, dh_next: list[Any], saved: Saved, out: Any = None) -> tuple[Any, Any | None]:
    xp, dtype = be.xp, saved.h_next.dtype
    y, dh = wide(be, saved.h_next), total(be, dh_next)
    zero = dh.dtype.type(0)
    ds = xp.where(y != 0, dh, zero) if saved.nonlinearity == "relu" else dh * ((1 - y) * (1 + y))
    dgates = into(out, chosen(be, saved.active, ds, 0), dtype)
    if saved.active is None:
        return dgates, None
    return dgates, xp.where(saved.active[:, None], zero, dh).astype(dtype, copy=False)
