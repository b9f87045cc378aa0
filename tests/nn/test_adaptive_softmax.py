"""AdaptiveLogSoftmaxWithLoss beside the table of cases: all classes' probabilities, the likeliest class, errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ArgumentError, DtypeError, NNLabError, ShapeError
from tests.nn.peer import close, normals, pair


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(40, 8), (8,), (0, 8)])
def test_all_classes_against_torch(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = pair("AdaptiveLogSoftmaxWithLoss", 8, 12, [2, 3, 7], 2.0)
    x = normals(*shape)
    if x.size:
        rows = torch.tensor(x.reshape(-1, 8))  # PyTorch takes a batch only
        close(ours.log_prob(nnlab.tensor(x)), theirs.log_prob(rows).reshape(*shape[:-1], 12))
        likeliest = theirs.predict(rows).reshape(shape[:-1])
        np.testing.assert_array_equal(ours.predict(nnlab.tensor(x)).numpy(), likeliest.numpy())
    assert ours.log_prob(nnlab.tensor(x)).shape == (*shape[:-1], 12)


def test_probabilities_sum_to_1_and_are_what_the_loss_takes() -> None:
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [2, 3, 7], 2.0, True).double()
    x, target = nnlab.tensor(normals(30, 8)), nnlab.tensor(np.arange(30) % 12)
    every = layer.log_prob(x)
    close(every.exp().sum(1), np.ones(30))
    output, loss = layer(x, target)
    close(output, every.detach().numpy()[np.arange(30), np.arange(30) % 12])
    assert loss.item() == pytest.approx(-output.mean().item())
    before = layer.head.weight.detach().numpy().copy()
    layer.reset_parameters()
    assert not np.array_equal(layer.head.weight.detach().numpy(), before)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda make: make(4, 10, []),
            ArgumentError,
            "'cutoffs' must be different rising ints between 1 and",
        ),
        (lambda make: make(4, 10, [3, 3]), ArgumentError, "'cutoffs' must be different rising ints between 1 and"),
        (lambda make: make(4, 10, [3, 10]), ArgumentError, "'cutoffs' must be different rising ints between 1 and"),
        (lambda make: make(4, 10, [2.5]), ArgumentError, "'cutoffs' must be different rising ints between 1 and"),
        (lambda make: make(4, 10, [3, 7]), ArgumentError, "'div_value' must be positive and leave every cluster a"),
        (lambda make: make(4, 10, [3], 0), ArgumentError, "'div_value' must be positive and leave every cluster a"),
        (lambda make: make(0, 10, [3]), ArgumentError, "'in_features' must be a positive int, got 0"),
        (
            lambda make: make(4, 10, [3])(nnlab.zeros(2, 3), nnlab.tensor([1, 2])),
            ShapeError,
            "'input' must have shape (N, 4) or (4,), got (2, 3)",
        ),
        (
            lambda make: make(4, 10, [3])(nnlab.zeros(2, 4), nnlab.tensor([1])),
            ShapeError,
            "'target' must have shape (2,) for input (2, 4), got (1,)",
        ),
        (
            lambda make: make(4, 10, [3])(nnlab.zeros(2, 4), nnlab.tensor([1, 10])),
            ArgumentError,
            "'target' must be class numbers in 0..9, got 10",
        ),
        (
            lambda make: make(4, 10, [3])(nnlab.zeros(2, 4), nnlab.zeros(2)),
            DtypeError,
            "'target' must be integer class numbers, got 'float32'",
        ),
    ],
)
def test_errors(call: Callable[[Any], Any], error: type[NNLabError], message: str) -> None:
    with pytest.raises(error, match=rf"^\[AdaptiveLogSoftmaxWithLoss\] {re.escape(message)}"):
        call(nn.AdaptiveLogSoftmaxWithLoss)
