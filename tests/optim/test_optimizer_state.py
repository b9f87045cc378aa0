"""Optimizer state: plain, exactly restorable, and checked."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn, optim
from nnlab.errors import CheckpointError

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"lr": 0.1, "amsgrad": True}),
    ("AdamW", {"lr": 0.1}),
]


def network(seed: int = 0) -> nn.Sequential:
    nnlab.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def train(net: nn.Sequential, optimizer: optim.Optimizer, steps: range) -> None:
    for step in steps:
        x = nnlab.tensor(np.random.default_rng(step).standard_normal((5, 3)).astype(np.float32))
        optimizer.zero_grad()
        (net(x) ** 2).sum().backward()
        optimizer.step()


def through_files(state: dict[str, Any]) -> dict[str, Any]:
    """As a checkpoint does it: arrays apart, everything else through JSON (where all keys are strings)."""
    stored = {
        str(key): {n: v.numpy().copy() if isinstance(v, nnlab.Tensor) else v for n, v in entry.items()}
        for key, entry in state["state"].items()
    }
    rest = {key: {n: v for n, v in e.items() if not isinstance(v, np.ndarray)} for key, e in stored.items()}
    loaded = json.loads(json.dumps({"state": rest, "param_groups": state["param_groups"]}))
    for key, entry in stored.items():
        loaded["state"][key] = {
            n: v if isinstance(v, np.ndarray) else loaded["state"][key][n] for n, v in entry.items()
        }
    return loaded


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(("name", "options"), KINDS)
def test_a_restored_run_goes_on_bit_for_bit(name: str, options: dict[str, Any], named: bool) -> None:
    def made(net: nn.Sequential) -> optim.Optimizer:
        return getattr(optim, name)(net.named_parameters() if named else net.parameters(), **options)

    whole = network()
    train(whole, made(whole), range(12))

    first = network()
    optimizer = made(first)
    train(first, optimizer, range(5))
    state = through_files(optimizer.state_dict())
    second = network(seed=9)
    second.load_state_dict(first.state_dict())
    optimizer = made(second)
    optimizer.load_state_dict(state)
    train(second, optimizer, range(5, 12))
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert np.array_equal(a.detach().numpy(), b.detach().numpy())


def test_keys_are_names_or_numbers() -> None:
    net = network()
    optimizer = optim.SGD(net.named_parameters(), momentum=0.9)
    train(net, optimizer, range(1))
    state = optimizer.state_dict()
    names = ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert list(state["state"]) == names
    assert state["param_groups"][0]["params"] == names
    assert set(state["param_groups"][0]) == {
        "lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize", "params",
    }  # fmt: skip
    numbered = optim.Adam([{"params": [net[0].weight]}, {"params": [net[2].weight], "lr": 1.0}])
    train(net, numbered, range(1))
    state = numbered.state_dict()
    assert [group["params"] for group in state["param_groups"]] == [[0], [1]]
    assert set(state["state"][1]) == {"step", "exp_avg", "exp_avg_sq"}
    assert state["state"][1]["step"] == 1


def test_loading_restores_options_and_copies_arrays() -> None:
    net = network()
    optimizer = optim.Adam(net.parameters(), betas=(0.5, 0.6))
    train(net, optimizer, range(2))
    state = optimizer.state_dict()
    other = optim.Adam(network().parameters(), lr=1.0)
    other.load_state_dict(json_like := through_files(state))
    assert json_like["param_groups"][0]["betas"] == [0.5, 0.6]
    assert other.param_groups[0]["betas"] == (0.5, 0.6)
    assert other.param_groups[0]["lr"] == 1e-3
    train(net, optimizer, range(2, 3))
    moved = optimizer.state[net[0].weight]["exp_avg"].numpy()
    kept = other.state_dict()["state"][0]["exp_avg"].numpy()
    assert not np.array_equal(moved, kept)


def test_errors() -> None:
    net = network()
    optimizer = optim.SGD(net.named_parameters(), momentum=0.9)
    train(net, optimizer, range(1))
    state = optimizer.state_dict()
    with pytest.raises(CheckpointError, match=r"\(4 parameters\) do not fit the optimizer's \(2 parameters\)"):
        optim.SGD(net[0].named_parameters()).load_state_dict(state)
    renamed = optim.SGD([(f"x{name}", p) for name, p in net.named_parameters()])
    with pytest.raises(CheckpointError, match=r"'0.weight' was saved where the optimizer has 'x0.weight'"):
        renamed.load_state_dict(state)
    state["state"]["0.bias"]["momentum_buffer"] = np.zeros(7)
    with pytest.raises(CheckpointError, match=r"'momentum_buffer' of 0.bias has shape \(7,\), the parameter \(4,\)"):
        optimizer.load_state_dict(state)
    state["state"]["ghost"] = {}
    state["state"].pop("0.bias")
    with pytest.raises(CheckpointError, match="unknown parameter 'ghost'"):
        optimizer.load_state_dict(state)
