"""Steps of Adam and AdamW by ``kernels/adam.cu``, many parameters a launch."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

from nnlab.backend import Backend
from nnlab.backend.graphs import numbers
from nnlab.cuda.launch import Kernel
from nnlab.ops._cuda import tensors
from nnlab.ops._cuda.in_place import contiguous

_TABLE = f"scalar*[{tensors.TENSORS}]"
_LISTS = ("params", "grads", "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs")


def _kernel(name: str, *lists: str) -> Kernel:
    rates = {"rates": "float64*", "maximize": "int32"}
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
    size, root = lr / (1 - beta1**t), math.sqrt(1 - beta2**t)
    decay, shrink = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    written = [params, exp_avgs, exp_avg_sqs, *([] if max_exp_avg_sqs is None else [max_exp_avg_sqs])]
    given = (size, root, eps, beta1, 1 - beta1, beta2, 1 - beta2, decay, shrink)
    rates = numbers(be, given, arrays=[array for arrays in written for array in arrays], flags=(maximize,))
    if rates is None:
        return
    with ExitStack() as stack:
        p, *moments = [stack.enter_context(contiguous(be, *arrays)) for arrays in written]
        flat_grads = [be.xp.asarray(grad, order="C") for grad in grads]
        kernel = _STEP if max_exp_avg_sqs is None else _AMSGRAD_STEP
        tensors.launch_all(
            be, kernel, dict(zip(_LISTS, [p, flat_grads, *moments])), rates=rates, maximize=int(maximize)
        )
