"""Steps of a simple recurrent network."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlab.ops._cuda import rnn_cell as kernels
from nnlab.ops.rnn_cell import NONLINEARITIES
from tests.cuda.case import Case
from tests.cuda.cells import FAR_SHAPES, LARGE, SHAPES, FarArrays, added, mask, spoil, sums, where
from tests.cuda.far import FarCase
from tests.oracles import recurrent as oracle


def _forward(host: dict[str, Any], h: Any, active: Any, nonlinearity: str) -> Any:
    return where(active, oracle.rnn_cell(*added(host), nonlinearity), h)


def _backward(h_next: Any, active: Any, nonlinearity: str, *dh: Any) -> tuple[Any, ...]:
    dgates = oracle.rnn_cell_grad(h_next, sum(dh), nonlinearity)
    return where(active, dgates, 0), None if active is None else where(active, 0, sum(dh))


def _both(case: Case, rows: int, units: int, masked: bool, arriving: int, nonlinearity: str) -> None:
    host, device = sums(case, 1, rows, units, spoilt=masked)
    h, *dh = (case.normal(rows, units) for _ in range(1 + arriving))
    active = mask(case, rows) if masked else None
    if masked:
        spoil(*dh)
    now = None if active is None else case.put(active)
    h_next, saved = kernels.forward(case.be, **device, h=case.put(h), nonlinearity=nonlinearity, active=now)
    case.compare(h_next, 4, _forward, host, h, active, nonlinearity)
    found = kernels.backward(case.be, dh_next=[case.put(d) for d in dh], saved=saved)
    given = case.be.to_numpy(h_next), active, nonlinearity, *dh
    if masked:
        case.compare(found, 4, _backward, *given)
    else:
        assert found[1] is None
        case.compare(found[0], 4, lambda *a: _backward(*a)[0], *given)


def all_rows(case: Case) -> None:
    for number, (rows, units) in enumerate(SHAPES):
        for nonlinearity in NONLINEARITIES:
            _both(case, rows, units, False, 1 + number % 3, nonlinearity)


def some_rows_frozen(case: Case) -> None:
    for number, (rows, units) in enumerate(SHAPES):
        for nonlinearity in NONLINEARITIES:
            _both(case, rows, units, True, 1 + number % 3, nonlinearity)


def large_sums(case: Case) -> None:
    """No overflow, and NaN stays in its unit."""
    host = {"x_gates": case.host([LARGE]), "h_gates": case.host(np.zeros((1, len(LARGE))))}
    host |= {name: case.host(np.zeros(len(LARGE))) for name in ("x_bias", "h_bias")}
    device = {name: case.put(array) for name, array in host.items()}
    for nonlinearity in NONLINEARITIES:
        h_next, _ = kernels.forward(case.be, **device, h=None, nonlinearity=nonlinearity)
        case.compare(h_next, 2, _forward, host, host["x_gates"], None, nonlinearity)


def far_elements(case: FarCase) -> None:
    for shape, end in FAR_SHAPES:
        arrays = FarArrays(case, shape, end)
        small, whole = arrays.sums(1)
        h, *dh = (arrays.new(1) for _ in range(4))
        active, on = arrays.active, arrays.active[-end[0] :]
        h_next, saved = kernels.forward(case.be, **whole, h=h, nonlinearity="tanh", active=active)
        case.compare(arrays.small(h_next, 1), 4, _forward, small, arrays.small(h, 1), on, "tanh")
        found = tuple(arrays.small(array, 1) for array in kernels.backward(case.be, dh_next=dh, saved=saved))
        parts = [arrays.small(d, 1) for d in dh]
        case.compare(found, 4, _backward, arrays.small(h_next, 1), on, "tanh", *parts)


def standard(case: Case) -> None:
    _both(case, 6, 64, False, 1, "tanh")
