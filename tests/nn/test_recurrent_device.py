"""Recurrent layers on other devices: kernels on ``emulated``, and arrays as strict as a GPU's."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import nnlab
import nnlab.backend
import nnlab.ops
from nnlab import nn
from nnlab.backend import get_backend
from nnlab.cuda import launch
from nnlab.errors import DeviceError
from nnlab.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from tests import emulator
from tests.strict_device import StrictBackend

emulator.backend()

LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "bias": False}),
    ("LSTM", {}),
    ("LSTM", {"bias": False, "batch_first": True}),
    ("LSTM", {"proj_size": 2}),
    ("LSTM", {"peepholes": True}),
    ("LSTM", {"coupled": True}),
    ("LSTM", {"peepholes": True, "coupled": True, "proj_size": 2, "bias": False, "batch_first": True}),
    ("GRU", {}),
    ("GRU", {"bias": False, "batch_first": True}),
]


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> StrictBackend:
    """A device "cuda" without a GPU; operations with kernels run their array code."""
    backend, real = StrictBackend(), nnlab.backend._backend
    monkeypatch.setattr(nnlab.backend, "_backend", lambda kind, i: backend if kind == "cuda" else real(kind, i))
    monkeypatch.setattr(nnlab.ops, "CUDA_KERNELS", frozenset())
    return backend


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels started, in order."""
    names: list[str] = []
    run = launch.run

    def note(be: Any, ready: launch.Launch) -> None:
        names.append(ready.name)
        run(be, ready)

    monkeypatch.setattr(launch, "run", note)
    return names


def step(
    name: str, options: dict[str, Any], device: str, packed: bool, dtype: str = "float32", second: bool = False
) -> dict[str, np.ndarray]:
    """Results and all gradients of two bidirectional layers with dropout between them."""
    nnlab.manual_seed(4)
    layer = getattr(nn, name)(3, 5, num_layers=2, bidirectional=True, dropout=0.3, **options).to(dtype=dtype)
    steps_and_batch = (4, 6) if options.get("batch_first") else (6, 4)
    x = nnlab.randn(*steps_and_batch, 3, dtype=dtype)
    widths = (options.get("proj_size", 5), 5)[: 2 if name == "LSTM" else 1]
    hx = [nnlab.randn(4, 4, width, dtype=dtype) for width in widths]
    layer, x, *hx = layer.to(device), x.to(device).requires_grad_(), *[h.to(device).requires_grad_() for h in hx]
    given: Any = x
    if packed:
        given = pack_padded_sequence(x, [2, 6, 1, 4], bool(options.get("batch_first")), enforce_sorted=False)
    y, last = layer(given, tuple(hx) if name == "LSTM" else hx[0])
    if packed:
        assert isinstance(y, PackedSequence)
        assert y.data.device == x.device
        y, _ = pad_packed_sequence(y)
    results = [y, *(last if isinstance(last, tuple) else (last,))]
    assert {str(r.device) for r in results} == {str(x.device)}
    loss = sum((r * r * (k + 1)).sum() for k, r in enumerate(results))
    leaves = {"x": x, **{f"h{k}": h for k, h in enumerate(hx)}, **dict(layer.named_parameters())}
    grads: Any = nnlab.grad(loss, list(leaves.values()), create_graph=second)
    found = {f"result {k}": r for k, r in enumerate(results)} | {f"d {n}": g for n, g in zip(leaves, grads)}
    return {key: value.detach().cpu().numpy() for key, value in found.items()}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "options"), LAYERS)
def test_the_same_bits_on_strict_arrays(
    strict: StrictBackend, name: str, options: dict[str, Any], packed: bool
) -> None:
    for second in (False, True):
        host = step(name, options, "cpu", packed, second=second)
        for key, value in step(name, options, "cuda", packed, second=second).items():
            np.testing.assert_array_equal(value, host[key], err_msg=key, strict=True)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "options"), LAYERS)
def test_through_the_kernels(started: list[str], name: str, options: dict[str, Any], packed: bool) -> None:
    """exp and tanh of two libraries differ in the last bit."""
    host = step(name, options, "cpu", packed)
    assert started == []
    found = step(name, options, "emulated", packed)
    cells = [kernel for kernel in started if "cell" in kernel]
    # Two layers, two directions, six steps; backward likewise. Peepholes have no kernel.
    count = 0 if options.get("peepholes") else 24
    assert cells == [f"{name.lower()}_cell_forward"] * count + [f"{name.lower()}_cell_backward"] * count
    for key, value in found.items():
        size = np.abs(host[key]).max()
        np.testing.assert_allclose(value, host[key], rtol=1e-5, atol=1e-6 * max(size, 1), err_msg=key)


@pytest.mark.parametrize(("dtype", "far"), [("float16", 5e-3), ("bfloat16", 4e-2)])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_half_through_the_kernels(name: str, dtype: str, far: float) -> None:
    """The kernels round where the array code does; what exp and tanh differ in may turn a rounding."""
    host, device = (step(name, {}, place, True, dtype) for place in ("cpu", "emulated"))
    for key, value in device.items():
        assert value.dtype.name == dtype
        found, want = value.astype(np.float32), host[key].astype(np.float32)
        np.testing.assert_allclose(found, want, rtol=0, atol=far * max(np.abs(want).max(), 1), err_msg=key)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_no_order_of_threads_changes_a_bit(name: str) -> None:
    be: Any = get_backend("emulated")
    results = []
    for order in ("ascending", "descending", 3):
        with be.ordered(order):
            results.append(step(name, {}, "emulated", True))
    for other in results[1:]:
        for key, value in other.items():
            np.testing.assert_array_equal(value, results[0][key], err_msg=key)


def train(device: str) -> tuple[list[float], dict[str, np.ndarray]]:
    """A few steps of a tagger of sequences of several lengths."""
    nnlab.manual_seed(0)
    random = np.random.default_rng(0)
    layer = nn.LSTM(3, 8, num_layers=2, bidirectional=True, dropout=0.2).to(device)
    head = nn.Linear(16, 2).to(device)
    params = [*layer.parameters(), *head.parameters()]
    optimizer = nnlab.optim.SGD(params, lr=0.5, momentum=0.9)
    losses = []
    for _ in range(3):
        x = nnlab.from_numpy(random.standard_normal((7, 5, 3)).astype(np.float32)).to(device)
        packed = pack_padded_sequence(x, [7, 6, 3, 3, 1])
        target = (packed.data[:, 0] > 0).to(dtype="int64")
        loss = nn.functional.cross_entropy(head(layer(packed)[0].data), target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses, {f"{k}": p.detach().cpu().numpy() for k, p in enumerate(params)}


def test_training_on_strict_arrays(strict: StrictBackend) -> None:
    host, found = train("cpu"), train("cuda")
    assert found[0] == host[0]
    for key, value in found[1].items():
        np.testing.assert_array_equal(value, host[1][key], err_msg=key)


def test_training_through_the_kernels() -> None:
    host, found = train("cpu"), train("emulated")
    np.testing.assert_allclose(found[0], host[0], rtol=1e-6)
    for key, value in found[1].items():
        np.testing.assert_allclose(value, host[1][key], rtol=1e-5, atol=1e-6, err_msg=key)


def test_devices_must_agree(strict: StrictBackend) -> None:
    layer = nn.LSTM(3, 4)
    with pytest.raises(DeviceError, match=r"^\[LSTM\] 'input' is on cuda:0 but 'weight_ih_l0' is on cpu"):
        layer(nnlab.zeros(2, 1, 3, device="cuda"))
    layer = copy.deepcopy(layer).to("cuda")
    with pytest.raises(DeviceError, match=r"^\[LSTM\] 'input' is on cuda:0 but 'h_0' is on cpu"):
        layer(nnlab.zeros(2, 1, 3, device="cuda"), (nnlab.zeros(1, 1, 4), nnlab.zeros(1, 1, 4)))
    packed = pack_padded_sequence(nnlab.zeros(2, 1, 3), [2]).cuda()
    assert packed.data.device == "cuda:0"
    assert layer(packed)[0].cpu().data.device == "cpu"
