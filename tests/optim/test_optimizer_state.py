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
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.1}),
    ("Adadelta", {"weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.9, "centered": True}),
    ("Adamax", {"lr": 0.1}),
    ("NAdam", {"lr": 0.1, "momentum_decay": 0.1}),
    ("RAdam", {"lr": 0.1, "betas": (0.5, 0.9)}),
    ("Rprop", {"lr": 0.01, "step_sizes": (1e-3, 0.1)}),
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
    arrays: list[np.ndarray] = []

    def out(value: Any) -> Any:
        if isinstance(value, nnlab.Tensor):
            arrays.append(value.numpy().copy())
            return {"array": len(arrays) - 1}
        if isinstance(value, dict):
            return {str(key): out(each) for key, each in value.items()}
        return [out(each) for each in value] if isinstance(value, list | tuple) else value

    def back(value: Any) -> Any:
        if isinstance(value, dict):
            return arrays[value["array"]] if "array" in value else {key: back(each) for key, each in value.items()}
        return [back(each) for each in value] if isinstance(value, list) else value

    return back(json.loads(json.dumps(out(state))))


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


TORCH_KINDS = [*KINDS, ("LBFGS", {"max_iter": 3, "line_search_fn": "strong_wolfe"})]


@pytest.mark.torch
@pytest.mark.parametrize("way", ["ours to theirs", "theirs to ours"])
@pytest.mark.parametrize(("name", "options"), TORCH_KINDS)
def test_states_move_between_pytorch_and_us(name: str, options: dict[str, Any], way: str) -> None:
    """Three steps here, the state carried over, three steps there: as if all were done in one place."""
    torch = pytest.importorskip("torch")
    torch.set_default_dtype(torch.float64)
    try:
        start = np.random.default_rng(0).standard_normal((3, 2))
        target = np.random.default_rng(1).standard_normal((3, 2))
        libs = [(nnlab, optim, nn.Parameter), (torch, torch.optim, torch.nn.Parameter)]

        def made(side: int, values: np.ndarray, **more: Any) -> tuple[Any, Any, Any]:
            lib, rules, wrap = libs[side]
            p = wrap(lib.tensor(values))
            optimizer = getattr(rules, name)([p], **options, **more)

            def closure() -> Any:
                optimizer.zero_grad()
                loss = ((p - lib.tensor(target)) ** 4).sum()
                loss.backward()
                return loss

            return p, optimizer, closure

        def steps(optimizer: Any, closure: Any, count: int) -> None:
            for _ in range(count):
                optimizer.step(closure)

        def carried(value: Any, side: int) -> Any:
            if isinstance(value, nnlab.Tensor | torch.Tensor):
                host = value.detach().numpy().copy()
                return torch.tensor(host) if side else host
            if isinstance(value, dict):
                return {key: carried(each, side) for key, each in value.items()}
            return type(value)(carried(each, side) for each in value) if isinstance(value, list | tuple) else value

        first, second = (0, 1) if way == "ours to theirs" else (1, 0)
        p, optimizer, closure = made(first, start)
        steps(optimizer, closure, 3)
        q, other, closure_there = made(second, p.detach().numpy().copy())
        other.load_state_dict(carried(optimizer.state_dict(), second))
        steps(other, closure_there, 3)
        steps(optimizer, closure, 3)
        np.testing.assert_allclose(q.detach().numpy(), p.detach().numpy(), rtol=1e-12, atol=1e-12)
        if second == 0:
            json.dumps(other.param_groups[0] | {"params": []})
            assert set(other.param_groups[0]) == {"params", *other.defaults}
    finally:
        torch.set_default_dtype(torch.float32)
