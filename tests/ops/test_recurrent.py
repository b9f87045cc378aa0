"""Recurrent cells and the driver over sequences, on the CPU, against loops over single numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import types
from nnlab.autograd.recurrent import recurrent, unrolled
from nnlab.errors import GraphError
from nnlab.ops import gru_cell, lstm_cell, rnn_cell
from nnlab.ops import recurrent as ops
from nnlab.testing import gradcheck, gradgradcheck, tolerance
from tests.ops.common import CPU, close, rng, scattered
from tests.oracles import recurrent as oracle

CELLS = ["lstm", "gru", "rnn_tanh", "rnn_relu"]
NAMES = ("x", "w_ih", "w_hh", "b_ih", "b_hh", "h0", "c0")
SHAPES = [(1, 1), (3, 5), (0, 2)]


def mask(rows: int, key: int) -> np.ndarray:
    """Some rows frozen, the first always active."""
    chosen = rng(71, key).random(rows) < 0.5
    chosen[:1] = True
    return chosen


def sums(blocks: int, rows: int, units: int, key: int) -> list[np.ndarray]:
    """x_gates, h_gates, x_bias, h_bias."""
    shapes = [(rows, blocks * units)] * 2 + [(blocks * units,)] * 2
    return [scattered(rng(72, 10 * key + i).standard_normal(shape)) for i, shape in enumerate(shapes)]


def states(count: int, rows: int, units: int, key: int) -> list[np.ndarray]:
    return [scattered(rng(73, 10 * key + i).standard_normal((rows, units))) for i in range(count)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("rows", "units"), SHAPES)
def test_lstm_cell(rows: int, units: int, masked: bool) -> None:
    x, hx, xb, hb = sums(4, rows, units, 1)
    h, c, dh, more, last, dc_next = states(6, rows, units, 1)
    now = mask(rows, 1) if masked else None
    on = np.ones((rows, 1), bool) if now is None else now[:, None]
    h_next, c_next, saved = lstm_cell.forward(CPU, x_gates=x, h_gates=hx, x_bias=xb, h_bias=hb, h=h, c=c, active=now)
    want_h, want_c, gates = oracle.lstm_cell(x + xb, hx + hb, c)
    close(h_next, np.where(on, want_h, h))
    close(c_next, np.where(on, want_c, c))
    close(saved.gates, np.where(on, gates, 0))
    dgates, dc, passing = lstm_cell.backward(CPU, dh_next=[dh, more, last], dc_next=dc_next, saved=saved)
    want_ds, want_dc = oracle.lstm_cell_grad(gates, c, want_c, dh + more + last, dc_next)
    close(dgates, np.where(on, want_ds, 0))
    close(dc, np.where(on, want_dc, dc_next))
    if masked:
        close(passing, np.where(on, 0, dh + more + last))
    else:
        assert passing is None


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("rows", "units"), SHAPES)
def test_gru_cell(rows: int, units: int, masked: bool) -> None:
    x, hx, xb, hb = sums(3, rows, units, 2)
    h, dh, more = states(3, rows, units, 2)
    now = mask(rows, 2) if masked else None
    on = np.ones((rows, 1), bool) if now is None else now[:, None]
    h_next, saved = gru_cell.forward(CPU, x_gates=x, h_gates=hx, x_bias=xb, h_bias=hb, h=h, active=now)
    want, gates = oracle.gru_cell(x + xb, hx + hb, h)
    close(h_next, np.where(on, want, h))
    close(saved.gates, np.where(on, gates, 0))
    dx_gates, dh_gates, direct = gru_cell.backward(CPU, dh_next=[dh, more], saved=saved)
    want_dx, want_dh, want_direct = oracle.gru_cell_grad(gates, h, dh + more)
    close(dx_gates, np.where(on, want_dx, 0))
    close(dh_gates, np.where(on, want_dh, 0))
    close(direct, np.where(on, want_direct, dh + more))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("rows", "units"), SHAPES)
def test_rnn_cell(rows: int, units: int, masked: bool, nonlinearity: str) -> None:
    x, hx, xb, hb = sums(1, rows, units, 3)
    h, dh = states(2, rows, units, 3)
    now = mask(rows, 3) if masked else None
    on = np.ones((rows, 1), bool) if now is None else now[:, None]
    h_next, saved = rnn_cell.forward(
        CPU, x_gates=x, h_gates=hx, x_bias=xb, h_bias=hb, h=h, nonlinearity=nonlinearity, active=now
    )
    want = oracle.rnn_cell(x + xb, hx + hb, nonlinearity)
    close(h_next, np.where(on, want, h))
    dgates, passing = rnn_cell.backward(CPU, dh_next=[dh], saved=saved)
    close(dgates, np.where(on, oracle.rnn_cell_grad(want, dh, nonlinearity), 0))
    if masked:
        close(passing, np.where(on, 0, dh))
    else:
        assert passing is None


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_large_and_special_sums(dtype: str) -> None:
    """No overflow, small values keep their digits, NaN stays NaN."""
    values = np.array([0.0, -8.0, 8.0, -60.0, -3e4, 3e4, -np.inf, np.inf, np.nan], dtype)
    zeros = np.zeros((1, len(values)), dtype)
    gates = np.concatenate([values] * 4)[None]
    nothing = np.zeros(gates.shape[1], dtype)
    _, _, saved = lstm_cell.forward(
        CPU, x_gates=gates, h_gates=np.zeros_like(gates), x_bias=nothing, h_bias=nothing, h=None, c=zeros
    )
    i, _, g, _ = saved.gates.reshape(4, -1).astype(np.float64)
    rtol = 4 * tolerance(dtype)
    want = [oracle.sigmoid(float(v)) for v in values]
    np.testing.assert_allclose(i, want, rtol=rtol, atol=1e-7 if dtype == "float16" else 1e-300)
    np.testing.assert_allclose(g, np.tanh(values.astype(np.float64)), rtol=rtol)


def test_half_is_added_up_in_float32() -> None:
    """2048 + 1 - 2048 in half would be 0."""
    x, b = np.array([[2048.0]], np.float16), np.array([1.0], np.float16)
    h_next, _ = rnn_cell.forward(CPU, x_gates=x, h_gates=-x, x_bias=b, h_bias=0 * b, h=None, nonlinearity="relu")
    assert (h_next.dtype, h_next[0, 0]) == (np.float16, 1)


def arrays(cell: str, steps: int, batch: int, features: int, units: int, key: int) -> dict[str, np.ndarray]:
    rows = ops.BLOCKS[cell] * units
    shapes = {
        "x": (steps, batch, features), "w_ih": (rows, features), "w_hh": (rows, units), "b_ih": (rows,),
        "b_hh": (rows,), "h0": (batch, units), "c0": (batch, units), "dy": (steps, batch, units),
        "dh_n": (batch, units), "dc_n": (batch, units),
    }  # fmt: skip
    return {name: 0.7 * rng(74, 100 * key + i).standard_normal(s) for i, (name, s) in enumerate(shapes.items())}


def run(cell: str, a: dict[str, Any], reverse: bool, lengths: list[int] | None, be: Any = CPU) -> dict[str, Any]:
    """Values and gradients by the driver, under the oracle's names."""
    given = {name: a[name] for name in ("x", "w_ih", "w_hh", "b_ih", "b_hh", "h0")}
    lstm = cell == "lstm"
    y, h_n, c_n, saved = ops.forward(
        be, **given, c0=a["c0"] if lstm else None, cell=cell, reverse=reverse, lengths=lengths
    )
    needs = ops.Needs(*[True] * 6, lstm)
    grads = ops.backward(
        be, dy=a["dy"], dh_n=a["dh_n"], dc_n=a["dc_n"] if lstm else None, x=a["x"], w_ih=a["w_ih"], w_hh=a["w_hh"],
        saved=saved, needs=needs,
    )  # fmt: skip
    found = {"y": y, "h_n": h_n, **{f"d_{name}": grad for name, grad in zip(NAMES, grads)}}
    return {**found, "c_n": c_n} if lstm else {name: v for name, v in found.items() if name != "d_c0"}


@contextmanager
def lazily(be: Any, work: int) -> Iterator[Any]:
    """``parallel.beside`` with another thread that does nothing by itself: tasks are done when they are waited for, or
    at the end, the last one first."""
    tasks: list[Any] = []

    def later(task: Any) -> Any:
        tasks.append(task)

        def wait() -> None:
            tasks.remove(task)
            task()

        return wait

    yield later
    while tasks:
        tasks.pop()()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lengths", [None, [4, 1, 3], [2, 4, 4], [4, 4, 4]])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shared", ["", "parts", "chunks"])
def test_the_driver_against_loops(
    cell: str, lengths: list[int] | None, reverse: bool, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shared == "parts":  # as a large batch is: its sequences on several threads
        monkeypatch.setattr(ops, "PART", 1)
        monkeypatch.setattr(ops, "ROWS", 1)
        monkeypatch.setattr("nnlab.backend.threads._chosen", 3)
    elif shared == "chunks":  # as a long sequence is
        monkeypatch.setattr(ops, "CHUNK", 1)
        monkeypatch.setattr(ops, "CHUNKS", 3)
        monkeypatch.setattr(ops.parallel, "beside", lazily)
        monkeypatch.setattr(ops.layout, "empty", lambda be, shape, dtype: np.full(shape, np.nan, dtype))
    a = arrays(cell, 4, 3, 2, 3, 1)
    mine = {name: scattered(value) for name, value in a.items()}
    found = run(cell, mine, reverse, lengths)
    want = oracle.layer(cell, **a, reverse=reverse, lengths=lengths or [4, 4, 4])
    for name, value in found.items():
        close(value, want[name], name)


@pytest.mark.parametrize("cell", CELLS)
def test_one_step_without_biases_and_states(cell: str) -> None:
    a = arrays(cell, 1, 2, 3, 2, 2)
    for name in ("b_ih", "b_hh", "h0", "c0"):
        a[name] = np.zeros_like(a[name])
    want = oracle.layer(cell, **a, reverse=False, lengths=[1, 1])
    y, h_n, c_n, _ = ops.forward(
        CPU, x=a["x"], w_ih=a["w_ih"], w_hh=a["w_hh"], b_ih=None, b_hh=None, h0=None, c0=None, cell=cell
    )
    close(y, want["y"])
    close(h_n, want["h_n"])
    if cell == "lstm":
        close(c_n, want["c_n"])


@pytest.mark.parametrize("cell", CELLS)
def test_without_gradients_the_same_bits(cell: str) -> None:
    a = arrays(cell, 5, 2, 3, 4, 3)
    given = {name: a[name] for name in NAMES[:-1]}
    for reverse, lengths in product((False, True), (None, [5, 2])):
        both = [
            ops.forward(
                CPU, **given, c0=a["c0"], cell=cell, reverse=reverse, lengths=lengths, keep=keep
            )[:3]
            for keep in (True, False)
        ]  # fmt: skip
        for one, other in zip(*both):
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_smaller_dtypes_are_near(cell: str, dtype: str) -> None:
    a = {name: value.astype(types.as_dtype(dtype)) for name, value in arrays(cell, 4, 3, 2, 3, 4).items()}
    want = oracle.layer(cell, **{n: v.astype(np.float64) for n, v in a.items()}, reverse=True, lengths=[4, 2, 3])
    for name, value in run(cell, a, True, [4, 2, 3]).items():
        assert value.dtype.name == dtype
        # Errors of a step pass through the steps after it: four times the table's.
        far = 4 * tolerance(dtype, 16) * np.abs(want[name]).max()
        np.testing.assert_allclose(value.astype(np.float64), want[name], rtol=0, atol=far, err_msg=name)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pieces", [False, True])
def test_a_sequence_does_not_see_its_neighbours_lengths(
    cell: str, dtype: str, pieces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Value and gradient of one sequence, in every bit; sizes at which products are cut up and done by other code."""
    if pieces:  # as large products and long sequences are
        monkeypatch.setattr("nnlab.ops._numpy.matmul.PART", 1 << 12)
        monkeypatch.setattr("nnlab.ops._numpy.matmul.LEAST", 1)
        monkeypatch.setattr(ops, "CHUNK", 1)
    batch, length = 7, 5
    a = {name: v.astype(dtype) for name, v in arrays(cell, 40, batch, 33, 19, 5).items()}
    results = []
    for others in (1, 5, 17, 40):
        steps = max(others, length)
        cut = {name: v[:steps] if name in ("x", "dy") else v for name, v in a.items()}
        lengths = [others] * batch
        lengths[3] = length
        for reverse in (False, True):
            found = run(cell, cut, reverse, lengths)
            results.append({name: found[name][:length, 3] for name in ("y", "d_x")})
            results[-1] |= {name: found[name][3] for name in ("h_n", "c_n", "d_h0", "d_c0") if name in found}
    for forward, backward in zip(results[2::2], results[3::2]):
        for name, value in forward.items():
            np.testing.assert_array_equal(value, results[0][name], name)
            np.testing.assert_array_equal(backward[name], results[1][name], name)


def test_nor_does_it_in_the_unrolled_form() -> None:
    """With peepholes, which have no other."""
    a = {name: value.astype(np.float32) for name, value in arrays("lstm", 40, 7, 33, 19, 5).items()}
    results = []
    for others in (1, 5, 17, 40):
        lengths = [others] * 7
        lengths[3] = 5
        x = nnlab.tensor(a["x"][: max(others, 5)], requires_grad=True)
        weights = [nnlab.tensor(a[name]) for name in NAMES[1:]]
        y, h_n, c_n = recurrent("lstm", x, *weights, nnlab.tensor(a["dy"][0].reshape(-1)[:57]), lengths=lengths)
        (y[:5, 3] ** 2).sum().backward()
        results.append([value.detach().numpy() for value in (y[:5, 3], h_n[3], c_n[3], x.grad[:5, 3])])
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, same)


def leaves(cell: str, key: int) -> list[Any]:
    a = arrays(cell, 3, 2, 2, 2, key)
    return [
        nnlab.tensor(a[name], requires_grad=True) if name != "c0" or cell == "lstm" else None for name in NAMES
    ]  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lengths", [None, [3, 2]])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_first_and_second_order(cell: str, lengths: list[int] | None, reverse: bool) -> None:
    def layer(*args: Any) -> Any:
        args = args if cell == "lstm" else (*args, None)
        results = recurrent(cell, *args, reverse=reverse, lengths=lengths)
        return tuple(r for r in results if r is not None)

    inputs = [t for t in leaves(cell, 6) if t is not None]
    assert gradcheck(layer, inputs)
    assert gradgradcheck(layer, inputs, directions=1)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lengths", [None, [2, 3]])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_unrolled_form_is_the_same(cell: str, lengths: list[int] | None, reverse: bool) -> None:
    both = []
    for form in (recurrent, lambda cell, *args, **options: unrolled(*args, cell=cell, **options)):
        inputs = leaves(cell, 7)
        results = [r for r in form(cell, *inputs, reverse=reverse, lengths=lengths) if r is not None]
        (results[0] ** 2).sum().backward(retain_graph=True)
        (results[-1] ** 3).sum().backward()
        both.append([*[r.detach().numpy() for r in results], *[t.grad.numpy() for t in inputs if t is not None]])
    for one, other in zip(*both, strict=True):
        close(one, other)


def test_second_order_when_one_input_comes_from_another() -> None:
    """The weights are also what x is made of: the inner pass must not go on through x."""
    inputs = leaves("gru", 8)
    w, rest = inputs[1], inputs[2:6]

    def layer(w: Any) -> Any:
        x = (w @ w.t())[:, :2].reshape(3, 2, 2)
        return recurrent("gru", x, w, *rest)[0]

    assert gradcheck(layer, w)
    assert gradgradcheck(layer, w)
    once, twice = (nnlab.grad(layer(w).sum(), w, create_graph=graph)[0] for graph in (False, True))
    close(twice.detach().numpy(), once.numpy())


def test_only_what_is_wanted() -> None:
    inputs = leaves("lstm", 9)
    for only in range(7):
        args = [t.detach().requires_grad_(i == only) for i, t in enumerate(inputs)]
        recurrent("lstm", *args)[0].sum().backward()
        assert [t.grad is not None for t in args] == [i == only for i in range(7)]
        every = [t.detach().requires_grad_() for t in inputs]
        recurrent("lstm", *every)[0].sum().backward()
        np.testing.assert_array_equal(args[only].grad.numpy(), every[only].grad.numpy())


def test_results_changed_in_place() -> None:
    """y holds the states that backward needs, so changing it is noticed; h_n and c_n are copies."""
    x, *rest = leaves("lstm", 10)
    y, h_n, c_n = recurrent("lstm", x, *rest)
    before = y.detach().numpy().copy()
    h_n.mul_(2)
    c_n.mul_(2)
    np.testing.assert_array_equal(y.detach().numpy(), before)
    y.sum().backward()
    want = x.grad.numpy()
    x.grad = None
    y, h_n, c_n = recurrent("lstm", x, *rest)
    z = (h_n.mul_(0) + c_n.mul_(0)).sum() + y.sum()
    z.backward()
    np.testing.assert_array_equal(x.grad.numpy(), want)
    y, _, _ = recurrent("lstm", x, *rest)
    y.mul_(2)
    with pytest.raises(GraphError, match=r"\[Recurrent\] a tensor that backward needs was modified in place"):
        y.sum().backward()


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("shared", ["PART", "CHUNK"])
def test_the_number_of_threads_changes_no_bit(threads: str, shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several threads share the batch, or the products beside the walk."""
    a = {name: value.astype(np.float32) for name, value in arrays("lstm", 12, 40, 50, 170, 11).items()}
    monkeypatch.setattr(ops, shared, 40 * a["w_hh"].size)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    want = run("lstm", a, False, None)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    for name, value in run("lstm", a, False, None).items():
        np.testing.assert_array_equal(value, want[name], name)
