"""Steps of stochastic gradient descent."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from nnlab.ops._cuda import sgd as kernels
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase
from tests.oracles import optim as oracle

SHAPES = [(), (0, 2), (3, 5), (100,)]


def _steps(case: Case, momentum: bool) -> None:
    flags = ("first", "nesterov", "maximize")
    for values in product((False, True), repeat=len(flags)):
        o: dict[str, Any] = dict(zip(flags, values, strict=True))
        o["lr"], o["momentum"] = case.random.uniform(0.1, 0.5), case.random.uniform(0.5, 0.9) if momentum else 0.0
        o["dampening"] = case.random.choice([0.0, case.random.uniform(0.1, 0.9)])
        o["weight_decay"] = case.random.choice([0.0, case.random.uniform(0.01, 0.5)])
        p, g, v = ([case.normal(*shape) for shape in SHAPES] for _ in range(3))
        if o["first"]:  # what buffers hold does not matter then
            v = [case.host(np.full(shape, np.nan)) for shape in SHAPES]
        params, grads, buffers = ([case.put(a) for a in arrays] for arrays in (p, g, v))
        kernels.step(case.be, params=params, grads=grads, buffers=buffers if momentum else None, **o)
        for i, param in enumerate(params):
            found = (param, buffers[i]) if momentum else (param,)
            case.compare(found, 4, _oracle, p[i], g[i], v[i] if momentum else None, scale=1, **o)


def _oracle(p: Any, g: Any, v: Any, **o: Any) -> tuple[Any, ...]:
    return oracle.sgd(p, g, v, **o)[: 1 if v is None else 2]


def plain_steps(case: Case) -> None:
    _steps(case, momentum=False)


def steps_with_momentum(case: Case) -> None:
    _steps(case, momentum=True)


def many_tensors_and_chunks(case: Case) -> None:
    """More tensors than a launch takes, and tensors of more than one chunk (4096 elements)."""
    shapes = [(4095,), (4096,), (0,), (4097,), *[(1 + i % 3,) for i in range(66)], (8200,)]
    o = {"lr": 0.5, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.1, "first": False}
    o |= {"nesterov": False, "maximize": True}
    p, g = ([case.normal(*shape) for shape in shapes] for _ in range(2))
    params = [case.put(a) for a in p]
    kernels.step(case.be, params=params, grads=[case.put(a) for a in g], buffers=None, **o)
    for i, param in enumerate(params):
        case.compare((param,), 4, _oracle, p[i], g[i], None, scale=1, **o)


def without_decay_infinity_stays(case: Case) -> None:
    p, g = case.host([np.inf, -np.inf, 1]), case.host([1, 1, 1])
    o = {"first": True, "lr": 0.5, "momentum": 0.0, "dampening": 0.0, "nesterov": False, "maximize": False}
    param = case.put(p)
    kernels.step(case.be, params=[param], grads=[case.put(g)], buffers=None, weight_decay=0.0, **o)
    case.compare((param,), None, _oracle, p, g, None, weight_decay=0.0, **o)


def skipped(case: Case) -> None:
    o = {"lr": 0.5, "dampening": 0.1, "nesterov": True, "maximize": False, "weight_decay": 0.1, "first": False}
    for momentum in (0.0, 0.9):
        for flag in (1, 0):
            p, g, v = (case.normal(7) for _ in range(3))
            param, buffer, skip = case.put(p), case.put(v), case.put(np.array([flag, 1]))
            buffers = [buffer] if momentum else None
            kernels.step(
                case.be, params=[param], grads=[case.put(g)], buffers=buffers, momentum=momentum, skip=skip, **o
            )
            found = (param, buffer) if momentum else (param,)
            if flag:
                case.compare(found, None, lambda *same: same, *((p, v) if momentum else (p,)))
            else:
                case.compare(found, 4, _oracle, p, g, v if momentum else None, scale=1, momentum=momentum, **o)


def standard(case: Case) -> None:
    o = {"first": False, "lr": 0.5, "dampening": 0.1, "nesterov": True, "maximize": False, "weight_decay": 0.1}
    for momentum in (0.0, 0.9):
        p, g, v = (case.normal(40, 30) for _ in range(3))
        param, buffer = case.put(p), case.put(v)
        kernels.step(
            case.be, params=[param], grads=[case.put(g)], buffers=[buffer] if momentum else None, momentum=momentum, **o
        )
        found = (param, buffer) if momentum else (param,)
        case.compare(found, 4, _oracle, p, g, v if momentum else None, scale=1, momentum=momentum, **o)


def far_elements(case: FarCase) -> None:
    o = {"lr": 0.5, "dampening": 0.25, "weight_decay": 0.1, "first": False, "nesterov": False, "maximize": False}
    for momentum in (0.0, 0.5):
        p, g, v = (case.sparse(FAR + 5) for _ in range(3))
        for array in (p, g, v):
            array[-5:] = case.normal(5)
        before = [array[-5:].copy() if momentum or array is not v else None for array in (p, g, v)]
        buffers = [v] if momentum else None
        kernels.step(case.be, params=[p], grads=[g], buffers=buffers, momentum=momentum, **o)
        found = (p[-5:], v[-5:]) if momentum else (p[-5:],)
        case.compare(found, 4, _oracle, *before, scale=1, momentum=momentum, **o)
