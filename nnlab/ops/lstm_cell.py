"""The pointwise part of a step of long short-term memory (LSTM).

    s = (x_gates + x_bias) + (h_gates + h_bias)         four blocks of H columns for i, f, g, o, PyTorch's order
    i, f, o = sigmoid(s)    g = tanh(s)
    c_next = f * c + i * g    h_next = o * tanh(c_next)

where x_gates = x W_ih^T and h_gates = h W_hh^T are products made before. Gradients to s go to both products and biases:

    d = dc_next + dh_next * o * (1 - tanh(c_next)**2)    dc = d * f
    ds = d * g * i * (1 - i), d * c * f * (1 - f), d * i * (1 - g**2), dh_next * tanh(c_next) * o * (1 - o)

A row b with ``active[b]`` false is frozen: it keeps h and c, and what arrives at them passes by.

Shapes: x_gates, h_gates (B, 4H), x_bias, h_bias (4H,), h, c, h_next, c_next (B, H), active bool (B,) or None (all).

Sources: Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 1997; Gers, Schmidhuber and Cummins,
"Learning to forget", Neural Computation 2000 (the forget gate). docs/math/recurrent.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nnlab.backend import Backend
from nnlab.ops import body


class Saved(NamedTuple):
    """What backward needs: gates (B, 4H) after their functions (0 in frozen rows), c, c_next (B, H), active."""

    gates: Any
    c: Any
    c_next: Any
    active: Any


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
    """(h_next, c_next, saved).

    Args:
        h: the state before; only read where ``active`` is given.
        out: h_next, c_next and gates (contiguous) to overwrite; default: new arrays.
    """
    return body(be, "lstm_cell").forward(
        be, x_gates=x_gates, h_gates=h_gates, x_bias=x_bias, h_bias=h_bias, h=h, c=c, active=active, out=out
    )


def backward(
    be: Backend, *, dh_next: list[Any], dc_next: Any, saved: Saved, out: Any = None
) -> tuple[Any, Any, Any | None]:
    """(dgates (B, 4H), dc (B, H), dh).

    Args:
        dh_next: one to three arrays (B, H), added up in their order.
        out: dgates (contiguous) to overwrite; default: a new array.

    dh is what passes by in frozen rows, 0 elsewhere; None without ``active``.
    """
    return body(be, "lstm_cell").backward(be, dh_next=dh_next, dc_next=dc_next, saved=saved, out=out)
