"""Losses against PyTorch, and worked numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.nn import functional as F
from tests.nn.peer import close, normals

WEIGHT = np.array([0.5, 2.0, 1.0, 0.25])


def compare(name: str, x: np.ndarray, target: np.ndarray, **kwargs: Any) -> None:
    """Value, and gradients of input and (if floating) target."""
    torch = pytest.importorskip("torch")
    soft = target.dtype.kind == "f"
    a, b = nnlab.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    t, u = nnlab.tensor(target, requires_grad=soft), torch.tensor(target, requires_grad=soft)
    ours = getattr(nn, name)(**{k: nnlab.tensor(v) if isinstance(v, np.ndarray) else v for k, v in kwargs.items()})
    other = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in kwargs.items()}
    y, z = ours(a, t), getattr(torch.nn, name)(**other)(b, u)
    close(y, z, "value")
    seed = normals(*z.shape) if z.ndim else np.array(1.7)
    y.backward(nnlab.tensor(seed))
    z.backward(torch.tensor(seed))
    close(a.grad, b.grad, "gradient of the input")
    if soft:
        close(t.grad, u.grad, "gradient of the target")


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss"])
@pytest.mark.parametrize("shape", [(5, 4), (2, 4, 3), (2, 4, 3, 2), (4,)])
@pytest.mark.parametrize("kwargs", [{}, {"weight": WEIGHT}, {"weight": WEIGHT, "ignore_index": 1}])
def test_class_numbers(name: str, shape: tuple[int, ...], reduction: str, kwargs: dict[str, Any]) -> None:
    sizes = shape[:1] + shape[2:] if len(shape) > 1 else ()
    target = np.random.default_rng(2).integers(0, 4, sizes)
    if "ignore_index" in kwargs and not sizes:
        target = np.array(2)
    compare(name, normals(*shape), np.asarray(target), reduction=reduction, **kwargs)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("kwargs", [{"label_smoothing": 0.2}, {"label_smoothing": 0.3, "weight": WEIGHT}])
def test_label_smoothing(reduction: str, kwargs: dict[str, Any]) -> None:
    target = np.array([0, 3, -100, 1, 2])
    compare("CrossEntropyLoss", normals(5, 4), target, reduction=reduction, **kwargs)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("kwargs", [{}, {"label_smoothing": 0.2}, {"weight": WEIGHT}])
@pytest.mark.parametrize("shape", [(5, 4), (2, 4, 3), (4,)])
def test_class_probabilities(shape: tuple[int, ...], reduction: str, kwargs: dict[str, Any]) -> None:
    target = np.abs(normals(*shape, seed=8)) + 0.1
    compare("CrossEntropyLoss", normals(*shape), target, reduction=reduction, **kwargs)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["MSELoss", "L1Loss"])
def test_differences(name: str, reduction: str) -> None:
    compare(name, normals(3, 4), normals(3, 4, seed=6), reduction=reduction)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("kwargs", [{}, {"weight": WEIGHT}])
def test_binary(reduction: str, kwargs: dict[str, Any]) -> None:
    target = np.random.default_rng(3).random((3, 4))
    compare("BCELoss", 1 / (1 + np.exp(-normals(3, 4))), target, reduction=reduction, **kwargs)
    logits = normals(3, 4) * 20
    logits[0] = 0.0
    compare("BCEWithLogitsLoss", logits, target, reduction=reduction, **kwargs)
    compare("BCEWithLogitsLoss", logits, target, reduction=reduction, pos_weight=WEIGHT[::-1].copy(), **kwargs)


def test_worked_numbers() -> None:
    scores = nnlab.tensor([[0.0, 0.0], [math.log(3.0), 0.0]], dtype=nnlab.float64)
    target = nnlab.tensor([0, 1])
    each = F.cross_entropy(scores, target, reduction="none").tolist()
    assert each == [pytest.approx(math.log(2)), pytest.approx(math.log(4))]
    assert F.mse_loss(nnlab.tensor([1.0, 2.0]), nnlab.tensor([3.0, 2.0])).item() == 2.0
    assert F.l1_loss(nnlab.tensor([1.0, 2.0]), nnlab.tensor([3.0, 2.0]), reduction="sum").item() == 2.0
    half = F.binary_cross_entropy_with_logits(nnlab.tensor([0.0]), nnlab.tensor([1.0]))
    assert half.item() == pytest.approx(math.log(2))
    far = F.binary_cross_entropy_with_logits(
        nnlab.tensor([-1000.0, 1000.0]), nnlab.tensor([1.0, 1.0]), reduction="none"
    )
    assert far.tolist() == [1000.0, 0.0]
    assert F.binary_cross_entropy(nnlab.tensor([0.0]), nnlab.tensor([1.0])).item() == 100.0


def test_a_loss_moves_its_weight_with_it() -> None:
    loss = nn.CrossEntropyLoss(nnlab.tensor([1.0, 2.0])).double()
    assert loss.weight.dtype == nnlab.float64
    assert list(loss.state_dict()) == ["weight"]
