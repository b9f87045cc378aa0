"""The device ``emulated``: arrays of its own, kernels run on the CPU, the same training as on ``cpu``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

import nnlab
import nnlab.ops
from nnlab.backend import emulated, get_backend, resolve
from nnlab.cli.app import app
from nnlab.cuda import launch
from nnlab.data.readers import read_digits
from nnlab.errors import ArgumentError, DeviceError
from nnlab.models import lenet5, registry
from nnlab.nn import functional as F
from tests import emulator
from tests.autograd.test_operations import FUNCTIONS, IDS, operands
from tests.test_device_code import train

emulator.backend()

CONVOLUTION = {"conv_forward", "conv_input_grad", "conv_weight_grad", "conv_bias_grad", "conv_sum"}


def test_the_name() -> None:
    device = nnlab.device("emulated")
    assert (device.type, str(device), repr(device)) == ("emulated", "emulated", "device('emulated')")
    assert device != nnlab.device("cpu")
    assert resolve("emulated") == ("emulated", "as asked")
    with pytest.raises(DeviceError, match="'emulated:1'"):
        nnlab.device("emulated:1")


def test_transfers_copy_both_ways() -> None:
    host = np.ones(3, np.float32)
    there = nnlab.from_numpy(host).to("emulated")
    host[0] = 5
    assert there.tolist() == [1, 1, 1]
    back = there.cpu()
    there.mul_(3)
    assert back.tolist() == [1, 1, 1]
    assert repr(there) == "tensor([3., 3., 3.], device='emulated')"


def test_transfers_carry_gradients() -> None:
    x = nnlab.tensor([1.0, 2.0], requires_grad=True)
    (x.to("emulated") * 3).sum().cpu().backward()
    assert x.grad.device == "cpu"
    assert x.grad.tolist() == [3, 3]


def test_mixed_devices_are_named() -> None:
    with pytest.raises(DeviceError, match=r"\[Add\].*cpu, emulated"):
        nnlab.ones(2) + nnlab.ones(2, device="emulated")
    with pytest.raises(DeviceError, match=r"the tensor is on emulated; use .cpu\(\).numpy\(\)"):
        nnlab.ones(2, device="emulated").numpy()


def test_memory_that_nobody_wrote_is_poisoned() -> None:
    xp = get_backend("emulated").xp
    for dtype in ("float16", "float32", "float64"):
        assert np.isnan(xp.empty((2, 3), dtype)).all()
        assert np.isnan(xp.empty_like(np.zeros((3, 2), dtype).T)).all()
    assert (xp.empty(4, "int32") == -1).all()
    assert xp.empty((2, 0)).shape == (2, 0)
    assert xp.empty((), "float32").shape == ()


def test_no_compiler_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated, "why_unusable", lambda: "no C++ compiler was found")
    nnlab.backend._backend.cache_clear()
    try:
        with pytest.raises(DeviceError, match=r"'emulated' is not usable: no C\+\+ compiler was found"):
            get_backend("emulated")
    finally:
        nnlab.backend._backend.cache_clear()


@pytest.mark.parametrize("function", FUNCTIONS, ids=IDS)
def test_operations(function: Any) -> None:
    host = operands()
    device = [t.detach().to("emulated").requires_grad_() for t in host]
    y, z = function(nnlab, *host), function(nnlab, *device)
    assert z.device == "emulated"
    np.testing.assert_array_equal(y.detach().numpy(), z.detach().cpu().numpy())
    y.sum().backward()
    z.sum().backward()
    for a, b in zip(host, device, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            np.testing.assert_array_equal(a.grad.numpy(), b.grad.cpu().numpy())


def _started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    run = launch.run

    def note(be: Any, ready: launch.Launch) -> None:
        names.append(ready.name)
        run(be, ready)

    monkeypatch.setattr(launch, "run", note)
    return names


@pytest.mark.parametrize("order", ["ascending", "descending", 3])
def test_dropout_through_its_kernel(monkeypatch: pytest.MonkeyPatch, order: str | int) -> None:
    started = _started(monkeypatch)
    results = []
    for device in ("cpu", "emulated"):
        nnlab.manual_seed(4)
        x = nnlab.ones(50, 7).to(device).requires_grad_()
        be: Any = get_backend("emulated")
        with be.ordered(order):
            y = F.dropout(x, 0.3, training=True)
            (y * y).sum().backward()
        results.append((y.detach().cpu().numpy(), x.grad.cpu().numpy()))
    assert started == ["dropout_forward", "dropout_backward"]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_the_same_training_as_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights and losses of a network with everything in it; only convolutions and the powers of the normalisation
    round differently."""
    started = _started(monkeypatch)
    host_losses, host_weights = train("cpu")
    assert started == []
    losses, weights = train("emulated")
    for operation in ("dropout", "relu", "avg_pool", "local_response_norm"):
        assert started.count(f"{operation}_forward") == started.count(f"{operation}_backward") == 3
    assert {"max_pool_forward", "max_pool_scatter", "sgd_momentum_step"} | CONVOLUTION < set(started)
    np.testing.assert_allclose(losses, host_losses, rtol=1e-6)
    for name, value in weights.items():
        np.testing.assert_allclose(value, host_weights[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_wrong_target_is_named_as_on_the_cpu() -> None:
    with pytest.raises(ArgumentError, match=r"'target' must be class numbers in 0..2, got 7"):
        F.cross_entropy(nnlab.ones(1, 3, device="emulated"), nnlab.tensor([7]).to("emulated"))


def test_train_on_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``nnlab train`` with LeNet and dropout: after the run the weights of both devices agree. Convolutions add up in
    another order than the CPU's matrix products, and exponentials are rounded differently."""
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn (extra demo)")
    started = _started(monkeypatch)
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))

    @registry.register(channels=1, size=28)
    def lenet_dropout(**kwargs: Any) -> nnlab.nn.Module:
        return nnlab.nn.Sequential(lenet5(**kwargs), nnlab.nn.Dropout(0.25))

    weights = []
    for device in ("cpu", "emulated"):
        out = tmp_path / device
        command = ["train", "--fast-dev-run", "--model", "lenet_dropout", "--device", device, "--out", str(out)]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        weights.append(load_file(out / "last" / "weights.safetensors"))
    pooling = {"avg_pool_forward", "avg_pool_backward"}
    loss = {"cross_entropy_forward", "cross_entropy_sum", "cross_entropy_backward"}
    assert set(started) == {"dropout_forward", "dropout_backward", "sgd_momentum_step"} | pooling | loss | CONVOLUTION
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def _digits_epoch(device: str) -> tuple[list[float], list[np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """An epoch of LeNet with dropout on the digits: losses, dropout masks, weights before and after."""
    nnlab.manual_seed(7)
    model = lenet5(image_size=32)
    model.classifier.insert(4, nnlab.nn.Dropout(0.5))
    before = {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}
    model.to(device)
    masks: list[np.ndarray] = []
    model.classifier[4].register_forward_hook(lambda module, x, y: masks.append((y == 0).cpu().numpy()))
    optimizer = nnlab.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    images, labels = read_digits()
    images = images[:1408].repeat(4, axis=1).repeat(4, axis=2).reshape(22, 64, 1, 32, 32).astype(np.float32) / 128 - 1
    losses = []
    for x, target in zip(images, labels[:1408].reshape(22, 64), strict=True):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(nnlab.from_numpy(x).to(device)), nnlab.from_numpy(target).to(device))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, masks, before, {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}


def test_an_epoch_of_lenet_on_digits() -> None:
    """The first 20 losses within 1e-6 and the weights after the epoch within 2e-6 of the largest: sums in another order
    differ by float32 roundings (6e-8), and 22 steps of this training hardly add to them."""
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn (extra demo)")
    losses, masks, before, after = _digits_epoch("cpu")
    found_losses, found_masks, found_before, found_after = _digits_epoch("emulated")
    assert losses[-1] < 1.5 < losses[0]
    for name, value in before.items():
        np.testing.assert_array_equal(found_before[name], value, err_msg=name, strict=True)
    np.testing.assert_array_equal(found_masks, masks)
    np.testing.assert_allclose(found_losses[:20], losses[:20], rtol=1e-6)
    for name, value in after.items():
        np.testing.assert_allclose(found_after[name], value, rtol=0, atol=2e-6 * np.abs(value).max(), err_msg=name)
