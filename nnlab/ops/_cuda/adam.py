"""Steps of Adam and AdamW by ``kernels/adam.cu``, a launch a parameter."""

from __future__ import annotations

import math
from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.ops._cuda.in_place import contiguous

_RATES = ("size", "root", "eps", "beta1", "rest1", "beta2", "rest2", "weight_decay", "shrink")


def _kernel(name: str, *arrays: str) -> Kernel:
    parameters = {**dict.fromkeys(arrays, "scalar*"), "n": "index", **dict.fromkeys(_RATES, "acc"), "maximize": "int32"}
    return Kernel("adam", name, parameters)


_STEP = _kernel("adam_step", "p", "g", "m", "v")
_AMSGRAD_STEP = _kernel("adam_amsgrad_step", "p", "g", "m", "v", "u")


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
    rates: dict[str, Any] = {
        "size": lr / (1 - beta1**t),
        "root": math.sqrt(1 - beta2**t),
        "eps": eps,
        "beta1": beta1,
        "rest1": 1 - beta1,
        "beta2": beta2,
        "rest2": 1 - beta2,
        "weight_decay": 0.0 if decoupled else weight_decay,
        "shrink": 1 - lr * weight_decay if decoupled else 1.0,
        "maximize": int(maximize),
    }
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        g = be.xp.asarray(grad, order="C")
        if max_exp_avg_sqs is None:
            with contiguous(be, param, exp_avgs[i], exp_avg_sqs[i]) as (p, m, v):
                launch(be, _STEP, threads=p.size, p=p, g=g, m=m, v=v, n=p.size, **rates)
        else:
            with contiguous(be, param, exp_avgs[i], exp_avg_sqs[i], max_exp_avg_sqs[i]) as (p, m, v, u):
                launch(be, _AMSGRAD_STEP, threads=p.size, p=p, g=g, m=m, v=v, u=u, n=p.size, **rates)
