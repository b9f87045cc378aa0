"""Recurrent layers and cells against PyTorch, over tables of their arguments, and what PyTorch cannot tell."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ArgumentError, DeviceError, DtypeError, NNLabError, ShapeError
from nnlab.nn.utils.rnn import (
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)
from nnlab.testing import gradcheck, gradgradcheck
from tests.nn.peer import arrays, close, normals, pair
from tests.oracles import recurrent as oracle

LAYERS = ["RNN", "LSTM", "GRU"]
CELLS = ["RNNCell", "LSTMCell", "GRUCell"]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"batch_first": True},
    {"num_layers": 2},
    {"bidirectional": True},
    {"num_layers": 3, "bidirectional": True, "batch_first": True},
    {"num_layers": 2, "bidirectional": True, "bias": False},
]
PROJECTED: list[dict[str, Any]] = [
    {"proj_size": 2},
    {"proj_size": 3, "num_layers": 2, "bidirectional": True, "batch_first": True},
    {"proj_size": 1, "num_layers": 2, "bias": False},
]


def parts(result: Any) -> Iterator[Any]:
    """All tensors of nested results, in order."""
    if hasattr(result, "batch_sizes"):
        yield result.data
    elif isinstance(result, tuple | list):
        for part in result:
            yield from parts(part)
    else:
        yield result


def both(x: np.ndarray) -> tuple[Any, Any]:
    """The array as a leaf of either library."""
    import torch

    return nnlab.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)


def state(name: str, values: Any) -> Any:
    """hx out of h_0 and c_0: only an LSTM takes both; None stays None."""
    return values if values is None or name.startswith("LSTM") else values[0]


def compare(name: str, layers: tuple[Any, Any], calls: tuple[Any, Any], leaves: list[tuple[Any, Any]]) -> None:
    """Results, and the gradients of a weighted sum of all of them."""
    import torch

    ours, theirs = layers
    found, wanted = list(parts(calls[0](ours))), list(parts(calls[1](theirs)))
    losses: list[Any] = [0, 0]
    for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
        close(one, other, f"{name}: result {number}")
        weight = normals(*other.shape, seed=20 + number)
        losses[0] = losses[0] + (one * nnlab.tensor(weight)).sum()
        losses[1] = losses[1] + (other * torch.tensor(weight)).sum()
    for loss in losses:
        loss.backward()
    for number, (one, other) in enumerate(leaves):
        close(one.grad, other.grad, f"{name}: gradient of input {number}")
    others = dict(theirs.named_parameters())
    assert list(others) == [key for key, _ in ours.named_parameters()]
    for key, param in ours.named_parameters():
        close(param.grad, others[key].grad, f"{name}: gradient of {key}")


def table() -> list[tuple[str, dict[str, Any]]]:
    projected = [("LSTM", options) for options in PROJECTED]
    return [*product(LAYERS, OPTIONS), *projected, ("RNN", {"nonlinearity": "relu", "num_layers": 2})]


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize(("name", "options"), table())
def test_layers_against_torch(name: str, options: dict[str, Any], with_state: bool) -> None:
    pytest.importorskip("torch")
    layers = pair(name, 3, 4, **options)
    stack = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    for single in (False, True):
        leaves = [both(normals(5, 3) if single else normals(5, 2, 3))]
        hx: list[Any] = [None, None]
        if with_state:
            rows = 5 if options.get("batch_first") else 2
            batch = () if single else (rows,)
            widths = (options.get("proj_size", 4), 4)[: 2 if name == "LSTM" else 1]
            given = [both(normals(stack, *batch, width, seed=8 + k)) for k, width in enumerate(widths)]
            leaves += given
            hx = [state(name, tuple(pair[k] for pair in given)) for k in (0, 1)]
        for layer in layers:
            layer.zero_grad()
        first = leaves[0]
        calls = (lambda m, x=first[0], h=hx[0]: m(x, h), lambda m, x=first[1], h=hx[1]: m(x, h))
        compare(f"{name} {options} {single}", layers, calls, leaves)


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize(("name", "options"), table())
@pytest.mark.parametrize(("lengths", "enforce_sorted"), [([6, 4, 4, 1], True), ([2, 6, 1, 5], False), ([3] * 4, True)])
def test_packed_sequences_against_torch(
    name: str, options: dict[str, Any], lengths: list[int], enforce_sorted: bool
) -> None:
    torch = pytest.importorskip("torch")
    layers = pair(name, 3, 4, **options)
    first = options.get("batch_first", False)
    leaves = [both(normals(4, max(lengths), 3) if first else normals(max(lengths), 4, 3))]
    stack = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    widths = (options.get("proj_size", 4), 4)[: 2 if name == "LSTM" else 1]
    given = [both(normals(stack, 4, width, seed=8 + k)) for k, width in enumerate(widths)]

    def call(library: Any, utils: Any, k: int) -> Callable[[Any], Any]:
        def run(layer: Any) -> Any:
            packed = utils.pack_padded_sequence(leaves[0][k], lengths, first, enforce_sorted)
            y, hx = layer(packed, state(name, tuple(one[k] for one in given)))
            padded, found = utils.pad_packed_sequence(y, first, 0.5, total_length=7)
            assert found.tolist() == lengths
            return y, padded, hx

        return run

    calls = call(nnlab, nn.utils.rnn, 0), call(torch, torch.nn.utils.rnn, 1)
    compare(f"{name} {options}", layers, calls, [*leaves, *given])


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {"bias": bias}) for name in CELLS for bias in (True, False)] + [("RNNCell", {"nonlinearity": "relu"})],
)
def test_cells_against_torch(name: str, options: dict[str, Any]) -> None:
    pytest.importorskip("torch")
    layers = pair(name, 3, 4, **options)
    for single, with_state in product((False, True), repeat=2):
        leaves = [both(normals(3) if single else normals(5, 3))]
        hx: list[Any] = [None, None]
        if with_state:
            shape = (4,) if single else (5, 4)
            given = [both(normals(*shape, seed=seed)) for seed in (8, 9)][: 2 if name == "LSTMCell" else 1]
            leaves += given
            hx = [state(name, tuple(pair[k] for pair in given)) for k in (0, 1)]
        for layer in layers:
            layer.zero_grad()
        first = leaves[0]
        calls = (lambda m, x=first[0], h=hx[0]: m(x, h), lambda m, x=first[1], h=hx[1]: m(x, h))
        compare(f"{name} {options} {single}", layers, calls, leaves)


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize("name", LAYERS + CELLS)
def test_torch_weights_move_over(name: str) -> None:
    """Names, order and shapes of the state, and the text of the layer."""
    torch = pytest.importorskip("torch")
    options: dict[str, Any] = {} if name in CELLS else {"num_layers": 2, "bidirectional": True, "dropout": 0.5}
    options |= {"proj_size": 2} if name == "LSTM" else {}
    theirs = getattr(torch.nn, name)(5, 3, **options)
    ours = getattr(nn, name)(5, 3, **options)
    assert repr(ours) == repr(theirs)
    found = {key: tuple(value.shape) for key, value in ours.state_dict().items()}
    assert list(found.items()) == [(key, tuple(value.shape)) for key, value in theirs.state_dict().items()]
    ours.load_state_dict(arrays(theirs.state_dict()))
    for key, value in ours.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), theirs.state_dict()[key].numpy())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *product(LAYERS, [{"bidirectional": True}, {"num_layers": 2}]),
        ("LSTM", {"bidirectional": True, "proj_size": 1}),
        ("LSTM", {"bidirectional": True, "peepholes": True}),
        ("LSTM", {"num_layers": 2, "coupled": True}),
        ("LSTM", {"proj_size": 1, "peepholes": True, "coupled": True}),
    ],
)
def test_gradients_of_first_and_second_order(name: str, options: dict[str, Any]) -> None:
    layer = getattr(nn, name)(2, 2, **options).double()
    x = nnlab.tensor(normals(2, 2, 2), requires_grad=True)
    weights = [p.detach().requires_grad_() for p in layer.parameters()]

    def run(x: Any, *weights: Any) -> Any:
        for key, value in zip(layer.state_dict(), weights, strict=True):
            layer._parameters[key] = value
        y, hx = layer(pack_padded_sequence(x, [2, 1]))
        return y.data, *parts(hx)

    assert gradcheck(run, [x, *weights], directions=1)
    assert gradgradcheck(run, [x, *weights], directions=1)


@pytest.mark.parametrize("lengths", [[5, 5, 5], [2, 5, 3]])
@pytest.mark.parametrize(("name", "cell"), [("RNN", "rnn_tanh"), ("LSTM", "lstm"), ("GRU", "gru")])
def test_stacked_layers_in_both_directions_against_loops(name: str, cell: str, lengths: list[int]) -> None:
    """Unequal states that are not zero: weights and states must be taken in PyTorch's order."""
    layer = getattr(nn, name)(2, 3, num_layers=2, bidirectional=True, batch_first=True).double()
    x, h_0, c_0 = normals(3, 5, 2), normals(4, 3, 3, seed=1), normals(4, 3, 3, seed=2)
    packed = pack_padded_sequence(nnlab.tensor(x), lengths, batch_first=True, enforce_sorted=False)
    y, last = layer(packed, state(name, (nnlab.tensor(h_0), nnlab.tensor(c_0))))
    weights = arrays({key: value.detach() for key, value in layer.state_dict().items()})
    below, nothing = x.transpose(1, 0, 2), [np.zeros((5, 3, 3)), np.zeros((3, 3)), np.zeros((3, 3))]
    wanted = []
    for depth in range(2):
        for back, suffix in enumerate(("", "_reverse")):
            w = [weights[f"{part}_l{depth}{suffix}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            k = 2 * depth + back
            wanted.append(oracle.layer(cell, below, *w, h_0[k], c_0[k], *nothing, bool(back), lengths))
        below = np.concatenate([one["y"] for one in wanted[-2:]], axis=2)
    close(pad_packed_sequence(y)[0], below)
    for key, found in zip(("h_n", "c_n"), parts(last)):
        close(found, np.stack([one[key] for one in wanted]), key)


@pytest.mark.parametrize("back", [False, True])
def test_projections_against_loops(back: bool) -> None:
    """What a step passes on is W_hr times the cell's result: step by step, the sequences one after another."""
    layer = nn.LSTM(2, 4, bidirectional=True, proj_size=3).double()
    x, h_0, c_0 = normals(5, 3, 2), normals(2, 3, 3, seed=1), normals(2, 3, 4, seed=2)
    lengths = [2, 5, 3]
    packed = pack_padded_sequence(nnlab.tensor(x), lengths, enforce_sorted=False)
    y, (h_n, c_n) = layer(packed, (nnlab.tensor(h_0), nnlab.tensor(c_0)))
    suffix, way = ("_l0_reverse", 1) if back else ("_l0", 0)
    w_ih, w_hh, b_ih, b_hh, w_hr = (
        layer.get_parameter(name + suffix).detach().numpy()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    )
    wanted = np.zeros((5, 3, 3))
    for s, length in enumerate(lengths):
        r, c = h_0[way, s], c_0[way, s]
        for t in reversed(range(length)) if back else range(length):
            h, after, _ = oracle.lstm_cell((w_ih @ x[t, s] + b_ih)[None], (w_hh @ r + b_hh)[None], c[None])
            r, c = w_hr @ h[0], after[0]
            wanted[t, s] = r
        close(h_n[way, s], r)
        close(c_n[way, s], c)
    close(pad_packed_sequence(y)[0][:, :, 3 * way : 3 * way + 3], wanted)


def test_the_cell_update_of_the_lecture_notes() -> None:
    """c = (-0.5, 0.2) partly forgotten by f = (0.1, 1), and i * g = (0.8, 0) * (0.9, -0.75) added: (0.67, 0.2)."""
    i, f, g = np.array([0.8, 0.0]), np.array([0.1, 1.0]), np.array([0.9, -0.75])
    with np.errstate(divide="ignore"):
        sums = [np.log(i / (1 - i)), np.log(f / (1 - f)), np.arctanh(g), np.zeros(2)]
    cell = nn.LSTMCell(1, 2).double()
    with nnlab.no_grad():
        for param in cell.parameters():
            param.zero_()
        cell.bias_ih.copy_(nnlab.tensor(np.concatenate(sums)))
    c = nnlab.tensor([[-0.5, 0.2]], dtype="float64")
    h_next, c_next = cell(nnlab.zeros(1, 1, dtype="float64"), (nnlab.zeros(1, 2, dtype="float64"), c))
    np.testing.assert_allclose(c_next.detach().numpy(), [[0.67, 0.2]], rtol=1e-12)
    np.testing.assert_allclose(h_next.detach().numpy(), 0.5 * np.tanh([[0.67, 0.2]]), rtol=1e-12)


def test_the_outputs_of_the_lecture_notes() -> None:
    """h = o * tanh(c) with two digits. The notes end with 0.63, where 0.8 * 0.7 is 0.56."""
    tanh_c = np.array([0.2, 0.98, -0.97, -0.1, 0.98, 0.8, 0.2, 0.3, -0.99, 0.8, 0.7])
    o = np.array([0.01, 0.85, 0.75, 0.1, 0.2, 0.8, 0.1, 0.1, 0.02, 0.9, 0.8])
    cell = nn.LSTMCell(1, 11).double()
    with nnlab.no_grad():
        for param in cell.parameters():
            param.zero_()
        # Nothing comes in, nothing is forgotten.
        gates = np.concatenate([np.full(11, -np.inf), np.full(11, np.inf), np.zeros(11), np.log(o / (1 - o))])
        cell.bias_ih.copy_(nnlab.tensor(gates))
    hx = nnlab.zeros(11, dtype="float64"), nnlab.tensor(np.arctanh(tanh_c))
    h_next, _ = cell(nnlab.zeros(1, dtype="float64"), hx)
    wanted = [0.002, 0.83, -0.73, -0.01, 0.2, 0.64, 0.02, 0.03, -0.02, 0.72, 0.56]
    np.testing.assert_allclose(h_next.detach().numpy(), wanted, rtol=0, atol=0.005)


def test_a_cell_is_a_layer_of_one_step() -> None:
    for name in LAYERS:
        layer, cell = getattr(nn, name)(3, 4), getattr(nn, name + "Cell")(3, 4)
        cell.load_state_dict({key.removesuffix("_l0"): value for key, value in layer.state_dict().items()})
        x = nnlab.randn(6, 2, 3)
        y, last = layer(x)
        hx: Any = None
        for t in range(6):
            hx = cell(x[t], hx)
            h = hx[0] if name == "LSTM" else hx
            np.testing.assert_allclose(h.detach().numpy(), y[t].detach().numpy(), rtol=1e-5, atol=1e-6)
        for one, other in zip(parts(hx), parts(last), strict=True):
            np.testing.assert_allclose(one.detach().numpy(), other[0].detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [*product(LAYERS, [{}]), *product(["LSTM"], [{"proj_size": 32}, {"peepholes": True}, {"coupled": True}])],
)
def test_neighbours_lengths_change_no_bit(name: str, options: dict[str, Any]) -> None:
    # As large as it takes for a product of all steps to be computed in another way than one of few.
    hidden = 64 if options else 13
    layer = getattr(nn, name)(9, hidden, num_layers=2, bidirectional=True, dropout=0.4, **options)
    own = nnlab.randn(4, 9)
    results = []
    for others in (1, 4, 11):
        nnlab.manual_seed(5)
        mine = own.detach().requires_grad_()
        sequences = [nnlab.ones(others, 9), mine, nnlab.ones(max(1, others - 3), 9)]
        y, hx = layer(pack_sequence(sequences, enforce_sorted=False))
        padded, _ = pad_packed_sequence(y, batch_first=True)
        (padded[1, :4] ** 2).sum().backward()
        results.append([padded[1, :4].detach().numpy(), *[h[:, 1].detach().numpy() for h in parts(hx)]])
        results[-1].append(mine.grad.numpy())
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, same)


def test_dropout_acts_between_layers_in_training_alone() -> None:
    layer = nn.GRU(3, 4, num_layers=2, dropout=1.0)
    plain = nn.GRU(3, 4, num_layers=2)
    plain.load_state_dict(layer.state_dict())
    x = nnlab.randn(5, 2, 3)
    y, h_n = layer(x)
    # Everything between the layers is dropped: the second layer sees zeros.
    second = nn.GRU(4, 4)
    second.load_state_dict({key.replace("_l1", "_l0"): v for key, v in layer.state_dict().items() if "_l1" in key})
    np.testing.assert_array_equal(y.detach().numpy(), second(nnlab.zeros(5, 2, 4))[0].detach().numpy())
    np.testing.assert_array_equal(h_n[0].detach().numpy(), plain(x)[1][0].detach().numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].detach().numpy(), plain(x)[0].detach().numpy())
    with pytest.warns(UserWarning, match=r"\[LSTM\] 'dropout' acts between layers"):
        nn.LSTM(3, 4, dropout=0.5)


def test_initial_values() -> None:
    """Uniform in +-1/sqrt(H), from the library's generator."""
    layer = nn.LSTM(50, 64, num_layers=2)
    for key, param in layer.named_parameters():
        values = param.detach().numpy()
        assert np.abs(values).max() <= 1 / 8
        assert np.abs(values).max() > 0.95 / 8, key
        assert abs(values.std() - 1 / 8 / np.sqrt(3)) < 0.01
    nnlab.manual_seed(3)
    one = nn.GRUCell(2, 3)
    nnlab.manual_seed(3)
    other = nn.GRUCell(2, 3)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_small_things() -> None:
    layer = nn.LSTM(2, 3, num_layers=2, bidirectional=True)
    layer.flatten_parameters()
    assert [len(group) for group in layer.all_weights] == [4] * 4
    assert layer.all_weights[1][0] is layer.weight_ih_l0_reverse
    assert [len(group) for group in nn.RNN(2, 3, bias=False).all_weights] == [2]
    twin = copy.deepcopy(layer)
    x = nnlab.randn(3, 1, 2)
    np.testing.assert_array_equal(twin(x)[0].detach().numpy(), layer(x)[0].detach().numpy())
    y, (h_n, c_n) = layer(nnlab.zeros(3, 0, 2))
    assert (tuple(y.shape), tuple(h_n.shape), tuple(c_n.shape)) == ((3, 0, 6), (4, 0, 3), (4, 0, 3))
    y.sum().backward()
    assert all((p.grad.numpy() == 0).all() for p in layer.parameters())


@pytest.mark.parametrize(("dtype", "far"), [("float32", 1e-5), ("float16", 1e-2), ("bfloat16", 5e-2)])
@pytest.mark.parametrize("name", LAYERS)
def test_smaller_dtypes(name: str, dtype: str, far: float) -> None:
    wide = getattr(nn, name)(3, 4, bidirectional=True).to(dtype=dtype).double()
    layer = copy.deepcopy(wide).to(dtype=dtype)
    x = nnlab.randn(5, 2, 3, dtype=dtype)
    y, _ = layer(x)
    assert y.dtype.name == dtype
    (y * y).sum().backward()
    assert {p.grad.dtype.name for p in layer.parameters()} == {dtype}
    found = y.detach().double().numpy()
    np.testing.assert_allclose(found, wide(x.double())[0].detach().numpy(), rtol=0, atol=far)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.LSTM(0, 3), "[LSTM] 'input_size' must be a positive int, got 0"),
        (lambda: nn.GRU(3, 2.5), "[GRU] 'hidden_size' must be a positive int, got 2.5"),
        (lambda: nn.RNN(3, 2, num_layers=0), "[RNN] 'num_layers' must be a positive int, got 0"),
        (lambda: nn.RNN(3, 2, nonlinearity="elu"), "[RNN] 'nonlinearity' must be one of ('tanh', 'relu'), got 'elu'"),
        (
            lambda: nn.RNNCell(3, 2, nonlinearity="x"),
            "[RNNCell] 'nonlinearity' must be one of ('tanh', 'relu'), got 'x'",
        ),
        (lambda: nn.LSTM(3, 2, dropout=2), "[LSTM] 'dropout' must be a probability between 0 and 1, got 2"),
        (
            lambda: nn.LSTM(3, 2, proj_size=2),
            "[LSTM] 'proj_size' must be an int from 0 to less than hidden_size 2, got 2",
        ),
        (lambda: nn.LSTM(3, 2, proj_size=-1), "[LSTM] 'proj_size' must be an int from 0 to less than hidden_size 2"),
        (lambda: nn.GRUCell(3, 0), "[GRUCell] 'hidden_size' must be a positive int, got 0"),
    ],
)
def test_bad_constructors(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        make()


Z = nnlab.zeros


@pytest.mark.parametrize(
    ("layer", "args", "message"),
    [
        (nn.LSTM(3, 4), (Z(5, 2, 4),), "[LSTM] 'input' must have shape (T, N, 3) or (T, 3), got (5, 2, 4)"),
        (nn.GRU(3, 4, batch_first=True), (Z(3),), "[GRU] 'input' must have shape (N, T, 3) or (T, 3), got (3,)"),
        (nn.RNN(3, 4), (Z(0, 2, 3),), "[RNN] 'input' must have at least one step, got (0, 2, 3)"),
        (nn.RNN(3, 4, batch_first=True), (Z(2, 0, 3),), "[RNN] 'input' must have at least one step, got (2, 0, 3)"),
        (nn.GRU(3, 4), (Z(5, 2, 3), Z(1, 3, 4)), "[GRU] 'h_0' must have shape (1, 2, 4), got (1, 3, 4)"),
        (nn.GRU(3, 4), (Z(5, 3), Z(1, 1, 4)), "[GRU] 'h_0' must have shape (1, 4), got (1, 1, 4)"),
        (
            nn.LSTM(3, 4, proj_size=2),
            (Z(5, 2, 3), (Z(1, 2, 4), Z(1, 2, 4))),
            "[LSTM] 'h_0' must have shape (1, 2, 2), got (1, 2, 4)",
        ),
        (
            nn.LSTM(3, 4),
            (Z(5, 2, 3), (Z(1, 2, 4), Z(2, 2, 4))),
            "[LSTM] 'c_0' must have shape (1, 2, 4), got (2, 2, 4)",
        ),
        (nn.LSTM(3, 4), (Z(5, 2, 3), Z(1, 2, 4)), "[LSTM] 'hx' must be the two tensors (h_0, c_0), got 'Tensor'"),
        (nn.LSTM(3, 4), (Z(5, 2, 3), (Z(1, 2, 4),)), "[LSTM] 'hx' must be the two tensors (h_0, c_0), got '1 of them'"),
        (nn.GRU(3, 4), (Z(5, 2, 3), (Z(1, 2, 4),)), "[GRU] 'h_0' must be a Tensor, got 'tuple'"),
        (nn.LSTMCell(3, 4), (Z(2, 4),), "[LSTMCell] 'input' must have shape (N, 3) or (3,), got (2, 4)"),
        (nn.LSTMCell(3, 4), (Z(2, 3), (Z(2, 4), Z(1, 4))), "[LSTMCell] 'c_0' must have shape (2, 4), got (1, 4)"),
        (nn.RNNCell(3, 4), (Z(2, 2, 3),), "[RNNCell] 'input' must have shape (N, 3) or (3,), got (2, 2, 3)"),
        (
            nn.LSTM(3, 4),
            (pack_sequence([Z(3, 2)]),),
            "[LSTM] 'input' must have rows of 3 features in its PackedSequence, got (3, 2)",
        ),
        (nn.GRU(3, 4), (Z(5, 2, 3, dtype="float64"),), "[GRU] 'input' is float64 but 'weight_ih_l0' is float32"),
        (nn.GRU(3, 4), (Z(5, 2, 3), Z(1, 2, 4, dtype="float64")), "[GRU] 'input' is float32 but 'h_0' is float64"),
        (nn.GRU(3, 4), ([1.0],), "[GRU] 'input' must be a Tensor, got 'list'"),
        (nn.GRUCell(3, 4), (Z(2, 3, dtype="int64"),), "[GRUCell] 'input' must be floating point, got 'int64'"),
    ],
)
def test_bad_inputs(layer: nn.Module, args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(NNLabError, match="^" + re.escape(message)) as caught:
        layer(*args)
    assert isinstance(caught.value, ShapeError | DtypeError | DeviceError | ArgumentError)


def test_an_lstm_remembers_a_bit_over_20_steps() -> None:
    """The first number of a sequence of noise is +-1 and marked; after 20 steps the layer says which. Twice the same.

    The forget gate starts open (bias 3), so that the gradient reaches the first step at all.
    """

    def train() -> tuple[list[float], float]:
        nnlab.manual_seed(1)
        layer, head = nn.LSTM(2, 12), nn.Linear(12, 1)
        with nnlab.no_grad():
            layer.bias_ih_l0[12:24].fill_(3)
        params = [*layer.parameters(), *head.parameters()]
        optimizer = nnlab.optim.Adam(params, lr=0.02)
        random = np.random.default_rng(0)

        def batch(count: int) -> tuple[Any, Any]:
            bits = random.integers(0, 2, count).astype(np.float32)
            x = np.zeros((20, count, 2), np.float32)
            x[:, :, 0] = random.uniform(-1, 1, (20, count))
            x[0, :, 0], x[0, :, 1] = 2 * bits - 1, 1
            return nnlab.from_numpy(x), nnlab.from_numpy(bits)

        def logits(x: Any) -> Any:
            return head(layer(x)[0][-1])[:, 0]

        losses = []
        for _ in range(120):
            x, bits = batch(32)
            loss = nn.functional.binary_cross_entropy_with_logits(logits(x), bits)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step()
            losses.append(loss.item())
        x, bits = batch(200)
        right = (logits(x).detach().numpy() > 0) == (bits.numpy() > 0.5)
        return losses, float(right.mean())

    losses, accuracy = train()
    assert losses[0] > 0.6
    assert accuracy == 1
    assert train() == (losses, accuracy)
