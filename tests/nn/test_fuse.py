"""Neighbours in a Sequential that are computed in another way."""

from __future__ import annotations

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ShapeError
from nnlab.nn.fuse import in_order


def one_by_one(net: nn.Sequential, x: nnlab.Tensor) -> nnlab.Tensor:
    for module in net:
        x = module(x)
    return x


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)),
    ],
)
def test_relu_after_max_pooling_is_relu_before(pool: nn.Module, inplace: bool) -> None:
    net = nn.Sequential(nn.Identity(), nn.ReLU(inplace), pool)
    values = np.random.default_rng(0).integers(-3, 3, (2, 3, 9, 8)).astype("float32")  # many ties
    values[0, 0, 0, 0] = np.nan
    found = []
    for run in (net, lambda x: one_by_one(net, x)):
        x = nnlab.tensor(values, requires_grad=True)
        y = run(x * 1)
        y.backward(nnlab.tensor(np.random.default_rng(1).standard_normal(y.shape).astype("float32")))
        assert x.grad is not None
        found.append((y.detach().numpy(), x.grad.numpy()))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_only_what_nobody_sees_is_moved() -> None:
    first, relu, pool = nn.Identity(), nn.ReLU(), nn.MaxPool2d(2)
    assert in_order([first, relu, pool]) == [first, pool, relu]
    assert in_order([relu, pool]) == [pool, relu]
    assert in_order([first, relu, pool, nn.Flatten(), relu])[:3] == [first, pool, relu]
    again = nn.MaxPool2d(2)
    assert in_order([first, relu, pool, again]) == [first, pool, again, relu]

    class Mine(nn.ReLU):
        pass

    kept = [
        [first, Mine(), pool],
        [first, nn.LeakyReLU(), pool],
        [first, relu, nn.AvgPool2d(2)],
        [first, relu, nn.MaxPool2d(2, return_indices=True)],
        [nn.ReLU(inplace=True), pool],
    ]
    for modules in kept:
        assert in_order(modules) == modules
    with relu.register_forward_hook(lambda *_: None):
        assert in_order([first, relu, pool]) == [first, relu, pool]
    with pool.register_forward_pre_hook(lambda *_: None):
        assert in_order([first, relu, pool]) == [first, relu, pool]


def test_a_hook_sees_the_layers_as_they_are_written() -> None:
    net = nn.Sequential(nn.Identity(), nn.ReLU(), nn.MaxPool2d(2))
    shapes = []
    with net[1].register_forward_hook(lambda module, args, output: shapes.append(tuple(output.shape))):
        net(nnlab.zeros(1, 1, 4, 4))
    assert shapes == [(1, 1, 4, 4)]


def test_an_error_names_the_layer_by_its_place() -> None:
    net = nn.Sequential(nn.Identity(), nn.ReLU(), nn.MaxPool2d(9))
    with pytest.raises(ShapeError, match=r"\[MaxPool2d\].*\(layer 2\)"):
        net(nnlab.zeros(1, 1, 4, 4))
