"""Pooling layers against PyTorch, over tables of their arguments."""

from __future__ import annotations

from typing import Any

import pytest

import nnlab
from nnlab import nn
from nnlab.nn import functional as F
from tests.nn.peer import compare, gaps, normals, pair

POOL: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("MaxPool1d", (3,), {"stride": 2, "padding": 1}, (2, 3, 8)),
    ("MaxPool1d", (2,), {"dilation": 3}, (3, 9)),
    ("MaxPool2d", (2,), {}, (2, 3, 6, 7)),
    ("MaxPool2d", (3,), {"stride": 2}, (2, 3, 7, 8)),
    ("MaxPool2d", ((3, 2),), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}, (2, 3, 6, 7)),
    ("MaxPool2d", (3,), {"stride": 2, "ceil_mode": True, "padding": 1}, (2, 3, 6, 7)),
    ("MaxPool2d", (2,), {"return_indices": True, "stride": 1}, (2, 3, 4, 5)),
    ("MaxPool2d", (2,), {"return_indices": True, "ceil_mode": True}, (3, 5, 5)),
    ("MaxPool3d", (2,), {"return_indices": True}, (2, 2, 4, 5, 4)),
    ("MaxPool3d", ((1, 2, 3),), {"stride": (1, 2, 2), "padding": (0, 1, 1)}, (2, 3, 4, 5)),
    ("AvgPool1d", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}, (2, 3, 8)),
    ("AvgPool1d", (2,), {"ceil_mode": True}, (3, 7)),
    ("AvgPool2d", (2,), {}, (2, 3, 6, 7)),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1}, (2, 3, 6, 7)),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}, (2, 3, 6, 7)),
    ("AvgPool2d", ((2, 3),), {"stride": (1, 2), "divisor_override": 4, "ceil_mode": True}, (2, 3, 5, 6)),
    ("AvgPool3d", (2,), {"padding": 1}, (2, 2, 4, 5, 4)),
    ("AvgPool3d", ((1, 2, 2),), {"divisor_override": 3}, (2, 3, 4, 5)),
    ("AdaptiveAvgPool1d", (3,), {}, (2, 3, 8)),
    ("AdaptiveAvgPool2d", (1,), {}, (2, 3, 5, 6)),
    ("AdaptiveAvgPool2d", ((6, 6),), {}, (2, 3, 4, 5)),
    ("AdaptiveAvgPool2d", ((None, 2),), {}, (3, 5, 7)),
    ("AdaptiveAvgPool3d", ((2, 3, 2),), {}, (2, 2, 4, 5, 3)),
    ("AdaptiveMaxPool1d", (3,), {"return_indices": True}, (2, 3, 8)),
    ("AdaptiveMaxPool2d", ((3, 2),), {}, (2, 3, 5, 6)),
    ("AdaptiveMaxPool2d", ((2, None),), {"return_indices": True}, (3, 5, 4)),
    ("AdaptiveMaxPool3d", (2,), {}, (2, 2, 4, 5, 3)),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), POOL)
def test_against_torch(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], shape: tuple[int, ...]) -> None:
    ours, theirs = pair(name, *args, **kwargs)
    compare(ours, theirs, gaps(*shape))
    if not name.startswith("AvgPool1d"):
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize(
    ("n", "kwargs", "shape"),
    [
        (1, {"kernel_size": 2}, (2, 3, 8)),
        (2, {"kernel_size": 2, "stride": 2}, (2, 3, 6, 4)),
        (2, {"kernel_size": 3, "padding": 1}, (3, 7, 4)),
        (3, {"kernel_size": 2}, (2, 2, 4, 4, 2)),
    ],
)
def test_unpooling_against_torch(n: int, kwargs: dict[str, Any], shape: tuple[int, ...]) -> None:
    indices = getattr(nn, f"MaxPool{n}d")(return_indices=True, **kwargs)(nnlab.tensor(gaps(*shape)))[1].numpy()
    ours, theirs = pair(f"MaxUnpool{n}d", **kwargs)
    compare(ours, theirs, normals(*indices.shape), indices)


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
