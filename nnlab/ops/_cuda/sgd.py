"""Steps of stochastic gradient descent by ``kernels/sgd.cu``, a launch a parameter."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.ops._cuda.in_place import contiguous

_STEP = Kernel(
    "sgd",
    "sgd_step",
    {"p": "scalar*", "g": "scalar*", "n": "index", "lr": "acc", "weight_decay": "acc", "maximize": "int32"},
)
_MOMENTUM_STEP = Kernel(
    "sgd",
    "sgd_momentum_step",
    {
        "p": "scalar*",
        "g": "scalar*",
        "v": "scalar*",
        "n": "index",
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
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        g = be.xp.asarray(grad, order="C")
        if buffers is None:
            with contiguous(be, param) as (p,):
                launch(be, _STEP, threads=p.size, p=p, g=g, n=p.size, **common)
        else:
            with contiguous(be, param, buffers[i]) as (p, v):
                launch(be, _MOMENTUM_STEP, threads=p.size, p=p, g=g, v=v, n=p.size, **common, **more)
