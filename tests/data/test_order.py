"""Random streams and samplers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnlab
from nnlab.data import BatchSampler, RandomSampler, SampleKey, SequentialSampler, sample_rng
from nnlab.data.key import order_rng, split_rng
from nnlab.errors import ArgumentError
from nnlab.random import host_generator


def test_sample_streams_are_functions_of_seed_epoch_and_index() -> None:
    again = sample_rng(3, 1, 5).random(4)
    np.testing.assert_array_equal(sample_rng(3, 1, 5).random(4), again)
    np.testing.assert_array_equal(SampleKey(3, 1, offset=4).rng(1).random(4), again)
    for other in [sample_rng(4, 1, 5), sample_rng(3, 2, 5), sample_rng(3, 1, 6)]:
        assert not np.array_equal(other.random(4), again)


def test_streams_of_the_data_room_are_apart_from_each_other_and_from_weights() -> None:
    first = [rng.random() for rng in (host_generator(7, 2), sample_rng(7, 2, 0), order_rng(7, 2), split_rng(7, 2))]
    assert len(set(first)) == 4


@given(st.integers(1, 200), st.integers(0, 5), st.integers(0, 2**40))
def test_random_sampler_is_a_permutation_fixed_by_seed_and_epoch(count: int, epoch: int, seed: int) -> None:
    def order(e: int) -> list[int]:
        sampler = RandomSampler(range(count), seed=seed)
        sampler.set_epoch(e)
        return list(sampler)

    assert sorted(order(epoch)) == list(range(count))
    assert order(epoch) == order(epoch)
    if count > 20:
        assert order(epoch) != order(epoch + 1)


def test_random_sampler_is_uniform() -> None:
    firsts = []
    for epoch in range(2000):
        sampler = RandomSampler(range(5), seed=1)
        sampler.set_epoch(epoch)
        firsts.append(next(iter(sampler)))
    counts = np.bincount(firsts, minlength=5)
    assert ((counts - 400) ** 2 / 400).sum() < 18.5  # chi-squared with 4 degrees of freedom: 0.1 % level


def test_random_sampler_with_and_without_replacement() -> None:
    with_replacement = list(RandomSampler(range(10), replacement=True, num_samples=1000, seed=1))
    assert len(with_replacement) == 1000
    assert set(with_replacement) == set(range(10))
    longer = list(RandomSampler(range(10), num_samples=25, seed=1))
    assert len(RandomSampler(range(10), num_samples=25)) == len(longer) == 25
    assert sorted(longer[:10]) == sorted(longer[10:20]) == list(range(10))
    assert longer[:10] != longer[10:20]
    with pytest.raises(ArgumentError, match="num_samples"):
        RandomSampler(range(10), num_samples=0)


def test_the_default_seed_is_that_of_manual_seed() -> None:
    nnlab.manual_seed(11)
    assert list(RandomSampler(range(30))) == list(RandomSampler(range(30), seed=11))


@given(st.integers(0, 40), st.integers(1, 12), st.booleans())
def test_batch_sampler_covers_everything_in_order(count: int, batch_size: int, drop_last: bool) -> None:
    sampler = BatchSampler(SequentialSampler(range(count)), batch_size, drop_last)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    kept = count - count % batch_size if drop_last else count
    assert [i for batch in batches for i in batch] == list(range(kept))
    assert all(len(batch) == batch_size for batch in batches[:-1])


@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_batch_sampler_refuses_sizes(size: float) -> None:
    with pytest.raises(ArgumentError, match="batch_size"):
        BatchSampler(SequentialSampler(range(3)), size, False)  # type: ignore[arg-type]
