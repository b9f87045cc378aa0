"""Update rules with a rate for each element, beside Adam's: one step of many parameters at once, in place.

Before each rule g is negated if ``maximize``, then ``g = g + decay * p``, and ``p = p * shrink`` (decoupled weight
decay). The rules, by name; the arrays of state have the names that ``states`` gives them::

    adagrad     sum = sum + g * g
                p = p - lr * g / (sqrt(sum) + eps)
    adadelta    square_avg = rho * square_avg + (1 - rho) * g * g
                d = sqrt(acc_delta + eps) / sqrt(square_avg + eps) * g
                acc_delta = rho * acc_delta + (1 - rho) * d * d
                p = p - lr * d
    rmsprop     square_avg = alpha * square_avg + (1 - alpha) * g * g
                grad_avg = alpha * grad_avg + (1 - alpha) * g                    if it is there ("centered")
                d = g / (sqrt(square_avg - grad_avg * grad_avg) + eps)
                momentum_buffer = momentum * momentum_buffer + d                 if it is there
                p = p - lr * (momentum_buffer or d)
    adamax      exp_avg = beta1 * exp_avg + (1 - beta1) * g
                exp_inf = max(beta2 * exp_inf, |g| + eps)
                p = p - lr * exp_avg / exp_inf
    nadam       exp_avg = beta1 * exp_avg + (1 - beta1) * g
                exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * g * g
                p = p - (grad_rate * g + avg_rate * exp_avg) / (sqrt(exp_avg_sq) / root + eps)
    radam       exp_avg, exp_avg_sq as before
                p = p - lr * exp_avg / (sqrt(exp_avg_sq) + eps)                  if rectified
                p = p - lr * exp_avg                                             if not
    rprop       step_size = step_size * (up if g * prev > 0, down if g * prev < 0, else 1), within [least, most]
                g = 0 where g * prev < 0
                p = p - sign(g) * step_size
                prev = g

Numbers that depend on the step (the decay of a rate, corrections of a bias) are worked out by the optimizers, which
name the sources. The rules are array code on every device.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body


def step(
    be: Backend,
    rule: str,
    *,
    params: list[Any],
    grads: list[Any],
    states: dict[str, list[Any]],
    maximize: bool,
    decay: float,
    shrink: float,
    skip: Any = None,
    **numbers: float | None,
) -> None:
    """Overwrite params and states; grads are only read. Lists are of equal length; arrays at one position have one
    shape and dtype. ``numbers`` are the other names of the rule's formula. With ``skip``
    (``nnlab/ops/loss_scale.py``) nothing changes if skip[0]."""
    body(be, "adaptive").step(
        be,
        rule,
        params=params,
        grads=grads,
        states=states,
        maximize=maximize,
        decay=decay,
        shrink=shrink,
        skip=skip,
        **numbers,
    )
