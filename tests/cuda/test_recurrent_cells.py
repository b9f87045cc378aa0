"""kernels/lstm_cell.cu, gru_cell.cu and rnn_cell.cu: broken copies are noticed by the cases, and the array code agrees.

The comparison with float64 loops, in every build and under several orders of threads, is in test_variants.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnlab.cuda import launch
from nnlab.errors import ShapeError
from tests.cuda import case
from tests.cuda.common import CPU, DTYPES, EMULATED, NOTICED, break_sources, near
from tests.ops.common import rng, scattered

BLOCKS = {"lstm_cell": 4, "gru_cell": 3, "rnn_cell": 1}


def both_passes(op: str, be: Any, body: Any, active: np.ndarray | None, dtype: str) -> Iterator[np.ndarray]:
    """All results of a body on the same inputs."""
    rows, units, width = 6, 11, 11 * BLOCKS[op]
    shapes = [(rows, width), (rows, width), (width,), (width,), *[(rows, units)] * 5]
    values = [scattered(rng(121, i).standard_normal(s).astype(dtype)) for i, s in enumerate(shapes)]
    x_gates, h_gates, x_bias, h_bias, h, c, dh, more, dc_next = values
    given: dict[str, Any] = {"x_gates": x_gates, "h_gates": h_gates, "x_bias": x_bias, "h_bias": h_bias, "h": h}
    if op == "lstm_cell":
        h_next, c_next, saved = body.forward(be, **given, c=c, active=active)
        found = (h_next, c_next, saved.gates, *body.backward(be, dh_next=[dh, more], dc_next=dc_next, saved=saved))
    elif op == "gru_cell":
        h_next, saved = body.forward(be, **given, active=active)
        found = (h_next, saved.gates, *body.backward(be, dh_next=[dh, more], saved=saved))
    else:
        h_next, saved = body.forward(be, **given, nonlinearity="tanh", active=active)
        found = (h_next, *body.backward(be, dh_next=[dh, more], saved=saved))
    yield from (array for array in found if array is not None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("op", BLOCKS)
def test_the_array_code_gives_nearly_the_same(op: str, masked: bool, dtype: str) -> None:
    active = scattered(np.array([True, False, True, True, False, True])) if masked else None
    kernels, arrays = (import_module(f"nnlab.ops.{package}.{op}") for package in ("_cuda", "_numpy"))
    found = list(both_passes(op, EMULATED, kernels, active, dtype))
    wanted = list(both_passes(op, CPU, arrays, active, dtype))
    for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
        assert one.dtype == other.dtype == dtype
        near(one, other.astype(np.float64), 8, f"result {number}")


@pytest.mark.parametrize("op", BLOCKS)
def test_results_go_where_they_are_asked_for(op: str) -> None:
    body = import_module(f"nnlab.ops._cuda.{op}")
    width = 2 * BLOCKS[op]
    given = {name: np.ones((3, width), np.float32) for name in ("x_gates", "h_gates")}
    given |= {name: np.ones(width, np.float32) for name in ("x_bias", "h_bias")}
    state = np.ones((3, 2), np.float32)
    more: dict[str, Any] = {"lstm_cell": {"c": state}, "gru_cell": {}, "rnn_cell": {"nonlinearity": "relu"}}[op]
    places = [np.zeros((3, 2), np.float32) for _ in range(2 if op == "lstm_cell" else 1)]
    if op != "rnn_cell":
        places.append(np.zeros((3, 8), np.float32))
    found = body.forward(EMULATED, **given, **more, h=state, out=places[0] if op == "rnn_cell" else tuple(places))
    assert found[0] is places[0]
    assert all((place != 0).all() for place in places)
    places[0] = places[0].T.copy().T
    with pytest.raises(ShapeError, match="'h_next' must be contiguous"):
        body.forward(EMULATED, **given, **more, h=state, out=places[0] if op == "rnn_cell" else tuple(places))


MUTANTS = [
    ("cell.cuh", "exp(-fabs(v))", "exp(-v)", "lstm_cell"),
    ("cell.cuh", "(v >= 0 ? (acc_t)1 : e)", "(acc_t)1", "gru_cell"),
    ("cell.cuh", "y * (1 - y)", "y * (1 + y)", "gru_cell"),
    ("cell.cuh", "(1 - y) * (1 + y)", "(1 - y)", "rnn_cell"),
    ("cell.cuh", "count > 1", "count > 2", "rnn_cell"),
    ("cell.cuh", "count > 2", "count > 3", "lstm_cell"),
    ("cell.cuh", "to_acc(third[i])", "to_acc(second[i])", "gru_cell"),
    # The order of the gates: i, f, g, o with any two swapped.
    ("lstm_cell.cu", "s[1] * before + s[0] * s[2]", "s[0] * before + s[1] * s[2]", "lstm_cell"),
    ("lstm_cell.cu", "k == 2 ? tanh", "k == 3 ? tanh", "lstm_cell"),
    ("lstm_cell.cu", "to_scalar(s[3] * tanh(after))", "to_scalar(s[0] * tanh(after))", "lstm_cell"),
    ("lstm_cell.cu", "to_scalar(s[3] * tanh(after))", "to_scalar(s[3] * after)", "lstm_cell"),
    ("lstm_cell.cu", "h_next[e] = frozen ? h[e] :", "h_next[e] = frozen ? c[e] :", "lstm_cell"),
    ("lstm_cell.cu", "c_next[e] = frozen ? c[e] :", "c_next[e] =", "lstm_cell"),
    ("lstm_cell.cu", "frozen ? (acc_t)0 : k == 2", "k == 2", "lstm_cell"),
    ("lstm_cell.cu", "to_acc(h_gates[at + column]) + to_acc(h_bias", "to_acc(h_gates[at + column]) + to_acc(x_bias",
     "lstm_cell"),
    ("lstm_cell.cu", "to_acc(x_bias[unit + column])", "to_acc(x_bias[unit])", "lstm_cell"),
    ("lstm_cell.cu", "at = 4 * row * hidden + unit", "at = 4 * e", "lstm_cell"),
    ("lstm_cell.cu", "f = to_acc(gates[at + hidden]), g = to_acc(gates[at + 2 * hidden])",
     "g = to_acc(gates[at + hidden]), f = to_acc(gates[at + 2 * hidden])", "lstm_cell"),
    ("lstm_cell.cu", "o = to_acc(gates[at + 3 * hidden])", "o = to_acc(gates[at])", "lstm_cell"),
    ("lstm_cell.cu", "to_acc(dc_next[e]) + passed", "passed", "lstm_cell"),
    ("lstm_cell.cu", "passed * o * tanh_slope(tc)", "passed * o", "lstm_cell"),
    ("lstm_cell.cu", "inner * to_acc(c[e])", "inner * to_acc(c_next[e])", "lstm_cell"),
    ("lstm_cell.cu", "inner * i * tanh_slope(g)", "inner * i * sigmoid_slope(g)", "lstm_cell"),
    ("lstm_cell.cu", "to_scalar(inner * f)", "to_scalar(inner * i)", "lstm_cell"),
    ("lstm_cell.cu", "dc[e] = frozen ? dc_next[e] :", "dc[e] =", "lstm_cell"),
    ("lstm_cell.cu", "dh[e] = to_scalar(frozen ? passed : zero)", "dh[e] = to_scalar(passed)", "lstm_cell"),
    ("gru_cell.cu", "sigmoid(a[0] + b[0]), keep = sigmoid(a[1] + b[1])",
     "sigmoid(a[1] + b[1]), keep = sigmoid(a[0] + b[0])", "gru_cell"),
    ("gru_cell.cu", "tanh(a[2] + reset * b[2])", "tanh(reset * (a[2] + b[2]))", "gru_cell"),
    ("gru_cell.cu", "tanh(a[2] + reset * b[2])", "tanh(a[2] + b[2])", "gru_cell"),
    ("gru_cell.cu", "(1 - keep) * fresh + keep * to_acc(h[e])", "keep * fresh + (1 - keep) * to_acc(h[e])", "gru_cell"),
    ("gru_cell.cu", "gates[out + 3 * hidden] = to_scalar(frozen ? zero : b[2])",
     "gates[out + 3 * hidden] = to_scalar(frozen ? zero : a[2])", "gru_cell"),
    ("gru_cell.cu", "h_next[e] = frozen ? h[e] :", "h_next[e] =", "gru_cell"),
    ("gru_cell.cu", "passed * (1 - keep) * tanh_slope(fresh)", "passed * keep * tanh_slope(fresh)", "gru_cell"),
    ("gru_cell.cu", "inner * q * sigmoid_slope(reset)", "inner * reset * sigmoid_slope(reset)", "gru_cell"),
    ("gru_cell.cu", "(to_acc(h[e]) - fresh)", "(fresh - to_acc(h[e]))", "gru_cell"),
    ("gru_cell.cu", "dh_gates[out] = d_reset", "dh_gates[out] = d_keep", "gru_cell"),
    ("gru_cell.cu", "to_scalar(inner * reset)", "to_scalar(inner)", "gru_cell"),
    ("gru_cell.cu", "frozen ? passed : passed * keep", "passed * keep", "gru_cell"),
    ("gru_cell.cu", "out = e + 2 * row * hidden", "out = e + 3 * row * hidden", "gru_cell"),
    ("rnn_cell.cu", "sum > 0 || sum != sum", "sum > 0", "rnn_cell"),
    ("rnn_cell.cu", "relu ? rectified : tanh(sum)", "relu ? tanh(sum) : rectified", "rnn_cell"),
    ("rnn_cell.cu", "masked && !active[row] ?", "masked && active[row] ?", "rnn_cell"),
    ("rnn_cell.cu", "(y != 0 ? passed : zero)", "passed", "rnn_cell"),
    ("rnn_cell.cu", "dgates[e] = to_scalar(frozen ? zero : through)", "dgates[e] = to_scalar(through)", "rnn_cell"),
    ("rnn_cell.cu", "active[e / hidden]", "active[0]", "rnn_cell"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "op"), MUTANTS)
def test_a_broken_kernel_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, old: str, new: str, op: str
) -> None:
    break_sources(monkeypatch, tmp_path, f"include/{file}" if file == "cell.cuh" else file, old, new)
    # Compiled once for this copy.
    monkeypatch.setattr(launch, "_image", cache(launch._image))
    with pytest.raises(NOTICED):
        _every_case(op)


def _every_case(op: str) -> None:
    for name in case.cases(op):
        case.run(EMULATED, op, name, "float64", 32, {}, ("ascending",))
