"""Adam and AdamW in array code. See ops/adam.py."""

from __future__ import annotations

import math
from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy.sgd import downhill, pieces


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
) -> None:
    xp = be.xp
    size = lr / (1 - beta1**t)
    root = math.sqrt(1 - beta2**t)
    highest = max_exp_avg_sqs or [None] * len(params)
    for whole in zip(params, grads, exp_avgs, exp_avg_sqs, highest, strict=True):
        for p, g, m, v, u in pieces(be, list(whole)):
            g = downhill(xp, p, g, 0 if decoupled else weight_decay, maximize)
            if weight_decay and decoupled:
                p *= 1 - lr * weight_decay
            scaled = g * (1 - beta1)
            m *= beta1
            m += scaled
            xp.multiply(g, g, out=scaled)
            scaled *= 1 - beta2
            v *= beta2
            v += scaled
            if u is not None:
                xp.maximum(u, v, out=u)
            xp.sqrt(v if u is None else u, out=scaled)
            scaled /= root
            scaled += eps
            xp.divide(m, scaled, out=scaled)
            scaled *= size
            p -= scaled
