"""Steps of Adam and AdamW by ``kernels/adam.cu``, many parameters a launch."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel
from nnlab.ops._cuda import tensors
from nnlab.ops._cuda.in_place import contiguous

_RATES = ("size", "root", "eps", "beta1", "rest1", "beta2", "rest2", "weight_decay", "shrink")


_TABLE = f"scalar*[{tensors.TENSORS}]"
_LISTS = ("params", "grads", "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs")


def _kernel(name: str, *lists: str) -> Kernel:
    rates = {**dict.fromkeys(_RATES, "acc"), "maximize": "int32"}
    return Kernel("adam", name, {**dict.fromkeys(lists, _TABLE), **tensors.PARAMETERS, **rates})


_STEP = _kernel("adam_step", *_LISTS[:-1])
_AMSGRAD_STEP = _kernel("adam_amsgrad_step", *_LISTS)


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
    written = [params, exp_avgs, exp_avg_sqs, *([] if max_exp_avg_sqs is None else [max_exp_avg_sqs])]
    with ExitStack() as stack:
        p, *moments = [stack.enter_context(contiguous(be, *arrays)) for arrays in written]
        flat_grads = [be.xp.asarray(grad, order="C") for grad in grads]
        kernel = _STEP if max_exp_avg_sqs is None else _AMSGRAD_STEP
        tensors.launch_all(be, kernel, dict(zip(_LISTS, [p, flat_grads, *moments])), **rates)
