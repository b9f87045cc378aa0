"""The code that runs on a GPU, run without one on arrays as strict as CuPy's: same bits as on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import nnlab
import nnlab.backend
import nnlab.ops
from nnlab.errors import DeviceError, GraphError
from tests.autograd.test_operations import FUNCTIONS, IDS, operands
from tests.strict_device import StrictBackend


@pytest.fixture
def strict(monkeypatch):
    """A device "cuda" without a GPU; operations with kernels run their array code."""
    backend = StrictBackend()
    real = nnlab.backend._backend
    monkeypatch.setattr(nnlab.backend, "_backend", lambda kind, i: backend if kind == "cuda" else real(kind, i))
    monkeypatch.setattr(nnlab.ops, "CUDA_KERNELS", frozenset())
    return backend


@pytest.mark.parametrize("function", FUNCTIONS, ids=IDS)
def test_operations(strict, function):
    host = operands()
    device = [t.detach().cuda().requires_grad_() for t in host]
    y, z = function(nnlab, *host), function(nnlab, *device)
    assert z.device == "cuda:0"
    np.testing.assert_array_equal(y.detach().numpy(), z.detach().cpu().numpy())
    y.sum().backward()
    z.sum().backward()
    for a, b in zip(host, device, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            np.testing.assert_array_equal(a.grad.numpy(), b.grad.cpu().numpy())


def test_transfer_carries_gradients(strict):
    x = nnlab.tensor([1.0, 2.0], requires_grad=True)
    (x.cuda() * 3).sum().cpu().backward()
    assert x.grad.device == "cpu"
    assert x.grad.tolist() == [3, 3]


def test_mixed_devices_are_named(strict):
    with pytest.raises(DeviceError, match=r"\[Add\].*cpu, cuda:0"):
        nnlab.ones(2) + nnlab.ones(2, device="cuda")
    with pytest.raises(DeviceError, match=r"use .cpu\(\).numpy\(\)"):
        nnlab.ones(2, device="cuda").numpy()


def test_creation_and_in_place(strict):
    x = nnlab.zeros(3, device="cuda")
    x += 2
    x[1] = nnlab.tensor(5.0).cuda()
    x.mul_(x)
    assert x.tolist() == [4, 25, 4]
    assert repr(x) == "tensor([ 4., 25.,  4.], device='cuda:0')"
    nnlab.manual_seed(1)
    a = nnlab.randn(4)
    nnlab.manual_seed(1)
    assert (nnlab.randn(4, device="cuda").cpu() == a).all()


def test_in_place_checks(strict):
    x = nnlab.ones(2, device="cuda", requires_grad=True)
    h = x * 2
    y = h * h
    h.add_(1)
    with pytest.raises(GraphError, match="in place"):
        y.sum().backward()


def train(device: str, steps: int = 3) -> tuple[list[float], dict[str, np.ndarray]]:
    """A few steps of a small network with everything in it; the losses and the weights."""
    nnlab.manual_seed(0)
    nn, rng = nnlab.nn, np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, groups=2, stride=2, padding="valid"),
        nn.LocalResponseNorm(3),
        nn.AvgPool2d(2, stride=1),
        nn.ConvTranspose2d(8, 6, 2, stride=2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(24, 5),
    ).to(device)
    optimizer = nnlab.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    losses = []
    for _ in range(steps):
        x = nnlab.from_numpy(rng.standard_normal((6, 1, 14, 14)).astype(np.float32)).to(device)
        target = nnlab.from_numpy(rng.integers(0, 5, 6)).to(device)
        optimizer.zero_grad()
        loss = criterion(model(x), target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses, {k: v.detach().cpu().numpy() for k, v in model.state_dict().items()}


def test_training_gives_the_same_bits(strict):
    host_losses, host_weights = train("cpu")
    losses, weights = train("cuda")
    assert losses == host_losses
    assert weights.keys() == host_weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(value, host_weights[name], err_msg=name)
