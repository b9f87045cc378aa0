"""bfloat16 as a dtype of tensors: ml_dtypes' arrays through operations, layers, training and files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nnlab
from nnlab import nn, optim, types
from nnlab.errors import DtypeError, MissingExtraError
from nnlab.nn import functional as F
from nnlab.testing import spaced, tolerance
from nnlab.train.checkpoint import read_checkpoint, save_checkpoint
from tests import emulator
from tests.autograd.test_operations import FUNCTIONS, IDS, operands

DEVICES = ["cpu", "emulated"]
BFLOAT = np.dtype(ml_dtypes.bfloat16)
# Operations that round between their steps, and how many times the error of one rounding they may make.
LOOSE = 8


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "emulated":
        emulator.backend()
    return str(request.param)


def test_the_dtype() -> None:
    assert nnlab.bfloat16 == types.bfloat16 == BFLOAT
    assert "bfloat16" in dir(nnlab)
    for spelling in ("bfloat16", BFLOAT, ml_dtypes.bfloat16):
        assert types.as_dtype(spelling) is types.bfloat16
    assert (types.kind(BFLOAT), types.is_floating(BFLOAT), types.wide(BFLOAT)) == ("f", True, types.float32)
    assert not types.is_floating(np.dtype("V2"))
    with pytest.raises(AttributeError, match="bfloat17"):
        _ = types.bfloat17
    with pytest.raises(AttributeError, match="bfloat17"):
        _ = nnlab.bfloat17


@pytest.mark.parametrize(
    ("other", "result"),
    [
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("int64", "bfloat16"),
        ("uint8", "bfloat16"),
        ("bool", "bfloat16"),
        ("bfloat16", "bfloat16"),
    ],
)
def test_promotion(other: str, result: str) -> None:
    """PyTorch's table."""
    one, two = types.as_dtype("bfloat16"), types.as_dtype(other)
    assert types.promote(one, two).name == types.promote(two, one).name == result
    assert (nnlab.ones(2, dtype=one) * nnlab.ones(2, dtype=two)).dtype.name == result
    assert (nnlab.ones(2, dtype=one) * nnlab.ones(2, dtype=two)[0]).dtype.name == (
        "bfloat16" if other != "bfloat16" else result
    )


def test_making_converting_printing(device: str) -> None:
    x = nnlab.tensor([1.0, 2.5, 1 + 2**-9, 3e38, float("nan")], dtype=nnlab.bfloat16, device=device)
    assert (x.dtype, x.element_size(), x.is_floating_point()) == (nnlab.bfloat16, 2, True)
    assert x[:3].tolist() == [1.0, 2.5, 1.0]
    assert x[1].item() == 2.5
    tail = "" if device == "cpu" else "device='emulated', "
    assert repr(x[:2]) == f"tensor([1. , 2.5], {tail}dtype=bfloat16)"
    assert x.isnan().tolist() == [False] * 4 + [True]
    assert nnlab.tensor(np.ones(2, BFLOAT)).dtype == nnlab.from_numpy(np.ones(2, BFLOAT)).dtype == nnlab.bfloat16
    for other in (nnlab.float16, nnlab.float32, nnlab.float64, nnlab.int64):
        there = nnlab.tensor([1, 3, -2], device=device).to(nnlab.bfloat16).to(other)
        assert (there.dtype, there.tolist()) == (other, [1, 3, -2])
    assert nnlab.zeros(2, dtype="bfloat16").bfloat16().dtype == nnlab.ones(3).bfloat16().dtype == nnlab.bfloat16
    with pytest.raises(DtypeError, match="does not fit a tensor of int64"):
        nnlab.ones(2, dtype="int64").add_(x[:2].cpu())
    with pytest.raises(DtypeError, match="only integer tensors can be an index, got bfloat16"):
        [1, 2, 3][x[0]]
    with pytest.raises(DtypeError, match="does not fit dtype bfloat16"):
        x + 10**400


@pytest.mark.parametrize("function", FUNCTIONS, ids=IDS)
def test_operations(function: Any, device: str) -> None:
    """Values and gradients in bfloat16, against the same numbers in float32."""
    start = [t.detach().to(nnlab.bfloat16) for t in operands()]
    results = []
    for dtype, place in ((nnlab.bfloat16, device), (nnlab.float32, "cpu")):
        leaves = [t.detach().to(dtype).to(place).requires_grad_() for t in start]
        y = function(nnlab, *leaves)
        y.backward(nnlab.full(y.shape, 0.5, dtype=y.dtype, device=place))
        assert y.dtype == dtype
        grads = [a.grad for a in leaves]
        assert all(g is None or g.dtype == dtype for g in grads)
        results.append([y.detach(), *grads])
    for found, wanted in zip(*results, strict=True):
        assert (found is None) == (wanted is None)
        if found is not None:
            close(found, wanted.numpy())


def close(found: nnlab.Tensor, wanted: np.ndarray, terms: int = 1) -> None:
    rtol = LOOSE * tolerance(nnlab.bfloat16, terms)
    size = float(np.abs(wanted).max(initial=0.0))
    np.testing.assert_allclose(found.cpu().detach().float().numpy(), wanted, rtol=rtol, atol=rtol * size)


def layers() -> list[tuple[Any, tuple[int, ...]]]:
    return [
        (nn.Linear(6, 4), (3, 6)),
        (nn.Conv2d(3, 4, 3, padding=1), (2, 3, 5, 6)),
        (nn.ConvTranspose2d(3, 4, 3, stride=2), (2, 3, 3, 4)),
        (nn.BatchNorm2d(3), (4, 3, 5, 6)),
        (nn.MaxPool2d(3, 2, 1), (2, 3, 5, 6)),
        (nn.AvgPool2d(3, 2, 1), (2, 3, 5, 6)),
        (nn.AdaptiveAvgPool2d((2, 3)), (2, 3, 5, 6)),
        (nn.AdaptiveMaxPool2d((2, 3)), (2, 3, 5, 6)),
        (nn.LocalResponseNorm(3), (2, 5, 3, 4)),
        (nn.ReLU(), (3, 4)),
        (nn.Sigmoid(), (3, 4)),
        (nn.Tanh(), (3, 4)),
        (nn.Softmax(1), (3, 4)),
        (nn.LogSoftmax(1), (3, 4)),
        (nn.Dropout(0.3), (5, 6)),
    ]


@pytest.mark.parametrize("number", range(len(layers())))
def test_layers(number: int, device: str) -> None:
    results = []
    for dtype, place in ((nnlab.bfloat16, device), (nnlab.float32, "cpu")):
        nnlab.manual_seed(3)
        layer, shape = layers()[number]
        layer.bfloat16().to(dtype=dtype).to(device=place)
        x = spaced(shape, dtype=np.float32, gap=0.02).bfloat16().to(dtype).to(place).requires_grad_()
        y = layer(x)
        assert y.dtype == dtype
        (y * spaced(y.shape, seed=2, gap=0.05).to(dtype).to(place)).sum().backward()
        results.append([y, x.grad, *(p.grad for p in layer.parameters())])
    for found, wanted in zip(*results, strict=True):
        assert found.dtype == nnlab.bfloat16
        close(found, wanted.detach().numpy(), 60)


def test_losses(device: str) -> None:
    scores, target = spaced((5, 4), gap=0.1).bfloat16(), nnlab.tensor([0, 3, 1, 2, 2])
    soft = F.softmax(spaced((5, 4), seed=1), 1).bfloat16()
    for loss, other in ((F.cross_entropy, target), (F.cross_entropy, soft), (F.mse_loss, soft)):
        found, wanted = (
            loss(scores.to(dtype).to(place), other.to(place) if other is target else other.to(dtype).to(place))
            for dtype, place in ((nnlab.bfloat16, device), (nnlab.float32, "cpu"))
        )
        assert found.dtype == nnlab.bfloat16
        close(found, wanted.numpy(), 5)


@pytest.mark.parametrize("rule", [optim.SGD, optim.Adam, optim.AdamW])
def test_training_step(rule: Any, device: str) -> None:
    """A linear regression comes to its answer."""
    net = nn.Linear(3, 1, bias=False).bfloat16().to(device=device)
    options = {"momentum": 0.5} if rule is optim.SGD else {}
    optimizer = rule(net.parameters(), lr=0.1, **options)
    x = spaced((16, 3), gap=0.05).bfloat16().to(device)
    y = (x.float() @ nnlab.tensor([[1.0], [-2.0], [0.5]], device=device)).bfloat16()
    for _ in range(150):
        optimizer.zero_grad()
        F.mse_loss(net(x), y).backward()
        optimizer.step()
    assert net.weight.dtype == nnlab.bfloat16
    np.testing.assert_allclose(net.weight.detach().cpu().float().numpy(), [[1.0, -2.0, 0.5]], atol=0.05)


def test_state_dict_and_checkpoint(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).bfloat16()
    save_checkpoint(tmp_path / "last", weights=net.state_dict(), state={})
    assert b'"BF16"' in (tmp_path / "last" / "weights.safetensors").read_bytes()
    weights = read_checkpoint(tmp_path / "last").weights
    other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).bfloat16()
    other.load_state_dict(weights)
    for name, value in net.state_dict().items():
        assert weights[name].dtype == value.dtype
        np.testing.assert_array_equal(other.state_dict()[name].float().numpy(), value.float().numpy())
    # In a process that has not loaded ml_dtypes.
    code = (
        "from pathlib import Path; from nnlab.train.checkpoint import read_checkpoint;"
        f"w = read_checkpoint(Path({str(tmp_path / 'last')!r})).weights; print(w['0.weight'].dtype.name)"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "bfloat16", done.stderr


def test_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    types._bfloat16.cache_clear()
    try:
        for use in (lambda: nnlab.bfloat16, lambda: nnlab.ones(2, dtype="bfloat16"), nn.Linear(2, 2).bfloat16):
            with pytest.raises(MissingExtraError, match=r"the dtype bfloat16 needs .*pip install 'nnlab\[bfloat16\]'"):
                use()
    finally:
        types._bfloat16.cache_clear()
