"""Steps of Adam and AdamW by ``kernels/adam.cu``, many parameters a launch."""

from __future__ import annotations

import math
from contextlib import ExitStack
from functools import lru_cache
from typing import Any

from nnlab.backend import Backend
from nnlab.backend.graphs import numbers
from nnlab.cuda.launch import Kernel
from nnlab.ops._cuda import skips, tensors
from nnlab.ops._cuda.in_place import contiguous
from nnlab.ops.adam import ROWS

_TABLE = f"scalar*[{tensors.TENSORS}]"
_LISTS = ("params", "grads", "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs")


def _kernel(name: str, *lists: str) -> Kernel:
    rates = {"rates": "float64*", **skips.PARAMETERS, "maximize": "int32"}
    return Kernel("adam", name, {**dict.fromkeys(lists, _TABLE), **tensors.PARAMETERS, **rates})


_STEP = _kernel("adam_step", *_LISTS[:-1])
_AMSGRAD_STEP = _kernel("adam_amsgrad_step", *_LISTS)


@lru_cache(4 * ROWS)
def corrections(beta1: float, beta2: float, t: int) -> tuple[float, float]:
    """What the first moment, and the root of the second, are divided by at step t (at least 1)."""
    t = max(t, 1)
    return 1 - beta1**t, math.sqrt(1 - beta2**t)


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
    decay, shrink = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    written = [params, exp_avgs, exp_avg_sqs, *([] if max_exp_avg_sqs is None else [max_exp_avg_sqs])]
    others = (eps, beta1, 1 - beta1, beta2, 1 - beta2, decay, shrink)
    # With a flag, a row for each number of steps that may not have been made.
    counts = (t,) if skip is None else range(t, t - ROWS, -1)
    rows = [
        (lr / corrections(beta1, beta2, count)[0], corrections(beta1, beta2, count)[1], *others) for count in counts
    ]
    arrays = [array for arrays in written for array in arrays]
    rates = numbers(be, sum(rows, ()), arrays=arrays, flags=(maximize, *skips.identity(skip)))
    if rates is None:
        return
    if skip is not None:
        rates = rates.reshape(ROWS, -1)[skip[1:]].reshape(-1)
    with ExitStack() as stack:
        p, *moments = [stack.enter_context(contiguous(be, *arrays)) for arrays in written]
        flat_grads = [be.xp.asarray(grad, order="C") for grad in grads]
        kernel = _STEP if max_exp_avg_sqs is None else _AMSGRAD_STEP
        tensors.launch_all(
            be, kernel, dict(zip(_LISTS, [p, flat_grads, *moments])), rates=rates, **skips.values(be, skip),
            maximize=int(maximize),
        )  # fmt: skip
