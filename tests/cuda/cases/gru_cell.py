"""Steps of a GRU."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlab.ops._cuda import gru_cell as kernels
from tests.cuda.case import Case
from tests.cuda.cells import FAR_SHAPES, LARGE, SHAPES, FarArrays, added, mask, spoil, sums, where
from tests.cuda.far import FarCase
from tests.oracles import recurrent as oracle


def _forward(host: dict[str, Any], h: Any, active: Any) -> tuple[Any, ...]:
    h_next, gates = oracle.gru_cell(*added(host), h)
    return where(active, h_next, h), where(active, gates, 0)


def _backward(gates: Any, h: Any, active: Any, *dh: Any) -> tuple[Any, ...]:
    dx_gates, dh_gates, direct = oracle.gru_cell_grad(gates, h, sum(dh))
    return where(active, dx_gates, 0), where(active, dh_gates, 0), where(active, direct, sum(dh))


def _both(case: Case, rows: int, units: int, masked: bool, arriving: int) -> None:
    host, device = sums(case, 3, rows, units, spoilt=masked)
    h, *dh = (case.normal(rows, units) for _ in range(1 + arriving))
    active = mask(case, rows) if masked else None
    if masked:
        spoil(*dh)
    now = None if active is None else case.put(active)
    h_next, saved = kernels.forward(case.be, **device, h=case.put(h), active=now)
    case.compare((h_next, saved.gates), 8, _forward, host, h, active)
    found = kernels.backward(case.be, dh_next=[case.put(d) for d in dh], saved=saved)
    case.compare(found, 8, _backward, case.be.to_numpy(saved.gates), h, active, *dh)


def all_rows(case: Case) -> None:
    for number, (rows, units) in enumerate(SHAPES):
        _both(case, rows, units, False, 1 + number % 3)


def some_rows_frozen(case: Case) -> None:
    for number, (rows, units) in enumerate(SHAPES):
        _both(case, rows, units, True, 1 + number % 3)


def large_sums(case: Case) -> None:
    """No overflow, and NaN stays in its unit."""
    width = len(LARGE)
    host = {"x_gates": case.host([LARGE * 3]), "h_gates": case.host(np.zeros((1, 3 * width)))}
    host |= {name: case.host(np.zeros(3 * width)) for name in ("x_bias", "h_bias")}
    h = case.normal(1, width)
    device = {name: case.put(array) for name, array in host.items()}
    h_next, saved = kernels.forward(case.be, **device, h=case.put(h))
    case.compare((h_next, saved.gates), 8, _forward, host, h, None)


def far_elements(case: FarCase) -> None:
    for shape, end in FAR_SHAPES:
        arrays = FarArrays(case, shape, end)
        small, whole = arrays.sums(3)
        h, *dh = (arrays.new(1) for _ in range(4))
        active, on = arrays.active, arrays.active[-end[0] :]
        h_next, saved = kernels.forward(case.be, **whole, h=h, active=active)
        found = arrays.small(h_next, 1), arrays.small(saved.gates, 4)
        case.compare(found, 8, _forward, small, arrays.small(h, 1), on)
        dx_gates, dh_gates, direct = kernels.backward(case.be, dh_next=dh, saved=saved)
        grads = arrays.small(dx_gates, 3), arrays.small(dh_gates, 3), arrays.small(direct, 1)
        parts = [arrays.small(d, 1) for d in dh]
        case.compare(grads, 8, _backward, arrays.small(saved.gates, 4), arrays.small(h, 1), on, *parts)


def standard(case: Case) -> None:
    _both(case, 6, 64, False, 1)
