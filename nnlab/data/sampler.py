"""Samplers: the order of the samples, a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any

from nnlab.data.key import order_rng
from nnlab.errors import ArgumentError, complaint
from nnlab.random import default_generator


class Sampler:
    """Base of samplers: iterating gives the indices of one epoch."""

    def __iter__(self) -> Iterator[int]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration is for."""


class SequentialSampler(Sampler):
    """0, 1, 2, …"""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """A new permutation of the indices in each epoch.

    Args:
        data_source: the data set.
        replacement: draw each index independently instead. Default False.
        num_samples: indices an epoch. Default: as many as samples. Without replacement, more than that begin
            another permutation.
        seed: the order is a function of it and of the epoch. Default: the seed of ``nnlab.manual_seed``.
    """

    def __init__(
        self, data_source: Sized, replacement: bool = False, num_samples: int | None = None, seed: int | None = None
    ) -> None:
        if num_samples is not None and num_samples <= 0:
            raise ArgumentError(complaint("RandomSampler", "num_samples", "be positive", num_samples))
        self.data_source = data_source
        self.replacement = replacement
        self.num_samples = len(data_source) if num_samples is None else num_samples
        self.seed = default_generator.seed if seed is None else seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng, total = order_rng(self.seed, self.epoch), len(self.data_source)
        if self.replacement:
            yield from rng.integers(total, size=self.num_samples).tolist()
            return
        left = self.num_samples
        while left > 0:
            yield from rng.permutation(total)[:left].tolist()
            left -= total

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler:
    """Lists of ``batch_size`` indices of another sampler.

    Args:
        sampler: where the indices come from: a :class:`Sampler`, or any iterable with a length.
        batch_size: indices a batch.
        drop_last: leave out the last batch if it is smaller.
    """

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool) -> None:
        if int(batch_size) != batch_size or batch_size <= 0:
            raise ArgumentError(complaint("BatchSampler", "batch_size", "be a positive integer", batch_size))
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def set_epoch(self, epoch: int) -> None:
        """Passed on to the sampler."""
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(islice(indices, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield batch

    def __len__(self) -> int:
        full, rest = divmod(len(self.sampler), self.batch_size)
        return full + (1 if rest and not self.drop_last else 0)
