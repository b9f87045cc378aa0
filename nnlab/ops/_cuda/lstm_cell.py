"""A step of an LSTM by ``kernels/lstm_cell.cu``."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.ops._cuda.cells import ARRIVING, SIZES, arriving, mask, sizes
from nnlab.ops.lstm_cell import Saved

_FORWARD = Kernel(
    "lstm_cell",
    "lstm_cell_forward",
    {
        **dict.fromkeys(("x_gates", "h_gates", "x_bias", "h_bias", "h", "c"), "scalar*"),
        "active": "bool*",
        **dict.fromkeys(("h_next", "c_next", "gates"), "scalar*"),
        **SIZES,
    },
)
_BACKWARD = Kernel(
    "lstm_cell",
    "lstm_cell_backward",
    {
        **ARRIVING,
        **dict.fromkeys(("dc_next", "gates", "c", "c_next"), "scalar*"),
        "active": "bool*",
        **dict.fromkeys(("dgates", "dc", "dh"), "scalar*"),
        "count": "int32",
        **SIZES,
    },
)


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
    xp = be.xp
    x_gates, h_gates, x_bias, h_bias, c = (
        xp.asarray(array, order="C") for array in (x_gates, h_gates, x_bias, h_bias, c)
    )
    before = c if active is None else xp.asarray(h, order="C")
    h_next, c_next, gates = out or tuple(xp.empty(a.shape, c.dtype) for a in (c, c, x_gates))
    launch(
        be, _FORWARD, threads=c.size, x_gates=x_gates, h_gates=h_gates, x_bias=x_bias, h_bias=h_bias, h=before, c=c,
        active=mask(be, active), h_next=h_next, c_next=c_next, gates=gates, **sizes(c, active),
    )  # fmt: skip
    return h_next, c_next, Saved(gates, c, c_next, active)


def backward(
    be: Backend, *, dh_next: list[Any], dc_next: Any, saved: Saved, out: Any = None
) -> tuple[Any, Any, Any | None]:
    xp = be.xp
    dc_next, gates, c, c_next = (
        xp.asarray(array, order="C") for array in (dc_next, saved.gates, saved.c, saved.c_next)
    )
    dgates = xp.empty(gates.shape, gates.dtype) if out is None else out
    dc = xp.empty(c.shape, c.dtype)
    dh = xp.empty(1 if saved.active is None else c.shape, c.dtype)
    launch(
        be, _BACKWARD, threads=c.size, **arriving(be, dh_next), dc_next=dc_next, gates=gates, c=c, c_next=c_next,
        active=mask(be, saved.active), dgates=dgates, dc=dc, dh=dh, **sizes(c, saved.active),
    )  # fmt: skip
    return dgates, dc, None if saved.active is None else dh
