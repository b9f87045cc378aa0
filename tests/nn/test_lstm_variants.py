"""LSTM with peepholes and coupled gates against loops over single numbers, in every arrangement of the layer."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ShapeError
from nnlab.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from tests.nn.peer import arrays, close, normals, pair
from tests.nn.test_recurrent import parts
from tests.oracles import recurrent as oracle

VARIANTS: list[dict[str, Any]] = [
    {"peepholes": True},
    {"coupled": True},
    {"peepholes": True, "coupled": True},
]
NAMES = {"w_ih": "weight_ih", "w_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh", "w_ch": "weight_ch"}
variants = pytest.mark.parametrize("variant", VARIANTS, ids=["peepholes", "coupled", "both"])


def weights(layer: nn.Module, suffix: str) -> dict[str, np.ndarray]:
    """The oracle's arguments."""
    state = layer.state_dict()
    return {key: state[name + suffix].numpy() for key, name in NAMES.items() if name + suffix in state}


def spread(layer: nn.Module) -> nn.Module:
    """Larger weights, in float64: gates far from 1/2."""
    layer = layer.double()
    with nnlab.no_grad():
        for number, param in enumerate(layer.parameters()):
            param.copy_(nnlab.tensor(0.8 * normals(*param.shape, seed=30 + number)))
    return layer


@variants
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lengths", [None, [2, 5, 3]])
def test_values_and_gradients_against_loops(variant: dict[str, Any], bias: bool, lengths: list[int] | None) -> None:
    layer = spread(nn.LSTM(2, 3, bias=bias, bidirectional=True, **variant))
    x, h_0, c_0 = normals(5, 3, 2), normals(2, 3, 3, seed=1), normals(2, 3, 3, seed=2)
    dy, dh_n, dc_n = normals(5, 3, 6, seed=3), normals(2, 3, 3, seed=4), normals(2, 3, 3, seed=6)
    leaves = [nnlab.tensor(value, requires_grad=True) for value in (x, h_0, c_0)]
    given: Any = leaves[0] if lengths is None else pack_padded_sequence(leaves[0], lengths, enforce_sorted=False)
    y, (h_n, c_n) = layer(given, (leaves[1], leaves[2]))
    y = y if lengths is None else pad_packed_sequence(y)[0]
    sum((value * nnlab.tensor(d)).sum() for value, d in ((y, dy), (h_n, dh_n), (c_n, dc_n))).backward()
    d_x = np.zeros(x.shape)
    for way, suffix in enumerate(("_l0", "_l0_reverse")):
        w = {"b_ih": np.zeros(12), "b_hh": np.zeros(12)} | weights(layer, suffix)
        part = slice(3 * way, 3 * way + 3)
        want = oracle.layer(
            "lstm_variant", x, h0=h_0[way], c0=c_0[way], dy=dy[..., part], dh_n=dh_n[way], dc_n=dc_n[way],
            reverse=bool(way), lengths=lengths or [5, 5, 5], **w,
        )  # fmt: skip
        for key, found in (("y", y[..., part]), ("h_n", h_n[way]), ("c_n", c_n[way])):
            close(found, want[key], key)
        for key, leaf in (("h0", leaves[1]), ("c0", leaves[2])):
            close(leaf.grad[way], want["d_" + key], key)
        for key in weights(layer, suffix):
            close(layer.get_parameter(NAMES[key] + suffix).grad, want["d_" + key], key)
        d_x += want["d_x"]
    close(leaves[0].grad, d_x, "x")


@variants
@pytest.mark.parametrize("lengths", [None, [2, 5, 3]])
def test_stacked_layers_in_both_directions_against_loops(variant: dict[str, Any], lengths: list[int] | None) -> None:
    layer = spread(nn.LSTM(2, 3, num_layers=2, bidirectional=True, batch_first=True, **variant))
    x, h_0, c_0 = normals(3, 5, 2), normals(4, 3, 3, seed=1), normals(4, 3, 3, seed=2)
    given: Any = nnlab.tensor(x)
    if lengths is not None:
        given = pack_padded_sequence(given, lengths, batch_first=True, enforce_sorted=False)
    y, last = layer(given, (nnlab.tensor(h_0), nnlab.tensor(c_0)))
    y = y if lengths is None else pad_packed_sequence(y, batch_first=True)[0]
    below = x.transpose(1, 0, 2)
    nothing = {"dy": np.zeros((5, 3, 3)), "dh_n": np.zeros((3, 3)), "dc_n": np.zeros((3, 3))}
    wanted: list[dict[str, np.ndarray]] = []
    for k, suffix in enumerate(("_l0", "_l0_reverse", "_l1", "_l1_reverse")):
        w = weights(layer, suffix)
        options = {"reverse": bool(k % 2), "lengths": lengths or [5, 5, 5]}
        wanted.append(oracle.layer("lstm_variant", below, h0=h_0[k], c0=c_0[k], **nothing, **options, **w))
        if k % 2:
            below = np.concatenate([one["y"] for one in wanted[-2:]], axis=2)
    close(y, below.transpose(1, 0, 2))
    for key, found in zip(("h_n", "c_n"), last, strict=True):
        close(found, np.stack([one[key] for one in wanted]), key)


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize(
    "options", [{"num_layers": 2, "bidirectional": True}, {"proj_size": 2, "bidirectional": True}, {"bias": False}]
)
def test_coupled_gates_are_torchs_lstm_with_the_forget_gate_opposed(options: dict[str, Any]) -> None:
    """1 - sigmoid(v) = sigmoid(-v)."""
    torch = pytest.importorskip("torch")
    _, theirs = pair("LSTM", 3, 4, **options)
    state = arrays(theirs.state_dict())
    for name, value in state.items():
        if "weight_hr" not in name:
            value[4:8] = -value[:4]
    theirs.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    ours = nn.LSTM(3, 4, coupled=True, **options).double()
    ours.load_state_dict({n: v if "weight_hr" in n else np.delete(v, slice(4, 8), 0) for n, v in state.items()})
    layers = (2 if options.get("bidirectional") else 1) * options.get("num_layers", 1)
    given = normals(5, 2, 3), normals(layers, 2, options.get("proj_size", 4), seed=8), normals(layers, 2, 4, seed=9)
    both = [[make(value) for value in given] for make in (nnlab.tensor, torch.tensor)]
    for t in (*both[0], *both[1]):
        t.requires_grad_()
    for one, other in zip(*(parts(f(x, hx)) for f, (x, *hx) in zip((ours, theirs), both)), strict=True):
        close(one, other)
        (one * one).sum().backward(retain_graph=True)
        (other * other).sum().backward(retain_graph=True)
    for one, other in zip(*both, strict=True):
        close(one.grad, other.grad)


@variants
def test_a_cell_is_a_layer_of_one_step(variant: dict[str, Any]) -> None:
    layer, cell = nn.LSTM(3, 4, **variant).double(), nn.LSTMCell(3, 4, **variant).double()
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in layer.state_dict().items()})
    x = nnlab.tensor(normals(6, 2, 3))
    y, last = layer(x)
    hx: Any = None
    for t in range(6):
        hx = cell(x[t], hx)
        close(hx[0], y[t].detach().numpy())
    for one, other in zip(hx, last, strict=True):
        close(one, other[0].detach().numpy())
    single = cell(x[0, 0])
    close(single[0], y[0, 0].detach().numpy())


@variants
def test_projections_against_loops(variant: dict[str, Any]) -> None:
    layer = spread(nn.LSTM(2, 4, proj_size=3, **variant))
    x, r, c = normals(5, 1, 2), normals(1, 1, 3, seed=1), normals(1, 1, 4, seed=2)
    y, (r_n, c_n) = layer(nnlab.tensor(x), (nnlab.tensor(r), nnlab.tensor(c)))
    w, w_hr = weights(layer, "_l0"), layer.get_parameter("weight_hr_l0").detach().numpy()
    p = w.get("w_ch", np.zeros(8))
    r, c = r[0], c[0]
    for t in range(5):
        h, c, _ = oracle.lstm_variant(x[t] @ w["w_ih"].T + w["b_ih"] + r @ w["w_hh"].T + w["b_hh"], c, p)
        r = h @ w_hr.T
        close(y[t], r)
    close(r_n[0], r)
    close(c_n[0], c)


@variants
@pytest.mark.parametrize(("dtype", "far"), [("float32", 1e-5), ("float16", 1e-2), ("bfloat16", 5e-2)])
def test_smaller_dtypes(variant: dict[str, Any], dtype: str, far: float) -> None:
    wide = nn.LSTM(3, 4, bidirectional=True, **variant).to(dtype=dtype).double()
    layer = nn.LSTM(3, 4, bidirectional=True, dtype=dtype, **variant)
    layer.load_state_dict(wide.state_dict())
    x = nnlab.randn(5, 2, 3, dtype=dtype)
    y, _ = layer(x)
    assert y.dtype.name == dtype
    (y * y).sum().backward()
    assert {p.grad.dtype.name for p in layer.parameters()} == {dtype}
    found = y.detach().double().numpy()
    np.testing.assert_allclose(found, wide(x.double())[0].detach().numpy(), rtol=0, atol=far)


def test_parameters_and_text() -> None:
    layer = nn.LSTM(2, 3, peepholes=True, coupled=True, bidirectional=True, proj_size=2)
    shapes = {name: tuple(p.shape) for name, p in layer.named_parameters() if name.endswith("_l0")}
    assert shapes == {
        "weight_ih_l0": (9, 2), "weight_hh_l0": (9, 2), "bias_ih_l0": (9,), "bias_hh_l0": (9,), "weight_ch_l0": (6,),
        "weight_hr_l0": (2, 3),
    }  # fmt: skip
    assert [len(group) for group in layer.all_weights] == [6, 6]
    assert layer.all_weights[1][4] is layer.weight_ch_l0_reverse
    assert tuple(nn.LSTMCell(2, 3, peepholes=True).weight_ch.shape) == (9,)
    assert repr(layer) == "LSTM(2, 3, proj_size=2, bidirectional=True, peepholes=True, coupled=True)"
    assert repr(nn.LSTMCell(2, 3, coupled=True)) == "LSTMCell(2, 3, coupled=True)"
    with pytest.raises(ShapeError, match=re.escape("[LSTM] 'h_0' must have shape (2, 4, 2), got (2, 4, 3)")):
        layer(nnlab.zeros(5, 4, 2), (nnlab.zeros(2, 4, 3), nnlab.zeros(2, 4, 3)))
