"""Pooling layers beside the table of cases: pooled and unpooled again, worked numbers."""

from __future__ import annotations

import pytest

import nnlab
from nnlab.nn import functional as F
from tests.nn.peer import compare, gaps, pair


@pytest.mark.torch
def test_unpooling_to_a_given_size() -> None:
    x = nnlab.tensor(gaps(1, 1, 5, 5))
    y, indices = F.max_pool2d(x, 2, 2, return_indices=True)
    ours, theirs = pair("MaxUnpool2d", 2, 2)
    result = compare(ours, theirs, y.numpy(), indices.numpy(), output_size=[5, 5])
    assert result.shape == (1, 1, 5, 5)


def test_worked_numbers() -> None:
    x = nnlab.tensor([[1.0, 5.0, 2.0, 4.0, 3.0]])
    assert F.max_pool1d(x, 2).tolist() == [[5.0, 4.0]]
    assert F.max_pool1d(x, 2, ceil_mode=True).tolist() == [[5.0, 4.0, 3.0]]
    assert F.avg_pool1d(x, 2, padding=1).tolist() == [[0.5, 3.5, 3.5]]
    assert F.avg_pool1d(x, 2, padding=1, count_include_pad=False).tolist() == [[1.0, 3.5, 3.5]]
    assert F.adaptive_avg_pool1d(x, 2).tolist() == [[pytest.approx(8 / 3), 3.0]]
