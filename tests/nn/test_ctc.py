"""Connectionist temporal classification against all paths one by one; against PyTorch: the table of cases."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
import nnlab.backend
import nnlab.ops
from nnlab.errors import ArgumentError, DtypeError, ShapeError
from nnlab.nn import functional as F


def scores(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def every_path(log_probs: np.ndarray, target: list[int], blank: int) -> float:
    """-log of the sum over all C**T paths that read as the target."""
    total = 0.0
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        read = [label for label, _ in itertools.groupby(path) if label != blank]
        if read == target:
            total += math.exp(sum(row[label] for row, label in zip(log_probs, path, strict=True)))
    return -math.log(total) if total else math.inf


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("target", [[], [1], [1, 1], [1, 3], [3, 1, 3], [1, 1, 3], [3, 3, 3]])
def test_every_path(target: list[int], blank: int) -> None:
    log_probs = log_softmax(scores(5, 4))
    wanted = every_path(log_probs, target, blank)
    targets = nnlab.tensor(np.array([*target, 1]))  # one more than counts
    found = F.ctc_loss(nnlab.tensor(log_probs), targets, [5], [len(target)], blank, "sum")
    assert found.item() == pytest.approx(wanted, rel=1e-12)
    shorter = F.ctc_loss(nnlab.tensor(log_probs), targets, [3], [len(target)], blank, "none")
    assert shorter.shape == ()
    assert shorter.item() == pytest.approx(every_path(log_probs[:3], target, blank), rel=1e-12)


@pytest.mark.parametrize("dtype", [nnlab.float16, nnlab.float32, nnlab.float64])
def test_a_target_that_is_too_long(dtype: Any) -> None:
    x = nnlab.tensor(log_softmax(scores(3, 2, 4)), dtype=dtype, requires_grad=True)
    targets = nnlab.tensor([[1, 1, 1], [1, 2, 3]])  # equal labels need a blank between them
    assert F.ctc_loss(x, targets, [3, 3], [3, 3], reduction="none").tolist()[0] == math.inf
    loss = F.ctc_loss(x, targets, [3, 3], [3, 3], reduction="none", zero_infinity=True)
    assert loss.tolist()[0] == 0.0 < loss.tolist()[1]
    loss.sum().backward()
    assert not x.grad.numpy()[:, 0].any()
    assert np.isfinite(x.grad.numpy()).all()
    assert x.grad.numpy()[:, 1].any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, t: F.ctc_loss(x[0, 0], t, [4], [2]), ShapeError, r"'log_probs' must have shape \(T, N, C\) or"),
        (lambda x, t: F.ctc_loss(x, x, [4, 4], [2, 2]), DtypeError, "'targets' must be integer class numbers"),
        (
            lambda x, t: F.ctc_loss(x, t, [4, 4], [2, 2], 3),
            ArgumentError,
            "'blank' must be a class number below 3, got 3",
        ),
        (
            lambda x, t: F.ctc_loss(x, t, [4], [2, 2]),
            ArgumentError,
            r"'input_lengths' must be 2 integers between 0 and 4",
        ),
        (lambda x, t: F.ctc_loss(x, t, [5, 4], [2, 2]), ArgumentError, r"'input_lengths' must be 2 .* got \[5, 4\]"),
        (
            lambda x, t: F.ctc_loss(x, t, [4, 4], [3, 2]),
            ArgumentError,
            r"'target_lengths' must be 2 .* between 0 and 2",
        ),
        (lambda x, t: F.ctc_loss(x, t[:1], [4, 4], [2, 2]), ShapeError, "'targets' must hold 2 rows or the 4 labels"),
        (lambda x, t: F.ctc_loss(x, t[0], [4, 4], [2, 2]), ShapeError, "'targets' must hold 2 rows or the 4 labels"),
    ],
)
def test_errors(call: Callable[..., Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^\[ctc_loss\] {message}"):
        call(nnlab.zeros(4, 2, 3), nnlab.tensor([[1, 2], [2, 1]]))
