"""Every row of ``cases.py``: against PyTorch, kept numbers, finite differences, other memory and other devices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import nnlab
import nnlab.backend
import nnlab.ops
from nnlab import nn
from nnlab.testing import gradcheck, gradgradcheck
from tests import emulator
from tests.nn.case import Case
from tests.nn.cases import CASES
from tests.nn.peer import close
from tests.nn.running import build, call, run, state, summary
from tests.strict_device import StrictBackend

GOLDEN = Path(__file__).with_name("golden.json")
# PyTorch prints less there, a pair for a number, or its own class of a part.
OTHER_TEXT = (
    "MaxUnpool",
    "AvgPool1d",
    "FractionalMaxPool",
    "RNN(3, 4, nonlinearity",
    "MultiheadAttention",
    "Transformer",
)
# Without samples PyTorch's instance normalisation fails, or its running statistics become NaN (ours stay: see
# test_norm_layers.py), and its shuffles get gradients of a wrong shape (test_shape_layers.py).
NOT_WITHOUT_SAMPLES = ("InstanceNorm", "PixelShuffle", "PixelUnshuffle")
# Here the mean of nothing is NaN for every loss (test_losses.py), in PyTorch 0 for these two.
MEANS_OF_NOTHING = ("MultiMarginLoss", "MultiLabelMarginLoss")
KEPT = json.loads(GOLDEN.read_text())
ROWS = pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
WITH_PEER = [case for case in CASES if case.peer]
BATCHED = [
    case
    for case in WITH_PEER
    if case.batch is not None
    and len({i.shape[case.batch : case.batch + 1] for i in case.inputs}) == 1
    and len(case.inputs[0].shape) > 1
    and not case.name.startswith(NOT_WITHOUT_SAMPLES)
    and not (case.name in MEANS_OF_NOTHING and case.kwargs["reduction"] == "mean")
]
EXACT = [case for case in CASES if case.exact and any(spec.takes_gradient for spec in case.inputs)]
pytestmark = pytest.mark.filterwarnings(  # PyTorch's, of KLDivLoss and of stacks of layers
    "ignore:reduction. 'mean' divides", "ignore:enable_nested_tensor is True"
)


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], tolerance: float = 1e-12) -> None:
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        close(found[name], value, name, tolerance)


@pytest.mark.torch
@pytest.mark.parametrize("case", WITH_PEER, ids=[case.id for case in WITH_PEER])
def test_against_torch(case: Case) -> None:
    torch = pytest.importorskip("torch")
    same(run(case, nn, nnlab.tensor, case.draw()), run(case, torch.nn, torch.tensor, case.draw()), case.tolerance)
    ours, theirs = build(case, nn, nnlab.tensor), build(case, torch.nn, torch.tensor)
    assert case.id.startswith(OTHER_TEXT) or repr(ours) == repr(theirs)
    kept = state(theirs)
    assert list(state(ours)) == list(kept)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.zero_()
    theirs.load_state_dict({name: torch.tensor(value) for name, value in state(ours).items()})
    ours.load_state_dict(kept)
    same(state(theirs), kept)
    same(state(ours), kept)


@pytest.mark.torch
@pytest.mark.parametrize("case", BATCHED, ids=[case.id for case in BATCHED])
def test_a_batch_of_none(case: Case) -> None:
    torch = pytest.importorskip("torch")
    arrays = [a.take([], case.batch) for a in case.draw()]
    same(run(case, nn, nnlab.tensor, arrays), run(case, torch.nn, torch.tensor, arrays))


@ROWS
def test_against_kept_numbers(case: Case) -> None:
    kept = KEPT[case.id]
    found = summary(run(case, nn, nnlab.tensor, case.draw()))
    assert list(found) == list(kept)
    for name, value in kept.items():
        assert found[name] == pytest.approx(value, rel=10 * case.tolerance, abs=10 * case.tolerance), name


@pytest.mark.parametrize("case", EXACT, ids=[case.id for case in EXACT])
def test_derivatives(case: Case) -> None:
    """The inputs are random, so that none is as near to a kink as the step of the differences; with so many rows, one
    direction of each input is enough."""
    layer = build(case, nn, nnlab.tensor)
    inputs = [
        nnlab.tensor(a, requires_grad=spec.takes_gradient) for a, spec in zip(case.draw(), case.inputs, strict=True)
    ]

    def outputs(*inputs: nnlab.Tensor) -> tuple[nnlab.Tensor, ...]:
        return tuple(call(case, layer, list(inputs), nnlab.tensor))

    assert gradcheck(outputs, inputs, directions=1)
    assert gradgradcheck(outputs, inputs, directions=1)


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
    if case.name.startswith(("RNN", "LSTM", "GRU")):  # the CPU has another way to multiply by a matrix at every step
        same(there, here, 1e-14)
        return
    for name, value in here.items():
        np.testing.assert_array_equal(there[name], value, err_msg=name)


@ROWS
def test_on_emulated(case: Case) -> None:
    """Kernels where there are some, and new memory full of NaN."""
    emulator.backend()
    same(run(case, nn, nnlab.tensor, case.draw(), "emulated"), run(case, nn, nnlab.tensor, case.draw()))
