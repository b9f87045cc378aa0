"""Every row of ``cases.py``: against PyTorch, kept numbers, finite differences, other memory and other devices."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnlab
import nnlab.backend
import nnlab.ops
from nnlab import nn
from nnlab.testing import gradcheck, gradgradcheck
from tests import emulator
from tests.nn.cases import CASES, Case
from tests.nn.peer import close, outputs
from tests.strict_device import StrictBackend

GOLDEN = Path(__file__).with_name("golden.json")
ROWS = pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
BATCHED = [
    case
    for case in CASES
    if len({i.shape[:1] for i in case.inputs}) == 1
    and len(case.inputs[0].shape) > 1
    # Here the mean of nothing is NaN for every loss (test_losses.py), in PyTorch 0 for these two.
    and not (case.name in ("MultiMarginLoss", "MultiLabelMarginLoss") and case.kwargs["reduction"] == "mean")
]
EXACT = [case for case in CASES if case.exact]
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # PyTorch, of KLDivLoss


def build(case: Case, library: Any, tensor: Callable[..., Any]) -> Any:
    """The layer in float64, its parameters drawn from the case."""
    args = [tensor(a) if isinstance(a, np.ndarray) else a for a in case.args]
    kwargs = {k: tensor(v) if isinstance(v, np.ndarray) else v for k, v in case.kwargs.items()}
    layer = getattr(library, case.name)(*args, **kwargs).double()
    random = np.random.default_rng(3)
    for parameter in layer.parameters():
        parameter.data = tensor(random.uniform(0.1, 0.6, tuple(parameter.shape)))
    return layer


def weights(shape: Any) -> np.ndarray:
    return np.random.default_rng(11).uniform(0.5, 1.5, tuple(shape))


def run(case: Case, library: Any, tensor: Callable[..., Any], arrays: list[np.ndarray], device: str = "cpu") -> Any:
    """The outputs, and the gradients of inputs and parameters by name."""
    layer = build(case, library, tensor).to(device)
    inputs = [tensor(a).to(device) for a in arrays]
    for spec, value in zip(case.inputs, inputs, strict=True):
        if spec.takes_gradient:
            value.requires_grad_()
    results = outputs(layer(*inputs))
    results[0].backward(tensor(weights(results[0].shape)).to(device))
    found = {f"output {i}": value for i, value in enumerate(results)}
    found |= {f"gradient of input {i}": v.grad for i, v in enumerate(inputs) if v.requires_grad}
    found |= {f"gradient of {name}": v.grad for name, v in layer.named_parameters()}
    return {name: value.detach().cpu().numpy() for name, value in found.items()}


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], tolerance: float = 1e-12) -> None:
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        close(found[name], value, name, tolerance)


@ROWS
def test_against_torch(case: Case) -> None:
    torch = pytest.importorskip("torch")
    same(run(case, nn, nnlab.tensor, case.draw()), run(case, torch.nn, torch.tensor, case.draw()), case.tolerance)
    assert repr(build(case, nn, nnlab.tensor)) == repr(build(case, torch.nn, torch.tensor))


@pytest.mark.parametrize("case", BATCHED, ids=[case.id for case in BATCHED])
def test_a_batch_of_none(case: Case) -> None:
    torch = pytest.importorskip("torch")
    empty = case.with_batch(0)
    arrays = [a[:0] for a in case.draw()]
    same(run(empty, nn, nnlab.tensor, arrays), run(empty, torch.nn, torch.tensor, arrays))


@ROWS
def test_against_kept_numbers(case: Case) -> None:
    kept = json.loads(GOLDEN.read_text())[case.id]
    found = summary(run(case, nn, nnlab.tensor, case.draw()))
    assert list(found) == list(kept)
    for name, value in kept.items():
        assert found[name] == pytest.approx(value, rel=10 * case.tolerance, abs=10 * case.tolerance), name


def summary(found: dict[str, np.ndarray]) -> dict[str, float]:
    """Each array as one number, a sum with random weights."""
    return {name: float((value * weights(value.shape)).sum()) for name, value in found.items()}


@pytest.mark.parametrize("case", EXACT, ids=[case.id for case in EXACT])
def test_derivatives(case: Case) -> None:
    """The inputs are random, so that none is as near to a kink as the step of the differences."""
    layer = build(case, nn, nnlab.tensor)
    inputs = [
        nnlab.tensor(a, requires_grad=spec.takes_gradient) for a, spec in zip(case.draw(), case.inputs, strict=True)
    ]
    assert gradcheck(layer, inputs)
    assert gradgradcheck(layer, inputs)


def scattered(array: np.ndarray) -> np.ndarray:
    """The same values, every other element of a larger array in column-major order."""
    memory = np.full(tuple(2 * n for n in array.shape), -1 if array.dtype.kind == "i" else np.nan, array.dtype, "F")
    view = memory[(*[slice(None, None, 2)] * array.ndim, ...)]
    view[...] = array
    return view


@ROWS
def test_other_memory(case: Case) -> None:
    plain = run(case, nn, nnlab.tensor, case.draw())
    arrays = [scattered(a) for a in case.draw()]
    same(run(case, nn, nnlab.from_numpy, arrays), plain)


@ROWS
def test_on_a_device_like_a_gpu(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, real = StrictBackend(), nnlab.backend._backend
    monkeypatch.setattr(nnlab.backend, "_backend", lambda kind, i: backend if kind == "cuda" else real(kind, i))
    monkeypatch.setattr(nnlab.ops, "CUDA_KERNELS", frozenset())
    here, there = (run(case, nn, nnlab.tensor, case.draw(), device) for device in ("cpu", "cuda"))
    for name, value in here.items():
        np.testing.assert_array_equal(there[name], value, err_msg=name)


@ROWS
def test_on_emulated(case: Case) -> None:
    """Kernels where there are some, and new memory full of NaN."""
    emulator.backend()
    same(run(case, nn, nnlab.tensor, case.draw(), "emulated"), run(case, nn, nnlab.tensor, case.draw()))
