"""Metrics against worked numbers and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.errors import ArgumentError, ShapeError
from nnlab.train.metrics import accuracy, confusion_matrix, per_class, softmax, top_k

LOGITS = np.array([[1.0, 3.0, 2.0], [5.0, 4.0, 6.0], [2.0, 2.0, 1.0]], np.float32)


def test_worked_numbers() -> None:
    assert top_k(LOGITS, 2).tolist() == [[1, 2], [2, 0], [0, 1]]  # the earlier of equal entries comes first
    target = np.array([2, 2, 1])
    assert accuracy(LOGITS, target) == pytest.approx(1 / 3)
    assert accuracy(LOGITS, target, 2) == 1.0
    assert accuracy(LOGITS, target, 5) == 1.0
    table = confusion_matrix(np.array([1, 2, 0, 1]), np.array([2, 2, 1, 1]), 3)
    assert table.tolist() == [[0, 0, 0], [1, 1, 0], [0, 1, 1]]
    recall, precision = per_class(table)
    assert math.isnan(recall[0]) and recall[1:].tolist() == [0.5, 0.5]
    assert precision.tolist() == [0.0, 0.5, 1.0]
    probability = softmax(np.array([[0.0, math.log(3.0)], [1e4, 1e4]]))
    np.testing.assert_allclose(probability, [[0.25, 0.75], [0.5, 0.5]], rtol=1e-14)


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 2**31), st.integers(1, 6))
def test_against_loops(n: int, classes: int, seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    logits, target = rng.integers(0, 4, (n, classes)).astype(np.float32), rng.integers(0, classes, n)
    hits = 0
    counts = [[0] * classes for _ in range(classes)]
    for row, true in zip(logits.tolist(), target.tolist(), strict=True):
        order = sorted(range(classes), key=lambda c, row=row: (-row[c], c))
        hits += true in order[:k]
        counts[true][order[0]] += 1
    assert accuracy(logits, target, k) == pytest.approx(hits / n)
    assert confusion_matrix(logits.argmax(1), target, classes).tolist() == counts


def test_errors() -> None:
    with pytest.raises(ArgumentError, match=r"'target' must lie in 0..2, got \(0, 3\)"):
        confusion_matrix(np.array([0, 1]), np.array([0, 3]), 3)
    with pytest.raises(ShapeError, match=r"'logits' must have shape \(N, C\)"):
        top_k(np.zeros(3), 1)
    with pytest.raises(ArgumentError, match="'k' must be positive, got 0"):
        top_k(LOGITS, 0)
