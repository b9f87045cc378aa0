"""The pointwise part of a step of a simple recurrent network.

    h_next = f((x_gates + x_bias) + (h_gates + h_bias))        f = tanh or relu
    dgates = dh_next * (1 - h_next**2),  relu: dh_next where h_next is not 0, else 0

where x_gates = x W_ih^T and h_gates = h W_hh^T are products made before; dgates goes to both products and biases. A row
b with ``active[b]`` false is frozen: it keeps h, and what arrives there passes by.

Shapes: x_gates, h_gates, h, h_next (B, H), x_bias, h_bias (H,), active bool (B,) or None (all).

Source: Elman, "Finding structure in time", Cognitive Science 1990. docs/math/recurrent.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nnlab.backend import Backend
from nnlab.ops import body

NONLINEARITIES = ("tanh", "relu")


class Saved(NamedTuple):
    """What backward needs: h_next (B, H), the nonlinearity, active."""

    h_next: Any
    nonlinearity: str
    active: Any


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
    """(h_next, saved).

    Args:
        h: the state before; only read where ``active`` is given.
        out: h_next (contiguous) to overwrite; default: a new array.
    """
    return body(be, "rnn_cell").forward(
        be, x_gates=x_gates, h_gates=h_gates, x_bias=x_bias, h_bias=h_bias, h=h,
        nonlinearity=nonlinearity, active=active, out=out,
    )  # fmt: skip


def backward(be: Backend, *, dh_next: list[Any], saved: Saved, out: Any = None) -> tuple[Any, Any | None]:
    """(dgates (B, H), dh).

    Args:
        dh_next: one to three arrays (B, H), added up in their order.
        out: dgates (contiguous) to overwrite; default: a new array.

    dh is what passes by in frozen rows, 0 elsewhere; None without ``active``.
    """
    return body(be, "rnn_cell").backward(be, dh_next=dh_next, saved=saved, out=out)
