"""Steps of stochastic gradient descent by ``kernels/sgd.cu``, many parameters a launch."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.backend.graphs import numbers
from nnlab.cuda.launch import Kernel
from nnlab.ops._cuda import skips, tensors
from nnlab.ops._cuda.in_place import contiguous

_TABLE = f"scalar*[{tensors.TENSORS}]"
_STEP = Kernel(
    "sgd",
    "sgd_step",
    {
        **dict.fromkeys(("params", "grads"), _TABLE),
        **tensors.PARAMETERS,
        "rates": "float64*",
        **skips.PARAMETERS,
        "maximize": "int32",
    },
)
_MOMENTUM_STEP = Kernel(
    "sgd",
    "sgd_momentum_step",
    {
        **dict.fromkeys(("params", "grads", "buffers"), _TABLE),
        **tensors.PARAMETERS,
        "rates": "float64*",
        **skips.PARAMETERS,
        **dict.fromkeys(("first", "nesterov", "maximize"), "int32"),
    },
)


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
    given = (lr, weight_decay) if buffers is None else (lr, weight_decay, momentum, 1 - dampening)
    flags = (first, nesterov, maximize, *skips.identity(skip))
    rates = numbers(be, given, arrays=[*params, *(buffers or [])], flags=flags)
    if rates is None:
        return
    common: dict[str, Any] = {"rates": rates, **skips.values(be, skip), "maximize": int(maximize)}
    flat_grads = [be.xp.asarray(grad, order="C") for grad in grads]
    with contiguous(be, *params) as p, contiguous(be, *(buffers or [])) as v:
        if buffers is None:
            tensors.launch_all(be, _STEP, {"params": p, "grads": flat_grads}, **common)
        else:
            lists = {"params": p, "grads": flat_grads, "buffers": v}
            tensors.launch_all(be, _MOMENTUM_STEP, lists, first=int(first), nesterov=int(nesterov), **common)
