"""Steps of an LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlab.ops._cuda import lstm_cell as kernels
from tests.cuda.case import Case
from tests.cuda.cells import FAR_SHAPES, LARGE, SHAPES, FarArrays, added, mask, spoil, sums, where
from tests.cuda.far import FarCase
from tests.oracles import recurrent as oracle


def _forward(host: dict[str, Any], h: Any, c: Any, active: Any) -> tuple[Any, ...]:
    h_next, c_next, gates = oracle.lstm_cell(*added(host), c)
    return where(active, h_next, h), where(active, c_next, c), where(active, gates, 0)


def _backward(gates: Any, c: Any, c_next: Any, dc_next: Any, active: Any, *dh: Any) -> tuple[Any, ...]:
    dgates, dc = oracle.lstm_cell_grad(gates, c, c_next, sum(dh), dc_next)
    return where(active, dgates, 0), where(active, dc, dc_next), None if active is None else where(active, 0, sum(dh))


def _both(case: Case, rows: int, units: int, masked: bool, arriving: int) -> None:
    host, device = sums(case, 4, rows, units, spoilt=masked)
    h, c, dc_next, *dh = (case.normal(rows, units) for _ in range(3 + arriving))
    active = mask(case, rows) if masked else None
    if masked:
        spoil(c, *dh)
    now = None if active is None else case.put(active)
    h_next, c_next, saved = kernels.forward(case.be, **device, h=case.put(h), c=case.put(c), active=now)
    case.compare((h_next, c_next, saved.gates), 8, _forward, host, h, c, active)
    gates, c_after = case.be.to_numpy(saved.gates), case.be.to_numpy(c_next)
    found = kernels.backward(case.be, dh_next=[case.put(d) for d in dh], dc_next=case.put(dc_next), saved=saved)
    if masked:
        case.compare(found, 8, _backward, gates, c, c_after, dc_next, active, *dh)
    else:
        assert found[2] is None
        case.compare(found[:2], 8, lambda *a: _backward(*a)[:2], gates, c, c_after, dc_next, active, *dh)


def all_rows(case: Case) -> None:
    for number, (rows, units) in enumerate(SHAPES):
        _both(case, rows, units, False, 1 + number % 3)


def some_rows_frozen(case: Case) -> None:
    for number, (rows, units) in enumerate(SHAPES):
        _both(case, rows, units, True, 1 + number % 3)


def large_sums(case: Case) -> None:
    """No overflow, and NaN stays in its unit."""
    width = len(LARGE)
    host = {"x_gates": case.host([LARGE * 4]), "h_gates": case.host(np.zeros((1, 4 * width)))}
    host |= {name: case.host(np.zeros(4 * width)) for name in ("x_bias", "h_bias")}
    c = case.normal(1, width)
    device = {name: case.put(array) for name, array in host.items()}
    h_next, c_next, saved = kernels.forward(case.be, **device, h=None, c=case.put(c))
    case.compare((h_next, c_next, saved.gates), 8, _forward, host, c, c, None)


def far_elements(case: FarCase) -> None:
    for shape, end in FAR_SHAPES:
        arrays = FarArrays(case, shape, end)
        small, whole = arrays.sums(4)
        h, c, dc_next, *dh = (arrays.new(1) for _ in range(6))
        active, on = arrays.active, arrays.active[-end[0] :]
        h_next, c_next, saved = kernels.forward(case.be, **whole, h=h, c=c, active=active)
        found = arrays.small(h_next, 1), arrays.small(c_next, 1), arrays.small(saved.gates, 4)
        case.compare(found, 8, _forward, small, arrays.small(h, 1), arrays.small(c, 1), on)
        dgates, dc, passing = kernels.backward(case.be, dh_next=dh, dc_next=dc_next, saved=saved)
        ends = (arrays.small(array, 1) for array in (c, c_next, dc_next))
        parts = [arrays.small(d, 1) for d in dh]
        grads = arrays.small(dgates, 4), arrays.small(dc, 1), arrays.small(passing, 1)
        case.compare(grads, 8, _backward, arrays.small(saved.gates, 4), *ends, on, *parts)


def standard(case: Case) -> None:
    _both(case, 6, 64, False, 1)
