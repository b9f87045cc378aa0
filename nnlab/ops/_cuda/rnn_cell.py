"""A step of a simple recurrent network by ``kernels/rnn_cell.cu``."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.ops._cuda.cells import ARRIVING, SIZES, arriving, mask, sizes
from nnlab.ops.rnn_cell import Saved

_FORWARD = Kernel(
    "rnn_cell",
    "rnn_cell_forward",
    {
        **dict.fromkeys(("x_gates", "h_gates", "x_bias", "h_bias", "h"), "scalar*"),
        "active": "bool*",
        "h_next": "scalar*",
        **SIZES,
        "relu": "int32",
    },
)
_BACKWARD = Kernel(
    "rnn_cell",
    "rnn_cell_backward",
    {
        **ARRIVING,
        "h_next": "scalar*",
        "active": "bool*",
        **dict.fromkeys(("dgates", "dh"), "scalar*"),
        "count": "int32",
        **SIZES,
        "relu": "int32",
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
    nonlinearity: str,
    active: Any = None,
    out: Any = None,
) -> tuple[Any, Saved]:
    xp = be.xp
    x_gates, h_gates, x_bias, h_bias = (xp.asarray(array, order="C") for array in (x_gates, h_gates, x_bias, h_bias))
    before = x_gates if active is None else xp.asarray(h, order="C")
    h_next = xp.empty(x_gates.shape, x_gates.dtype) if out is None else out
    launch(
        be, _FORWARD, threads=h_next.size, x_gates=x_gates, h_gates=h_gates, x_bias=x_bias, h_bias=h_bias, h=before,
        active=mask(be, active), h_next=h_next, **sizes(h_next, active), relu=int(nonlinearity == "relu"),
    )  # fmt: skip
    return h_next, Saved(h_next, nonlinearity, active)


def backward(be: Backend, *, dh_next: list[Any], saved: Saved, out: Any = None) -> tuple[Any, Any | None]:
    xp = be.xp
    h_next = xp.asarray(saved.h_next, order="C")
    dgates = xp.empty(h_next.shape, h_next.dtype) if out is None else out
    dh = xp.empty(1 if saved.active is None else h_next.shape, h_next.dtype)
    launch(
        be, _BACKWARD, threads=h_next.size, **arriving(be, dh_next), h_next=h_next, active=mask(be, saved.active),
        dgates=dgates, dh=dh, **sizes(h_next, saved.active), relu=int(saved.nonlinearity == "relu"),
    )  # fmt: skip
    return dgates, None if saved.active is None else dh
