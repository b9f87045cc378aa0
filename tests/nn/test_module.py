"""Module: registration, walking, hooks, moving, printing."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ArgumentError, DtypeError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.body = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        self.scale = nn.Parameter(nnlab.ones(1))
        self.register_buffer("seen", nnlab.zeros(1))
        self.register_buffer("scratch", nnlab.zeros(1), persistent=False)

    def forward(self, x: nnlab.Tensor) -> nnlab.Tensor:
        return self.body(self.first(x)) * self.scale


def test_names_in_order_of_assignment() -> None:
    net = Net()
    expected = ["scale", "first.weight", "first.bias", "body.0.weight", "body.0.bias"]
    assert [name for name, _ in net.named_parameters()] == expected
    assert [name for name, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert [name for name, _ in net.named_parameters(prefix="net")][1] == "net.first.weight"
    assert [name for name, _ in net.named_buffers()] == ["seen", "scratch"]
    assert [name for name, _ in net.named_modules()] == ["", "first", "body", "body.0", "body.1"]
    assert [name for name, _ in net.named_children()] == ["first", "body"]
    assert len(list(net.modules())) == 5
    assert len(list(net.children())) == 2
    assert list(net.state_dict()) == ["scale", "seen", "first.weight", "first.bias", "body.0.weight", "body.0.bias"]
    assert {"first", "scale", "seen"} <= set(dir(net))


def test_a_shared_parameter_is_seen_once_and_saved_under_each_name() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 4
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_assignment_replaces_and_deletes() -> None:
    net = Net()
    net.first = nn.Linear(2, 5)
    assert net.get_submodule("first").out_features == 5
    net.scale = None
    assert net.scale is None
    assert "scale" not in dict(net.named_parameters())
    net.scale = nn.Parameter(nnlab.ones(2))
    assert dict(net.named_parameters())["scale"].shape == (2,)
    net.seen = nnlab.ones(4)
    assert dict(net.named_buffers())["seen"].shape == (4,)
    del net.body
    assert not hasattr(net, "body")
    net.plain = 3
    assert net.plain == 3


def test_bad_registrations() -> None:
    net = Net()
    with pytest.raises(ArgumentError, match=r"'scale' must be a Parameter or None, got 'Tensor'"):
        net.scale = nnlab.ones(1)
    with pytest.raises(ArgumentError, match=r"'first' must be a Module or None, got 'int'"):
        net.first = 3
    with pytest.raises(ArgumentError, match="without a dot"):
        net.register_buffer("a.b", nnlab.ones(1))
    with pytest.raises(ArgumentError, match="would hide an attribute"):
        net.register_parameter("forward", None)
    with pytest.raises(ArgumentError, match="must be a Parameter or None"):
        net.register_parameter("p", nnlab.ones(1))
    with pytest.raises(ArgumentError, match="must be a Module or None"):
        net.register_module("m", nnlab.ones(1))
    with pytest.raises(DtypeError, match="floating point"):
        nn.Parameter(nnlab.tensor([1]))
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = net.missing
    with pytest.raises(NotImplementedError, match=r"\[Module\]"):
        nn.Module()(1)


def test_assignment_before_init_is_an_error() -> None:
    class Early(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(1, 1)

    with pytest.raises(ArgumentError, match=r"\[Early\] super\(\)"):
        Early()


def test_finding_by_path() -> None:
    net = Net()
    assert net.get_submodule("body.0") is net.body[0]
    assert net.get_submodule("") is net
    assert net.get_parameter("body.0.bias") is net.body[0].bias
    assert net.get_buffer("seen") is net.seen
    with pytest.raises(ArgumentError, match=r"Sequential has no child '7'\), got 'body.7'"):
        net.get_submodule("body.7")
    with pytest.raises(ArgumentError, match="path of a parameter"):
        net.get_parameter("seen")
    with pytest.raises(ArgumentError, match="path of a buffer"):
        net.get_buffer("scale")


def test_modes_gradients_and_freezing() -> None:
    net = Net()
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    net.train()
    assert all(module.training for module in net.modules())
    with pytest.raises(ArgumentError, match="'mode' must be a bool"):
        net.train("yes")
    net(nnlab.ones(1, 2)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all(not p.grad.any().item() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(False)
    assert not net(nnlab.ones(1, 2)).requires_grad


def test_changing_dtype_keeps_the_parameter_objects_and_integer_buffers() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    params = list(net.parameters())
    net(nnlab.randn(2, 1, 5, 5)).sum().backward()
    assert net.double() is net
    assert all(a is b for a, b in zip(params, net.parameters(), strict=True))
    assert {p.dtype for p in params} == {nnlab.float64}
    assert {p.grad.dtype for p in params} == {nnlab.float64}
    assert net[1].num_batches_tracked.dtype == nnlab.int64
    net.zero_grad()
    net(nnlab.randn(2, 1, 5, 5, dtype=nnlab.float64)).sum().backward()
    assert net.half()[0].weight.dtype == nnlab.float16
    assert net.to(nnlab.float32)[0].weight.dtype == nnlab.float32
    assert net.to("cpu", nnlab.float64)[0].weight.dtype == nnlab.float64
    assert net.to(nnlab.zeros(1))[0].weight.dtype == nnlab.float32
    assert net.cpu().float()[0].weight.device == "cpu"
    with pytest.raises(ArgumentError, match="floating point"):
        net.to(dtype=nnlab.int32)


def test_apply_visits_children_first() -> None:
    order: list[str] = []
    Net().apply(lambda module: order.append(type(module).__name__))
    assert order == ["Linear", "Linear", "ReLU", "Sequential", "Net"]


def test_hooks_see_and_replace_arguments_and_results() -> None:
    layer = nn.Identity()
    calls: list[Any] = []
    first = layer.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    second = layer.register_forward_hook(lambda module, args, output: output * 10)
    third = layer.register_forward_hook(lambda module, args, output: calls.append((args, output)))
    assert layer(1) == 20
    assert calls == [((2,), 20)]
    second.remove()
    second.remove()
    assert layer(1) == 2
    first.remove()
    third.remove()
    assert layer(1) == 1
    assert len(calls) == 2


def test_hooks_with_keywords_order_and_with_block() -> None:
    class Keyed(nn.Module):
        def forward(self, x: int, *, y: int = 0) -> int:
            return x + y

    layer = Keyed()
    with layer.register_forward_pre_hook(lambda m, args, kw: (args, {"y": kw["y"] + 1}), with_kwargs=True):
        assert layer(1, y=2) == 4
    assert layer(1, y=2) == 3
    seen: list[str] = []
    layer.register_forward_hook(lambda m, args, out: seen.append("last"))
    layer.register_forward_hook(lambda m, args, kw, out: seen.append(f"first {kw}"), prepend=True, with_kwargs=True)
    layer(1, y=2)
    assert seen == ["first {'y': 2}", "last"]
    layer.register_forward_pre_hook(lambda m, args: args[0] * 100)
    assert layer(1, y=2) == 102


def test_deepcopy_is_independent() -> None:
    net = Net()
    net(nnlab.ones(1, 2)).sum().backward()
    copied = copy.deepcopy(net)
    assert isinstance(copied.first.weight, nn.Parameter)
    assert copied.first.weight.requires_grad
    with nnlab.no_grad():
        copied.first.weight.fill_(7.0)
    assert not np.any(net.first.weight.detach().numpy() == 7.0)
    assert [n for n, _ in copied.named_parameters()] == [n for n, _ in net.named_parameters()]
    hooked = nn.Identity()
    hooked.register_forward_hook(lambda m, args, out: out + 1)
    assert copy.deepcopy(hooked)(1) == 2


def test_repr() -> None:
    assert repr(nn.Linear(2, 3)) == "Linear(in_features=2, out_features=3, bias=True)"
    assert repr(Net()) == (
        "Net(\n"
        "  (first): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (body): Sequential(\n"
        "    (0): Linear(in_features=3, out_features=3, bias=True)\n"
        "    (1): ReLU()\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Parameter(nnlab.ones(2))).startswith("Parameter containing:\ntensor([1., 1.]")
