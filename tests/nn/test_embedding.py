"""Embedding, EmbeddingBag and Bilinear beside the table of cases: gradients, worked numbers, starts, errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.autograd.embedding import embedding
from nnlab.backend import emulated
from nnlab.errors import ArgumentError, DtypeError, NNLabError, ShapeError
from nnlab.nn import functional as F
from nnlab.ops._cuda import embedding as kernels
from nnlab.testing import gradcheck, gradgradcheck
from tests.nn.peer import normals
from tests.nn.sequence_cases import INDEX


def test_bilinear_worked_numbers_and_start() -> None:
    """x1 = (1, 2), x2 = (3, 5): x1[0] * 1 * x2[1] + x1[1] * 10 * x2[0] + 7."""
    weight = nnlab.tensor([[[0.0, 1.0], [10.0, 0.0]]])
    y = F.bilinear(nnlab.tensor([1.0, 2.0]), nnlab.tensor([3.0, 5.0]), weight, nnlab.tensor([7.0]))
    assert y.tolist() == [5 + 60 + 7]
    layer = nn.Bilinear(100, 30, 20)
    assert 0.09 < layer.weight.detach().numpy().max() <= 0.1
    assert -0.1 <= layer.bias.detach().numpy().min() < -0.05


def test_gradients_of_any_order() -> None:
    weight = nnlab.tensor(normals(6, 2), requires_grad=True)
    index = nnlab.tensor(INDEX)
    for padding, by_count in ((None, False), (3, False), (None, True)):
        look = lambda w, p=padding, f=by_count: embedding(w, index, p, f)  # noqa: E731
        if padding is None and not by_count:  # the others' gradients are not the derivative, on purpose
            assert gradcheck(look, weight)

        def first(g: nnlab.Tensor, look: Any = look) -> Any:
            with nnlab.enable_grad():
                return nnlab.grad(look(weight), weight, g, create_graph=True)[0]

        assert gradcheck(first, nnlab.tensor(normals(2, 4, 2), requires_grad=True))
    assert gradgradcheck(lambda w: embedding(w * w, index, None, False), weight)
    x, y, w = (nnlab.tensor(normals(*s), requires_grad=True) for s in ((2, 3), (2, 2), (4, 3, 2)))
    assert gradcheck(F.bilinear, (x, y, w))
    assert gradgradcheck(F.bilinear, (x, y, w))


def test_the_gradient_has_the_same_bits_every_time_and_half_types_add_up_in_float32() -> None:
    index = nnlab.tensor(np.random.default_rng(1).integers(0, 7, 5000))
    seed = nnlab.tensor(normals(5000, 3).astype(np.float16))
    found = []
    for _ in range(2):
        weight = nnlab.zeros(7, 3, dtype=nnlab.float16, requires_grad=True)
        F.embedding(index, weight).backward(seed)
        found.append(weight.grad.numpy())
    np.testing.assert_array_equal(*found)
    want = np.zeros((7, 3))
    for row, value in zip(index.tolist(), seed.numpy().astype(np.float64)):
        want[row] += value
    np.testing.assert_allclose(found[0], want, rtol=2**-10, atol=1e-3)


def test_worked_numbers() -> None:
    layer = nn.Embedding.from_pretrained(nnlab.tensor([[1.0, 2], [3, 4], [5, 6]]), freeze=False, padding_idx=0)
    y = layer(nnlab.tensor([2, 0, 2]))
    assert y.tolist() == [[5, 6], [1, 2], [5, 6]]
    y.sum().backward()
    assert layer.weight.grad.tolist() == [[0, 0], [0, 0], [2, 2]]
    # By frequency; PyTorch 2.13 divides row 5, which comes once, by 3 (on the CPU).
    counted = nn.EmbeddingBag(6, 1, mode="sum", scale_grad_by_freq=True)
    counted(nnlab.tensor(INDEX)).sum().backward()
    np.testing.assert_allclose(counted.weight.grad.numpy()[:, 0], [1, 1, 0, 1, 0, 1], rtol=1e-6)
    bag = nn.EmbeddingBag.from_pretrained(nnlab.tensor([[1.0, 2], [3, 4], [5, 6]]))
    assert bag(nnlab.tensor([[0, 2]])).tolist() == [[3, 4]]
    assert not bag.weight.requires_grad


def test_start_and_pretrained() -> None:
    layer = nn.Embedding(400, 50, padding_idx=-1)
    values = layer.weight.detach().numpy()
    assert layer.padding_idx == 399
    assert not values[399].any()
    assert abs(values.std() - 1) < 0.03
    table = nnlab.ones(3, 2)
    frozen = nn.Embedding.from_pretrained(table)
    assert not frozen.weight.requires_grad
    assert frozen.weight.numpy() is table.numpy()
    assert nn.EmbeddingBag.from_pretrained(table, freeze=False).weight.requires_grad


def test_rows_are_limited_in_place_only_where_read() -> None:
    weight = nnlab.tensor([[3.0, 4], [0.3, 0.4], [6, 8]], requires_grad=True)
    y = F.embedding(nnlab.tensor([0, 1, 0]), weight, max_norm=1.0)
    np.testing.assert_allclose(weight.detach().numpy(), [[0.6, 0.8], [0.3, 0.4], [6, 8]], rtol=1e-6)
    np.testing.assert_allclose(y.detach().numpy(), [[0.6, 0.8], [0.3, 0.4], [0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.Embedding(0, 3), ArgumentError, "[Embedding] 'num_embeddings' must be a positive int, got 0"),
        (lambda: nn.Embedding(3, 2, 3), ArgumentError, "[Embedding] 'padding_idx' must be in -3..2, got 3"),
        (lambda: nn.Embedding(3, 2, sparse=True), ArgumentError, "[Embedding] 'sparse' must be False"),
        (
            lambda: nn.Embedding(3, 2, _weight=nnlab.zeros(2, 2)),
            ShapeError,
            "[Embedding] '_weight' must have shape (3, 2), got (2, 2)",
        ),
        (
            lambda: nn.Embedding.from_pretrained(nnlab.zeros(2)),
            ShapeError,
            "[Embedding.from_pretrained] 'embeddings' must have shape (rows, D), got (2,)",
        ),
        (
            lambda: nn.Embedding(3, 2)(nnlab.tensor([0, 3])),
            ArgumentError,
            "[Embedding] 'input' must be row numbers in 0..2, got 3",
        ),
        (
            lambda: nn.Embedding(3, 2)(nnlab.tensor([0, -1])),
            ArgumentError,
            "[Embedding] 'input' must be row numbers in 0..2, got -1",
        ),
        (
            lambda: nn.Embedding(3, 2)(nnlab.zeros(2)),
            DtypeError,
            "[Embedding] 'input' must be a Tensor of integers, got 'float32'",
        ),
        (
            lambda: F.embedding(nnlab.tensor([0]), nnlab.zeros(3)),
            ShapeError,
            "[embedding] 'weight' must have shape (rows, D), got (3,)",
        ),
        (lambda: nn.EmbeddingBag(3, 2, mode="min"), ArgumentError, "[EmbeddingBag] 'mode' must be one of ('sum', "),
        (
            lambda: nn.EmbeddingBag(3, 2)(nnlab.tensor([0])),
            ShapeError,
            "[EmbeddingBag] 'offsets' must be given for an input of shape (n,) and not for one of shape (B, L)",
        ),
        (
            lambda: nn.EmbeddingBag(3, 2)(nnlab.tensor([0, 1]), nnlab.tensor([1])),
            ArgumentError,
            "[EmbeddingBag] 'offsets' must rise from 0 to 2, got [1]",
        ),
        (
            lambda: nn.EmbeddingBag(3, 2)(nnlab.tensor([[0, 1]]), None, nnlab.zeros(1, 2)),
            ArgumentError,
            "[EmbeddingBag] 'mode' must be 'sum' with per_sample_weights, got 'mean'",
        ),
        (
            lambda: nn.Bilinear(2, 3, 4)(nnlab.zeros(5, 2), nnlab.zeros(4, 3)),
            ShapeError,
            "[Bilinear] 'input2' must have shape (5, 3), got (4, 3)",
        ),
        (
            lambda: nn.Bilinear(2, 3, 4)(nnlab.zeros(5, 3), nnlab.zeros(5, 3)),
            ShapeError,
            "[Bilinear] 'input1' must have shape (..., 2), got (5, 3)",
        ),
        (lambda: nn.Bilinear(2, 0, 4), ArgumentError, "[Bilinear] 'in2_features' must be a positive int, got 0"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[NNLabError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        call()


@pytest.mark.skipif(emulated.why_unusable() is not None, reason="kernels cannot run on this CPU")
@pytest.mark.parametrize("rows", [5, 4000])
def test_reads_at_repeated_positions_through_kernels(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By both ways of ``nnlab/ops/_cuda/embedding.py``: the same bits as one after another; NaN stays where it is."""
    monkeypatch.setattr(kernels, "SEARCHED", 1000)
    x = nnlab.randn(rows, 3, device="emulated", requires_grad=True)
    index, dy = np.array([4, 0, 4, 4, 2]), np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    dy[4] = np.nan
    expected = np.zeros((rows, 3), np.float32)
    for row, each in zip(index, dy, strict=True):
        expected[row] += each
    x[nnlab.tensor(index, device="emulated")].backward(nnlab.tensor(dy, device="emulated"))
    np.testing.assert_array_equal(x.grad.cpu().numpy(), expected)
