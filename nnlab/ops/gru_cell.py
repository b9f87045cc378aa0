"""The pointwise part of a step of a gated recurrent unit (GRU), in PyTorch's form.

    a = x_gates + x_bias    b = h_gates + h_bias        three blocks of H columns for r, z, n
    r, z = sigmoid(a + b)    q = b_n    n = tanh(a_n + r * q)    h_next = (1 - z) * n + z * h

where x_gates = x W_ih^T and h_gates = h W_hh^T are products made before. r multiplies the second product after its bias
(in the paper it multiplies h before the product), so the gradients to a and b differ:

    dn = dh_next * (1 - z) * (1 - n**2)
    da = dn * q * r * (1 - r), dh_next * (h - n) * z * (1 - z), dn        db: the same with dn * r at the end
    dh = dh_next * z        beside what comes through h_gates

A row b with ``active[b]`` false is frozen: it keeps h, and what arrives there passes by.

Shapes: x_gates, h_gates (B, 3H), x_bias, h_bias (3H,), h, h_next (B, H), active bool (B,) or None (all).

Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014. docs/math/recurrent.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nnlab.backend import Backend
from nnlab.ops import body


class Saved(NamedTuple):
    """What backward needs: gates (B, 4H) = r, z, n, q (0 in frozen rows), h (B, H), active."""

    gates: Any
    h: Any
    active: Any


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
    """(h_next, saved).

    Args:
        out: h_next and gates (contiguous) to overwrite; default: new arrays.
    """
    return body(be, "gru_cell").forward(
        be, x_gates=x_gates, h_gates=h_gates, x_bias=x_bias, h_bias=h_bias, h=h, active=active, out=out
    )


def backward(
    be: Backend, *, dh_next: list[Any], saved: Saved, out: tuple[Any, Any] | None = None
) -> tuple[Any, Any, Any]:
    """(dx_gates (B, 3H), dh_gates (B, 3H), dh (B, H)); dh lacks what comes through h_gates.

    Args:
        dh_next: one to three arrays (B, H), added up in their order.
        out: dx_gates and dh_gates (contiguous) to overwrite; default: new arrays.
    """
    return body(be, "gru_cell").backward(be, dh_next=dh_next, saved=saved, out=out)
