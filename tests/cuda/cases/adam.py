"""Steps of Adam and AdamW."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from nnlab.ops._cuda import adam as kernels
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase
from tests.oracles import optim as oracle

SHAPES = [(), (0, 2), (3, 5), (100,)]


def _step(case: Case, state: list[list[np.ndarray]], grads: list[np.ndarray], amsgrad: bool, **o: Any) -> None:
    """A step from p, m, v and u; with the results compared."""
    there = [[case.put(a) for a in arrays] for arrays in state[: 4 if amsgrad else 3]]
    kernels.step(
        case.be, params=there[0], grads=[case.put(g) for g in grads], exp_avgs=there[1], exp_avg_sqs=there[2],
        max_exp_avg_sqs=there[3] if amsgrad else None, **o,
    )  # fmt: skip
    for i, grad in enumerate(grads):
        p, m, v, u = (arrays[i] for arrays in state)
        found = tuple(arrays[i] for arrays in there)
        case.compare(found, 8, _oracle, p, grad, m, v, u if amsgrad else None, scale=1, **o)


def _oracle(p: Any, g: Any, m: Any, v: Any, u: Any, **o: Any) -> tuple[Any, ...]:
    return oracle.adam(p, g, m, v, u, **o)[: 3 if u is None else 4]


def _steps(case: Case, amsgrad: bool) -> None:
    for t, decay, decoupled, maximize in product((1, 7), (0.0, 0.3), (False, True), (False, True)):
        o = {"t": t, "weight_decay": decay, "decoupled": decoupled, "maximize": maximize}
        rates = {"lr": 0.1, "beta1": case.random.uniform(0.5, 0.9), "beta2": case.random.uniform(0.6, 0.99)}
        p, m, g = ([case.normal(*shape) for shape in SHAPES] for _ in range(3))
        v, u = ([case.uniform(0.1, 2, *shape) for shape in SHAPES] for _ in range(2))
        _step(case, [p, m, v, u], g, amsgrad, **o, **rates, eps=0.05)


def steps(case: Case) -> None:
    _steps(case, amsgrad=False)


def steps_with_amsgrad(case: Case) -> None:
    _steps(case, amsgrad=True)


def standard(case: Case) -> None:
    o = {"t": 3, "lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 0.05, "weight_decay": 0.3, "maximize": False}
    p, m, g = (case.normal(40, 30) for _ in range(3))
    v, u = (case.uniform(0.1, 2, 40, 30) for _ in range(2))
    for amsgrad in (False, True):
        _step(case, [[p], [m], [v], [u]], [g], amsgrad, **o, decoupled=False)


def decay_that_is_as_large_as_the_parameter(case: Case) -> None:
    """Also twice as large with the sign changed: the factor is 0, or 2."""
    o = {"t": 2, "lr": 0.5, "beta1": 0.9, "beta2": 0.5, "eps": 0.1, "decoupled": True, "maximize": False}
    for decay in (2.0, -2.0):
        arrays = [case.normal(5), case.uniform(0, 1, 5), case.uniform(0, 1, 5), case.uniform(0, 1, 5)]
        _step(case, [[a] for a in arrays], [case.normal(5)], False, weight_decay=decay, **o)


def a_step_of_size_1_with_decay_of_its_own(case: Case) -> None:
    o = {"t": 1, "lr": 0.5, "beta1": 0.5, "beta2": 0.5, "eps": 0.1, "decoupled": True, "maximize": False}
    arrays = [case.normal(5), case.uniform(0, 1, 5), case.uniform(0, 1, 5), case.uniform(0, 1, 5)]
    _step(case, [[a] for a in arrays], [case.normal(5)], False, weight_decay=0.5, **o)


def skipped(case: Case) -> None:
    """By the flag nothing changes; without it the step is an earlier one, by as many as were skipped before."""
    o = {"lr": 0.1, "beta1": 0.5, "beta2": 0.75, "eps": 0.1, "weight_decay": 0.1, "decoupled": False, "maximize": False}
    for amsgrad in (False, True):
        for flag, before in ((1, 0), (0, 2), (0, kernels.ROWS - 1)):
            p, m, g = (case.normal(7) for _ in range(3))
            v, u = (case.uniform(0.1, 2, 7) for _ in range(2))
            there = [case.put(a) for a in (p, m, v, u)]
            kernels.step(
                case.be, params=there[:1], grads=[case.put(g)], exp_avgs=there[1:2], exp_avg_sqs=there[2:3],
                max_exp_avg_sqs=there[3:] if amsgrad else None, t=35, skip=case.put(np.array([flag, before])), **o,
            )  # fmt: skip
            found = tuple(there if amsgrad else there[:3])
            if flag:
                case.compare(found, None, lambda *same: same, *((p, m, v, u) if amsgrad else (p, m, v)))
            else:
                case.compare(found, 8, _oracle, p, g, m, v, u if amsgrad else None, scale=1, t=35 - before, **o)


def nan_and_infinity(case: Case) -> None:
    """NaN stays in the largest moment; without weight decay an infinite parameter stays."""
    o = {"t": 1, "lr": 0.5, "beta1": 0.9, "beta2": 0.5, "eps": 0.1, "weight_decay": 0.0, "decoupled": False}
    p, u = case.host([1, np.inf, -np.inf, 1]), case.host([np.nan, 1, 1, 0])
    m, v, g = case.host([0, 0, 0, 0]), case.host([1, 1, 1, 1]), case.host([1, 1, 1, 1])
    for amsgrad in (False, True):
        _step(case, [[p], [m], [v], [u]], [g], amsgrad, **o, maximize=False)


def far_elements(case: FarCase) -> None:
    o = {"t": 3, "lr": 0.1, "beta1": 0.5, "beta2": 0.75, "eps": 0.1, "weight_decay": 0.1, "decoupled": False}
    for amsgrad in (False, True):
        p, g, m, v, u = (case.sparse(FAR + 5) for _ in range(5))
        for array in (p, g, m, v, u):
            array[-5:] = case.uniform(0.5, 2, 5)
        before = [array[-5:].copy() for array in (p, g, m, v, u)]
        kernels.step(
            case.be, params=[p], grads=[g], exp_avgs=[m], exp_avg_sqs=[v], max_exp_avg_sqs=[u] if amsgrad else None,
            maximize=False, **o,
        )  # fmt: skip
        found = tuple(array[-5:] for array in ((p, m, v, u) if amsgrad else (p, m, v)))
        wanted = before if amsgrad else [*before[:4], None]
        case.compare(found, 8, _oracle, *wanted, scale=1, maximize=False, **o)
