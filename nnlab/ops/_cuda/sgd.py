"""Steps of stochastic gradient descent by ``kernels/sgd.cu``, many parameters a launch."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel
from nnlab.ops._cuda import tensors
from nnlab.ops._cuda.in_place import contiguous

_TABLE = f"scalar*[{tensors.TENSORS}]"
_STEP = Kernel(
    "sgd",
    "sgd_step",
    {
        **dict.fromkeys(("params", "grads"), _TABLE),
        **tensors.PARAMETERS,
        **dict.fromkeys(("lr", "weight_decay"), "acc"),
        "maximize": "int32",
    },
)
_MOMENTUM_STEP = Kernel(
    "sgd",
    "sgd_momentum_step",
    {
        **dict.fromkeys(("params", "grads", "buffers"), _TABLE),
        **tensors.PARAMETERS,
        **dict.fromkeys(("lr", "momentum", "keep", "weight_decay"), "acc"),
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
) -> None:
    common: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "maximize": int(maximize)}
    more: dict[str, Any] = {"momentum": momentum, "keep": 1 - dampening, "first": int(first), "nesterov": int(nesterov)}
    flat_grads = [be.xp.asarray(grad, order="C") for grad in grads]
    with contiguous(be, *params) as p, contiguous(be, *(buffers or [])) as v:
        if buffers is None:
            tensors.launch_all(be, _STEP, {"params": p, "grads": flat_grads}, **common)
        else:
            lists = {"params": p, "grads": flat_grads, "buffers": v}
            tensors.launch_all(be, _MOMENTUM_STEP, lists, **common, **more)
