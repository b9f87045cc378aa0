"""Optimizers without kernels on every device: same bits as on the CPU, and no wait for the device within a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnlab
import nnlab.backend
from nnlab import nn, optim
from nnlab.backend import emulated
from tests.strict_device import StrictBackend

CASES: list[tuple[str, dict[str, Any]]] = [
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.1}),
    ("Adadelta", {"maximize": True}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.1}),
    ("NAdam", {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.1, "betas": (0.5, 0.9)}),
    ("Rprop", {"lr": 0.1, "step_sizes": (0.05, 0.2)}),
]
SHAPES = [(3, 4), (), (5,)]


def trained(name: str, options: dict[str, Any], device: str, dtype: Any = nnlab.float32) -> list[nnlab.Tensor]:
    params = [nn.Parameter(nnlab.ones(*s).to(dtype=dtype).to(device)) for s in SHAPES]
    optimizer = getattr(optim, name)(params, **options)
    for step in range(8):
        for i, p in enumerate(params):
            g = np.random.default_rng([step, i]).standard_normal(SHAPES[i]).astype(np.float32)
            p.grad = nnlab.tensor(g).to(dtype=dtype).to(device)
        optimizer.step()
    return [p.detach() for p in params]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_as_strict_as_a_gpu(name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    strict, real = StrictBackend(), nnlab.backend._backend
    monkeypatch.setattr(nnlab.backend, "_backend", lambda kind, i: strict if kind == "cuda" else real(kind, i))
    found = trained(name, options, "cuda")
    assert strict.transfers == 0
    for a, b in zip(found, trained(name, options, "cpu"), strict=True):
        np.testing.assert_array_equal(a.cpu().numpy(), b.numpy())


@pytest.mark.skipif(emulated.why_unusable() is not None, reason="kernels cannot run on this CPU")
@pytest.mark.parametrize(("name", "options"), CASES)
def test_emulated(name: str, options: dict[str, Any]) -> None:
    for a, b in zip(trained(name, options, "emulated"), trained(name, options, "cpu"), strict=True):
        np.testing.assert_array_equal(a.cpu().numpy(), b.numpy())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_half_types_stay(name: str, options: dict[str, Any], dtype: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    kind = getattr(nnlab, dtype)
    for a, b in zip(trained(name, options, "cpu", kind), trained(name, options, "cpu"), strict=True):
        assert a.dtype == kind
        # Eight steps with state in this type: some roundings of 2**-8 (2**-11), on numbers and steps up to about 8.
        np.testing.assert_allclose(a.float().numpy(), b.numpy(), atol=0.3 if dtype == "bfloat16" else 0.04)
