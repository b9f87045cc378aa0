"""Padding and packing of sequences of several lengths."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab.errors import NNLabError
from nnlab.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
)
from nnlab.testing import gradcheck, gradgradcheck
from tests.nn.peer import normals


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_padding_against_torch(batch_first: bool, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    sequences = [(10 * normals(n, 2, seed=n)).astype(dtype) for n in (3, 5, 1, 4)]
    ours, theirs = [nnlab.tensor(s) for s in sequences], [torch.tensor(s) for s in sequences]
    for side in ("right", "left"):
        padded = pad_sequence(ours, batch_first, -1.0, side)
        want = torch.nn.utils.rnn.pad_sequence(theirs, batch_first, -1.0, side)
        np.testing.assert_array_equal(padded.numpy(), want.numpy(), strict=True)
    packed = pack_sequence(ours, enforce_sorted=False)
    want = torch.nn.utils.rnn.pack_sequence(theirs, enforce_sorted=False)
    for one, other in zip(packed, want, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), strict=True)


def test_packing_worked_by_hand() -> None:
    """Sequences a, b, c of lengths 1, 3, 2."""
    sequences = [nnlab.tensor([1.0]), nnlab.tensor([10.0, 11.0, 12.0]), nnlab.tensor([20.0, 21.0])]
    packed = pack_sequence(sequences, enforce_sorted=False)
    assert packed.data.tolist() == [10, 20, 1, 11, 21, 12]
    assert packed.batch_sizes.tolist() == [3, 2, 1]
    assert packed.sorted_indices is not None and packed.sorted_indices.tolist() == [1, 2, 0]
    assert packed.unsorted_indices is not None and packed.unsorted_indices.tolist() == [2, 0, 1]
    padded, lengths = pad_packed_sequence(packed, padding_value=-1.0, total_length=4)
    assert padded.tolist() == [[1, 10, 20], [-1, 11, 21], [-1, 12, -1], [-1, -1, -1]]
    assert lengths.tolist() == [1, 3, 2]
    again = PackedSequence(packed.data, packed.batch_sizes, unsorted_indices=packed.unsorted_indices)
    assert again.sorted_indices is not None and again.sorted_indices.tolist() == [1, 2, 0]
    assert pad_packed_sequence(again, batch_first=True)[0].tolist() == [[1, 0, 0], [10, 11, 12], [20, 21, 0]]
    for name, dtype in (("double", "float64"), ("half", "float16"), ("float", "float32")):
        assert getattr(packed, name)().data.dtype == dtype
    assert packed.cpu() is packed


def test_gradients_pass_through_packing() -> None:
    x = nnlab.tensor(normals(4, 3, 2), requires_grad=True)

    def there_and_back(x: Any) -> Any:
        packed = pack_padded_sequence(x, nnlab.tensor([2, 4, 1]), enforce_sorted=False)
        return packed.data * packed.data, pad_packed_sequence(packed, padding_value=1.0)[0]

    assert gradcheck(there_and_back, x)
    assert gradgradcheck(there_and_back, x)
    pieces = [nnlab.tensor(normals(n, 2, seed=n), requires_grad=True) for n in (2, 1, 3)]
    assert gradcheck(lambda *s: pad_sequence(s, padding_side="left"), pieces)


Z = nnlab.zeros


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: pack_padded_sequence(Z(4), [1]),
            "[pack_padded_sequence] 'input' must have shape (T, B, ...), got (4,)",
        ),
        (lambda: pack_padded_sequence(Z(4, 2), [3]), "[pack_padded_sequence] 'lengths' must be 2 ints, one a sequence"),
        (lambda: pack_padded_sequence(Z(4, 2), [3.0, 1.0]), "[pack_padded_sequence] 'lengths' must be 2 ints"),
        (
            lambda: pack_padded_sequence(Z(4, 2), [5, 1]),
            "'lengths' must be between 1 and the input's 4 steps, got [5, 1]",
        ),
        (
            lambda: pack_padded_sequence(Z(4, 2), [3, 0]),
            "'lengths' must be between 1 and the input's 4 steps, got [3, 0]",
        ),
        (
            lambda: pack_padded_sequence(Z(4, 2), [1, 3]),
            "'lengths' must not rise (or pass enforce_sorted=False), got [1",
        ),
        (
            lambda: pad_packed_sequence(pack_sequence([Z(3, 2)]), total_length=2),
            "[pad_packed_sequence] 'total_length' must be at least the longest length, 3, got 2",
        ),
        (
            lambda: pad_sequence([]),
            "[pad_sequence] 'sequences' must be tensors (L, ...) that differ in L alone, got []",
        ),
        (lambda: pad_sequence([Z(2, 3), Z(2, 4)]), "[pad_sequence] 'sequences' must be tensors (L, ...) that differ"),
        (lambda: pad_sequence([Z(2)], padding_side="up"), "'padding_side' must be 'right' or 'left', got 'up'"),
        (
            lambda: PackedSequence(Z(3), nnlab.tensor([1, 2])),
            "[PackedSequence] 'batch_sizes' must be positive ints that",
        ),
        (
            lambda: PackedSequence(Z(4), nnlab.tensor([2, 1])),
            "'data' must have as many rows as 'batch_sizes' adds up to, 3",
        ),
        (
            lambda: PackedSequence(Z(3), nnlab.tensor([2, 1]), nnlab.tensor([0, 0])),
            "'sorted_indices' must name each of 2 sequences once, got [0, 0]",
        ),
        (lambda: PackedSequence([1.0], nnlab.tensor([1])), "[PackedSequence] 'data' must be a Tensor, got 'list'"),
    ],
)
def test_bad_packing(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(NNLabError, match=re.escape(message)):
        call()
