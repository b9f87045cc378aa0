"""``GradScaler``: the scale against PyTorch's rule, skipped steps, clipping, state, and how often it waits."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import nnlab
import nnlab.backend
import nnlab.ops
from nnlab import nn, optim
from nnlab.amp import GradScaler
from nnlab.backend import emulated
from nnlab.errors import ArgumentError, CheckpointError, DeviceError, DtypeError, GraphError
from nnlab.nn.utils import clip_grad_norm_
from tests.strict_device import StrictBackend


def weights(*values: float) -> nn.Parameter:
    return nn.Parameter(nnlab.tensor(values))


def test_scale() -> None:
    scaler = GradScaler("cpu", init_scale=4.0)
    x = nnlab.tensor(1.5, requires_grad=True)
    assert scaler.scale(x).item() == 6.0
    assert [y.item() for y in scaler.scale([x, nnlab.tensor(2.0)])] == [6.0, 8.0]
    assert [y.item() for y in scaler.scale((x,))] == [6.0]
    # 3 * 65536 is no float16.
    large = GradScaler("cpu").scale(nnlab.tensor([3.0], dtype=nnlab.float16))
    assert large.dtype == nnlab.float32 and large.item() == 196608.0
    assert scaler.scale(nnlab.tensor(2.0, dtype=nnlab.float64)).dtype == nnlab.float64
    with pytest.raises(ArgumentError, match=r"\[GradScaler\] 'outputs' must hold tensors, got 'float'"):
        scaler.scale([1.0])


def test_small_gradients_survive_in_float16() -> None:
    """1e-8 is no float16 number, 1e-8 * 65536 is near one."""
    for scale, expected in ((1.0, 0.0), (65536.0, 1e-8)):
        w = weights(1.0)
        scaler = GradScaler("cpu", init_scale=scale)
        optimizer = optim.SGD([w], lr=1.0)
        with nnlab.autocast("cpu", "float16"):
            y = nnlab.ones(1, 1) @ w.reshape(1, 1)
        scaler.scale(y.float().sum() * 1e-8).backward()
        scaler.unscale_(optimizer)
        assert w.grad is not None
        np.testing.assert_allclose(w.grad.numpy(), expected, rtol=2.0**-11)


def test_an_overflow_skips_the_step_and_halves_the_scale() -> None:
    w, untouched = weights(1.0, 2.0), weights(3.0)
    optimizer = optim.SGD([w, untouched], lr=0.5, momentum=0.9)
    scaler = GradScaler("cpu", init_scale=8.0)
    for bad in (math.inf, -math.inf, math.nan):
        before, scale = w.tolist(), scaler.get_scale()
        optimizer.zero_grad()
        scaler.scale((w * nnlab.tensor([1.0, bad])).sum()).backward()
        assert scaler.step(optimizer) is None
        scaler.update()
        assert w.tolist() == before and not optimizer.state
        assert scaler.get_scale() == scale / 2
    assert scaler.get_scale() == 1.0
    optimizer.zero_grad()
    scaler.scale((w * 3).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [-0.5, 0.5] and untouched.tolist() == [3.0]


@pytest.mark.torch
def test_the_scale_is_pytorchs() -> None:
    """300 steps with injected infinities: scale and weights after each."""
    torch = pytest.importorskip("torch")
    options: dict[str, Any] = {"init_scale": 2.0**120, "growth_factor": 4.0, "backoff_factor": 0.25}
    options["growth_interval"] = 3
    ours, theirs = GradScaler("cpu", **options), torch.amp.GradScaler("cpu", **options)
    w, v = weights(1.0), torch.nn.Parameter(torch.ones(1))
    descent, other = optim.SGD([w], lr=2.0**-5), torch.optim.SGD([v], lr=2.0**-5)
    random = np.random.default_rng(2)
    seen = set()
    for step in range(300):
        factor = float(random.choice([1.0, 2.0**-120, math.inf, math.nan], p=[0.1, 0.8, 0.05, 0.05]))
        for scaler, param, optimizer in ((ours, w, descent), (theirs, v, other)):
            optimizer.zero_grad()
            scaler.scale((param * factor).sum()).backward()
            if step % 2:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update(float(2.0**60) if step == 150 else None)
        assert ours.get_scale() == theirs.get_scale(), step
        assert w.item() == v.item(), step
        assert ours.state_dict() == theirs.state_dict(), step
        seen.add(ours.get_scale())
    assert len(seen) > 10 and max(seen) >= 2.0**122


def test_a_scale_that_would_be_infinite_stays() -> None:
    scaler = GradScaler("cpu", init_scale=2.0**127, growth_interval=1)
    w = weights(1.0)
    optimizer = optim.SGD([w], lr=1.0)
    scaler.scale(w.sum() * 0.25).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**127 and w.item() == 0.75


def test_clipping_after_unscale() -> None:
    """The norm (3, 4) is 5; scaled by 1024 it would have been clipped to another direction's length."""
    w = weights(0.0, 0.0)
    optimizer = optim.SGD([w], lr=1.0)
    scaler = GradScaler("cpu", init_scale=1024.0)
    scaler.scale((w * nnlab.tensor([3.0, 4.0])).sum()).backward()
    scaler.unscale_(optimizer)
    assert w.grad is not None and w.grad.tolist() == [3.0, 4.0]
    assert clip_grad_norm_([w], 1.0).item() == 5.0
    scaler.step(optimizer)
    np.testing.assert_allclose(w.detach().numpy(), [-0.6, -0.8], rtol=1e-6)


def test_several_optimizers() -> None:
    """One overflows: the other one's step is made, the scale goes down once."""
    w, v = weights(1.0), weights(1.0)
    first, second = optim.SGD([w], lr=1.0), optim.SGD([v], lr=1.0)
    scaler = GradScaler("cpu", init_scale=8.0)
    for loss in (w.sum(), v.sum() * math.inf):
        scaler.scale(loss).backward()
    for optimizer in (first, second):
        scaler.step(optimizer)
    scaler.update()
    assert (w.item(), v.item(), scaler.get_scale()) == (0.0, 1.0, 4.0)


@pytest.mark.skipif(emulated.why_unusable() is not None, reason="kernels cannot run on this CPU")
@pytest.mark.parametrize("home", [0, 1])
def test_optimizers_on_several_devices(home: int) -> None:
    """The scale goes up if all gradients are finite, down if those of one device are not; the other's step is made."""
    params = [nn.Parameter(nnlab.tensor([1.0], device=device)) for device in ("cpu", "emulated")]
    optimizers = [optim.SGD([p], lr=0.5, momentum=0.0) for p in params]
    scaler = GradScaler(init_scale=4.0, growth_interval=1)
    for factors, scale, values in (
        ((1.0, 1.0), 8.0, [0.5, 0.5]),
        ((1.0, math.inf), 4.0, [0.0, 0.5]),
        ((math.nan, 1.0), 2.0, [0.0, 0.0]),
        ((1.0, 1.0), 4.0, [-0.5, -0.5]),
    ):
        for which in (home, 1 - home):
            params[which].grad = None
            scaler.scale(params[which] * factors[which]).backward()
            scaler.step(optimizers[which])
        scaler.update()
        assert scaler.get_scale() == scale
        assert [p.item() for p in params] == values


def test_gradients_accumulate_before_unscale() -> None:
    w = weights(0.0)
    optimizer = optim.SGD([w], lr=1.0)
    scaler = GradScaler("cpu")
    for _ in range(3):
        scaler.scale(w.sum()).backward()
    scaler.step(optimizer)
    assert w.item() == -3.0


def test_not_enabled() -> None:
    scaler = GradScaler(enabled=False)
    w = weights(1.0)
    optimizer = optim.SGD([w], lr=1.0)
    loss = w.sum() * math.inf
    assert scaler.scale(loss) is loss and scaler.scale([loss])[0] is loss
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert w.item() == -math.inf and scaler.get_scale() == 1.0 and not scaler.is_enabled()
    assert scaler.state_dict() == {}
    scaler.load_state_dict({"scale": 3.0})
    assert scaler.get_scale() == 1.0


def test_state() -> None:
    """It goes through JSON, and the scaler goes on as if it had not stopped."""
    w = weights(1.0)
    optimizer = optim.SGD([w], lr=0.0)
    runs = [GradScaler("cpu", init_scale=8.0, growth_interval=3)]
    for step in range(5):
        if step == 2:
            runs.append(GradScaler("cpu"))
            runs[1].load_state_dict(json.loads(json.dumps(runs[0].state_dict())))
        for scaler in runs:
            optimizer.zero_grad()
            scaler.scale(w.sum()).backward()
            scaler.step(optimizer)
            scaler.update()
    assert runs[0].state_dict() == runs[1].state_dict()
    assert runs[0].state_dict() == {
        "scale": 16.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 3,
        "_growth_tracker": 2,
    }
    with pytest.raises(CheckpointError, match=r"\[GradScaler\] the saved state has no scale, growth_factor"):
        runs[0].load_state_dict({})


def test_wrong_order() -> None:
    w = weights(1.0)
    optimizer = optim.SGD([w], lr=1.0)
    scaler = GradScaler("cpu")
    with pytest.raises(GraphError, match=r"update\(\) was called without a step\(\)"):
        scaler.update()
    with pytest.raises(GraphError, match="no parameter of the optimizer has a gradient"):
        scaler.step(optimizer)
    scaler = GradScaler("cpu")
    scaler.scale(w.sum()).backward()
    with pytest.raises(ArgumentError, match="takes no closure"):
        scaler.step(optimizer, lambda: w.sum())
    scaler.unscale_(optimizer)
    with pytest.raises(GraphError, match=r"unscale_\(\) was called after unscale_\(\); call update\(\)"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(GraphError, match=r"unscale_\(\) was called after step\(\)"):
        scaler.unscale_(optimizer)
    with pytest.raises(GraphError, match=r"step\(\) was called after step\(\)"):
        scaler.step(optimizer)
    scaler.update()
    scaler.unscale_(optimizer)
    half = nn.Parameter(nnlab.ones(2, dtype=nnlab.float16))
    half.grad = nnlab.ones(2, dtype=nnlab.float16)
    with pytest.raises(DtypeError, match="float16 gradients cannot be unscaled"):
        scaler.unscale_(optim.SGD([half], lr=1.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init_scale": 0.0}, "'init_scale' must be positive and finite, got 0.0"),
        ({"init_scale": math.inf}, "'init_scale' must be positive and finite, got inf"),
        ({"growth_factor": 1.0}, "'growth_factor' must be above 1, got 1.0"),
        ({"backoff_factor": 1.0}, "'backoff_factor' must be between 0 and 1, got 1.0"),
        ({"growth_interval": 0}, "'growth_interval' must be positive, got 0"),
    ],
)
def test_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=r"\[GradScaler\] " + message):
        GradScaler("cpu", **options)
    with pytest.raises(DeviceError):
        GradScaler("tpu")


def test_one_transfer_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of parameters; with ``unscale_`` and clipping too."""
    backend, real = StrictBackend(), nnlab.backend._backend
    monkeypatch.setattr(nnlab.backend, "_backend", lambda kind, i: backend if kind == "cuda" else real(kind, i))
    monkeypatch.setattr(nnlab.ops, "CUDA_KERNELS", frozenset())
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).to("cuda")
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x, target = nnlab.randn(5, 3).to("cuda"), nnlab.randint(0, 2, (5,)).to("cuda")
    scaler = GradScaler()
    for clip in (False, True):
        before = backend.transfers
        with nnlab.autocast("cuda"):
            loss = nn.functional.cross_entropy(model(x), target)
        scaler.scale(loss).backward()
        if clip:
            scaler.unscale_(optimizer)
            clip_grad_norm_(model.parameters(), 1.0)
        assert backend.transfers == before
        scaler.step(optimizer)
        scaler.update()
        assert backend.transfers == before + 1
