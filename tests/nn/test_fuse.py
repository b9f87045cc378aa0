"""Neighbours in a Sequential that are computed in another way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ShapeError
from nnlab.models.summary import summary
from nnlab.nn import fuse
from nnlab.nn.fuse import in_order
from nnlab.train.nonfinite import find_culprit
from tests import emulator


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


def network() -> nn.Sequential:
    """Two convolutions with relu, one of which is followed by pooling."""
    nnlab.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(4, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding_mode="reflect", padding=1),
        nn.ReLU(inplace=True), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 5, 1),
    )  # fmt: skip


def gradients(
    net: nn.Sequential, run: Callable[[nnlab.Tensor], nnlab.Tensor], device: str, size: int = 8
) -> list[np.ndarray]:
    net.zero_grad()
    x = nnlab.tensor(np.random.default_rng(5).standard_normal((2, 4, size, size)).astype("float32"), device=device)
    x.requires_grad_()
    y = run(x)
    (y.float() * y.float()).sum().backward()
    assert x.grad is not None
    return [t.detach().cpu().numpy() for t in (y, x.grad, *(p.grad for p in net.parameters() if p.grad is not None))]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The classes of the modules that were computed as one operation."""
    seen: list[str] = []
    for types, function in fuse.TOGETHER.items():

        def noted(input: Any, *modules: nn.Module, function: Any = function) -> Any:
            result, done = function(input, *modules)
            if done > 1:
                seen.append(" ".join(type(module).__name__ for module in modules[:done]))
            return result, done

        monkeypatch.setitem(fuse.TOGETHER, types, noted)
    return seen


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_convolution_and_relu_as_one_operation(device: str, low: bool, calls: list[str]) -> None:
    """The bits of one after the other, in float32 and under autocast."""
    if device == "emulated":
        emulator.backend()
    net = network().to(device)
    with nnlab.autocast(device, enabled=low, dtype=nnlab.float16):
        found, wanted = gradients(net, net, device), gradients(net, lambda x: one_by_one(net, x), device)
    assert calls == ["Conv2d ReLU", "Conv2d ReLU"]  # relu follows pooling in the third
    assert len(found) == len(wanted) == 10
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("make", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_dimensions(make: type[nn.Module], calls: list[str]) -> None:
    net = nn.Sequential(make(2, 3, 2), nn.ReLU())
    x = nnlab.randn(2, 2, *[4] * (net[0].weight.ndim - 2))  # type: ignore[operator]
    np.testing.assert_array_equal(net(x).detach().numpy(), one_by_one(net, x).detach().numpy())
    assert calls == [f"{make.__name__} ReLU"]


def test_convolutions_that_stay_alone(calls: list[str]) -> None:
    class Mine(nn.Conv2d):
        pass

    x, conv, relu = nnlab.randn(1, 2, 4, 4), nn.Conv2d(2, 2, 3), nn.ReLU()
    for modules in ([conv], [conv, nn.ReLU6()], [Mine(2, 2, 3), relu], [nn.ConvTranspose2d(2, 2, 3), relu]):
        nn.Sequential(*modules)(x)
    for module in (conv, relu):
        for register in (module.register_forward_hook, module.register_forward_pre_hook):
            shapes: list[bool] = []
            with register(lambda module, args, *rest, shapes=shapes: shapes.append(bool((args[0] < 0).any().item()))):
                nn.Sequential(conv, relu)(x)
            assert shapes == [True]  # of x, or what the convolution gave
    assert calls == []
    nn.Sequential(conv, relu)(x)
    assert calls == ["Conv2d ReLU"]


POOLED = "Conv2d MaxPool2d ReLU"


def pooled_network() -> nn.Sequential:
    nnlab.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(4, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 24, 3, padding=1, bias=False),
        nn.ReLU(inplace=True), nn.MaxPool2d((2, 2), stride=2), nn.Conv2d(24, 16, 1),
        nn.MaxPool2d(2, (2, 2), (0, 0)), nn.ReLU(),
    )  # fmt: skip


@pytest.fixture
def tensor_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator.backend(), "tensor_cores", True)


@pytest.mark.usefixtures("tensor_cores")
@pytest.mark.parametrize("low", [None, nnlab.float16, nnlab.bfloat16])
def test_convolution_relu_and_pooling_as_one_operation(low: Any, calls: list[str]) -> None:
    """The bits of one after the other on tensor cores; of odd sizes too."""
    net = pooled_network().to("emulated")
    with nnlab.autocast("emulated", enabled=low is not None, dtype=low):
        found = gradients(net, net, "emulated", 9)
        wanted = gradients(net, lambda x: one_by_one(net, x), "emulated", 9)
    assert calls == [POOLED] * 3
    assert found[0].shape == (2, 16, 1, 1) and len(found) == len(wanted) == 7
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert all(array.any() for array in found)


@pytest.mark.usefixtures("tensor_cores")
@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3), nn.MaxPool2d(2, 1), nn.MaxPool2d(2, padding=1), nn.MaxPool2d(2, dilation=2),
        nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d((2, 1)), nn.MaxPool2d(2, (2, 1)), nn.MaxPool2d(2, padding=(1, 0)),
        nn.MaxPool2d(2, dilation=(1, 2)),
    ],
)  # fmt: skip
def test_other_poolings_stay_alone(pool: nn.Module, calls: list[str]) -> None:
    net = nn.Sequential(nn.Conv2d(16, 16, 2), nn.ReLU(), pool).to("emulated")
    x = nnlab.randn(1, 16, 6, 6, device="emulated")
    np.testing.assert_array_equal(net(x).detach().cpu().numpy(), one_by_one(net, x).detach().cpu().numpy())
    assert calls == []


@pytest.mark.usefixtures("tensor_cores")
def test_convolutions_with_pooling_that_no_kernel_takes(calls: list[str]) -> None:
    """Few channels, float64, a first layer whose neighbours are channels, other devices; pooling that gives places."""
    relu, pool = nn.ReLU(), nn.MaxPool2d(2)
    for conv, device in (
        (nn.Conv2d(16, 8, 3), "emulated"), (nn.Conv2d(16, 16, 3, dtype=nnlab.float64), "emulated"),
        (nn.Conv2d(3, 16, 3, padding=1), "emulated"), (nn.Conv2d(16, 16, 3), "cpu"),
    ):  # fmt: skip
        net = nn.Sequential(conv, relu, pool).to(device)
        x = nnlab.randn(1, conv.in_channels, 6, 6, device=device, dtype=conv.weight.dtype)
        with nnlab.autocast("emulated", enabled=conv.in_channels == 3, dtype=nnlab.float16):
            np.testing.assert_array_equal(net(x).detach().cpu().numpy(), one_by_one(net, x).detach().cpu().numpy())
    places = nn.Sequential(nn.Conv2d(16, 16, 3), nn.MaxPool2d(2, return_indices=True)).to("emulated")
    assert len(places(nnlab.randn(1, 16, 6, 6, device="emulated"))) == 2
    with pytest.raises(IndexError):  # relu takes no pairs
        nn.Sequential(*places, nn.ReLU())(nnlab.randn(1, 16, 6, 6, device="emulated"))
    assert calls == []


@pytest.mark.usefixtures("tensor_cores")
def test_an_image_without_a_batch_is_pooled_too(calls: list[str]) -> None:
    net = pooled_network().to("emulated")
    x = nnlab.randn(4, 9, 9, device="emulated")
    with nnlab.no_grad():
        np.testing.assert_array_equal(net(x).cpu().numpy(), net(x.unsqueeze(0)).cpu().numpy()[0])
    assert calls == [POOLED] * 6


@pytest.mark.usefixtures("tensor_cores")
def test_hooks_see_what_is_pooled(calls: list[str]) -> None:
    """With a hook on any of the three they are called one by one, or two as a pair."""
    net = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)).to("emulated")
    x = nnlab.randn(1, 16, 4, 4, device="emulated")
    for module, shape in zip(net, ((1, 16, 4, 4), (1, 16, 4, 4), (1, 16, 2, 2)), strict=True):
        shapes: list[tuple[int, ...]] = []
        with module.register_forward_hook(lambda m, args, y, shapes=shapes: shapes.append(tuple(y.shape))):
            net(x)
        assert shapes == [shape]
    assert calls == ["Conv2d ReLU"]  # the hook on the pooling
    assert [row.kind for row in summary(net, (1, 16, 4, 4)).rows] == ["Conv2d", "ReLU", "MaxPool2d"]
    calls.clear()
    with nnlab.no_grad():
        net[0].weight.fill_(3e38)  # type: ignore[operator,union-attr]
    found = find_culprit(net, lambda y, _: y.sum(), x * x + 10, nnlab.zeros(1, device="emulated"))
    assert found.startswith("[0 Conv2d] its output holds") and calls == []


@pytest.mark.usefixtures("tensor_cores")
def test_an_error_of_the_pooling_names_the_pooling() -> None:
    net = nn.Sequential(nn.Conv2d(16, 16, 3), nn.ReLU(), nn.MaxPool2d(2)).to("emulated")
    with pytest.raises(ShapeError, match=r"\[MaxPool2d\].*\(layer 2\)"):
        net(nnlab.zeros(1, 16, 3, 3, device="emulated"))


def test_an_error_of_the_pair_is_that_of_its_convolution() -> None:
    net = nn.Sequential(nn.Identity(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    with pytest.raises(ShapeError, match=r"\[Conv2d\] 'input' must have 3 channels .* \(layer 1.0\)"):
        net(nnlab.zeros(1, 2, 4, 4))


def test_summaries_and_searches_see_both_layers() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    assert [row.kind for row in summary(net, (1, 1, 3, 3)).rows] == ["Conv2d", "ReLU"]
    with nnlab.no_grad():
        net[0].weight.fill_(3e38)  # type: ignore[operator,union-attr]
    found = find_culprit(net, lambda y, _: y.sum(), nnlab.full((1, 1, 2, 2), 10.0), nnlab.zeros(1))
    assert found.startswith("[0 Conv2d] its output holds")


@pytest.mark.parametrize("make", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [nnlab.float32, nnlab.float16])
def test_batch_norm_and_relu_as_one_operation(make: Any, last: bool, dtype: Any, calls: list[str]) -> None:
    """The bits of one after the other, of arrays in row-major order and batch last."""
    layer = make(5)
    net = nn.Sequential(layer, nn.ReLU(inplace=True)).to(dtype=dtype)
    shape = (40, 5, *[6] * (layer.dims[-1] - 2))
    values, dy = np.random.default_rng(0).standard_normal((2, *shape)).astype("float32")
    if last:
        values = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 0, -1)), -1, 0)
    values[0, 1] = 1e3
    found = []
    for run in (net, lambda x: one_by_one(net, x)):
        net.zero_grad()
        layer.reset_running_stats()
        x = nnlab.from_numpy(values).to(dtype).requires_grad_()
        y = run(x)
        y.backward(nnlab.from_numpy(dy).to(dtype))
        assert x.grad is not None and layer.weight.grad is not None
        found.append([t.detach().numpy() for t in (y, x.grad, layer.weight.grad, layer.bias.grad, layer.running_var)])
    assert calls == [f"{make.__name__} ReLU"]
    assert (found[0][0] == 0).any() and (found[0][0] > 0).any()
    for ours, theirs in zip(*found, strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_batch_norm_and_relu_of_any_order_and_in_evaluation(calls: list[str]) -> None:
    net = nn.Sequential(nn.BatchNorm2d(2), nn.ReLU())
    x = nnlab.tensor(np.random.default_rng(1).standard_normal((3, 2, 2, 2)), requires_grad=True)
    net.to(dtype=nnlab.float64)
    (first,) = nnlab.autograd.grad((net(x) ** 2).sum(), [x], create_graph=True)
    (ours,) = nnlab.autograd.grad((first**2).sum(), [x])
    (first,) = nnlab.autograd.grad((one_by_one(net, x) ** 2).sum(), [x], create_graph=True)
    (theirs,) = nnlab.autograd.grad((first**2).sum(), [x])
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)  # float64's rounding, a few thousand times
    net.eval()
    np.testing.assert_array_equal(net(x).detach().numpy(), one_by_one(net, x).detach().numpy())
    assert calls == ["BatchNorm2d ReLU"] * 2
    emulator.backend()
    net.train()
    net.to("emulated", dtype=nnlab.float32)(nnlab.randn(3, 2, 4, 4, device="emulated"))
    assert len(calls) == 2
