"""A step of a GRU by ``kernels/gru_cell.cu``."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.ops._cuda.cells import ARRIVING, SIZES, arriving, mask, sizes
from nnlab.ops.gru_cell import Saved

_FORWARD = Kernel(
    "gru_cell",
    "gru_cell_forward",
    {
        **dict.fromkeys(("x_gates", "h_gates", "x_bias", "h_bias", "h"), "scalar*"),
        "active": "bool*",
        **dict.fromkeys(("h_next", "gates"), "scalar*"),
        **SIZES,
    },
)
_BACKWARD = Kernel(
    "gru_cell",
    "gru_cell_backward",
    {
        **ARRIVING,
        **dict.fromkeys(("gates", "h"), "scalar*"),
        "active": "bool*",
        **dict.fromkeys(("dx_gates", "dh_gates", "dh"), "scalar*"),
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
    active: Any = None,
    out: tuple[Any, Any] | None = None,
) -> tuple[Any, Saved]:
    xp = be.xp
    x_gates, h_gates, x_bias, h_bias, h = (
        xp.asarray(array, order="C") for array in (x_gates, h_gates, x_bias, h_bias, h)
    )
    if out is None:
        out = xp.empty(h.shape, h.dtype), xp.empty((len(h), 4 * h.shape[1]), h.dtype)
    h_next, gates = out
    launch(
        be, _FORWARD, threads=h.size, x_gates=x_gates, h_gates=h_gates, x_bias=x_bias, h_bias=h_bias, h=h,
        active=mask(be, active), h_next=h_next, gates=gates, **sizes(h, active),
    )  # fmt: skip
    return h_next, Saved(gates, h, active)


def backward(
    be: Backend, *, dh_next: list[Any], saved: Saved, out: tuple[Any, Any] | None = None
) -> tuple[Any, Any, Any]:
    xp = be.xp
    gates, h = xp.asarray(saved.gates, order="C"), xp.asarray(saved.h, order="C")
    shape = len(h), 3 * h.shape[1]
    dx_gates, dh_gates = out or (xp.empty(shape, h.dtype), xp.empty(shape, h.dtype))
    dh = xp.empty(h.shape, h.dtype)
    launch(
        be, _BACKWARD, threads=h.size, **arriving(be, dh_next), gates=gates, h=h, active=mask(be, saved.active),
        dx_gates=dx_gates, dh_gates=dh_gates, dh=dh, **sizes(h, saved.active),
    )  # fmt: skip
    return dx_gates, dh_gates, dh
