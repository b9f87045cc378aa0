"""Data sets and collation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnlab
from nnlab.data import (
    ArrayDataset,
    ConcatDataset,
    Dataset,
    SampleKey,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
    sample_rng,
)
from nnlab.errors import ArgumentError, DataError, ShapeError
from tests.data.worker_sets import Drawing

KEY = SampleKey(0)


def test_array_dataset() -> None:
    x, y = np.arange(12.0).reshape(4, 3), np.arange(4)
    dataset = ArrayDataset(x, y)
    assert len(dataset) == 4
    row, label = dataset[2]
    np.testing.assert_array_equal(row, [6, 7, 8])
    assert label == 2
    batch = dataset.batch([3, 1], KEY)
    np.testing.assert_array_equal(batch[0], x[[3, 1]])
    np.testing.assert_array_equal(batch[1], [3, 1])
    with pytest.raises(ShapeError, match=r"\(4, 3\)"):
        ArrayDataset(x, y[:3])
    with pytest.raises(ArgumentError, match="at least one"):
        ArrayDataset()


def test_tensor_dataset_gives_tensors() -> None:
    x = nnlab.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    dataset = TensorDataset(x, nnlab.tensor([5, 6]))
    row, label = dataset[1]
    assert isinstance(row, nnlab.Tensor)
    assert not row.requires_grad
    np.testing.assert_array_equal(row.numpy(), [3, 4])
    assert label.shape == ()
    assert label.item() == 6
    np.testing.assert_array_equal(dataset.batch([1, 0], KEY)[1], [6, 5])


def test_a_data_set_without_samples_says_so() -> None:
    class Empty(Dataset):
        pass

    with pytest.raises(NotImplementedError, match="Empty must define __getitem__"):
        Empty()[0]
    with pytest.raises(NotImplementedError, match="Empty must define __len__"):
        len(Empty())


def test_iteration_ends() -> None:
    assert list(Drawing(3)) == [sample_rng(0, 0, i).random() for i in range(3)]


def test_subset_and_concat_keep_each_sample_of_its_own() -> None:
    key = SampleKey(9, 2)
    subset = Subset(Drawing(10), [7, 3])
    assert len(subset) == 2
    assert subset.sample(0, key) == sample_rng(9, 2, 7).random()
    np.testing.assert_array_equal(subset.batch([1, 0], key), [sample_rng(9, 2, i).random() for i in (3, 7)])
    both = Drawing(3) + Drawing(4)
    assert len(both) == 7
    # Sample 1 of the second member draws otherwise than sample 1 of the first.
    np.testing.assert_array_equal(both.batch(range(7), key), [sample_rng(9, 2, i).random() for i in range(7)])
    assert both.sample(-1, key) == both.sample(6, key)
    with pytest.raises(IndexError, match="7"):
        both[7]
    with pytest.raises(ArgumentError, match="at least one"):
        ConcatDataset([])


def test_lists_are_data_sets() -> None:
    assert list(ConcatDataset([[1, 2], [3]])) == [1, 2, 3]
    assert list(Subset("abc", [2, 0])) == ["c", "a"]


@given(st.integers(0, 100), st.integers(1, 5), st.integers(0, 1000))
def test_random_split_is_a_partition(total: int, parts: int, seed: int) -> None:
    lengths = [total // parts] * (parts - 1) + [total - total // parts * (parts - 1)]
    pieces = random_split(list(range(total)), lengths, seed)
    assert [len(piece) for piece in pieces] == lengths
    assert sorted(i for piece in pieces for i in piece) == list(range(total))
    again = random_split(list(range(total)), lengths, seed)
    assert [list(piece) for piece in pieces] == [list(piece) for piece in again]


def test_random_split_by_fraction() -> None:
    assert [len(part) for part in random_split(range(11), [0.5, 0.3, 0.2])] == [6, 3, 2]
    assert list(random_split(range(50), [50], 1)[0]) != list(random_split(range(50), [50], 2)[0])
    with pytest.raises(ArgumentError, match="add up to 11"):
        random_split(range(11), [5, 5])
    with pytest.raises(ArgumentError, match="add up to 11"):
        random_split(range(11), [12, -1])


class Pair(NamedTuple):
    image: Any
    label: Any


def test_collate_keeps_structure_and_types() -> None:
    samples = [
        {"pair": Pair(np.full((2, 2), i, np.float32), i), "more": [i / 2, str(i), i > 0, np.uint8(i)]} for i in range(3)
    ]
    batch = default_collate(samples)
    assert isinstance(batch["pair"], Pair)
    assert batch["pair"].image.shape == (3, 2, 2)
    assert batch["pair"].image.dtype == nnlab.float32
    assert batch["pair"].label.dtype == nnlab.int64
    halves, names, positive, small = batch["more"]
    assert halves.dtype == nnlab.float64
    assert names == ["0", "1", "2"]
    assert positive.dtype == nnlab.bool_
    assert small.dtype == nnlab.uint8
    np.testing.assert_array_equal(small.numpy(), [0, 1, 2])


def test_collate_takes_tensors() -> None:
    batch = default_collate([(nnlab.tensor([1.0, 2.0]), 0), (nnlab.tensor([3.0, 4.0]), 1)])
    assert isinstance(batch, tuple)
    np.testing.assert_array_equal(batch[0].numpy(), [[1, 2], [3, 4]])


def test_collate_errors() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(2, 4\) \(sample 2\)"):
        default_collate([np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((2, 4))])
    with pytest.raises(DataError, match="one length"):
        default_collate([(1, 2), (1,)])
    with pytest.raises(DataError, match="object"):
        default_collate([object()])
