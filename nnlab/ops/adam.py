"""Adam and AdamW: one step of many parameters at once, in place.

For each parameter p with gradient g (negated if maximize), first and second moments m and v, at step t = 1, 2, ...::

    g = g + weight_decay * p                 Adam
    p = p * (1 - lr * weight_decay)          AdamW (decoupled)
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    u = max(u, v) with amsgrad, else v
    p = p - lr / (1 - beta1**t) * m / (sqrt(u) / sqrt(1 - beta2**t) + eps)

Epsilon stands outside the corrected root. Lists are of equal length; arrays at one position have one shape and dtype.

Sources: Kingma and Ba, "Adam", ICLR 2015; Reddi, Kale, Kumar, "On the convergence of Adam and beyond", ICLR 2018;
Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body

ROWS = 33
"""With ``skip``: skip[1] is less than this."""


def step(
    be: Backend,
    *,
    params: list[Any],
    grads: list[Any],
    exp_avgs: list[Any],
    exp_avg_sqs: list[Any],
    max_exp_avg_sqs: list[Any] | None,
    t: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
    skip: Any = None,
) -> None:
    """Overwrite params and moments; grads are only read. ``max_exp_avg_sqs`` (u above) is None without amsgrad.

    ``skip`` (``nnlab/ops/loss_scale.py``): the step is one of skip[1] steps earlier, and changes nothing if skip[0].
    """
    body(be, "adam").step(
        be,
        params=params,
        grads=grads,
        exp_avgs=exp_avgs,
        exp_avg_sqs=exp_avg_sqs,
        max_exp_avg_sqs=max_exp_avg_sqs,
        t=t,
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        weight_decay=weight_decay,
        decoupled=decoupled,
        maximize=maximize,
        **({} if skip is None else {"skip": skip}),
    )
