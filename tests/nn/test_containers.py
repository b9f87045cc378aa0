"""Sequential, ModuleList, ModuleDict."""

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


def test_identity_takes_any_arguments() -> None:
    x = nnlab.ones(2)
    assert nn.Identity(3, unused=True)(x) is x
