"""Sequential, and lists and dicts of modules and of parameters."""

from __future__ import annotations

from collections import OrderedDict

import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ArgumentError


def test_sequential_calls_in_order() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    assert net(nnlab.ones(3, 2, 2)).shape == (3, 2)
    assert len(net) == 2
    assert [type(m).__name__ for m in net] == ["Flatten", "Linear"]
    assert net[-1] is net[1]


def test_sequential_by_name() -> None:
    net = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3), relu=nn.ReLU()))
    assert list(net.state_dict()) == ["conv.weight", "conv.bias"]
    assert net.conv is net[0]
    assert next(net[1:].named_children())[0] == "relu"
    del net[0]
    assert [name for name, _ in net.named_children()] == ["relu"]


def test_sequential_editing() -> None:
    layers = [nn.Linear(n, n + 1) for n in range(1, 6)]
    net = nn.Sequential(*layers[:3])
    part = net[1:]
    assert isinstance(part, nn.Sequential)
    assert part[0] is layers[1]
    assert [name for name, _ in part.named_children()] == ["1", "2"]
    net.append(layers[3])
    net.extend([layers[4]])
    net.insert(0, nn.Identity())
    assert [name for name, _ in net.named_children()] == ["0", "1", "2", "3", "4", "5"]
    assert net[5] is layers[4]
    net[0] = nn.ReLU()
    assert isinstance(net[0], nn.ReLU)
    del net[0]
    assert net[0] is layers[0]
    assert [name for name, _ in net.named_children()] == ["0", "1", "2", "3", "4"]
    del net[1:3]
    assert list(net) == [layers[0], layers[3], layers[4]]
    with pytest.raises(IndexError, match="out of range for 3"):
        _ = net[3]
    with pytest.raises(ArgumentError, match="must be a Module"):
        nn.Sequential(lambda x: x)
    with pytest.raises(ArgumentError, match="must be a Module"):
        net.insert(0, 3)


def test_module_list() -> None:
    layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    layers += [nn.ReLU()]
    assert len(layers) == 4
    assert list(layers.state_dict())[:2] == ["0.weight", "0.bias"]
    assert isinstance(layers[1:], nn.ModuleList)
    assert list(layers[2:].state_dict()) == ["0.weight", "0.bias"]
    assert layers[-1] in list(layers)
    with pytest.raises(NotImplementedError):
        layers(1)


def test_module_dict() -> None:
    named = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.ReLU()})
    named["c"] = nn.Tanh()
    named.update([("d", nn.Sigmoid())])
    assert list(named) == list(named.keys()) == ["a", "b", "c", "d"]
    assert "a" in named
    assert len(named) == 4
    assert list(named.state_dict()) == ["a.weight", "a.bias"]
    assert isinstance(named.pop("b"), nn.ReLU)
    del named["c"]
    assert [key for key, _ in named.items()] == ["a", "d"]
    assert len(list(named.values())) == 2
    named.clear()
    assert len(named) == 0


def test_parameter_list() -> None:
    held = nn.ParameterList([nnlab.ones(2), nn.Parameter(nnlab.zeros(3))])
    held += [nnlab.ones(1)]
    assert [type(one) for one in held] == [nn.Parameter] * len(held) == [nn.Parameter] * 3
    assert list(held.state_dict()) == ["0", "1", "2"]
    held[-2] = nnlab.full((3,), 5.0)
    assert held[1].tolist() == [5, 5, 5] and held[1].requires_grad
    assert [one is other for one, other in zip(held[1:], list(held)[1:], strict=True)] == [True, True]
    assert len(list(held.double().parameters())) == 3 and held[0].dtype == nnlab.float64
    with pytest.raises(IndexError):
        held[3] = nnlab.ones(1)
    with pytest.raises(ArgumentError, match="'3' must be a Parameter or None, got 'int'"):
        held.append(3)


def test_parameter_dict() -> None:
    held = nn.ParameterDict({"b": nnlab.ones(2), "a": nn.Parameter(nnlab.zeros(3), requires_grad=False)})
    held["c"] = nnlab.ones(1)
    held.update([("b", nnlab.zeros(2))])
    assert [(key, value.requires_grad) for key, value in held.items()] == [("b", True), ("a", False), ("c", True)]
    assert list(held.state_dict()) == [name for name, _ in held.named_parameters()] == list(held) == ["b", "a", "c"]
    assert held.pop("a").shape == (3,) and "a" not in held and len(held) == 2
    with pytest.raises(ArgumentError, match="must be a Parameter or None"):
        held["d"] = nn.ReLU()


@pytest.mark.torch
def test_held_parameters_move_between_libraries() -> None:
    torch = pytest.importorskip("torch")
    for name, values in (("ParameterList", [1.0, 2.0]), ("ParameterDict", {"a": 1.0, "b": 2.0})):
        tensors = [
            {key: make(value) for key, value in values.items()} if isinstance(values, dict) else [*map(make, values)]
            for make in (nnlab.tensor, torch.tensor)
        ]
        ours, theirs = getattr(nn, name)(tensors[0]), getattr(torch.nn, name)(tensors[1])
        assert list(ours.state_dict()) == list(theirs.state_dict())
        ours.load_state_dict({key: value.numpy() * 3 for key, value in theirs.state_dict().items()})
        assert [p.item() for p in ours.parameters()] == [3, 6]


def test_identity_takes_any_arguments() -> None:
    x = nnlab.ones(2)
    assert nn.Identity(3, unused=True)(x) is x
