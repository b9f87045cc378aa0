"""Backpropagation through time, whole and truncated: what a detached state leaves out, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.nn.utils.rnn import pack_sequence
from tests.nn.peer import close, normals
from tests.oracles import recurrent as oracle

STEPS = 12
SHORT = {
    "weight_ih_l0": "w_ih",
    "weight_hh_l0": "w_hh",
    "bias_ih_l0": "b_ih",
    "bias_hh_l0": "b_hh",
    "weight_ch_l0": "w_ch",
}


def detached(hx: Any) -> Any:
    return tuple(s.detach() for s in hx) if isinstance(hx, tuple) else hx.detach()


def in_chunks(layer: nn.Module, x: np.ndarray, hx: Any, dy: np.ndarray, length: int) -> dict[str, np.ndarray]:
    """The gradients of sum(dy * y), chunk after chunk: the state goes on, its gradient does not."""
    layer.zero_grad()
    for t in range(0, len(x), length):
        y, hx = layer(nnlab.tensor(x[t : t + length]), detached(hx))
        (y * nnlab.tensor(dy[t : t + length])).sum().backward()
    return {SHORT[name]: p.grad.numpy() for name, p in layer.named_parameters()}


def in_windows(layer: nn.Module, x: np.ndarray, hx: Any, dy: np.ndarray, length: int) -> dict[str, np.ndarray]:
    """The same with the loss of each step sent back over the ``length`` steps that end there."""
    layer.zero_grad()
    states = [hx]
    for t in range(len(x)):
        first = max(0, t - length + 1)
        y, _ = layer(nnlab.tensor(x[first : t + 1]), states[first])
        states.append(detached(layer(nnlab.tensor(x[t : t + 1]), states[t])[1]))
        (y[-1] * nnlab.tensor(dy[t])).sum().backward()
    return {SHORT[name]: p.grad.numpy() for name, p in layer.named_parameters()}


def double_sum(
    w: dict[str, np.ndarray], x: np.ndarray, h_0: np.ndarray, dy: np.ndarray, first: list[int]
) -> dict[str, np.ndarray]:
    """An RNN's gradient for one sequence as it is written down: over each loss t and each step j from first[t] to t,

    dW += diag(1 - h_j^2) (D_t ... D_{j+1})^T dy_t  (h_{j-1}^T or x_j^T)        D_i = diag(1 - h_i^2) W_hh
    """
    states = [h_0]
    for row in x:
        states.append(np.tanh(w["w_ih"] @ row + w["b_ih"] + w["w_hh"] @ states[-1] + w["b_hh"]))
    slopes = [np.diag(1 - h**2) for h in states[1:]]
    total = {name: np.zeros(value.shape) for name, value in w.items()}
    for t in range(len(x)):
        for j in range(first[t], t + 1):
            product = np.eye(len(h_0))
            for i in range(j + 1, t + 1):
                product = slopes[i] @ w["w_hh"] @ product
            d = slopes[j] @ product.T @ dy[t]
            total["w_ih"] += np.outer(d, x[j])
            total["w_hh"] += np.outer(d, states[j])
            total["b_ih"] += d
            total["b_hh"] += d
    return total


@pytest.mark.parametrize("length", [1, 4, 5, STEPS])
@pytest.mark.parametrize("form", [in_chunks, in_windows])
def test_truncation_leaves_out_the_terms_beyond_it(form: Any, length: int) -> None:
    layer = nn.RNN(2, 3).double()
    with nnlab.no_grad():
        for number, param in enumerate(layer.parameters()):
            param.copy_(nnlab.tensor(0.3 * normals(*param.shape, seed=number)))
        layer.weight_hh_l0.copy_(nnlab.tensor(np.linalg.qr(normals(3, 3))[0]))  # terms from afar count
    x, h_0, dy = 0.3 * normals(STEPS, 2), normals(3, seed=1), normals(STEPS, 3, seed=2)
    w = {SHORT[name]: p.detach().numpy().copy() for name, p in layer.named_parameters()}
    whole = double_sum(w, x, h_0, dy, [0] * STEPS)
    if form is in_chunks:
        first = [t // length * length for t in range(STEPS)]
    else:
        first = [max(0, t - length + 1) for t in range(STEPS)]
    found = form(layer, x, nnlab.tensor(h_0[None]), dy, length)
    for name, want in double_sum(w, x, h_0, dy, first).items():
        close(found[name], want, name)
        if length == STEPS:
            close(found[name], whole[name], name)
        else:
            assert np.abs(found[name] - whole[name]).max() > 0.01, name


@pytest.mark.parametrize("length", [1, 5, STEPS])
@pytest.mark.parametrize(
    ("name", "cell", "options"),
    [("GRU", "gru", {}), ("LSTM", "lstm", {}), ("LSTM", "lstm_variant", {"peepholes": True, "coupled": True})],
)
def test_carried_states_of_gated_layers(name: str, cell: str, options: dict[str, Any], length: int) -> None:
    """Loops over the chunks, each begun where the one before ended."""
    layer = getattr(nn, name)(2, 3, **options).double()
    x, dy = normals(STEPS, 1, 2), normals(STEPS, 1, 3, seed=2)
    h, c = normals(1, 3, seed=1), normals(1, 3, seed=3)
    given = nnlab.tensor(h[None]), nnlab.tensor(c[None])
    found = in_chunks(layer, x, given if name == "LSTM" else given[0], dy, length)
    w = {SHORT[key]: p.detach().numpy() for key, p in layer.named_parameters()}
    want: dict[str, Any] = dict.fromkeys(w, 0)
    nothing = np.zeros((1, 3))
    for t in range(0, STEPS, length):
        part = slice(t, min(t + length, STEPS))
        count = part.stop - t
        one = oracle.layer(
            cell, x[part], h0=h, c0=c, dy=dy[part], dh_n=nothing, dc_n=nothing, reverse=False, lengths=[count], **w
        )
        h, c = one["h_n"], one["c_n"]
        want = {key: value + one["d_" + key] for key, value in want.items()}
    for key, value in want.items():
        close(found[key], value, key)


def test_a_hierarchy_is_a_composition() -> None:
    """A layer reads the steps of each part (word), the next one the parts' last states; gradients reach the lowest."""
    lower, upper = nn.LSTM(2, 3).double(), nn.LSTM(3, 4).double()
    parts = [nnlab.tensor(normals(n, 2, seed=n), requires_grad=True) for n in (4, 1, 3)]
    _, (h_n, _) = lower(pack_sequence(parts, enforce_sorted=False))
    y, _ = upper(h_n[0])
    y[-1].sum().backward()
    rows = np.concatenate([lower(part)[1][0].detach().numpy() for part in parts])
    close(y, upper(nnlab.tensor(rows))[0].detach())
    assert all(np.abs(part.grad.numpy()).min(axis=1).all() for part in parts)
    assert np.abs(lower.weight_hh_l0.grad.numpy()).max() > 0
