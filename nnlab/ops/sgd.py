"""Stochastic gradient descent: one step of many parameters at once, in place.

For each parameter p with gradient g and momentum buffer v::

    d = (-g if maximize else g) + weight_decay * p
    v = d                                    on the first step
    v = momentum * v + (1 - dampening) * d   afterwards
    p = p - lr * (d + momentum * v  if nesterov else  v)

Without momentum ``p = p - lr * d``. Lists are of equal length; arrays at one position have one shape and dtype.

Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body


def step(
    be: Backend,
    *,
    params: list[Any],
    grads: list[Any],
    buffers: list[Any] | None,
    first: bool,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    skip: Any = None,
) -> None:
    """Overwrite params and buffers; grads are only read. ``buffers`` is None without momentum; if ``first``, what they
    hold does not matter. With ``skip`` (``nnlab/ops/loss_scale.py``) nothing changes if skip[0]."""
    body(be, "sgd").step(
        be,
        params=params,
        grads=grads,
        buffers=buffers,
        first=first,
        lr=lr,
        momentum=momentum,
        dampening=dampening,
        weight_decay=weight_decay,
        nesterov=nesterov,
        maximize=maximize,
        **({} if skip is None else {"skip": skip}),
    )
